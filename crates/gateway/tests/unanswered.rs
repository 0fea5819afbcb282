//! Connections that end at the worst moment: which calls are sent twice, what callers get, and how often they see an error.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::time::Duration;

use seawall_lab::rogue::{Act, Answer, Idle, Rogue, Then};
use support::{Call, Gateway, Load, Pace, dependency};

/// The number of calls. A build that is not optimised makes fewer, so that the tests stay short.
const CALLS: u64 = if cfg!(debug_assertions) { 5_000 } else { 20_000 };
/// The most errors that callers may see in this number of calls.
const MOST_SEEN: usize = if cfg!(debug_assertions) { 2 } else { 5 };
/// On a busy machine, a server that is not optimised may close a connection late. So connections get more time to settle.
const SETTLE: &str = if cfg!(debug_assertions) { "pool = { settle = \"100ms\" }" } else { "" };
/// The number of callers that make one call a second. Each makes [`TIMES`] calls.
const CALLERS: u64 = CALLS / 20;
const TIMES: u64 = if cfg!(debug_assertions) { 10 } else { 20 };

fn seed() -> u64 {
    let seed =
        std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("SEED={seed}");
    seed
}

fn failed(calls: &[Call]) -> Vec<&Call> {
    calls.iter().filter(|call| call.status != 200).collect()
}

#[tokio::test]
async fn no_post_is_sent_twice_and_the_unanswered_are_unknown() {
    let rogue = Rogue::builder()
        .seed(seed())
        .each(|_, draw| if draw.f64() < 0.01 { Act::Close } else { Answer::ok("fine").into() })
        .bind()
        .unwrap();
    let gateway = Gateway::start(&dependency("up", rogue.address(), "")).await;
    let load =
        Load { method: "POST", target: "/up/charge", calls: CALLS, connections: 50, pace: Pace::AtOnce };
    let calls = load.run(gateway.address()).await;
    let counts = rogue.counts();
    println!("{} of {CALLS} were read and not answered", CALLS - counts.answers);
    assert_eq!(counts.doubled(), Vec::<&str>::new());
    assert_eq!(counts.ids.len() as u64, CALLS, "each came");
    let unanswered = CALLS - counts.answers;
    assert!((CALLS / 200..CALLS / 50).contains(&unanswered), "about 1 %");
    for call in calls {
        let answered = counts.ids[&call.id].answered == 1;
        let told = (call.status, call.effect.as_str(), call.attempts, call.reason.as_str());
        let expected =
            if answered { (200, "applied", 1, "") } else { (502, "unknown", 1, "connection-lost") };
        assert_eq!(told, expected, "{}", call.id);
    }
}

async fn seldom_closed(method: &'static str, seed: u64) {
    let rogue = Rogue::builder()
        .seed(seed)
        .answer(Answer::ok("fine"))
        .idle(|draw| match draw.f64() < 0.05 {
            true => Idle::Close(Duration::from_micros(draw.u64(..3000))),
            false => Idle::Keep,
        })
        .bind()
        .unwrap();
    let gateway = Gateway::start(&dependency("up", rogue.address(), SETTLE)).await;
    let calls = Load { method, target: "/up/x", calls: CALLS, connections: 50, pace: Pace::AtOnce };
    let calls = calls.run(gateway.address()).await;
    let seen = failed(&calls);
    println!("{method}: {} errors seen, {} connections", seen.len(), rogue.read(|counts| counts.connections));
    assert!(seen.len() <= MOST_SEEN, "{} seen, such as {:?}", seen.len(), &seen[..seen.len().min(5)]);
    if method == "POST" {
        assert_eq!(rogue.counts().doubled(), Vec::<&str>::new());
        assert!(seen.iter().all(|call| call.effect == "unknown"), "{seen:?}");
    }
}

#[tokio::test]
async fn gets_do_not_see_that_connections_close_behind_an_answer() {
    seldom_closed("GET", seed()).await;
}

#[tokio::test]
async fn posts_do_not_see_that_connections_close_behind_an_answer() {
    seldom_closed("POST", seed()).await;
}

