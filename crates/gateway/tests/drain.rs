//! SIGTERM: accepted calls are finished, no request that was sent is lost, and then the program ends with exit code 0.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use seawall_lab::rogue::{Act, Answer, Rogue};
use support::{Caller, Ended, Gateway, Multiplexed, dependency, soon};
use tokio::task::JoinSet;

const DRAIN: Duration = Duration::from_secs(5);

async fn ends_well(gateway: &mut Gateway, asked: Instant) {
    assert_eq!(gateway.until_exit().await.code(), Some(0));
    let took = asked.elapsed();
    assert!(took < DRAIN, "{took:?}");
    assert_eq!(gateway.said("the drain time is over").len(), 0);
}

fn slow(millis: u64) -> Rogue {
    let late = Duration::from_millis(millis);
    Rogue::builder().each(move |_, _| Act::After(late, Box::new(Answer::ok("done").into()))).bind().unwrap()
}

/// One caller, which sends requests on one connection, one after the other, until an answer announces that the connection
/// ends. Every request gets an answer.
async fn closed_loop(address: SocketAddr, answered: Arc<AtomicU64>, draining: Arc<AtomicBool>) {
    let mut caller = Caller::connect(address).await;
    loop {
        let heard = caller.ask("POST", "/up/x", &[], "amount=5").await;
        assert_eq!(heard.status, Some(200), "lost: {heard:?}");
        answered.fetch_add(1, Ordering::Relaxed);
        if heard.header("connection") == Some("close") {
            assert!(draining.load(Ordering::Relaxed), "ended without a drain");
            return;
        }
    }
}

#[tokio::test]
async fn reloads_and_drain_under_load_lose_no_request() {
    let one = Rogue::builder().answer(Answer::ok("one")).bind().unwrap();
    let two = Rogue::builder().answer(Answer::ok("two")).bind().unwrap();
    let mut gateway = Gateway::start(&dependency("up", one.address(), "")).await;
    let text = std::fs::read_to_string(gateway.file()).unwrap();
    let (answered, draining) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let mut callers = JoinSet::new();
    for _ in 0..8 {
        callers.spawn(closed_loop(gateway.address(), Arc::clone(&answered), Arc::clone(&draining)));
    }
    let more = |than: u64| {
        let answered = Arc::clone(&answered);
        soon("more answers", async move {
            while answered.load(Ordering::Relaxed) < than + 200 {
                tokio::task::yield_now().await;
            }
        })
    };
    more(0).await;
    for round in 0..3 {
        let other = if round % 2 == 0 { &two } else { &one };
        let old = if round % 2 == 0 { &one } else { &two };
        let new = text.replace(&one.address().to_string(), &other.address().to_string());
        std::fs::write(gateway.file(), new).unwrap();
        gateway.signal("HUP");
        gateway.until_said_times("the configuration was reloaded", round + 1).await;
        let before = (old.read(|counts| counts.requests), answered.load(Ordering::Relaxed));
        more(before.1).await;
        let stragglers = old.read(|counts| counts.requests) - before.0;
        assert!(stragglers <= 8, "{stragglers} new calls to the old address");
    }
    draining.store(true, Ordering::Relaxed);
    let asked = Instant::now();
    gateway.signal("TERM");
    callers.join_all().await;
    ends_well(&mut gateway, asked).await;
    let seen = one.read(|counts| counts.requests) + two.read(|counts| counts.requests);
    assert_eq!(seen, answered.load(Ordering::Relaxed), "every call once");
    println!("{seen} calls, drained in {:?}", asked.elapsed());
}

