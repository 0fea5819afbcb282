//! The problems of one dependency do not reach another, and those of one shard do not reach the other nine.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::time::Duration;

use seawall_lab::rogue::{Act, Answer, Rogue};
use support::{Call, Gateway, Load, Pace, dependency, percentile};

/// Whether the build is optimised. Other builds run for a shorter time, and their times are not compared.
const FULL: bool = !cfg!(debug_assertions);
/// For how long one dependency of a pair hangs while the other gets a thousand calls a second.
const HANGS: Duration = Duration::from_secs(if FULL { 30 } else { 2 });
const PAIRS: usize = if FULL { 3 } else { 1 };

async fn steady(gateway: &Gateway, lasts: Duration) -> Vec<Call> {
    const CONNECTIONS: u64 = 20;
    let period = Duration::from_millis(20);
    let calls = CONNECTIONS * (lasts.as_millis() / period.as_millis()) as u64;
    let pace = Pace::Every(period);
    Load { method: "GET", target: "/well/x", calls, connections: CONNECTIONS, pace }
        .run(gateway.address())
        .await
}

/// By how much the second 99th percentile exceeds the allowed value: the first one plus 10 %, or plus 2 ms if that is more.
fn beyond((before, after): &(Duration, Duration)) -> f64 {
    let allowed = *before + (*before / 10).max(Duration::from_millis(2));
    after.as_secs_f64() - allowed.as_secs_f64()
}

#[tokio::test]
async fn a_hung_dependency_does_not_touch_a_healthy_one() {
    let soon = Act::After(Duration::from_millis(2), Box::new(Answer::ok("fine").into()));
    let well = Rogue::builder().each(move |_, _| soon.clone()).keep_heard(0).bind().unwrap();
    let hung = Rogue::builder().acts([Act::Hang]).keep_heard(0).bind().unwrap();
    // The callers of the dependency that hangs use up its limit. Then they wait for the read timeout, until its breaker opens.
    let lines = if FULL { "" } else { "timeout = { read = \"500ms\", total = \"5s\" }" };
    let both = "[defaults]\nconcurrency.max = 100\n".to_owned()
        + &dependency("well", well.address(), "")
        + &dependency("hung", hung.address(), lines);
    let mut pairs = Vec::new();
    for pair in 0..PAIRS {
        // Each pair gets a new gateway, whose breakers have not learned anything yet.
        let gateway = Gateway::start(&both).await;
        let alone = steady(&gateway, HANGS / 6).await;
        let pace = Pace::Rests(Duration::from_millis(200));
        let hangs = Load { method: "POST", target: "/hung/x", calls: u64::MAX, connections: 200, pace };
        let beside = tokio::select! {
            beside = steady(&gateway, HANGS) => beside,
            _ = hangs.run(gateway.address()) => unreachable!("there is always one more call"),
        };
        for call in alone.iter().chain(&beside) {
            assert_eq!((call.status, call.reason.as_str(), call.attempts), (200, "", 1), "{call:?}");
        }
        let told =
            support::Caller::connect(gateway.admin()).await.ask("GET", "/api/dependencies", &[], "").await;
        let told = told.json();
        let [troubled, untouched] = ["hung", "well"].map(|name| {
            let all = told["dependencies"].as_array().unwrap();
            all.iter().find(|one| one["name"] == name).unwrap()["reasons"].as_object().unwrap()
        });
        assert!(untouched.is_empty(), "{untouched:?}");
        for reason in ["concurrency-limit", "read-timeout", "breaker-open"] {
            assert!(troubled.contains_key(reason), "no {reason} in {troubled:?}");
        }
        let (before, after) = (percentile(&alone, 99), percentile(&beside, 99));
        println!("pair {pair}: p99 alone {before:?}, beside a hung one {after:?}");
        pairs.push((before, after));
    }
    pairs.sort_by(|one, other| beyond(one).total_cmp(&beyond(other)));
    assert!(!FULL || beyond(&pairs[PAIRS / 2]) <= 0.0, "the median of {pairs:?}");
}

/// One of ten shards is dead. Returns, for each shard, how many of a thousand calls were good, and the number of requests that
/// reached the dead shard.
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
    // Both breakers are open, so their keys are kept. The new keys share one breaker, and their two failures opened it.
    assert_eq!(
        (ours("c"), ours("d"), ours("e"), ours("calm")),
        (vec![false], vec![false], vec![true], vec![true])
    );
}
