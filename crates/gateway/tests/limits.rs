//! The concurrency limit and its queue, as callers and the dependency see them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use seawall_lab::rogue::{Answer, Rogue};
use support::{Caller, Gateway, Gauge, Heard, Load, Pace, dependency, percentile, soon};
use tokio::sync::Barrier;
use tokio::task::{JoinHandle, JoinSet};

/// Whether the build is optimised. Other builds run with fewer callers, and their times are not compared.
const FULL: bool = !cfg!(debug_assertions);

/// What the admin side shows of the endpoint's limit.
async fn limit(gateway: &Gateway) -> serde_json::Value {
    let told = Caller::connect(gateway.admin()).await.ask("GET", "/api/dependencies/up", &[], "").await;
    told.json()["endpoints"][0]["limit"].clone()
}

/// Waits until a figure of the limit fulfils `wanted`.
async fn until(gateway: &Gateway, what: &str, wanted: impl Fn(u64) -> bool) {
    soon(what, async {
        while !wanted(limit(gateway).await[what].as_u64().unwrap()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

fn ask(gateway: &Gateway, target: &'static str, headers: &'static [(&str, &str)]) -> JoinHandle<Heard> {
    let address = gateway.address();
    tokio::spawn(async move { Caller::connect(address).await.ask("POST", target, headers, "").await })
}

#[tokio::test]
async fn a_limit_of_ten_is_never_passed_and_the_rest_is_refused_at_once() {
    let callers = if FULL { 1_000 } else { 200 };
    let gauge = Gauge::gated().await;
    let lines = "concurrency = { max = 10, adaptive = false }\nbreaker.enabled = false";
    let gateway = Gateway::start(&dependency("up", gauge.address, lines)).await;
    let address = gateway.address();
    // All callers are connected before the first of them sends a request, and they stay connected.
    let start = Arc::new(Barrier::new(callers));
    let mut all = JoinSet::new();
    for _ in 0..callers {
        let start = Arc::clone(&start);
        all.spawn(async move {
            let mut caller = Caller::connect(address).await;
            start.wait().await;
            let began = Instant::now();
            let heard = caller.ask("POST", "/up/x", &[], "").await;
            let verdict = heard.verdict();
            let told = (verdict.0, verdict.1.to_owned(), verdict.3.to_owned());
            (told, began.elapsed(), caller)
        });
    }
    gauge.until(10).await;
    let (mut took, mut connected) = (Vec::new(), Vec::new());
    // Ten callers wait for their answers, so the next answers are all refusals.
    for _ in 0..callers - 10 {
        let (told, elapsed, caller) = soon("a refusal", all.join_next()).await.unwrap().unwrap();
        assert_eq!(told, (503, "not-applied".to_owned(), "concurrency-limit".to_owned()));
        took.push(elapsed);
        connected.push(caller);
    }
    gauge.answer(10);
    while let Some(done) = all.join_next().await {
        assert_eq!(done.unwrap().0.0, 200);
    }
    assert_eq!(gauge.most(), 10);
    took.sort_unstable();
    let (median, worst) = (took[took.len() / 2], took[took.len() - 1]);
    println!("{callers} at once, as they see it: refused in {median:?} (median), {worst:?} (worst)");
    // Now one caller sends requests alone. This measures how long a refusal takes without a crowd.
    let held: Vec<_> = (0..10).map(|_| ask(&gateway, "/up/x", &[])).collect();
    gauge.until(20).await;
    let calls = if FULL { 5_000 } else { 200 };
    let load = Load { method: "POST", target: "/up/x", calls, connections: 1, pace: Pace::AtOnce };
    let refused = load.run(address).await;
    assert!(refused.iter().all(|call| call.reason == "concurrency-limit" && call.effect == "not-applied"));
    let (median, p99) = (percentile(&refused, 50), percentile(&refused, 99));
    println!("one caller, {} connected: refused in {median:?} (median), {p99:?} (p99)", connected.len());
    assert!(!FULL || p99 < Duration::from_millis(1), "{p99:?}");
    gauge.answer(10);
    for held in held {
        assert_eq!(held.await.unwrap().status, Some(200));
    }
    assert_eq!(gauge.most(), 10);
}

#[tokio::test]
async fn the_queue_keeps_its_order_its_length_and_its_wait() {
    let gauge = Gauge::gated().await;
    let lines = "concurrency = { max = 1, adaptive = false, queue = 3, queue_wait = \"15s\" }";
    let gateway = Gateway::start(&dependency("up", gauge.address, lines)).await;
    let first = ask(&gateway, "/up/0", &[]);
    gauge.until(1).await;
    let mut waiting = Vec::new();
    for (at, target) in ["/up/1", "/up/2", "/up/3"].into_iter().enumerate() {
        waiting.push(ask(&gateway, target, &[]));
        until(&gateway, "waiting", |waiting| waiting == at as u64 + 1).await;
    }
    let full = ask(&gateway, "/up/4", &[]).await.unwrap();
    assert_eq!(full.verdict(), (503, "not-applied", "0", "queue-full"));
    gauge.answer(4);
    assert_eq!(first.await.unwrap().status, Some(200));
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap().verdict(), (200, "applied", "1", ""));
    }
    assert_eq!(gauge.targets(), ["/0", "/1", "/2", "/3"]);
    assert_eq!(gauge.most(), 1);
}

#[tokio::test]
async fn who_waits_too_long_or_leaves_gives_its_place_up() {
    let gauge = Gauge::gated().await;
    let lines = "concurrency = { max = 1, adaptive = false, queue = 2, queue_wait = \"400ms\" }";
    let gateway = Gateway::start(&dependency("up", gauge.address, lines)).await;
    let first = ask(&gateway, "/up/0", &[]);
    gauge.until(1).await;
    let began = Instant::now();
    let late = ask(&gateway, "/up/late", &[]).await.unwrap();
    assert_eq!(late.verdict(), (503, "not-applied", "0", "queue-timeout"));
    assert!(began.elapsed() >= Duration::from_millis(400), "{:?}", began.elapsed());
    // This caller's own deadline comes before that of the queue.
    let hurried = ask(&gateway, "/up/hurried", &[("seawall-timeout", "50ms")]).await.unwrap();
    assert_eq!(hurried.verdict(), (504, "not-applied", "0", "no-time-left"));
    // A caller that closes its connection leaves the queue immediately.
    let leaver = ask(&gateway, "/up/leaver", &[]);
    until(&gateway, "waiting", |waiting| waiting == 1).await;
    leaver.abort();
    until(&gateway, "waiting", |waiting| waiting == 0).await;
    gauge.answer(2);
    assert_eq!(first.await.unwrap().status, Some(200));
    assert_eq!(ask(&gateway, "/up/next", &[]).await.unwrap().status, Some(200));
    assert_eq!(gauge.targets(), ["/0", "/next"], "nothing was sent for the callers that left");
    until(&gateway, "in_flight", |in_flight| in_flight == 0).await;
}

/// Starts this number of callers. Each sends its next request a moment after its answer. They end with the test.
fn pressing(gateway: &Gateway, callers: usize) -> (JoinSet<()>, Arc<AtomicU64>) {
    let (address, good) = (gateway.address(), Arc::new(AtomicU64::new(0)));
    let mut all = JoinSet::new();
    for _ in 0..callers {
        let good = Arc::clone(&good);
        all.spawn(async move {
            let mut caller = Caller::connect(address).await;
            loop {
                let heard = caller.ask("POST", "/up/x", &[], "").await;
                good.fetch_add(u64::from(heard.status == Some(200)), Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
    }
    (all, good)
}

/// The provider's capacity falls and returns. Measures how long it takes until the limit is at most `to`, and, after the
/// capacity has returned, how long it takes until the limit is back.
async fn falls_and_returns(
    gateway: &Gateway,
    gauge: &Gauge,
    to: u64,
    falls: impl Fn(&Gauge),
    heals: impl Fn(&Gauge),
) {
    let (_callers, good) = pressing(gateway, 60);
    until(gateway, "in_flight", |in_flight| in_flight > 20).await;
    assert_eq!(limit(gateway).await["limit"], 64);
    falls(gauge);
    let began = Instant::now();
    until(gateway, "limit", |limit| limit <= to).await;
    let fell = began.elapsed();
    // The provider still answers some calls.
    let before = good.load(Ordering::Relaxed);
    soon("good answers of what is left of it", async {
        while good.load(Ordering::Relaxed) < before + 50 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    heals(gauge);
    let began = Instant::now();
    until(gateway, "limit", |limit| limit >= 60).await;
    let back = began.elapsed();
    println!("fell to {to} within {fell:?}, back within {back:?}");
    let seconds = Duration::from_secs(if FULL { 5 } else { 15 });
    assert!(fell < seconds && back < seconds, "{fell:?}, {back:?}");
}

// In these two tests the breaker would help as well, so it is turned off.

#[tokio::test]
async fn the_adaptive_limit_falls_with_a_partner_that_sheds_load_and_returns() {
    let gauge = Gauge::holding(Duration::from_millis(20)).await;
    let lines = "breaker.enabled = false\nconcurrency = { max = 64 }";
    let gateway = Gateway::start(&dependency("up", gauge.address, lines)).await;
    let (falls, heals) = (|gauge: &Gauge| gauge.takes(6), |gauge: &Gauge| gauge.takes(usize::MAX));
    falls_and_returns(&gateway, &gauge, 14, falls, heals).await;
}

#[tokio::test]
async fn the_adaptive_limit_falls_with_a_partner_that_grows_slow_and_returns() {
    // 60 callers make 2 400 calls a second. Then the provider manages only 250 a second, and it also works on calls that were
    // abandoned. Within the read timeout it manages 25.
    let gauge = Gauge::holding(Duration::from_millis(20)).await;
    let lines = "breaker.enabled = false\nconcurrency = { max = 64 }\n\
                 timeout = { read = \"100ms\", total = \"5s\" }";
    let gateway = Gateway::start(&dependency("up", gauge.address, lines)).await;
    let falls = |gauge: &Gauge| gauge.works(Duration::from_millis(4));
    let heals = |gauge: &Gauge| gauge.works(Duration::ZERO);
    falls_and_returns(&gateway, &gauge, 25, falls, heals).await;
}

#[tokio::test]
async fn random_503s_at_a_fifth_refuse_nobody_at_64_at_once() {
    let rogue = Rogue::builder()
        .seed(9)
        .each(|_, draw| if draw.f64() < 0.2 { Answer::status(503) } else { Answer::ok("") }.into())
        .bind()
        .unwrap();
    let gateway = Gateway::start(&dependency("up", rogue.address(), "")).await;
    let calls = if FULL { 20_000 } else { 3_000 };
    let load = Load { method: "POST", target: "/up/x", calls, connections: 64, pace: Pace::AtOnce };
    let calls = load.run(gateway.address()).await;
    let refused: Vec<_> = calls.iter().filter(|call| !call.reason.is_empty()).collect();
    assert!(refused.is_empty(), "{} refused, such as {:?}", refused.len(), refused[0]);
}
