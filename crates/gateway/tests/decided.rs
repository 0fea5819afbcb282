//! Decisions depend on what is sent to the dependency. No input ends more than its own connection.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use seawall_lab::rogue::{Act, Answer, Rogue};
use support::{Gateway, dependency};

/// A server that answers only every second request.
async fn forgetful() -> (Rogue, Gateway) {
    let acts = [Act::Close, Answer::ok("fine").into()];
    let rogue = Rogue::builder().acts(acts).bind().unwrap();
    let gateway = Gateway::start(&dependency("up", rogue.address(), "keys = true")).await;
    (rogue, gateway)
}

#[tokio::test]
async fn a_post_whose_key_does_not_go_out_is_sent_once() {
    for headers in [
        &[("idempotency-key", "")][..],
        &[("idempotency-key", " ")],
        &[("connection", "idempotency-key"), ("idempotency-key", "k-1")],
        &[("connection", "close, Idempotency-Key"), ("idempotency-key", "k-1")],
    ] {
        let (rogue, gateway) = forgetful().await;
        let heard = gateway.ask("POST", "/up/x", headers, "a").await;
        assert_eq!(heard.verdict(), (502, "unknown", "1", "connection-lost"), "{headers:?}");
        assert_eq!(rogue.read(|counts| counts.requests), 1, "{headers:?}");
    }
    let (rogue, gateway) = forgetful().await;
    let heard = gateway.ask("POST", "/up/x", &[("idempotency-key", "k-1")], "a").await;
    assert_eq!(heard.verdict(), (200, "applied", "2", ""), "a key that goes out is a key");
    assert_eq!(rogue.read(|counts| counts.requests), 2);
}

#[tokio::test]
async fn what_is_said_to_this_hop_alone_is_heard() {
    for headers in [
        &[("connection", "seawall-retry"), ("seawall-retry", "off"), ("idempotency-key", "k-1")][..],
        &[("connection", "seawall-timeout"), ("seawall-timeout", "0s"), ("idempotency-key", "k-1")],
    ] {
        let (rogue, gateway) = forgetful().await;
        let heard = gateway.ask("POST", "/up/x", headers, "a").await;
        let wanted: &[(u16, &str, &str, &str)] =
            &[(502, "unknown", "1", "connection-lost"), (504, "not-applied", "0", "no-time-left")];
        assert!(wanted.contains(&heard.verdict()), "{headers:?}: {heard:?}");
        assert!(rogue.read(|counts| counts.requests) < 2, "{headers:?}");
    }
}

#[tokio::test]
async fn two_keys_are_refused() {
    let (rogue, gateway) = forgetful().await;
    let two = [("idempotency-key", "k-1"), ("idempotency-key", "k-2")];
    let heard = gateway.ask("POST", "/up/x", &two, "a").await;
    assert_eq!(heard.verdict(), (400, "not-applied", "0", "bad-request"));
    assert!(heard.text().contains("two different"), "{}", heard.text());
    assert_eq!(rogue.read(|counts| counts.requests), 0);
}

#[tokio::test]
async fn a_trace_never_reaches_a_dependency() {
    let rogue = Rogue::builder().answer(Answer::ok("fine")).bind().unwrap();
    let gateway = Gateway::start(&dependency("up", rogue.address(), "")).await;
    let heard = gateway.ask("TRACE", "/up/x", &[], "").await;
    assert_eq!(heard.verdict(), (400, "not-applied", "0", "bad-request"));
    assert_eq!(rogue.read(|counts| counts.requests), 0);
}

#[tokio::test]
async fn a_path_that_is_too_long_behind_the_endpoints_own_ends_only_its_request() {
    let rogue = Rogue::builder().answer(Answer::ok("fine")).bind().unwrap();
    let base = "b".repeat(1000);
    for http in ["1.1", "2"] {
        let text = format!(
            "[gateway]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nworkers = 1\n\
             limits = {{ header_bytes = \"256KiB\", connections = 20 }}\n\
             [dependency.up]\nurl = \"http://{}/{base}\"\nhttp = \"{http}\"\n",
            rogue.address()
        );
        let gateway = Gateway::start_with(&text).await;
        let long = format!("/up/{}", "x".repeat(65_000));
        // There are more requests than there is room for connections.
        for _ in 0..30 {
            let heard = gateway.ask("GET", &long, &[], "").await;
            assert!(heard.status.is_some(), "http {http}: an answer, whatever it says");
            assert!(http == "1.1" || heard.status == Some(400), "{heard:?}");
        }
        assert_eq!(gateway.ask("GET", "/up/x", &[], "").await.verdict(), (200, "applied", "1", ""));
    }
}
