//! The caller leaves before its answer comes: which calls are abandoned, and which are followed to their end.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::time::{Duration, Instant};

use seawall_lab::dead_end::BlackHole;
use seawall_lab::rogue::{Act, Answer, Departed, Rogue};
use support::{Caller, Ended, Gateway, Multiplexed, dependency, harbor, soon};

/// The maximum time until the connection must be closed. The rule is 20 ms, but a busy machine may take this long.
const RELEASED_WITHIN: Duration = Duration::from_millis(100);
const FOLLOWED: &str = "followed to its end";

/// A gateway with one worker, so that its log is in order: what it did before an answer is logged before that answer.
async fn before(rogue: &Rogue) -> Gateway {
    let section = "[gateway]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nworkers = 1\n";
    Gateway::start_with(&format!("{section}{}", dependency("up", rogue.address(), ""))).await
}

/// Checks that no call was followed so far. It first waits for a later line of the log, so that all earlier lines have been
/// read.
async fn nothing_was_followed(gateway: &Gateway) {
    assert_eq!(gateway.ask("GET", "/nobody/x", &[], "").await.status, Some(404));
    gateway.until_said("nobody").await;
    assert_eq!(gateway.said(FOLLOWED), Vec::<String>::new());
}

/// How a caller leaves.
#[derive(Clone, Copy, Debug)]
enum Leaves {
    Closes,
    Resets,
    /// The caller sends nothing more, but could still read. That counts as leaving, too.
    HalfCloses,
}

impl Leaves {
    async fn leave(self, mut caller: Caller) -> Option<Caller> {
        match self {
            Leaves::Closes => drop(caller),
            Leaves::Resets => caller.reset(),
            Leaves::HalfCloses => {
                caller.half_close().await;
                return Some(caller);
            }
        }
        None
    }
}

#[tokio::test]
async fn abandoned_get_is_given_up_at_once() {
    let rogue = Rogue::builder().acts([Act::Hang]).bind().unwrap();
    // The breaker is turned off, so that no attempt is followed only to learn whether the endpoint hangs.
    let gateway = Gateway::start(&dependency("up", rogue.address(), "breaker = { enabled = false }")).await;
    let mut times = Vec::new();
    for round in 0..51 {
        let way = [Leaves::Closes, Leaves::Resets, Leaves::HalfCloses][round % 3];
        let mut caller = gateway.connect().await;
        caller.send("GET", "/up/slow", &[], "").await;
        soon("the request", rogue.until(|counts| counts.requests > round as u64)).await;
        let left = Instant::now();
        let _stays = way.leave(caller).await;
        soon("the end of its connection", rogue.until(|counts| counts.departures.len() > round)).await;
        let departure = rogue.read(|counts| counts.departures[round].clone());
        assert_eq!(departure.how, Departed::Reset, "{way:?}");
        times.push(departure.at.saturating_duration_since(left));
    }
    times.sort();
    println!("released after: median {:?}, most {:?}", times[times.len() / 2], times[times.len() - 1]);
    assert!(times[times.len() / 2] < RELEASED_WITHIN, "{times:?}");
    assert_eq!(rogue.read(|counts| counts.requests), 51, "nothing was repeated");
    nothing_was_followed(&gateway).await;
}

#[tokio::test]
async fn abandoned_get_is_given_up_in_the_middle_of_its_answer() {
    let endless = seawall_lab::rogue::Load::endless().drip(1000, Duration::from_millis(5));
    let rogue = Rogue::builder().answer(Answer::ok("").load(endless)).bind().unwrap();
    let gateway = before(&rogue).await;
    let mut caller = gateway.connect().await;
    caller.send("GET", "/up/slow", &[], "").await;
    assert_eq!(caller.hear_head().await.status, Some(200));
    let left = Instant::now();
    drop(caller);
    soon("the end of its connection", rogue.until(|counts| !counts.departures.is_empty())).await;
    let departure = rogue.read(|counts| counts.departures[0].clone());
    let took = departure.at.saturating_duration_since(left);
    assert!(took < RELEASED_WITHIN, "{took:?}");
}

