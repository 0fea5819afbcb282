//! What opens a breaker, what does not, and how it closes again, seen through the whole program.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use seawall_lab::rogue::{Act, Answer, Counts, Rogue};
use support::{Call, Caller, Gateway, Load, Pace, dependency, soon};

/// The number of calls. Sixteen callers together make 800 calls a second. A build that is not optimised makes half as many
/// calls.
const CALLS: u64 = if cfg!(debug_assertions) { 3_200 } else { 6_400 };

async fn breaker(gateway: &Gateway) -> serde_json::Value {
    let told = Caller::connect(gateway.admin()).await.ask("GET", "/api/dependencies/up", &[], "").await;
    told.json()["endpoints"][0]["breaker"].clone()
}

async fn until_state(gateway: &Gateway, wanted: &str) {
    soon(wanted, async {
        while breaker(gateway).await["state"] != wanted {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// A rogue that answers 503 until it is healed, and that notes when each request came.
fn ailing() -> (Rogue, Arc<AtomicBool>, Arc<Mutex<Vec<Instant>>>) {
    let (healed, came) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
    let (well, log) = (Arc::clone(&healed), Arc::clone(&came));
    let rogue = Rogue::builder().keep_heard(0).each(move |_, _| {
        log.lock().unwrap().push(Instant::now());
        if well.load(Ordering::SeqCst) { Answer::ok("well") } else { Answer::status(503) }.into()
    });
    (rogue.bind().unwrap(), healed, came)
}

async fn steady(gateway: &Gateway, calls: u64) -> Vec<Call> {
    let pace = Pace::Every(Duration::from_millis(20));
    Load { method: "GET", target: "/up/x", calls, connections: 16, pace }.run(gateway.address()).await
}

#[tokio::test]
async fn few_calls_reach_what_only_fails_and_it_is_whole_soon_after_it_heals() {
    let (rogue, healed, came) = ailing();
    let gateway = Gateway::start(&dependency("up", rogue.address(), "")).await;
    let calls = steady(&gateway, CALLS).await;
    let reached = came.lock().unwrap().clone();
    let share = reached.len() as f64 * 100.0 / CALLS as f64;
    println!("{} of {CALLS} calls reached it, {share:.2} %", reached.len());
    // This is 0.75 % of 6 400 calls. If there are fewer calls in all, the breaker opens after the same number of calls, and
    // fewer probes follow.
    assert!(reached.len() < 48, "{} of {CALLS}", reached.len());
    assert!(calls.iter().filter(|call| call.reason == "breaker-open").count() as u64 > CALLS - 48);
    // The calls that were in flight when the breaker opened came together. After them each probe comes alone, at least 2.4 s
    // after the one before.
    let burst =
        reached.iter().take_while(|at| at.duration_since(reached[0]) < Duration::from_secs(2)).count();
    for pair in reached[burst - 1..].windows(2) {
        let apart = pair[1].duration_since(pair[0]);
        assert!(apart > Duration::from_millis(2_300), "two probes within {apart:?}");
    }
    healed.store(true, Ordering::SeqCst);
    let began = Instant::now();
    let mut calls = steady(&gateway, CALLS).await;
    calls.sort_by_key(|call| call.at);
    let last_refused = calls.iter().rposition(|call| call.status != 200);
    let whole = last_refused.map_or(Duration::ZERO, |at| calls[at].at.duration_since(began));
    println!("whole {whole:?} after it healed");
    assert!(whole < Duration::from_secs(10), "{whole:?}");
    // The breaker closed once and stayed closed. After the first good answer, calls were refused only until all three probes
    // had passed.
    let first_good = calls.iter().position(|call| call.status == 200).unwrap();
    let after = calls[first_good..].iter().filter(|call| call.status != 200);
    let after =
        after.filter(|call| call.at.duration_since(calls[first_good].at) > Duration::from_secs(1)).count();
    assert_eq!(after, 0, "a second trip");
}

/// The read timeout in the two tests below. A caller that leaves early proves nothing by itself. So the endpoint counts as
/// hanging only when two of the abandoned attempts have lasted this long, and not already when the second caller leaves.
const READ: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_hung_endpoint_whose_every_call_is_cut_from_outside_opens_it() {
    let rogue = Rogue::builder().acts([Act::Hang]).bind().unwrap();
    let gateway = Gateway::start(&dependency("up", rogue.address(), "timeout = { read = \"1s\" }")).await;
    let began = Instant::now();
    for _ in 0..2 {
        let heard = gateway.ask("POST", "/up/x", &[("seawall-timeout", "100ms")], "").await;
        assert_eq!(heard.header("seawall-reason"), Some("total-timeout"));
    }
    until_state(&gateway, "open").await;
    assert!(began.elapsed() >= READ, "{:?}", began.elapsed());
    let heard = gateway.ask("POST", "/up/x", &[("seawall-timeout", "100ms")], "").await;
    assert_eq!(heard.verdict(), (503, "not-applied", "0", "breaker-open"));
    assert!(heard.header("retry-after").is_some());
}

#[tokio::test]
async fn callers_that_hang_up_on_a_hung_endpoint_open_it() {
    let rogue = Rogue::builder().acts([Act::Hang]).bind().unwrap();
    let gateway = Gateway::start(&dependency("up", rogue.address(), "timeout = { read = \"1s\" }")).await;
    let began = Instant::now();
    for reached in 1..=2 {
        let address = gateway.address();
        let call =
            tokio::spawn(async move { Caller::connect(address).await.ask("GET", "/up/x", &[], "").await });
        soon("the request", rogue.until(|counts| counts.requests == reached)).await;
        call.abort();
    }
    until_state(&gateway, "open").await;
    assert!(began.elapsed() >= READ, "{:?}", began.elapsed());
}

#[tokio::test]
async fn one_callers_tiny_timeout_opens_it_for_nobody_while_calls_succeed() {
    let after = |millis| Act::After(Duration::from_millis(millis), Box::new(Answer::ok("").into()));
    let (slow, hurried) = (after(500), after(400));
    let rogue = Rogue::builder()
        .each(move |heard, _| if heard.target == "/hurried" { hurried.clone() } else { slow.clone() })
        .bind()
        .unwrap();
    let gateway = Gateway::start(&dependency("up", rogue.address(), "breaker = { window = \"60s\" }")).await;
    assert_eq!(gateway.ask("POST", "/up/x", &[], "").await.status, Some(200));
    let mut caller = gateway.connect().await;
    for _ in 0..40 {
        let heard = caller.ask("POST", "/up/hurried", &[("seawall-timeout", "5ms")], "").await;
        assert_eq!(heard.status, Some(504), "{:?}", heard.verdict());
    }
    assert_eq!(breaker(&gateway).await["state"], "closed");
    assert_eq!(gateway.ask("POST", "/up/x", &[], "").await.status, Some(200));
}

#[tokio::test]
async fn a_hundred_callers_in_half_open_are_one_probe() {
    let hung = Arc::new(AtomicBool::new(false));
    let hangs = Arc::clone(&hung);
    let rogue = Rogue::builder()
        .each(move |heard, _| match heard.target.as_str() {
            "/health" => Answer::ok("").into(),
            _ if hangs.load(Ordering::SeqCst) => Act::Hang,
            _ => Answer::status(500).into(),
        })
        .bind()
        .unwrap();
    // The health request makes the breaker half-open. No second probe is sent before the first one has been in flight for
    // `open_for`.
    let lines = "breaker = { consecutive = 1, open_for = \"2m\" }\nhealth = \"GET /health\"\n\
                 timeout = { read = \"30s\", total = \"60s\" }";
    let gateway = Gateway::start(&dependency("up", rogue.address(), lines)).await;
    assert_eq!(gateway.ask("POST", "/up/x", &[], "").await.status, Some(500));
    hung.store(true, Ordering::SeqCst);
    until_state(&gateway, "half-open").await;
    let address = gateway.address();
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..100 {
        callers.spawn(async move { Caller::connect(address).await.ask("POST", "/up/x", &[], "").await });
    }
    for _ in 0..99 {
        let heard = soon("a refusal", callers.join_next()).await.unwrap().unwrap();
        assert_eq!(heard.verdict(), (503, "not-applied", "0", "breaker-open"));
    }
    // The probe is on its way while the other calls are refused.
    let posts = |counts: &Counts| counts.methods["POST"];
    soon("the probe", rogue.until(|counts| posts(counts) >= 2)).await;
    assert_eq!(rogue.read(posts), 2, "the failure and one probe came");
}

#[tokio::test]
async fn the_health_request_is_asked_only_while_open_and_ends_the_wait() {
    let well = Arc::new(AtomicBool::new(false));
    let heals = Arc::clone(&well);
    let asked = Arc::new(AtomicBool::new(false));
    let hears = Arc::clone(&asked);
    let rogue = Rogue::builder()
        .each(move |heard, _| {
            let ok = heals.load(Ordering::SeqCst);
            hears.fetch_or(heard.target == "/health", Ordering::SeqCst);
            if ok { Answer::ok("") } else { Answer::status(503) }.into()
        })
        .bind()
        .unwrap();
    let lines = "breaker = { consecutive = 2, open_for = \"2m\" }\nhealth = \"GET /health\"";
    let gateway = Gateway::start(&dependency("up", rogue.address(), lines)).await;
    assert_eq!(gateway.ask("POST", "/up/x", &[], "").await.status, Some(503));
    assert!(!asked.load(Ordering::SeqCst), "no health request is sent while the breaker is closed");
    assert_eq!(gateway.ask("POST", "/up/x", &[], "").await.status, Some(503));
    until_state(&gateway, "open").await;
    soon(
        "the health request",
        rogue.until(|counts| counts.methods.get("GET").is_some_and(|asked| *asked >= 1)),
    )
    .await;
    assert_eq!(breaker(&gateway).await["state"], "open", "a bad answer changes nothing");
    well.store(true, Ordering::SeqCst);
    until_state(&gateway, "half-open").await;
    for _ in 0..3 {
        assert_eq!(gateway.ask("POST", "/up/x", &[], "").await.status, Some(200));
    }
    assert_eq!(breaker(&gateway).await["state"], "closed");
    let heard = rogue.counts().heard;
    assert!(heard.iter().filter(|heard| heard.target == "/x").all(|heard| heard.method == "POST"));
}

#[tokio::test]
async fn an_operation_says_itself_what_is_slow() {
    let soon_after = Act::After(Duration::from_millis(30), Box::new(Answer::ok("").into()));
    let rogue = Rogue::builder().each(move |_, _| soon_after.clone()).bind().unwrap();
    let lines = "breaker = { consecutive = 2, slow_call = \"10ms\" }\n\
                 operation = [{ name = \"report\", match = \"POST /report\", slow_call = \"10s\" }, \
                 { name = \"off\", match = \"POST /off\", slow_call = \"off\" }]";
    let gateway = Gateway::start(&dependency("up", rogue.address(), lines)).await;
    for target in ["/up/report", "/up/report", "/up/report", "/up/off", "/up/off", "/up/off"] {
        assert_eq!(gateway.ask("POST", target, &[], "").await.status, Some(200), "{target}");
    }
    for _ in 0..2 {
        assert_eq!(gateway.ask("POST", "/up/other", &[], "").await.status, Some(200));
    }
    assert_eq!(gateway.ask("POST", "/up/report", &[], "").await.status, Some(503));
    assert!(breaker(&gateway).await["why"].as_str().unwrap().contains("slow"), "{}", breaker(&gateway).await);
}
