//! An answer that comes slowly in small pieces, until the total deadline ends it in the middle of its body. No caller can take
//! that for the regular end of the answer.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::time::{Duration, Instant};

use seawall_lab::rogue::{Answer, Load, Rogue};
use support::{Ended, Gateway, Multiplexed, dependency};

const TOTAL: Duration = Duration::from_millis(500);

/// Ten bytes in each twentieth of a second. The whole body would take far longer than the deadline.
fn drip() -> Load {
    Load::pattern(10_000).drip(10, Duration::from_millis(50))
}

async fn before(load: Load) -> (Rogue, Gateway) {
    let rogue = Rogue::builder().answer(Answer::status(200).load(load)).bind().unwrap();
    let lines = "timeout = { connect = \"200ms\", read = \"400ms\", total = \"500ms\" }\n";
    let gateway = Gateway::start(&dependency("up", rogue.address(), lines)).await;
    (rogue, gateway)
}

/// Checks that the answer was not ended early, and at most a second late. The second is for a busy machine.
fn in_time(took: Duration) {
    assert!(took >= TOTAL - Duration::from_millis(5) && took < TOTAL + Duration::from_secs(1), "{took:?}");
}

#[tokio::test]
async fn http_1_1_caller_sees_a_broken_body() {
    for (load, chunked) in [(drip(), false), (drip().chunked(), true)] {
        let (_rogue, gateway) = before(load).await;
        let mut caller = gateway.connect().await;
        let began = Instant::now();
        let heard = caller.ask("GET", "/up/slow", &[], "").await;
        in_time(began.elapsed());
        assert_eq!((heard.status, heard.is_chunked()), (Some(200), chunked));
        assert_eq!(heard.ended, Ended::Reset);
        assert!(!heard.raw_body.is_empty(), "the beginning came");
        assert!(!heard.raw_body.ends_with(b"0\r\n\r\n"), "no last chunk");
        let line = gateway.until_said("truncated").await;
        assert!(line.contains("total-timeout"), "{line}");
    }
}

#[tokio::test]
async fn http_1_0_caller_sees_a_reset_never_an_end() {
    for load in [drip(), drip().chunked(), drip().until_close()] {
        let (_rogue, gateway) = before(load).await;
        let mut caller = gateway.connect().await;
        let began = Instant::now();
        caller.write("GET /up/slow HTTP/1.0\r\nhost: localhost\r\n\r\n").await;
        let heard = caller.hear().await;
        in_time(began.elapsed());
        assert_eq!(heard.ended, Ended::Reset, "{}", heard.head);
        assert_eq!(heard.status, Some(200));
        assert!(!heard.is_chunked());
        assert!(!heard.raw_body.is_empty(), "the beginning came");
    }
}

#[tokio::test]
async fn http_2_caller_sees_its_stream_reset() {
    let (_rogue, gateway) = before(drip()).await;
    let mut caller = Multiplexed::connect(gateway.address()).await;
    let began = Instant::now();
    let heard = caller.ask("GET", "/up/slow", &[], "").await;
    in_time(began.elapsed());
    assert_eq!(heard.head.status(), 200);
    assert!(heard.reset.is_some(), "RST_STREAM");
    assert!(!heard.body.is_empty() && heard.body.len() < 10_000, "the beginning came");
    // The connection can still be used.
    assert_eq!(caller.ask("GET", "/none/x", &[], "").await.head.status(), 404);
}

#[tokio::test]
async fn upstream_is_let_go_at_the_cut() {
    let (rogue, gateway) = before(drip()).await;
    let _heard = gateway.ask("GET", "/up/slow", &[], "").await;
    support::soon("the departure", rogue.until(|counts| counts.departures.len() == 1)).await;
}

#[tokio::test]
async fn body_that_the_upstream_breaks_off_is_a_broken_body_too() {
    // The answer breaks some time after its head. If it broke together with its head, it would count as no answer at all.
    let half = Load::pattern(5000).drip(500, Duration::from_millis(20)).cut_after(1000);
    for load in [half.clone(), half.chunked()] {
        let (_rogue, gateway) = before(load).await;
        for version in ["1.1", "1.0"] {
            let mut caller = gateway.connect().await;
            caller.write(format!("GET /up/x HTTP/{version}\r\nhost: localhost\r\n\r\n")).await;
            let heard = caller.hear().await;
            assert_eq!((heard.status, heard.ended), (Some(200), Ended::Reset), "{version}");
        }
        gateway.until_said("truncated").await;
    }
}
