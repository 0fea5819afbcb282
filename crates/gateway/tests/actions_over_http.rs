//! What callers may ask of actions: what became of them, to settle them, to cancel them, to take a report of a webhook.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use seawall_lab::harbor::Books;
use serde_json::{Value, json};
use support::charges::{BODY, KEEPS_FAULTS, declared};
use support::{Caller, Gateway, Heard, dependency, harbor, soon};

/// The head of a request with a body that is JSON.
const JSON: (&str, &str) = ("content-type", "application/json");
/// An id that no action has.
const NOBODY: &str = "0192a0b4-0000-7000-8000-000000000001";

/// A durable charge at this provider. `lines` are further lines of the dependency, and `operation` of the operation.
fn charges(address: SocketAddr, lines: &str, operation: &str) -> String {
    let operation = format!("{KEEPS_FAULTS}\n{operation}");
    declared(address, lines, "{ read = \"2s\", total = \"4s\" }", &operation)
}

/// Starts a gateway whose charges are settled by the application. Waits until its ledger is open.
async fn explicit(address: SocketAddr) -> Gateway {
    started(&charges(address, "", "settle = \"explicit\"\nsettle_within = \"60s\"")).await
}

async fn started(text: &str) -> Gateway {
    let gateway = Gateway::start(text).await;
    gateway.until_said("the ledger is open").await;
    gateway
}

/// Makes a charge under this key. The first answer of the provider has this fault.
async fn charge(gateway: &Gateway, key: &str, fault: &str, body: &str) -> Heard {
    let headers = [("idempotency-key", key), JSON, ("harbor-fault", fault)];
    gateway.ask("POST", "/pay/v1/charges", &headers, body).await
}

/// Makes a charge whose effect is applied, and returns the action's path.
async fn applied(gateway: &Gateway, key: &str) -> String {
    let heard = charge(gateway, key, "delay=0ms", BODY).await;
    assert_eq!(heard.verdict(), (200, "applied", "1", ""), "{heard:?}");
    format!("/-/actions/{}", heard.header("seawall-action").unwrap())
}

async fn get(gateway: &Gateway, target: &str) -> Heard {
    gateway.ask("GET", target, &[], "").await
}

async fn post(gateway: &Gateway, target: &str, body: &str) -> Heard {
    gateway.ask("POST", target, &[JSON], body).await
}

/// Checks an answer that is a problem about no action.
#[track_caller]
fn assert_refused(heard: &Heard, status: u16, reason: &str, says: &str) {
    assert_eq!(heard.verdict(), (status, "unknown", "0", reason), "{heard:?}");
    assert_eq!(heard.header("cache-control"), Some("no-store"));
    assert_eq!(heard.header("content-type"), Some("application/problem+json"));
    let detail = heard.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains(says), "{detail}");
}

fn refunds(books: &Books, key: &str) -> u64 {
    books.snapshot().by_key[key].refunds
}