/// What a connection had sent when the signal came: nothing, a part of its request, or all of it. Each case is a separate run,
/// so that no connection keeps the program alive for the others.
#[tokio::test]
async fn connections_opened_just_before_are_served() {
    let rogue = Rogue::builder().answer(Answer::ok("fine")).bind().unwrap();
    let request = "GET /up/x HTTP/1.1\r\nhost: localhost\r\n\r\n";
    for said in [0, 10, request.len()] {
        let mut gateway = Gateway::start(&dependency("up", rogue.address(), "")).await;
        let mut callers = Vec::new();
        for _ in 0..10 {
            let mut caller = gateway.connect().await;
            caller.write(&request[..said]).await;
            callers.push(caller);
        }
        let asked = Instant::now();
        gateway.signal("TERM");
        gateway.until_said("draining").await;
        for caller in &mut callers {
            caller.write(&request[said..]).await;
        }
        for caller in &mut callers {
            let heard = caller.hear().await;
            assert_eq!(heard.status, Some(200), "said {said}");
            // A request that was complete before the signal may have been answered before the signal.
            assert!(heard.header("connection") == Some("close") || said == request.len(), "said {said}");
            assert_eq!(caller.hear().await.ended, Ended::Closed, "in order");
        }
        ends_well(&mut gateway, asked).await;
    }
}

#[tokio::test]
async fn slow_request_in_flight_finishes() {
    let rogue = slow(1000);
    let mut gateway = Gateway::start(&dependency("up", rogue.address(), "")).await;
    let (mut one, mut two) = (gateway.connect().await, Multiplexed::connect(gateway.address()).await);
    one.send("POST", "/up/x", &[], "amount=5").await;
    let (answer, _) = two.open("GET", "/up/x", &[], true).await;
    soon("the requests", rogue.until(|counts| counts.requests == 2)).await;
    let asked = Instant::now();
    gateway.signal("TERM");
    assert_eq!(one.hear().await.verdict(), (200, "applied", "1", ""));
    assert_eq!(support::http2::hear(answer).await.body, b"done");
    ends_well(&mut gateway, asked).await;
}

#[tokio::test]
async fn call_that_is_followed_without_its_caller_finishes_too() {
    let rogue = slow(1000);
    let mut gateway = Gateway::start(&dependency("up", rogue.address(), "")).await;
    let mut caller = gateway.connect().await;
    caller.send("POST", "/up/x", &[], "amount=5").await;
    soon("the request", rogue.until(|counts| counts.requests == 1)).await;
    caller.reset();
    let asked = Instant::now();
    gateway.signal("TERM");
    ends_well(&mut gateway, asked).await;
    assert_eq!(gateway.said("followed to its end").len(), 1);
    assert_eq!(rogue.read(|counts| (counts.answers, counts.departures.len())), (1, 0));
}

#[tokio::test]
async fn idle_connections_do_not_hold_it_up() {
    let rogue = Rogue::builder().answer(Answer::ok("fine")).bind().unwrap();
    let mut gateway = Gateway::start(&dependency("up", rogue.address(), "")).await;
    let mut used = gateway.connect().await;
    assert_eq!(used.ask("GET", "/up/x", &[], "").await.status, Some(200));
    let mut fresh = gateway.connect().await;
    let mut multiplexed = Multiplexed::connect(gateway.address()).await;
    assert_eq!(multiplexed.ask("GET", "/up/x", &[], "").await.head.status(), 200);
    let asked = Instant::now();
    gateway.signal("TERM");
    for caller in [&mut used, &mut fresh] {
        assert_eq!(caller.hear().await.ended, Ended::Closed, "in order");
    }
    ends_well(&mut gateway, asked).await;
    println!("drained in {:?}", asked.elapsed());
}

#[tokio::test]
async fn drain_ends_at_its_time_with_work_left() {
    let rogue = Rogue::builder().acts([Act::Hang]).bind().unwrap();
    let text = draining("500ms", &dependency("up", rogue.address(), ""));
    let mut gateway = Gateway::start_with(&text).await;
    let mut caller = gateway.connect().await;
    caller.send("GET", "/up/x", &[], "").await;
    soon("the request", rogue.until(|counts| counts.requests == 1)).await;
    let asked = Instant::now();
    gateway.signal("TERM");
    assert_eq!(gateway.until_exit().await.code(), Some(0));
    let took = asked.elapsed();
    // Two seconds are for a busy machine.
    assert!(took >= Duration::from_millis(500) && took < Duration::from_millis(2500), "{took:?}");
    gateway.until_said("the drain time is over").await;
    let token = gateway.folder().join(format!("seawall-{}.token", gateway.admin().port()));
    assert!(!token.exists(), "the admin token's file is removed in this case, too");
}

