//! A dependency in trouble: how much load repeats add, and how many failures reach the callers.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::time::Duration;

use seawall_lab::rogue::{Act, Answer, Rogue};
use support::{Call, Gateway, Load, Pace, dependency};

/// The number of calls. A build that is not optimised makes fewer, so that the tests stay short.
const CALLS: u64 = if cfg!(debug_assertions) { 5_000 } else { 20_000 };

/// The number of calls in the tests that compare exact shares and make four loads.
const FAILING: u64 = if cfg!(debug_assertions) { 2_000 } else { 20_000 };

async fn calls(gateway: &Gateway, calls: u64, connections: u64) -> Vec<Call> {
    let load = Load { method: "GET", target: "/up/x", calls, connections, pace: Pace::AtOnce };
    load.run(gateway.address()).await
}

#[tokio::test]
async fn when_every_call_fails_repeats_add_little() {
    let ways: [(&str, Act); 2] = [("503", Answer::status(503).into()), ("closed", Act::Close)];
    for (name, act) in ways {
        for guarded in [true, false] {
            let rogue = Rogue::builder().acts([act.clone()]).bind().unwrap();
            let lines = format!("breaker.enabled = {guarded}\nconcurrency.enabled = {guarded}");
            let gateway = Gateway::start(&dependency("up", rogue.address(), &lines)).await;
            let calls = calls(&gateway, FAILING, 50).await;
            assert!(calls.iter().all(|call| call.status >= 500));
            let seen = rogue.read(|counts| counts.requests);
            println!("{name}, guarded: {guarded}: {seen} requests for {FAILING} calls");
            assert!(
                seen * 10 <= FAILING * 12,
                "{name}, guarded: {guarded}: {seen} requests for {FAILING} calls"
            );
            // The budget pays for one repeat at the start, and failures do not earn a further one.
            assert!(guarded || seen == FAILING + 1, "{name}: {seen} requests for {FAILING} calls");
            assert!(!guarded || seen < FAILING / 10, "{name}: {seen} were let through");
        }
    }
}

#[tokio::test]
async fn few_of_random_failures_reach_the_caller() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("SEED={seed}");
    let rogue = Rogue::builder()
        .seed(seed)
        .each(|_, draw| if draw.f64() < 0.1 { Answer::status(503) } else { Answer::ok("fine") }.into())
        .bind()
        .unwrap();
    let gateway = Gateway::start(&dependency("up", rogue.address(), "")).await;
    let calls = calls(&gateway, CALLS, 100).await;
    let leaked = calls.iter().filter(|call| call.status != 200).count() as u64;
    let seen = rogue.read(|counts| counts.requests);
    println!("{leaked} of {CALLS} calls failed, {seen} requests");
    // The mean is 1 %. With fewer calls the share varies more; the bound is four standard deviations.
    let room = if cfg!(debug_assertions) { 156 } else { 125 };
    assert!(leaked * 10_000 <= CALLS * room, "{leaked} of {CALLS} calls failed");
    assert!(seen * 100 <= CALLS * 112, "{seen} requests for {CALLS} calls");
}

#[tokio::test]
async fn a_healthy_dependency_is_never_refused() {
    let answer = Act::After(Duration::from_millis(1), Box::new(Answer::ok("fine").into()));
    let rogue = Rogue::builder().each(move |_, _| answer.clone()).bind().unwrap();
    let gateway = Gateway::start(&dependency("up", rogue.address(), "")).await;
    let calls = calls(&gateway, CALLS, 100).await;
    assert!(calls.iter().all(|call| call.status == 200 && call.attempts == 1));
    assert_eq!(rogue.read(|counts| counts.requests), CALLS);
}
