//! Two endpoints: what goes to the second, and what never does.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::time::{Duration, Instant};

use seawall_lab::dead_end::Refused;
use seawall_lab::rogue::{Act, Answer, Rogue};
use std::net::SocketAddr;
use support::{Gateway, Load, Pace};

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
        "the first one's breaker opened, and was not asked again"
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
