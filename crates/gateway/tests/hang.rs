//! A dependency that takes a request and never answers: what is repeated, what is said of the effect.

mod support;

use std::time::{Duration, Instant};

use seawall_lab::rogue::{Act, Rogue};
use support::{Gateway, dependency};

/// The read timeout of these tests, in milliseconds.
const READ: u64 = 300;

fn settings(more: &str) -> String {
    format!("keys = true\ntimeout = {{ read = \"{READ}ms\", total = \"5s\" }}\n{more}")
}

#[tokio::test]
async fn hung_get_is_repeated_once_and_is_not_applied() {
    let rogue = Rogue::builder().acts([Act::Hang]).bind().unwrap();
    let gateway = Gateway::start(&dependency("up", rogue.address(), &settings(""))).await;
    let began = Instant::now();
    let heard = gateway.ask("GET", "/up/slow", &[], "").await;
    let took = began.elapsed();
    assert_eq!(heard.verdict(), (504, "not-applied", "2", "read-timeout"));
    assert_eq!(heard.header("seawall-origin"), Some("dependency"));
    assert_eq!(heard.header("seawall-retry-stopped"), Some("attempts"));
    assert_eq!(rogue.read(|counts| counts.requests), 2);
    // Two read timeouts and a back-off of at most 50 ms; the rest is head-room for a busy machine.
    assert!(took >= Duration::from_millis(2 * READ), "{took:?}");
    assert!(took < Duration::from_millis(2 * READ + 1000), "{took:?}");
}