#[tokio::test]
async fn an_action_is_found_by_its_id_and_by_its_key() {
    let (address, _books) = harbor();
    let gateway = started(&charges(address, "listen = \"127.0.0.1:0\"", "")).await;
    let path = applied(&gateway, "order 1/%e+").await;
    let by_id = get(&gateway, &path).await;
    assert_eq!(by_id.verdict(), (200, "applied", "1", ""), "{by_id:?}");
    assert_eq!(by_id.header("cache-control"), Some("no-store"));
    assert_eq!(by_id.header("content-type"), Some("application/json"));
    let shown = by_id.json();
    assert_eq!(path, format!("/-/actions/{}", shown["id"].as_str().unwrap()));
    for (field, value) in [
        ("dependency", json!("pay")),
        ("operation", json!("charge")),
        ("key", json!("order 1/%e+")),
        ("goal", json!("perform")),
        ("effect", json!("applied")),
        ("settled", json!(true)),
        ("state", json!("done")),
        ("next", json!({ "what": "nothing: it has ended", "at": null })),
        ("marks", json!([])),
    ] {
        assert_eq!(shown[field], value, "{field}");
    }
    assert_eq!(shown["answer"]["status"], 200);
    assert_eq!(shown["answer"]["headers"]["content-type"], "application/json");
    assert_eq!(shown["answer"]["body"]["amount"], 1200);
    let attempts = shown["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 1);
    assert_eq!((&attempts[0]["kind"], &attempts[0]["outcome"]), (&json!("perform"), &json!("yes")));

    let query = "/-/actions?key=order%201%2F%25e%2B&dependency=pay";
    assert_eq!(get(&gateway, query).await.json(), shown);
    assert_eq!(get(&gateway, &format!("{query}&wait=60s")).await.json(), shown, "nothing is waited for");
    let head = gateway.ask("HEAD", &path, &[], "").await;
    assert_eq!((head.status, head.body().len()), (Some(200), 0));
    assert_eq!(head.header("content-length"), by_id.header("content-length"));
    let mut own = Caller::connect(gateway.own_address("pay")).await;
    assert_eq!(own.ask("GET", &path, &[], "").await.json(), shown, "on the dependency's own port, too");
}

#[tokio::test]
async fn wrong_questions_are_refused_in_words() {
    let (address, _books) = harbor();
    let other = dependency("mail", address, "listen = \"127.0.0.1:0\"");
    let gateway = started(&(charges(address, "", "") + &other)).await;
    let path = applied(&gateway, "order-1").await;
    for (target, says) in [
        (format!("{path}?wait=soon"), "500ms, 10s"),
        (format!("{path}?state=open"), "no parameter `state`"),
        ("/-/actions".to_owned(), "`dependency` is missing"),
        ("/-/actions?dependency=pay&key=a+b".to_owned(), "%2B"),
    ] {
        assert_refused(&get(&gateway, &target).await, 400, "bad-request", says);
    }
    let nobody = format!("/-/actions/{NOBODY}");
    for target in
        [&*nobody, "/-/actions/7", "/-/actions?dependency=pay&key=x", "/-/actions?dependency=x&key=x"]
    {
        let begun = Instant::now();
        let wait = if target.contains('?') { "&wait=15s" } else { "?wait=15s" };
        for target in [target.to_owned(), format!("{target}{wait}")] {
            assert_refused(&get(&gateway, &target).await, 404, "not-found", "no such action");
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{target}");
    }
    assert_refused(&get(&gateway, &format!("{path}/undo")).await, 404, "unknown-dependency", "ID/settle");
    let mut elsewhere = Caller::connect(gateway.own_address("mail")).await;
    let heard = elsewhere.ask("GET", &path, &[], "").await;
    assert_refused(&heard, 404, "not-found", "no such action");

    for (method, target, allow) in
        [("DELETE", path.clone(), "GET, HEAD"), ("GET", format!("{path}/settle"), "POST")]
    {
        let heard = gateway.ask(method, &target, &[], "").await;
        assert_eq!((heard.status, heard.header("allow")), (Some(405), Some(allow)), "{heard:?}");
    }
    let observe = format!("{path}/observe");
    let report = r#"{"effect":"applied"}"#;
    let plain = gateway.ask("POST", &observe, &[], report).await;
    assert_refused(&plain, 400, "bad-request", "application/json");
    let wrong = post(&gateway, &observe, r#"{"effect":"paid"}"#).await;
    assert_refused(&wrong, 400, "bad-request", "a report has the form");
    let long = post(&gateway, &observe, &"x".repeat((64 << 10) + 1)).await;
    assert_refused(&long, 413, "body-too-large", "65536");
    assert_refused(
        &post(&gateway, &format!("{nobody}/settle"), "").await,
        404,
        "not-found",
        "no such action",
    );
    let foreign = gateway.ask("GET", &path, &[("origin", "https://evil.example")], "").await;
    assert_eq!(foreign.header("seawall-reason"), Some("caller-refused"), "the gate stays before it");
}

#[tokio::test]
async fn what_is_settled_stays_and_what_is_cancelled_is_undone() {
    let (address, books) = harbor();
    let gateway = explicit(address).await;
    let path = applied(&gateway, "kept").await;
    let open = get(&gateway, &path).await.json();
    assert_eq!((&open["state"], &open["settled"]), (&json!("open"), &json!(false)));
    assert_eq!(open["next"]["at"], open["settle_by"]);
    assert!(open["next"]["what"].as_str().unwrap().contains("waits to be settled"), "{open}");
    for _ in 0..2 {
        let settled = post(&gateway, &format!("{path}/settle"), "").await;
        assert_eq!(settled.verdict(), (200, "applied", "1", ""), "{settled:?}");
        assert_eq!((&settled.json()["settled"], &settled.json()["state"]), (&json!(true), &json!("done")));
    }
    let late = post(&gateway, &format!("{path}/cancel"), "").await;
    assert_eq!(late.verdict(), (409, "applied", "1", "settled"), "{late:?}");
    assert_eq!(late.header("location"), Some(&*path));
    assert_eq!(late.json()["recorded"]["state"], "done");
    assert_eq!(refunds(&books, "kept"), 0);

    let path = applied(&gateway, "undone").await;
    let cancelled = post(&gateway, &format!("{path}/cancel"), "").await;
    assert_eq!((cancelled.status, &cancelled.json()["goal"]), (Some(200), &json!("cancel")), "{cancelled:?}");
    let settled = post(&gateway, &format!("{path}/settle"), "").await;
    assert_eq!(
        (settled.status, settled.header("seawall-reason")),
        (Some(409), Some("too-late")),
        "{settled:?}"
    );
    assert_eq!(settled.json()["recorded"]["goal"], "cancel");
    soon("the refund", async {
        while get(&gateway, &path).await.json()["state"] != "cancelled" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let ended = get(&gateway, &path).await;
    assert_eq!((ended.header("seawall-effect"), refunds(&books, "undone")), (Some("not-applied"), 1));
    assert_eq!(
        post(&gateway, &format!("{path}/cancel"), "").await.status,
        Some(200),
        "it is cancelled already"
    );
}

#[tokio::test]
async fn what_is_not_known_or_has_failed_is_not_settled() {
    let (address, _books) = harbor();
    let gateway = explicit(address).await;
    let lost = charge(&gateway, "lost", "close-after-effect", BODY).await;
    assert_eq!(lost.header("seawall-effect"), Some("unknown"), "{lost:?}");
    let path = lost.header("location").unwrap_or_else(|| panic!("{lost:?}")).to_owned();
    // The ledger asks the provider within milliseconds, so the effect may be known already.
    let early = post(&gateway, &format!("{path}/settle"), "").await;
    let words = (early.status, early.header("seawall-reason"));
    assert!([(Some(409), Some("not-known")), (Some(200), None)].contains(&words), "{early:?}");
    let found = get(&gateway, &format!("{path}?wait=15s")).await;
    assert_eq!(found.verdict(), (200, "applied", "1", ""), "{found:?}");
    assert_eq!(found.json()["answer"]["of"], "confirm");
    let kinds: Vec<Value> =
        found.json()["attempts"].as_array().unwrap().iter().map(|row| row["kind"].clone()).collect();
    assert_eq!(kinds, ["perform", "confirm"]);
    assert_eq!(post(&gateway, &format!("{path}/settle"), "").await.status, Some(200));

    let body = r#"{"amount":402,"currency":"EUR"}"#;
    let declined = charge(&gateway, "declined", "delay=0ms", body).await;
    let path = format!("/-/actions/{}", declined.header("seawall-action").unwrap());
    let settled = post(&gateway, &format!("{path}/settle"), "").await;
    assert_eq!(settled.verdict(), (409, "not-applied", "1", "failed"), "{settled:?}");
    assert_eq!(settled.json()["recorded"]["answer"]["body"]["code"], "DECLINED");
}

#[tokio::test]
async fn a_webhook_ends_the_doubt() {
    let (address, _books) = harbor();
    let gateway = started(&charges(address, "", "on_unknown = \"hold\"")).await;
    let lost = charge(&gateway, "order-1", "close-after-effect", BODY).await;
    let path = lost.header("location").unwrap_or_else(|| panic!("{lost:?}")).to_owned();
    let stuck = get(&gateway, &format!("{path}?wait=15s")).await;
    assert_eq!(
        (&stuck.json()["state"], &stuck.json()["effect"]),
        (&json!("stuck"), &json!("unknown")),
        "{stuck:?}"
    );
    assert_eq!(stuck.json()["next"], json!({ "what": "a person must look at it", "at": null }));
    let settled = post(&gateway, &format!("{path}/settle"), "").await;
    assert_eq!(settled.verdict(), (409, "unknown", "1", "not-known"), "{settled:?}");

    let observe = format!("{path}/observe");
    let nothing = post(&gateway, &observe, r#"{"effect":"unknown"}"#).await;
    assert_eq!((nothing.status, &nothing.json()["state"]), (Some(200), &json!("stuck")), "{nothing:?}");
    let report = r#"{"effect":"applied","evidence":{"event":"evt_7"}}"#;
    let observed = post(&gateway, &observe, report).await;
    assert_eq!(observed.verdict(), (200, "applied", "1", ""), "{observed:?}");
    let mark = &observed.json()["marks"][0];
    assert_eq!((&mark["who"], &mark["what"]), (&json!("caller"), &json!("observe")));
    assert_eq!(mark["why"], r#"applied: {"event":"evt_7"}"#);
    assert_eq!(get(&gateway, &format!("{path}?wait=15s")).await.json()["state"], "done");
}

#[tokio::test]
async fn each_caller_sees_its_own_actions_only() {
    let (address, _books) = harbor();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("clients");
    std::fs::write(&file, "ana token-of-ana-0123456789\nbob token-of-bob-0123456789\n").unwrap();
    let section = format!(
        "[gateway]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nclients = {{ tokens_file = \"{}\" }}\n",
        file.display()
    );
    let text = section + &charges(address, "", "settle = \"explicit\"\nsettle_within = \"60s\"");
    let gateway = Gateway::start_with(&text).await;
    gateway.until_said("the ledger is open").await;
    let (ana, bob) =
        (("seawall-token", "token-of-ana-0123456789"), ("seawall-token", "token-of-bob-0123456789"));
    let charge = async |who| {
        let headers = [("idempotency-key", "order-1"), JSON, who];
        let heard = gateway.ask("POST", "/pay/v1/charges", &headers, BODY).await;
        assert_eq!(heard.status, Some(200), "{heard:?}");
        format!("/-/actions/{}", heard.header("seawall-action").unwrap())
    };
    let (of_ana, of_bob) = (charge(ana).await, charge(bob).await);
    assert_ne!(of_ana, of_bob);
    let by_key = "/-/actions?dependency=pay&key=order-1";
    for (who, name, path) in [(ana, "ana", &of_ana), (bob, "bob", &of_bob)] {
        let shown = gateway.ask("GET", by_key, &[who], "").await.json();
        assert_eq!(*path, format!("/-/actions/{}", shown["id"].as_str().unwrap()));
        assert_eq!(
            (&shown["key"], &shown["sent_key"]),
            (&json!("order-1"), &json!(format!("{name}:order-1")))
        );
    }
    // What is somebody else's is as what does not exist, in every word.
    let none = gateway.ask("GET", &format!("/-/actions/{NOBODY}"), &[bob], "").await;
    for target in
        [of_ana.clone(), format!("{of_ana}?wait=15s"), "/-/actions?dependency=pay&key=ana:order-1".into()]
    {
        let hidden = gateway.ask("GET", &target, &[bob], "").await;
        assert_eq!((hidden.status, hidden.text()), (Some(404), none.text()), "{hidden:?}");
    }
    for change in ["settle", "cancel", "observe"] {
        let report = r#"{"effect":"applied"}"#;
        let hidden = gateway.ask("POST", &format!("{of_ana}/{change}"), &[bob, JSON], report).await;
        assert_eq!((hidden.status, hidden.text()), (Some(404), none.text()), "{hidden:?}");
    }
    let nobody = gateway.ask("GET", &of_ana, &[], "").await;
    assert_eq!(nobody.header("seawall-reason"), Some("caller-refused"));
    let settled = gateway.ask("POST", &format!("{of_ana}/settle"), &[ana], "").await;
    assert_eq!((settled.status, &settled.json()["settled"]), (Some(200), &json!(true)), "{settled:?}");
}

#[tokio::test]
async fn a_write_of_another_gateway_wakes_who_waits() {
    let (address, _books) = harbor();
    let one = started(&charges(address, "", "")).await;
    let url = format!("[ledger]\nurl = \"sqlite:{}\"\n", one.folder().join("seawall.db").display());
    let two = started(&(url + &charges(address, "", ""))).await;
    let mut quickest = Duration::MAX;
    for number in 0..3 {
        let key = format!("order-{number}");
        let charging = async {
            let heard = charge(&one, &key, "delay=1s", BODY).await;
            assert_eq!(heard.status, Some(200), "{heard:?}");
            Instant::now()
        };
        let waiting = async {
            let target = format!("/-/actions?dependency=pay&key={key}&wait=15s");
            loop {
                let heard = get(&two, &target).await;
                if heard.status != Some(404) {
                    assert_eq!(heard.verdict(), (200, "applied", "1", ""), "{heard:?}");
                    return Instant::now();
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let (written, woken) = tokio::join!(charging, waiting);
        quickest = quickest.min(woken.saturating_duration_since(written));
    }
    println!("woken {quickest:?} after the first caller had its answer");
    assert!(quickest < Duration::from_millis(300), "{quickest:?}");
}

#[tokio::test]
async fn who_comes_beyond_the_bound_is_answered_immediately() {
    let (address, _books) = harbor();
    let gateway = started(&format!("[ledger]\nwaiters = 1\n{}", charges(address, "", ""))).await;
    let slow = charge(&gateway, "order-1", "delay=1500ms", BODY);
    let target = "/-/actions?dependency=pay&key=order-1";
    let asking = async {
        soon("the record", async {
            while get(&gateway, target).await.status != Some(200) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        let waits = async {
            let heard = get(&gateway, &format!("{target}&wait=15s")).await;
            (heard.header("seawall-effect").map(str::to_owned), Instant::now())
        };
        let (one, two) = tokio::join!(waits, async {
            get(&gateway, &format!("{target}&wait=15s")).await;
            Instant::now()
        });
        (one, two)
    };
    let (heard, ((effect, one), two)) = tokio::join!(slow, asking);
    assert_eq!((heard.status, effect.is_some()), (Some(200), true));
    // One of the two got the place. The other one was answered while the provider still worked.
    let apart = if one > two { one - two } else { two - one };
    assert!(apart > Duration::from_millis(500), "{apart:?}");
}

#[tokio::test]
async fn a_drain_ends_the_wait_with_what_is_known() {
    let (address, _books) = harbor();
    let mut gateway = explicit(address).await;
    let mut charging = gateway.connect().await;
    let headers = [("idempotency-key", "order-1"), JSON, ("harbor-fault", "delay=1500ms")];
    charging.send("POST", "/pay/v1/charges", &headers, BODY).await;
    let target = "/-/actions?dependency=pay&key=order-1";
    let path = soon("the record", async {
        loop {
            let heard = get(&gateway, target).await;
            if heard.status == Some(200) {
                return format!("/-/actions/{}", heard.json()["id"].as_str().unwrap());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let mut waiting = gateway.connect().await;
    waiting.send("GET", &format!("{path}?wait=15s"), &[], "").await;
    // An answer on a third connection shows that the gateway has read the request before.
    assert_eq!(get(&gateway, &path).await.status, Some(200));
    gateway.signal("TERM");
    let heard = waiting.hear().await;
    assert_eq!(heard.verdict(), (503, "unknown", "1", "draining"), "{heard:?}");
    assert_eq!(heard.header("location"), Some(&*path));
    assert_eq!(heard.json()["recorded"]["state"], "unknown");
    assert_eq!(charging.hear().await.status, Some(200), "the call itself ends as usual");
    assert!(gateway.until_exit().await.success());
}

#[tokio::test]
async fn a_ledger_that_is_away_says_so() {
    let (address, _books) = harbor();
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("[ledger]\nurl = \"postgres://nobody@{dead}/none\"\n");
    let gateway = Gateway::start(&(url + &charges(address, "", ""))).await;
    gateway.until_said("the ledger cannot be opened").await;
    let path = format!("/-/actions/{NOBODY}");
    for heard in [get(&gateway, &path).await, post(&gateway, &format!("{path}/settle"), "").await] {
        assert_refused(&heard, 503, "ledger-unavailable", "the ledger cannot be asked");
    }
}