fn draining(drain: &str, dependency: &str) -> String {
    format!("[gateway]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\ndrain = \"{drain}\"\n{dependency}")
}

/// Callers that have sent the first part of a GET. Also returns the rest of the request, which they have yet to send.
async fn halfway(gateway: &Gateway, callers: usize) -> (Vec<Caller>, &'static str) {
    let (said, rest) = ("GET /up/x HTTP/1.1\r\nhost:", " localhost\r\n\r\n");
    let mut halfway = Vec::new();
    for _ in 0..callers {
        let mut caller = gateway.connect().await;
        caller.write(said).await;
        halfway.push(caller);
    }
    (halfway, rest)
}

#[tokio::test]
async fn who_asks_when_it_is_about_to_end_is_told_so() {
    let rogue = Rogue::builder().answer(Answer::ok("fine")).bind().unwrap();
    let mut gateway = Gateway::start_with(&draining("3s", &dependency("up", rogue.address(), ""))).await;
    let (callers, rest) = halfway(&gateway, 60).await;
    gateway.signal("TERM");
    gateway.until_said("draining").await;
    let (mut served, mut refused) = (0, 0);
    // Each caller sends its request a little later than the one before. The requests in the last second come too late.
    for mut caller in callers {
        caller.write(rest).await;
        let heard = caller.hear().await;
        match heard.verdict() {
            (200, "applied", "1", "") => {
                assert_eq!(refused, 0, "no call begins behind one that was refused");
                served += 1;
            }
            (503, "not-applied", "0", "draining") => refused += 1,
            verdict => panic!("{verdict:?} behind {served} and {refused}: {heard:?}"),
        }
        assert_eq!(heard.header("connection"), Some("close"));
        if refused == 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(served > 0 && refused == 3, "{served} served, {refused} refused");
    assert_eq!(rogue.read(|counts| counts.requests), served);
    assert_eq!(gateway.until_exit().await.code(), Some(0));
}

#[tokio::test]
async fn calls_that_begin_in_a_drain_are_answered_before_it_ends() {
    let rogue = Rogue::builder().acts([Act::Hang]).bind().unwrap();
    let lines = "concurrency = { max = 1, adaptive = false, queue = 1, queue_wait = \"30s\" }";
    let mut gateway = Gateway::start_with(&draining("2s", &dependency("up", rogue.address(), lines))).await;
    let (mut callers, rest) = halfway(&gateway, 2).await;
    let (mut hangs, mut waits) = (callers.remove(0), callers.remove(0));
    gateway.signal("TERM");
    gateway.until_said("draining").await;
    hangs.write(rest).await;
    soon("the request", rogue.until(|counts| counts.requests == 1)).await;
    waits.write(rest).await;
    assert_eq!(
        hangs.hear().await.verdict(),
        (504, "not-applied", "1", "total-timeout"),
        "a read has no effect"
    );
    assert_eq!(waits.hear().await.verdict(), (503, "not-applied", "0", "draining"), "it waited for its turn");
    assert_eq!(gateway.until_exit().await.code(), Some(0));
    assert_eq!(gateway.said("the drain time is over").len(), 0, "everybody was told");
}

#[tokio::test]
async fn port_in_use_is_refused_with_a_clear_message() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    // The port may also belong to another gateway. With SO_REUSEPORT alone, both gateways could listen on it.
    let rogue = Rogue::builder().answer(Answer::ok("fine")).bind().unwrap();
    let running = Gateway::start(&dependency("up", rogue.address(), "")).await;
    for (port, other) in [("listen", address), ("admin", address), ("listen", running.address())] {
        let folder = tempfile::tempdir().unwrap();
        let rest = if port == "listen" { "admin" } else { "listen" };
        let text = format!(
            "[gateway]\n{port} = \"{other}\"\n{rest} = \"127.0.0.1:0\"\n{}",
            dependency("up", rogue.address(), "")
        );
        std::fs::write(folder.path().join("seawall.toml"), text).unwrap();
        let mut gateway = Gateway::launch(folder);
        assert_eq!(gateway.until_exit().await.code(), Some(1), "{port} {other}");
        assert_eq!(gateway.said(&format!("{other} is in use")).len(), 1, "{port} {other}");
    }
}
