//! A dependency that takes a request and never answers: which calls are repeated, and which effect is reported.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::time::{Duration, Instant};

use seawall_lab::rogue::{Act, Rogue};
use support::{Gateway, dependency};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

/// The read timeout of these tests.
const READ: Duration = Duration::from_millis(300);
/// The maximum time by which a call may exceed its timeout. It allows for a busy machine, and for the back-off before a
/// repeat (at most 50 ms).
const ROOM: Duration = Duration::from_millis(1000);

const SETTINGS: &str = "keys = true\ntimeout = { read = \"300ms\", total = \"5s\" }";

#[tokio::test]
async fn hung_get_is_repeated_once_and_did_not_apply() {
    let rogue = Rogue::builder().acts([Act::Hang]).bind().unwrap();
    let gateway = Gateway::start(&dependency("up", rogue.address(), SETTINGS)).await;
    let began = Instant::now();
    let heard = gateway.ask("GET", "/up/slow", &[], "").await;
    let took = began.elapsed();
    assert_eq!(heard.verdict(), (504, "not-applied", "2", "read-timeout"));
    assert_eq!(heard.header("seawall-origin"), Some("dependency"));
    assert_eq!(heard.header("seawall-retry-stopped"), Some("attempts"));
    assert_eq!(heard.header("proxy-status"), Some("seawall; error=connection_read_timeout"));
    assert_eq!(rogue.read(|counts| counts.requests), 2);
    assert!(took >= 2 * READ && took < 2 * READ + ROOM, "{took:?}");
}

#[tokio::test]
async fn hung_post_is_sent_once_and_is_unknown() {
    let rogue = Rogue::builder().acts([Act::Hang]).bind().unwrap();
    let gateway = Gateway::start(&dependency("up", rogue.address(), SETTINGS)).await;
    let began = Instant::now();
    let heard = gateway.ask("POST", "/up/charge", &[], "amount=5").await;
    let took = began.elapsed();
    assert_eq!(heard.verdict(), (504, "unknown", "1", "read-timeout"));
    assert_eq!(heard.header("seawall-retry-stopped"), Some("not-repeatable"));
    assert_eq!(rogue.read(|counts| counts.requests), 1);
    assert!(took >= READ && took < READ + ROOM, "{took:?}");
    let problem = heard.json();
    for (name, value) in [("reason", "read-timeout"), ("effect", "unknown"), ("dependency", "up")] {
        assert_eq!(problem[name], value, "{problem}");
    }
    assert_eq!(heard.header("content-type"), Some("application/problem+json"));
}

#[tokio::test]
async fn hung_keyed_post_is_sent_twice_with_the_same_key_and_bytes() {
    let rogue = Rogue::builder().acts([Act::Hang]).bind().unwrap();
    let gateway = Gateway::start(&dependency("up", rogue.address(), SETTINGS)).await;
    let body = "amount=5&\u{fc}=\u{1f600}";
    let headers = [("idempotency-key", "order-7"), ("content-type", "text/plain"), ("x-twice", "a, b")];
    let heard = gateway.ask("POST", "/up/charge?x=1", &headers, body).await;
    assert_eq!(heard.verdict(), (504, "unknown", "2", "read-timeout"));
    let counts = rogue.counts();
    assert_eq!(counts.requests, 2);
    for request in &counts.heard {
        assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/charge?x=1"));
        assert_eq!(request.header("idempotency-key"), Some("order-7"));
        assert_eq!(request.body, body.as_bytes());
    }
    assert_eq!(counts.heard[0].headers, counts.heard[1].headers);
}

#[tokio::test]
async fn a_later_refusal_does_not_make_the_unknown_known() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = Gateway::start(&dependency("up", listener.local_addr().unwrap(), SETTINGS)).await;
    // The first connection hangs. When a second one is wanted, nobody listens any more.
    let upstream = tokio::spawn(async move {
        let (mut first, _) = listener.accept().await.unwrap();
        drop(listener);
        let mut request = Vec::new();
        let _ = first.read_to_end(&mut request).await;
        request
    });
    let heard = gateway.ask("POST", "/up/charge", &[("idempotency-key", "k")], "amount=5").await;
    assert_eq!(heard.verdict(), (502, "unknown", "2", "connect-refused"));
    assert!(upstream.await.unwrap().ends_with(b"amount=5"));
}
