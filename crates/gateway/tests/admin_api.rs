//! The admin side over a real port: what it shows, who may change something there, and that the guards obey.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use seawall_gateway::admin::{self, AdminToken, Change, DependencyView, Overview};
use seawall_gateway::config;
use seawall_gateway::running::process::{Reload, Running};
use seawall_policy::{After, BreakerState, Draw, Ending, Idempotency, Keys, Lost, Report, Rules};
use support::{Caller, Heard};

const TOKEN: &str = "a-token-that-is-long-enough";
const TWO: &str = r#"
[dependency.pay]
[[dependency.pay.endpoint]]
url = "http://127.0.0.1:9"
[[dependency.pay.endpoint]]
url = "http://127.0.0.1:10"
[[dependency.pay.operation]]
name  = "charge"
match = "POST /v1/charges"
[dependency.mail]
url = "http://127.0.0.1:9"
"#;

/// An admin side that runs in this process.
struct Side {
    running: Arc<Running>,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Side {
    async fn start() -> Side {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tokens");
        std::fs::write(&file, format!("another-token-of-ours\nana {TOKEN}\n")).unwrap();
        let text = format!(
            "[gateway]\nhosts = [\"seawall.internal\"]\nadmin_token_file = \"{}\"\n{TWO}",
            file.display()
        );
        let settings = config::parse("seawall.toml", &text, &|_| None).unwrap().settings;
        let running = Arc::new(Running::new(settings, 1).unwrap());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let token = AdminToken::prepare(&running, address).unwrap().0;
        tokio::spawn(admin::serve(listener, Arc::clone(&running), token));
        Side { running, address, _folder: folder }
    }

    async fn get(&self, target: &str) -> Heard {
        Caller::connect(self.address).await.ask("GET", target, &[], "").await
    }

    async fn post(&self, target: &str, headers: &[(&str, &str)], body: &str) -> Heard {
        Caller::connect(self.address).await.ask("POST", target, headers, body).await
    }

    /// Sets a breaker, with the token.
    async fn order(&self, dependency: &str, body: &str) -> Heard {
        let bearer = format!("Bearer {TOKEN}");
        let target = format!("/api/dependencies/{dependency}/breaker");
        self.post(&target, &[("authorization", &bearer)], body).await
    }

    fn states(&self, dependency: &str) -> Vec<BreakerState> {
        let compiled = self.running.compiled.load();
        let (_, found) = compiled.by_name(dependency).unwrap();
        let now = self.running.clock.now();
        found.shared.with(|guards| {
            (0..guards.len()).map(|at| guards.endpoint(at).unwrap().breaker().state(now)).collect()
        })
    }

    /// Makes calls to the first endpoint time out.
    fn time_out(&self, dependency: &str, times: usize) {
        let compiled = self.running.compiled.load();
        let (_, found) = compiled.by_name(dependency).unwrap();
        let now = self.running.clock.now();
        let ending = Ending::Lost(Lost::ReadTimeout);
        let verdict = Rules::of(Idempotency::Safe).judge(&ending);
        let report = Report::of(&ending, &verdict, Duration::from_secs(10), Duration::from_secs(1));
        found.shared.with(|guards| {
            for _ in 0..times {
                let permit = guards.admit(0, &Keys::NONE, now).unwrap();
                let _ = guards.settle(permit, &report, After::Ends, now, || Draw::new(0));
            }
        });
    }
}

fn read<T: serde::de::DeserializeOwned>(heard: &Heard) -> T {
    assert_eq!(heard.status, Some(200), "{}", heard.text());
    serde_json::from_str(&heard.text()).unwrap()
}

#[track_caller]
fn assert_problem(heard: &Heard, status: u16, says: &str) {
    assert_eq!(heard.status, Some(status), "{}", heard.text());
    assert_eq!(heard.header("content-type"), Some("application/problem+json"));
    let problem = heard.json();
    assert_eq!(problem["status"], status);
    assert!(problem["detail"].as_str().unwrap().contains(says), "{problem}");
}

#[tokio::test]
async fn an_open_breaker_never_makes_the_gateway_unready_and_draining_does() {
    let side = Side::start().await;
    side.time_out("pay", 2);
    assert_eq!(side.states("pay")[0], BreakerState::Open);
    let ready = side.get("/readyz").await;
    assert_eq!((ready.status, ready.text().as_str()), (Some(200), "ready\n"));
    side.running.drain(Duration::from_secs(30));
    assert_eq!(side.get("/readyz").await.status, Some(503));
    assert_eq!(side.get("/livez").await.status, Some(200));
}

#[tokio::test]
async fn what_is_seen_says_why_and_what_comes_next() {
    let side = Side::start().await;
    side.time_out("pay", 2);
    *side.running.last_reload.lock() = Some(Reload {
        at: std::time::SystemTime::now(),
        refused: Some("line 3".into()),
        changed: Vec::new(),
    });
    let overview: Overview = read(&side.get("/api/dependencies").await);
    let names: Vec<&str> = overview.dependencies.iter().map(|d| d.name.as_str()).collect();
    assert_eq!(names, ["mail", "pay"]);
    assert_eq!(overview.last_reload.unwrap().refused.as_deref(), Some("line 3"));

    let pay: DependencyView = read(&side.get("/api/dependencies/pay").await);
    assert_eq!(pay.state, "open");
    let [first, second] = pay.endpoints.as_slice() else { panic!("{pay:?}") };
    assert_eq!(
        (first.breaker.state.as_str(), first.breaker.why.as_deref()),
        ("open", Some("2 timeouts, no good answer"))
    );
    assert!(first.breaker.next.as_deref().unwrap().starts_with("next probe in "), "{first:?}");
    assert!((0.0..=3.6).contains(&first.breaker.until_seconds.unwrap()), "{first:?}");
    assert_eq!((first.window.ok, first.window.bad), (0, 2));
    assert_eq!(first.url, "http://127.0.0.1:9/");
    assert_eq!((second.breaker.state.as_str(), second.breaker.why.as_deref()), ("closed", None));
    let operations: Vec<_> = pay.operations.iter().map(|o| (o.name.as_str(), o.pattern.as_deref())).collect();
    assert_eq!(operations, [("charge", Some("POST /v1/charges")), ("other", None)]);
}

#[tokio::test]
async fn an_operators_word_moves_the_guards_and_is_kept() {
    let side = Side::start().await;
    let open = side.order("pay", r#"{"state":"open","endpoint":1,"reason":"they deploy"}"#).await;
    assert_eq!(open.json()["dependency"]["endpoints"][1]["breaker"]["why"], "ana: they deploy");
    assert_eq!(side.states("pay"), [BreakerState::Closed, BreakerState::ForcedOpen]);
    read::<serde_json::Value>(&side.order("pay", r#"{"state":"closed","reason":" all flow "}"#).await);
    assert_eq!(side.states("pay"), [BreakerState::ForcedClosed, BreakerState::ForcedClosed]);
    side.time_out("pay", 5);
    assert_eq!(side.states("pay")[0], BreakerState::ForcedClosed, "whatever happens");
    read::<serde_json::Value>(&side.order("pay", r#"{"state":"auto","reason":"done"}"#).await);
    assert_eq!(side.states("pay"), [BreakerState::Closed, BreakerState::Closed]);
    assert_eq!(side.states("mail"), [BreakerState::Closed]);

    let changes = side.get("/api/changes").await.json();
    let changes: Vec<Change> = serde_json::from_value(changes["changes"].clone()).unwrap();
    let told: Vec<_> = changes.iter().map(|c| (c.state.as_str(), c.endpoint, c.reason.as_str())).collect();
    assert_eq!(
        told,
        [("auto", None, "done"), ("closed", None, "all flow"), ("open", Some(1), "they deploy")]
    );
    assert!(changes.iter().all(|c| c.who == "ana" && c.peer.starts_with("127.0.0.1:")), "{changes:?}");
}

#[tokio::test]
async fn forcing_it_closed_clears_what_the_limit_learned() {
    let side = Side::start().await;
    read::<serde_json::Value>(&side.order("pay", r#"{"state":"open","reason":"x"}"#).await);
    let compiled = side.running.compiled.load_full();
    let (_, found) = compiled.by_name("pay").unwrap();
    // Eight of sixteen calls were bad before. If the window had not been cleared, the ninth bad call would lower the limit.
    let bad = |times: usize| {
        found.shared.with(|guards| {
            let limit = guards.endpoint(0).unwrap().limit();
            for _ in 0..times {
                let slot = limit.admit(false).unwrap();
                limit.release(slot, seawall_policy::AttemptEnd::Overload);
            }
            limit.limit()
        })
    };
    assert_eq!(bad(8), 1000);
    read::<serde_json::Value>(&side.order("pay", r#"{"state":"closed","reason":"x"}"#).await);
    assert_eq!(bad(8), 1000);
    assert_eq!(bad(1), 900);
}

#[tokio::test]
async fn whoever_shows_no_good_token_changes_nothing() {
    let side = Side::start().await;
    let body = r#"{"state":"open","reason":"mischief"}"#;
    let (good, target) = (format!("Bearer {TOKEN}"), "/api/dependencies/pay/breaker");
    let wrong = format!("Bearer {TOKEN}x");
    let basic = format!("Basic {TOKEN}");
    for shown in
        [None, Some(wrong.as_str()), Some(basic.as_str()), Some(TOKEN), Some("Bearer "), Some("Bearer ana")]
    {
        let headers: Vec<_> = shown.map(|shown| ("authorization", shown)).into_iter().collect();
        let heard = side.post(target, &headers, body).await;
        assert_problem(&heard, 401, "Authorization: Bearer");
        assert_eq!(heard.header("www-authenticate"), Some("Bearer realm=\"seawall\""));
    }
    for page in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("origin", "http://localhost:3000"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        assert_problem(&side.post(target, &[("authorization", &good), page], body).await, 403, "web pages");
        // A web page is refused because it is a web page, and learns nothing about tokens.
        assert_problem(&side.post(target, &[page], body).await, 403, "web pages");
    }
    assert_eq!(side.states("pay"), [BreakerState::Closed, BreakerState::Closed]);
    assert_eq!(side.get("/api/changes").await.json()["changes"], serde_json::json!([]));

    let own =
        [("authorization", good.as_str()), ("origin", "http://localhost"), ("sec-fetch-site", "same-origin")];
    assert_eq!(side.post(target, &own, body).await.status, Some(200));
}

#[tokio::test]
async fn a_rebound_name_reaches_nothing() {
    let side = Side::start().await;
    let ask = async |method: &str, path: &str, host: &str| {
        let mut caller = Caller::connect(side.address).await;
        let request = format!("{method} {path} HTTP/1.1\r\n{host}content-length: 0\r\n\r\n");
        caller.write(request).await;
        caller.hear().await.status
    };
    for path in ["/", "/livez", "/api/dependencies", "/api/changes"] {
        assert_eq!(ask("GET", path, "host: evil.example:8401\r\n").await, Some(403), "{path}");
        assert_eq!(ask("GET", path, "host: seawall.internal\r\n").await, Some(200), "{path}");
        assert_eq!(ask("GET", path, "").await, Some(400), "{path}");
        assert_eq!(ask("GET", path, "host: localhost\r\nhost: evil.example\r\n").await, Some(400), "{path}");
    }
    let token = format!("host: evil.example\r\nauthorization: Bearer {TOKEN}\r\n");
    assert_eq!(ask("POST", "/api/dependencies/pay/breaker", &token).await, Some(403));
    let linked = "host: localhost\r\nsec-fetch-site: cross-site\r\norigin: https://wiki.example\r\n";
    assert_eq!(ask("GET", "/api/dependencies", linked).await, Some(200), "a link may lead here");
}

#[tokio::test]
async fn a_wrong_order_says_what_is_wrong() {
    let side = Side::start().await;
    for (body, says) in [
        ("", "EOF"),
        ("{", "EOF"),
        (r#"{"reason":"x"}"#, "missing field `state`"),
        (r#"{"state":"open"}"#, "missing field `reason`"),
        (r#"{"state":"ajar","reason":"x"}"#, "unknown variant `ajar`"),
        (r#"{"state":"open","reason":"x","endpiont":1}"#, "unknown field `endpiont`"),
        (r#"{"state":"open","reason":"x","endpoint":-1}"#, "-1"),
        (r#"{"state":"open","reason":"  "}"#, "`reason` is empty"),
        (r#"{"state":"open","reason":"a\nb"}"#, "one line"),
        (r#"{"state":"open","reason":"x","endpoint":2}"#, "numbered from 0 to 1"),
    ] {
        assert_problem(&side.order("pay", body).await, 400, says);
    }
    assert_problem(&side.order("pya", r#"{"state":"open","reason":"x"}"#).await, 404, "mail, pay");
    let huge = format!(r#"{{"state":"open","reason":"{}"}}"#, "x".repeat(20_000));
    assert_problem(&side.order("pay", &huge).await, 413, "larger than");
    assert_eq!(side.states("pay"), [BreakerState::Closed, BreakerState::Closed]);
}

#[tokio::test]
async fn other_paths_and_methods_are_answered_as_problems() {
    let side = Side::start().await;
    assert_problem(&side.get("/nothing").await, 404, "/nothing");
    assert_problem(&side.get("/api/dependencies/none").await, 404, "mail, pay");
    assert_problem(&side.get("/api/dependencies/pay/breaker").await, 405, "GET");
    assert!(side.get("/").await.text().contains("/api/dependencies"));
    assert_eq!(side.get("/livez").await.header("cache-control"), Some("no-store"));
}
