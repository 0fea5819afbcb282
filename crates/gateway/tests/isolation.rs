//! One dependency's trouble is not another's, and one shard's not that of the other nine.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::time::Duration;

use seawall_lab::rogue::{Act, Answer, Rogue};
use support::{Call, Gateway, Load, Pace, dependency, percentile};

/// A build that is not optimised makes fewer calls, and its times are not compared.
const FULL: bool = !cfg!(debug_assertions);
const CALLS: u64 = if FULL { 10_000 } else { 1_000 };

async fn steady(gateway: &Gateway, target: &'static str, calls: u64) -> Vec<Call> {
    let pace = Pace::Every(Duration::from_millis(20));
    Load { method: "GET", target, calls, connections: 20, pace }.run(gateway.address()).await
}

#[tokio::test]
async fn a_hung_dependency_does_not_touch_a_healthy_one() {
    let soon = Act::After(Duration::from_millis(2), Box::new(Answer::ok("fine").into()));
    let well = Rogue::builder().each(move |_, _| soon.clone()).bind().unwrap();
    let hung = Rogue::builder().acts([Act::Hang]).bind().unwrap();
    let mut ratios = Vec::new();
    for round in 0..3 {
        // Both behind one gateway, fresh for each pair, so that its breaker has not learned yet.
        let both = dependency("well", well.address(), "") + &dependency("hung", hung.address(), "");
        let gateway = Gateway::start(&both).await;
        let alone = steady(&gateway, "/well/x", CALLS / 3).await;
        let hangs = async {
            // Each waits for its read timeout, or is refused; they are cut when the other load is through.
            let callers = (0..50).map(|_| gateway.ask("POST", "/hung/x", &[], ""));
            futures_join(callers).await;
        };
        let beside = tokio::select! {
            beside = steady(&gateway, "/well/x", CALLS / 3) => beside,
            () = async { hangs.await; std::future::pending().await } => unreachable!(),
        };
        for call in alone.iter().chain(&beside) {
            assert_eq!((call.status, call.reason.as_str(), call.attempts), (200, "", 1), "{call:?}");
        }
        let (before, after) = (percentile(&alone, 99), percentile(&beside, 99));
        println!("round {round}: p99 alone {before:?}, beside a hung one {after:?}");
        ratios.push((before, after));
    }
    assert!(hung.read(|counts| counts.requests) >= 50);
    let fine = |(before, after): &(Duration, Duration)| {
        *after <= *before + (*before / 10).max(Duration::from_millis(2))
    };
    assert!(!FULL || ratios.iter().any(fine), "{ratios:?}");
}

async fn futures_join<F: Future>(futures: impl Iterator<Item = F>) {
    let mut futures: Vec<_> = futures.map(Box::pin).collect();
    std::future::poll_fn(|cx| {
        futures.retain_mut(|future| future.as_mut().poll(cx).is_pending());
        if futures.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

/// A dead shard of ten: how many calls of each of the others succeed, and how many of all; requests that reached it.
async fn ten_shards(lines: &str) -> (Gateway, Vec<u64>, u64) {
    const EACH: u64 = if FULL { 2_000 } else { 300 };
    let rogue = Rogue::builder()
        .each(|heard, _| {
            if heard.target.starts_with("/3/") { Answer::status(503) } else { Answer::ok("") }.into()
        })
        .keep_heard(0)
        .bind()
        .unwrap();
    let gateway = Gateway::start(&dependency("up", rogue.address(), lines)).await;
    let targets = [
        "/up/0/x", "/up/1/x", "/up/2/x", "/up/3/x", "/up/4/x", "/up/5/x", "/up/6/x", "/up/7/x", "/up/8/x",
        "/up/9/x",
    ];
    let mut loads = tokio::task::JoinSet::new();
    for target in targets {
        let load = Load { method: "POST", target, calls: EACH, connections: 4, pace: Pace::AtOnce };
        let address = gateway.address();
        loads.spawn(async move { (target, load.run(address).await) });
    }
    let mut good = vec![0; 10];
    for (target, calls) in loads.join_all().await {
        let shard: usize = target[4..5].parse().unwrap();
        good[shard] = calls.iter().filter(|call| call.status == 200).count() as u64 * 1000 / EACH;
    }
    let requests = rogue.read(|counts| counts.requests);
    (gateway, good, requests * 1000 / EACH)
}

#[tokio::test]
async fn with_a_key_one_dead_shard_of_ten_costs_the_other_nine_nothing() {
    let lines = "breaker = { key = \"path:{shard}\" }\nconcurrency = { key = \"path:{shard}\" }\n\
                 operation = [{ name = \"do\", match = \"POST /{shard}/x\" }]";
    let (gateway, good, requests) = ten_shards(lines).await;
    println!(
        "thousandths of good calls by shard: {good:?}; requests per thousand calls of a shard: {requests}"
    );
    for (shard, good) in good.iter().enumerate() {
        assert!(shard == 3 || *good >= 990, "shard {shard}: {good}");
    }
    assert!(good.iter().sum::<u64>() >= 8_990, "0.90 of all, less a rounding");
    assert!(requests < 9_000 + 250, "the dead shard is left alone: {requests}");
    let told =
        support::Caller::connect(gateway.admin()).await.ask("GET", "/api/dependencies/up", &[], "").await;
    let endpoint = &told.json()["endpoints"][0];
    assert_eq!(endpoint["breaker"]["state"], "closed", "the endpoint's own");
    assert_eq!(endpoint["keys"], 10);
    let keys = endpoint["breaker_keys"].as_array().unwrap();
    assert_eq!(keys[0]["key"], "3");
    assert!(keys.iter().all(|of| (of["breaker"]["state"] == "closed") == (of["key"] != "3")), "{endpoint}");
    let refusals = told.json()["last_refusals"].clone();
    assert_eq!(refusals[0]["reason"], "breaker-open", "{refusals}");
}

#[tokio::test]
async fn keys_beyond_the_bound_share_one_breaker() {
    let rogue = Rogue::builder()
        .each(|heard, _| match heard.header("x-tenant") {
            Some("calm") => Answer::ok("").into(),
            _ => Answer::status(503).into(),
        })
        .bind()
        .unwrap();
    let lines = "breaker = { key = \"header:x-tenant\", max_keys = 2, consecutive = 2 }";
    let gateway = Gateway::start(&dependency("up", rogue.address(), lines)).await;
    let mut caller = gateway.connect().await;
    let mut told = Vec::new();
    for tenant in ["a", "a", "b", "b", "c", "d", "e", "calm"] {
        let heard = caller.ask("POST", "/up/x", &[("x-tenant", tenant)], "").await;
        told.push((tenant, heard.status.unwrap(), heard.header("seawall-reason").is_some()));
    }
    let ours =
        |tenant| told.iter().filter(|(who, ..)| *who == tenant).map(|(.., ours)| *ours).collect::<Vec<_>>();
    assert_eq!(
        (ours("a"), ours("b")),
        (vec![false, false], vec![false, false]),
        "each has its own: {told:?}"
    );
    // Both are open and so stay known: the newcomers share one, which their two failures opened.
    assert_eq!(
        (ours("c"), ours("d"), ours("e"), ours("calm")),
        (vec![false], vec![false], vec![true], vec![true])
    );
}