/// Many callers call a second after their last call. At about the same moment the server closes their connections, since it
/// closes every connection a second after its last answer.
async fn closed_in_step(method: &'static str, seed: u64) {
    let rogue = Rogue::builder()
        .seed(seed)
        .answer(Answer::ok("fine"))
        .idle(|draw| Idle::Close(Duration::from_micros(draw.u64(995_000..=1_005_000))))
        .bind()
        .unwrap();
    let pool = "pool = { max_idle = 1000 }";
    let gateway = Gateway::start(&dependency("up", rogue.address(), pool)).await;
    let pace = Pace::Every(Duration::from_secs(1));
    let calls = Load { method, target: "/up/x", calls: CALLERS * TIMES, connections: CALLERS, pace };
    let calls = calls.run(gateway.address()).await;
    let seen = failed(&calls);
    let (connections, requests) = rogue.read(|counts| (counts.connections, counts.requests));
    println!("{method}: {} errors seen, {connections} connections, {requests} requests", seen.len());
    let most = MOST_SEEN * calls.len() / CALLS as usize;
    assert!(seen.len() <= most, "{} seen, such as {:?}", seen.len(), &seen[..seen.len().min(5)]);
    if method == "POST" {
        assert_eq!(rogue.counts().doubled(), Vec::<&str>::new());
    }
}

#[tokio::test]
async fn callers_do_not_see_that_connections_close_just_when_they_are_wanted() {
    let seed = seed();
    tokio::join!(closed_in_step("GET", seed), closed_in_step("POST", seed));
}

/// One caller makes one call after the other, so that each call can get the connection that the last one used.
async fn before_stale_408s(method: &'static str, then: Then) {
    let rogue = Rogue::builder()
        .answer(Answer::ok("fine"))
        .idle(move |_| Idle::stale_408(Duration::from_millis(2), then))
        .bind()
        .unwrap();
    let gateway = Gateway::start(&dependency("up", rogue.address(), "")).await;
    // This pause is long enough for the 408 to arrive, and for a connection to settle before a POST.
    let pace = Pace::Rests(Duration::from_millis(40));
    let calls =
        Load { method, target: "/up/x", calls: 40, connections: 1, pace }.run(gateway.address()).await;
    for call in calls {
        assert_eq!((call.status, call.attempts), (200, 1), "{then:?} {}", call.id);
    }
    assert_eq!(rogue.read(|counts| counts.requests), 40, "{method} {then:?}");
}

#[tokio::test]
async fn a_stale_408_is_never_an_answer() {
    use before_stale_408s as run;
    tokio::join!(
        run("GET", Then::Keep),
        run("GET", Then::Close),
        run("GET", Then::Reset),
        run("POST", Then::Keep),
        run("POST", Then::Close),
        run("POST", Then::Reset),
    );
}

#[tokio::test]
async fn many_posts_share_few_connections() {
    let rogue = Rogue::builder().answer(Answer::ok("fine")).bind().unwrap();
    let gateway = Gateway::start(&dependency("up", rogue.address(), "")).await;
    let load = Load { method: "POST", target: "/up/x", calls: CALLS, connections: 50, pace: Pace::AtOnce };
    assert!(failed(&load.run(gateway.address()).await).is_empty());
    let connections = rogue.read(|counts| counts.connections);
    println!("{connections} connections for {CALLS} calls");
    assert!(connections < CALLS / 2, "{connections} connections for {CALLS} calls");
}

#[tokio::test]
async fn a_lost_request_teaches_how_long_connections_live() {
    // The second request of the first connection is read, and then the connection is closed.
    let rogue = Rogue::builder()
        .each(|heard, _| match (heard.connection, heard.on_connection) {
            (0, 1) => Act::Close,
            _ => Answer::ok("fine").into(),
        })
        .bind()
        .unwrap();
    let gateway = Gateway::start(&dependency("up", rogue.address(), "budget = { initial = 0 }")).await;
    let mut caller = gateway.connect().await;
    let mut attempts = Vec::new();
    for rest in [0, 400, 600] {
        tokio::time::sleep(Duration::from_millis(rest)).await;
        let heard = caller.ask("GET", "/up/x", &[], "").await;
        assert_eq!(heard.status, Some(200));
        attempts.push(heard.header("seawall-attempts").unwrap().to_owned());
    }
    assert_eq!(attempts, ["1", "2", "1"]);
    // For the third call there was a connection that had been idle for longer than the lost one. The call did not use it.
    assert_eq!(rogue.read(|counts| (counts.requests, counts.connections)), (4, 3));
}
