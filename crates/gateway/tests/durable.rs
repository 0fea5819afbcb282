//! Durable operations as applications see them: what is recorded, what comes back, and what the provider's books say.

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use support::charges::{BODY, KEEPS_FAULTS, all, booked, declared, until_in_flight};
use support::{Caller, Gateway, Heard, harbor, soon};

/// A durable charge at this provider, with these further lines of the operation.
fn charge(address: SocketAddr, lines: &str) -> String {
    declared(address, "", "{ read = \"1s\", total = \"3s\" }", lines)
}

/// Sends a charge under this key, with these further headers.
async fn send(gateway: &Gateway, key: &str, headers: &[(&str, &str)], body: &str) -> Heard {
    let mut all = vec![("idempotency-key", key), ("content-type", "application/json")];
    all.extend_from_slice(headers);
    gateway.ask("POST", "/pay/v1/charges", &all, body).await
}

/// Sends the charge until the ledger is open, and returns the answer.
async fn first(gateway: &Gateway, key: &str, headers: &[(&str, &str)], body: &str) -> Heard {
    gateway.until_said("the ledger is open").await;
    send(gateway, key, headers, body).await
}

#[tokio::test]
async fn a_known_outcome_comes_back_as_it_was_and_again_for_the_same_key() {
    let (address, books) = harbor();
    let gateway = Gateway::start(&charge(address, "")).await;
    let heard = first(&gateway, "order-1", &[], BODY).await;
    assert_eq!(heard.verdict(), (200, "applied", "1", ""), "{heard:?}");
    assert_eq!(heard.header("location"), None);
    let action = heard.header("seawall-action").unwrap().to_owned();
    let charge: Value = heard.json();
    assert_eq!(charge["amount"], 1200);

    let again = send(&gateway, "order-1", &[("traceparent", "00-1-2-03")], BODY).await;
    assert_eq!(again.verdict(), (200, "applied", "1", ""), "{again:?}");
    assert_eq!(again.header("seawall-replayed"), Some("true"));
    assert_eq!(again.header("seawall-action"), Some(&*action));
    assert_eq!(again.json(), charge);
    assert_eq!(booked(&books, "order-1").1, 1);
    assert_eq!(books.snapshot().by_key["order-1"].requests, 1, "the replay asked nobody");
}

#[tokio::test]
async fn another_request_under_the_key_is_a_conflict() {
    let (address, books) = harbor();
    let gateway = Gateway::start(&charge(address, "")).await;
    assert_eq!(first(&gateway, "order-1", &[], BODY).await.status, Some(200));
    let other = send(&gateway, "order-1", &[], r#"{"amount":7,"currency":"EUR"}"#).await;
    assert_eq!(other.verdict(), (422, "not-applied", "0", "key-conflict"), "{other:?}");
    assert_eq!(booked(&books, "order-1").1, 1);
}

#[tokio::test]
async fn a_refusal_of_the_provider_is_recorded_and_replayed() {
    let (address, books) = harbor();
    let gateway = Gateway::start(&charge(address, "")).await;
    let body = r#"{"amount":402,"currency":"EUR"}"#;
    let heard = first(&gateway, "order-1", &[], body).await;
    assert_eq!(heard.verdict(), (200, "not-applied", "1", ""), "{heard:?}");
    let again = send(&gateway, "order-1", &[], body).await;
    assert_eq!(again.verdict(), (200, "not-applied", "1", ""), "{again:?}");
    assert_eq!(again.json()["code"], "DECLINED");
    assert_eq!(again.header("seawall-replayed"), Some("true"));
    assert_eq!(booked(&books, "order-1").1, 0);
}

#[tokio::test]
async fn a_lost_reply_is_unknown_and_found_out_in_the_background() {
    let (address, books) = harbor();
    let gateway = Gateway::start(&charge(address, "")).await;
    let heard = first(&gateway, "order-1", &[("harbor-fault", "close-after-effect")], BODY).await;
    // The fault's header is the harbor's, and is not among the recorded headers.
    assert_eq!(heard.verdict(), (200, "applied", "1", ""), "{heard:?}");
    drop(gateway);

    let gateway = Gateway::start(&charge(address, KEEPS_FAULTS)).await;
    let heard = first(&gateway, "order-2", &[("harbor-fault", "close-after-effect")], BODY).await;
    assert_eq!(heard.verdict(), (502, "unknown", "1", "connection-lost"), "{heard:?}");
    let at = heard.header("location").unwrap().to_owned();
    assert_eq!(at, format!("/-/actions/{}", heard.header("seawall-action").unwrap()));
    let found = gateway.ask("GET", &format!("{at}?wait=10s"), &[], "").await;
    assert_eq!(found.status, Some(200), "{found:?}");
    assert_eq!(found.json()["effect"], "applied", "{found:?}");
    assert_eq!(booked(&books, "order-2").1, 1);
    let again = send(&gateway, "order-2", &[("harbor-fault", "close-after-effect")], BODY).await;
    assert_eq!(again.verdict(), (409, "applied", "1", "answer-not-kept"), "{again:?}");
}

#[tokio::test]
async fn what_was_not_sent_is_not_applied_and_the_key_can_be_used_anew() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let gateway = Gateway::start(&charge(address, "")).await;
    let heard = first(&gateway, "order-1", &[], BODY).await;
    assert_eq!(heard.verdict(), (502, "not-applied", "1", "connect-refused"), "{heard:?}");
    let found = gateway.ask("GET", "/-/actions?dependency=pay&key=order-1", &[], "").await;
    let id = found.json()["id"].as_str().unwrap().to_owned();
    assert_eq!((heard.header("seawall-action"), heard.header("location")), (Some(&*id), None), "{heard:?}");
    assert_eq!((&heard.json()["action"], &heard.json()["location"]), (&json!(id), &Value::Null), "{heard:?}");
    assert_eq!(
        (found.json()["state"].as_str(), found.json()["effect"].as_str()),
        (Some("failed"), Some("not-applied"))
    );

    let harbor = seawall_lab::harbor::Harbor::bind(address, None).unwrap();
    let books = harbor.books();
    tokio::spawn(harbor.run());
    let heard = send(&gateway, "order-1", &[], BODY).await;
    assert_eq!(heard.verdict(), (200, "applied", "1", ""), "{heard:?}");
    assert_eq!(booked(&books, "order-1").1, 1);
}

