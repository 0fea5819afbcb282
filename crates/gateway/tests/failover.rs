//! Two endpoints: which calls are sent to the second one, and which never are.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::time::{Duration, Instant};

use seawall_lab::dead_end::Refused;
use seawall_lab::rogue::{Act, Answer, Rogue};
use std::net::SocketAddr;
use support::{Gateway, Load, Pace, soon};

fn two(first: SocketAddr, second: SocketAddr, lines: &str) -> String {
    format!(
        "[dependency.up]\nkeys = true\nendpoint = [{{ url = \"http://{first}\" }}, {{ url = \"http://{second}\" }}]\n{lines}\n"
    )
}

const UNGUARDED: &str = "breaker.enabled = false\nconcurrency.enabled = false\ncooldown = false\n\
                         budget = { initial = 1000, burst = 1000 }\n\
                         timeout = { read = \"300ms\", total = \"5s\" }";

#[tokio::test]
async fn what_was_never_sent_goes_to_the_second_at_once() {
    let down = Refused::open().unwrap();
    let second = Rogue::builder().answer(Answer::ok("second")).bind().unwrap();
    let gateway = Gateway::start(&two(down.address(), second.address(), "")).await;
    let began = Instant::now();
    let heard = gateway.ask("POST", "/up/charge", &[], "amount=5").await;
    assert_eq!(heard.verdict(), (200, "applied", "2", ""));
    assert_eq!((heard.header("seawall-endpoint"), heard.text().as_str()), (Some("1"), "second"));
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let load = Load { method: "POST", target: "/up/charge", calls: 300, connections: 10, pace: Pace::AtOnce };
    let calls = load.run(gateway.address()).await;
    assert!(calls.iter().all(|call| call.status == 200 && call.effect == "applied"), "{:?}", calls[0]);
    assert!(
        calls.iter().any(|call| call.attempts == 1),
        "the first endpoint's breaker opened, and it was not called again"
    );
    assert_eq!(second.counts().doubled(), Vec::<&str>::new());
    assert_eq!(second.read(|counts| counts.requests), 301);
}

#[tokio::test]
async fn a_charge_that_may_have_happened_at_the_first_is_never_sent_to_the_second() {
    for act in [Act::Close, Act::Reset, Answer::status(500).into(), Answer::status(503).into(), Act::Hang] {
        let first = Rogue::builder().acts([act.clone()]).bind().unwrap();
        let second = Rogue::builder().answer(Answer::ok("second")).bind().unwrap();
        let gateway = Gateway::start(&two(first.address(), second.address(), UNGUARDED)).await;
        let calls = if matches!(act, Act::Hang) { 20 } else { 200 };
        let load = Load { method: "POST", target: "/up/charge", calls, connections: 10, pace: Pace::AtOnce };
        let calls = load.run(gateway.address()).await;
        assert!(
            calls.iter().all(|call| call.effect == "unknown" && call.attempts == 1),
            "{act:?}: {:?}",
            calls[0]
        );
        assert_eq!(first.read(|counts| counts.requests), calls.len() as u64, "{act:?}");
        assert_eq!(second.read(|counts| counts.requests), 0, "{act:?}");
    }
}

#[tokio::test]
async fn a_keyed_charge_and_a_read_go_on_to_the_second() {
    let first = Rogue::builder().acts([Answer::status(503).into()]).bind().unwrap();
    let second = Rogue::builder().answer(Answer::ok("second")).bind().unwrap();
    let gateway = Gateway::start(&two(first.address(), second.address(), UNGUARDED)).await;
    let keyed = gateway.ask("POST", "/up/charge", &[("idempotency-key", "k")], "amount=5").await;
    assert_eq!(keyed.verdict(), (200, "applied", "2", ""));
    assert_eq!(second.counts().heard[0].header("idempotency-key"), Some("k"));
    let read = gateway.ask("GET", "/up/charge", &[], "").await;
    assert_eq!(read.verdict(), (200, "applied", "2", ""));
}

/// A budget of one token. The first call that fails may use it.
const ONE_TOKEN: &str = "budget = { per_success = 0, burst = 1, initial = 1 }\n";

/// Makes a call whose first endpoint answers 500 while no token is left. Returns the reason that the caller gets for why the
/// second endpoint was not tried.
async fn not_moved(gateway: &Gateway) -> String {
    let heard = gateway.ask("GET", "/up/x", &[], "").await;
    assert_eq!((heard.status, heard.header("seawall-endpoint")), (Some(500), Some("0")));
    assert_eq!(heard.header("seawall-attempts"), Some("1"));
    heard.header("seawall-retry-stopped").unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_call_that_cannot_move_on_is_told_what_the_next_endpoint_would_have_said() {
    let first = Rogue::builder().acts([Answer::status(500).into()]).bind().unwrap();

    // The second endpoint would have accepted the call; only the token is missing.
    let second = Rogue::builder().acts([Answer::status(500).into()]).bind().unwrap();
    let gateway = Gateway::start(&two(first.address(), second.address(), ONE_TOKEN)).await;
    let spent = gateway.ask("GET", "/up/x", &[], "").await;
    assert_eq!((spent.header("seawall-endpoint"), spent.header("seawall-attempts")), (Some("1"), Some("2")));
    assert_eq!(not_moved(&gateway).await, "budget");

    // An operator holds the second endpoint's breaker open.
    let mut breaker = std::process::Command::new(env!("CARGO_BIN_EXE_seawall"));
    breaker.args(["breaker", "up", "open", "--endpoint", "1", "--reason", "a test"]);
    breaker.args(["--admin", &format!("http://{}", gateway.admin())]);
    breaker.envs(["HOME", "TMPDIR", "XDG_RUNTIME_DIR"].map(|name| (name, gateway.folder())));
    let done = breaker.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(not_moved(&gateway).await, "breaker");

    // The second endpoint cools.
    let second = Answer::status(503).header("retry-after", "60");
    let second = Rogue::builder().acts([second.into()]).bind().unwrap();
    let gateway = Gateway::start(&two(first.address(), second.address(), ONE_TOKEN)).await;
    assert_eq!(gateway.ask("GET", "/up/x", &[], "").await.status, Some(503));
    assert_eq!(not_moved(&gateway).await, "cooling");
    assert_eq!(second.read(|counts| counts.requests), 1);

    // All slots of the second endpoint's limit are taken.
    let second = Rogue::builder().acts([Act::Hang]).bind().unwrap();
    let one = format!("{ONE_TOKEN}concurrency = {{ max = 1 }}");
    let gateway = Gateway::start(&two(first.address(), second.address(), &one)).await;
    let mut waiting = gateway.connect().await;
    waiting.send("GET", "/up/x", &[], "").await;
    soon("it to hang", async {
        while second.read(|counts| counts.requests) < 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(not_moved(&gateway).await, "limit");
}