#[tokio::test]
async fn abandoned_post_that_was_sent_whole_is_followed_to_its_end() {
    for way in [Leaves::Closes, Leaves::Resets, Leaves::HalfCloses] {
        let late = Act::After(Duration::from_millis(300), Box::new(Answer::ok("done").into()));
        let rogue = Rogue::builder().acts([late]).bind().unwrap();
        let gateway = before(&rogue).await;
        let mut caller = gateway.connect().await;
        caller.send("POST", "/up/charge", &[], "amount=5").await;
        soon("the request", rogue.until(|counts| counts.requests == 1)).await;
        let stays = way.leave(caller).await;
        let line = gateway.until_said(FOLLOWED).await;
        assert!(line.contains("applied") && !line.contains("not-applied"), "{line}");
        rogue.read(|counts| {
            assert_eq!((counts.answers, counts.requests, counts.departures.len()), (1, 1, 0), "{way:?}");
        });
        if let Some(mut caller) = stays {
            assert_ne!(caller.hear().await.ended, Ended::Open, "nobody waits: no answer");
        }
    }
}

#[tokio::test]
async fn the_effect_of_a_followed_post_is_known() {
    let (address, books) = harbor();
    let gateway = Gateway::start(&dependency("up", address, "")).await;
    let mut caller = gateway.connect().await;
    let late = [("harbor-fault", "delay=200ms")];
    caller.send("POST", "/up/v1/charges", &late, r#"{"amount":5}"#).await;
    soon("the request", async {
        while books.snapshot().in_flight == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    drop(caller);
    let line = gateway.until_said(FOLLOWED).await;
    assert!(line.contains("\"applied\"") || line.contains("=applied"), "{line}");
    let snapshot = books.snapshot();
    assert_eq!((snapshot.effects, snapshot.requests), (1, 1));
    let mut admin = Caller::connect(gateway.admin()).await;
    let seen = admin.ask("GET", "/api/dependencies/up", &[], "").await.text();
    assert!(seen.contains("\"applied\":1"), "it is counted: {seen}");
}

#[tokio::test]
async fn abandoned_post_is_not_repeated_after_its_caller() {
    // A keyed call may be repeated, but no caller waits for it any more.
    let late = Act::After(Duration::from_millis(200), Box::new(Answer::status(500).into()));
    let rogue = Rogue::builder().acts([late]).bind().unwrap();
    let gateway = Gateway::start(&dependency("up", rogue.address(), "keys = true")).await;
    let mut caller = gateway.connect().await;
    caller.send("POST", "/up/charge", &[("idempotency-key", "k")], "amount=5").await;
    soon("the request", rogue.until(|counts| counts.requests == 1)).await;
    drop(caller);
    let line = gateway.until_said(FOLLOWED).await;
    assert!(line.contains("unknown"), "{line}");
    assert_eq!(rogue.read(|counts| counts.requests), 1);
}

#[tokio::test]
async fn post_whose_body_was_not_complete_is_aborted() {
    // The body is streamed, because it is larger than what is kept, or because its length is unknown.
    let long = format!(
        "POST /up/charge HTTP/1.1\r\nhost: a\r\ncontent-length: 200000\r\n\r\n{}",
        "x".repeat(100_000)
    );
    let chunked = format!(
        "POST /up/charge HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n4e20\r\n{}\r\n",
        "x".repeat(20_000)
    );
    for request in [long.replace("host: a", "host: localhost"), chunked] {
        for way in [Leaves::Closes, Leaves::Resets, Leaves::HalfCloses] {
            let rogue = Rogue::builder().bind().unwrap();
            let gateway = before(&rogue).await;
            let mut caller = gateway.connect().await;
            caller.write(&request).await;
            soon("some of the body", rogue.until(|counts| counts.body_bytes >= 20_000)).await;
            let left = Instant::now();
            let _stays = way.leave(caller).await;
            soon("the end of the request", rogue.until(|counts| counts.broken == 1)).await;
            let took = left.elapsed();
            assert!(took < RELEASED_WITHIN, "{way:?} {took:?}");
            assert_eq!(rogue.read(|counts| (counts.requests, counts.connections)), (0, 1), "{way:?}");
            nothing_was_followed(&gateway).await;
        }
    }
}

#[tokio::test]
async fn short_body_that_breaks_off_never_reaches_the_dependency() {
    let rogue = Rogue::builder().bind().unwrap();
    let gateway = before(&rogue).await;
    for way in [Leaves::Closes, Leaves::Resets, Leaves::HalfCloses] {
        let mut caller = gateway.connect().await;
        caller.write("POST /up/charge HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\nfive").await;
        let _stays = way.leave(caller).await;
    }
    // When this call is answered, the calls before it have ended.
    for _ in 0..3 {
        assert_eq!(gateway.ask("GET", "/up/x", &[], "").await.status, Some(200));
    }
    assert_eq!(rogue.read(|counts| counts.methods.get("POST").copied()), None);
}

#[tokio::test]
async fn stream_that_is_cancelled_leaves_like_a_connection() {
    let late = Act::After(Duration::from_millis(300), Box::new(Answer::ok("done").into()));
    let rogue = Rogue::builder().acts([Act::Hang, late]).bind().unwrap();
    let gateway = Gateway::start(&dependency("up", rogue.address(), "breaker = { enabled = false }")).await;
    let mut caller = Multiplexed::connect(gateway.address()).await;

    let (answer, mut stream) = caller.open("GET", "/up/slow", &[], true).await;
    soon("the request", rogue.until(|counts| counts.requests == 1)).await;
    let left = Instant::now();
    stream.send_reset(h2::Reason::CANCEL);
    soon("the end of its connection", rogue.until(|counts| counts.departures.len() == 1)).await;
    let departure = rogue.read(|counts| counts.departures[0].clone());
    let took = departure.at.saturating_duration_since(left);
    assert!(took < RELEASED_WITHIN, "{took:?}");
    drop(answer);

    let (answer, mut stream) = caller.open("POST", "/up/charge", &[], false).await;
    stream.send_data("amount=5".into(), true).unwrap();
    soon("the request", rogue.until(|counts| counts.requests == 2)).await;
    stream.send_reset(h2::Reason::CANCEL);
    drop(answer);
    let line = gateway.until_said(FOLLOWED).await;
    assert!(line.contains("applied") && !line.contains("not-applied"), "{line}");
    assert_eq!(rogue.read(|counts| (counts.answers, counts.departures.len())), (1, 1));
    // The connection can still be used.
    assert_eq!(caller.ask("GET", "/up/slow", &[("seawall-timeout", "400ms")], "").await.verdict().0, 200);
}

#[tokio::test]
async fn post_that_was_not_sent_is_given_up() {
    let hole = tokio::task::spawn_blocking(|| BlackHole::open().unwrap()).await.unwrap();
    let section = "[gateway]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nworkers = 1\n";
    let lines = "timeout = { connect = \"300ms\" }\nretry = { attempts = 1 }";
    let up = dependency("up", hole.address(), lines);
    let gateway = Gateway::start_with(&format!("{section}{up}")).await;
    let mut caller = gateway.connect().await;
    caller.send("POST", "/up/charge", &[], "amount=5").await;
    drop(caller);
    // A later call ends in the same way. If the first one were followed to its end, it would have been by then.
    let heard = gateway.ask("POST", "/up/charge", &[], "amount=5").await;
    assert_eq!(heard.verdict(), (504, "not-applied", "1", "connect-timeout"));
    nothing_was_followed(&gateway).await;
}