#[tokio::test]
async fn what_the_guards_refuse_leaves_no_row_and_a_recorded_key_is_answered_all_the_same() {
    let (address, books) = harbor();
    let text = charge(address, "") + "\n[dependency.pay.breaker]\nconsecutive = 1\nopen_for = \"60s\"\n";
    let gateway = Gateway::start(&text).await;
    assert_eq!(first(&gateway, "order-1", &[], BODY).await.status, Some(200));
    // A GET that is answered 500 opens the breaker.
    let bad = gateway.ask("GET", "/pay/v1/ping", &[("harbor-fault", "status=500;always")], "").await;
    assert_eq!(bad.status, Some(500), "{bad:?}");
    let refused = send(&gateway, "order-2", &[], BODY).await;
    assert_eq!(refused.verdict(), (503, "not-applied", "0", "breaker-open"), "{refused:?}");
    let none = gateway.ask("GET", "/-/actions?dependency=pay&key=order-2", &[], "").await;
    assert_eq!(none.status, Some(404), "{none:?}");
    let known = send(&gateway, "order-1", &[], BODY).await;
    assert_eq!(known.verdict(), (200, "applied", "1", ""), "{known:?}");
    assert_eq!(known.header("seawall-replayed"), Some("true"));
    let conflict = send(&gateway, "order-1", &[], "{}").await;
    assert_eq!(conflict.verdict(), (422, "not-applied", "0", "key-conflict"), "{conflict:?}");
    assert_eq!(books.snapshot().effects, 1);
}

#[tokio::test]
async fn requests_that_cannot_be_recorded_are_refused_before_anything_is_sent() {
    let (address, books) = harbor();
    let gateway = Gateway::start(&format!("[ledger]\nrequest_max = \"1KiB\"\n{}", charge(address, ""))).await;
    gateway.until_said("the ledger is open").await;
    let none = gateway.ask("POST", "/pay/v1/charges", &[], BODY).await;
    assert_eq!(none.verdict(), (400, "not-applied", "0", "bad-request"), "{none:?}");
    assert!(none.text().contains("idempotency-key"), "{none:?}");
    let long = send(&gateway, &"k".repeat(300), &[], BODY).await;
    assert_eq!(long.verdict(), (400, "not-applied", "0", "bad-request"), "{long:?}");
    assert!(long.text().contains("255"), "{long:?}");
    let large = send(&gateway, "order-1", &[], &"x".repeat(1025)).await;
    assert_eq!(large.verdict(), (413, "not-applied", "0", "body-too-large"), "{large:?}");
    assert!(large.text().contains("ledger.request_max"), "{large:?}");
    assert_eq!(books.snapshot().requests, 0);
}

#[tokio::test]
async fn respond_async_is_recorded_and_sent_in_the_background() {
    let (address, books) = harbor();
    let gateway = Gateway::start(&charge(address, "")).await;
    let heard = first(&gateway, "order-1", &[("prefer", "respond-async, wait=5")], BODY).await;
    assert_eq!(heard.status, Some(202), "{heard:?}");
    assert_eq!(heard.header("preference-applied"), Some("respond-async"));
    assert_eq!(heard.header("seawall-effect"), Some("unknown"));
    let at = heard.header("location").unwrap().to_owned();
    let found = gateway.ask("GET", &format!("{at}?wait=10s"), &[], "").await;
    assert_eq!(found.json()["state"], json!("done"), "{found:?}");
    assert_eq!(booked(&books, "order-1").1, 1);
    let again = send(&gateway, "order-1", &[], BODY).await;
    assert_eq!(again.verdict(), (200, "applied", "1", ""), "{again:?}");
}

#[tokio::test]
async fn many_callers_of_one_key_get_one_answer_from_two_gateways() {
    let (address, books) = harbor();
    let one = Gateway::start(&charge(address, KEEPS_FAULTS)).await;
    one.until_said("the ledger is open").await;
    let url = format!("[ledger]\nurl = \"sqlite:{}\"\n", one.folder().join("seawall.db").display());
    let two = Gateway::start(&(url + &charge(address, KEEPS_FAULTS))).await;
    two.until_said("the ledger is open").await;
    let headers = [("harbor-fault", "delay=500ms")];
    let calls = (0..50).map(|n| send(if n % 2 == 0 { &one } else { &two }, "order-1", &headers, BODY));
    let heard = soon("fifty answers", all(calls)).await;
    let first = heard[0].json();
    for one in &heard {
        assert_eq!((one.status, one.header("seawall-effect")), (Some(200), Some("applied")), "{one:?}");
        assert_eq!(one.json(), first);
    }
    let replayed = heard.iter().filter(|one| one.header("seawall-replayed").is_some()).count();
    assert_eq!(replayed, 49);
    assert_eq!(booked(&books, "order-1").1, 1);
}

#[tokio::test]
async fn a_ledger_that_is_away_stops_durable_calls_only() {
    let (address, books) = harbor();
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("[ledger]\nurl = \"postgres://nobody@{dead}/none\"\n");
    let gateway = Gateway::start(&(url + &charge(address, ""))).await;
    gateway.until_said("the ledger cannot be opened").await;
    let refused = send(&gateway, "order-1", &[], BODY).await;
    assert_eq!(refused.verdict(), (503, "not-applied", "0", "ledger-unavailable"), "{refused:?}");
    let fine = gateway.ask("GET", "/pay/v1/ping", &[], "").await;
    assert_eq!(fine.status, Some(200), "{fine:?}");
    assert_eq!(books.snapshot().effects, 0);
}

#[tokio::test]
async fn an_action_under_way_survives_the_end_of_its_gateway() {
    let (address, books) = harbor();
    let lines = KEEPS_FAULTS;
    let mut one = Gateway::start(&format!("[ledger]\nlease = \"4s\"\n{}", charge(address, lines))).await;
    one.until_said("the ledger is open").await;
    let mut caller = one.connect().await;
    let headers = [
        ("idempotency-key", "order-1"),
        ("harbor-fault", "delay=700ms"),
        ("content-type", "application/json"),
    ];
    let asking = tokio::spawn(async move { caller.ask("POST", "/pay/v1/charges", &headers, BODY).await });
    soon("the provider's request", async {
        while books.snapshot().in_flight == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    one.signal("KILL");
    one.until_exit().await;
    drop(asking);
    let url =
        format!("[ledger]\nlease = \"4s\"\nurl = \"sqlite:{}\"\n", one.folder().join("seawall.db").display());
    let two = Gateway::start(&(url + &charge(address, lines))).await;
    two.until_said("the ledger is open").await;
    let found = two.ask("GET", "/-/actions?dependency=pay&key=order-1&wait=20s", &[], "").await;
    assert_eq!(found.json()["effect"], "applied", "{found:?}");
    assert_eq!(books.snapshot().by_key["order-1"].requests, 1, "nothing was sent again");
    assert_eq!(booked(&books, "order-1").1, 1);
}

/// Returns the number of calls to the dependency that ended with each effect, and of those under way.
async fn calls(gateway: &Gateway) -> [u64; 4] {
    let told = Caller::connect(gateway.admin()).await.ask("GET", "/api/dependencies/pay", &[], "").await;
    let calls = &told.json()["calls"];
    ["applied", "not-applied", "unknown", "in-flight"].map(|name| calls[name].as_u64().expect("a count"))
}

/// Waits until [`calls`] are these. Fails if more calls were counted.
async fn until_calls(gateway: &Gateway, expected: [u64; 4]) {
    soon("the counts", async {
        loop {
            let seen = calls(gateway).await;
            if seen == expected {
                break;
            }
            assert!(seen.iter().zip(expected).take(3).all(|(seen, most)| *seen <= most), "{seen:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_call_whose_caller_left_is_counted_once() {
    let (address, books) = harbor();
    let gateway = Gateway::start(&charge(address, KEEPS_FAULTS)).await;
    assert_eq!(first(&gateway, "order-1", &[], BODY).await.status, Some(200));
    let left = [("order-2", "delay=300ms", [2, 0, 0, 0]), ("order-3", "delay=300ms,close", [2, 0, 1, 0])];
    for (key, fault, expected) in left {
        let mut caller = gateway.connect().await;
        let headers =
            [("idempotency-key", key), ("content-type", "application/json"), ("harbor-fault", fault)];
        caller.send("POST", "/pay/v1/charges", &headers, BODY).await;
        until_in_flight(&books, 1).await;
        caller.reset();
        until_calls(&gateway, expected).await;
    }
    // A call whose caller stays is counted once, too.
    assert_eq!(first(&gateway, "order-4", &[], BODY).await.status, Some(200));
    until_calls(&gateway, [3, 0, 1, 0]).await;
}
