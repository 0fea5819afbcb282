//! Callers that leave early, or whose own deadline is short. They do not open the breaker of a provider that is only slower
//! than they are willing to wait. And they do not hide a provider that hangs.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use seawall_lab::dead_end::BlackHole;
use seawall_lab::rogue::{Act, Answer, Rogue};
use support::http2::hear;
use support::{Caller, Gateway, Multiplexed, dependency, soon};

/// How long a healthy provider takes in these tests. Every impatient caller has left by then.
const TAKES: Duration = Duration::from_millis(250);
const PATIENCE: Duration = Duration::from_millis(100);

fn slow(takes: Duration) -> Rogue {
    let act = move || Act::After(takes, Box::new(Answer::ok("well").into()));
    Rogue::builder().keep_heard(0).each(move |_, _| act()).bind().unwrap()
}

async fn endpoint(gateway: &Gateway) -> serde_json::Value {
    let told = Caller::connect(gateway.admin()).await.ask("GET", "/api/dependencies/up", &[], "").await;
    told.json()["endpoints"][0].clone()
}

/// Checks that no call was refused, that no breaker opened, and that the limit has not changed.
async fn is_untouched(gateway: &Gateway) {
    let seen = endpoint(gateway).await;
    assert_eq!(seen["breaker"]["state"], "closed", "{seen}");
    assert_eq!(seen["limit"]["limit"], 1000, "{seen}");
}

#[derive(Clone, Copy, Debug)]
enum Leaves {
    Closes,
    HalfCloses,
    /// The caller sends `seawall-timeout`, and waits for the answer that comes when that time is over.
    Deadline,
}

/// Makes one call, and abandons it after `patience`.
async fn impatient(gateway: &Gateway, method: &str, way: Leaves, patience: Duration) {
    let mut caller = gateway.connect().await;
    let within = format!("{}ms", patience.as_millis());
    match way {
        Leaves::Deadline => {
            let heard = caller.ask(method, "/up/x", &[("seawall-timeout", &within)], "").await;
            let reason = heard.verdict().3;
            assert!(matches!(reason, "total-timeout" | "breaker-open"), "{reason}");
        }
        Leaves::Closes | Leaves::HalfCloses => {
            caller.send(method, "/up/x", &[], "").await;
            tokio::time::sleep(patience).await;
            if matches!(way, Leaves::HalfCloses) {
                caller.half_close().await;
                caller.hear().await;
            }
        }
    }
}

/// Makes one `safe` call with these headers, and leaves when the provider has read its request.
async fn leave_when_read(gateway: &Gateway, rogue: &Rogue, headers: &[(&str, &str)]) {
    let before = rogue.read(|counts| counts.requests);
    let mut caller = gateway.connect().await;
    caller.send("GET", "/up/x", headers, "").await;
    soon("the request at the provider", rogue.until(|counts| counts.requests > before)).await;
}

#[tokio::test]
async fn callers_who_leave_open_nothing_though_nobody_has_succeeded_yet() {
    for way in [Leaves::Closes, Leaves::HalfCloses, Leaves::Deadline] {
        let rogue = slow(TAKES);
        let gateway = Gateway::start(&dependency("up", rogue.address(), "")).await;
        for _ in 0..10 {
            impatient(&gateway, "GET", way, PATIENCE / 10).await;
        }
        let heard = gateway.ask("GET", "/up/x", &[], "").await;
        assert_eq!(heard.verdict(), (200, "applied", "1", ""), "{way:?}");
        is_untouched(&gateway).await;
    }
}

/// Ten callers make patient calls, one after the other, while as many impatient callers make theirs. Returns how many calls
/// were refused.
async fn refused_beside(gateway: &Arc<Gateway>, patient: usize, way: Leaves) -> usize {
    let done = Arc::new(AtomicBool::new(false));
    let mut impatients = Vec::new();
    for _ in 0..10 {
        let (gateway, done) = (Arc::clone(gateway), Arc::clone(&done));
        impatients.push(tokio::spawn(async move {
            while !done.load(Ordering::SeqCst) {
                impatient(&gateway, "GET", way, PATIENCE).await;
            }
        }));
    }
    let callers = (0..10).map(|_| {
        let gateway = Arc::clone(gateway);
        tokio::spawn(async move {
            let mut refused = 0;
            for _ in 0..patient / 10 {
                refused += usize::from(gateway.ask("GET", "/up/x", &[], "").await.status != Some(200));
            }
            refused
        })
    });
    let mut refused = 0;
    for caller in callers.collect::<Vec<_>>() {
        refused += caller.await.unwrap();
    }
    done.store(true, Ordering::SeqCst);
    for impatient in impatients {
        impatient.await.unwrap();
    }
    refused
}

#[tokio::test]
async fn no_patient_caller_is_refused_for_those_who_leave() {
    for (patient, way) in [(100, Leaves::Closes), (100, Leaves::HalfCloses), (40, Leaves::Deadline)] {
        let rogue = slow(TAKES);
        let gateway = Arc::new(Gateway::start(&dependency("up", rogue.address(), "")).await);
        assert_eq!(refused_beside(&gateway, patient, way).await, 0, "{way:?}");
        is_untouched(&gateway).await;
    }
}

#[tokio::test]
async fn what_hangs_is_noticed_though_every_caller_leaves_early() {
    for (method, way) in [
        ("GET", Leaves::Closes),
        ("GET", Leaves::HalfCloses),
        ("GET", Leaves::Deadline),
        ("POST", Leaves::Deadline),
    ] {
        let rogue = Rogue::builder().keep_heard(0).each(|_, _| Act::Hang).bind().unwrap();
        let up = dependency("up", rogue.address(), "timeout = { read = \"1s\" }");
        let gateway = Gateway::start(&up).await;
        let began = Instant::now();
        soon("the breaker to open", async {
            while endpoint(&gateway).await["breaker"]["state"] == "closed" {
                impatient(&gateway, method, way, Duration::from_millis(20)).await;
            }
        })
        .await;
        let took = began.elapsed();
        assert!(took >= Duration::from_secs(1), "{way:?}: the real ending of a witness: {took:?}");
        // A patient caller would notice it after one second. One more second is allowed.
        assert!(took < Duration::from_secs(2), "{way:?}: {took:?}");
        let seen = endpoint(&gateway).await;
        assert!(seen["breaker"].to_string().contains("2 timeouts"), "{seen}");
        println!("{way:?}: noticed after {took:?}, {} requests", rogue.read(|counts| counts.requests));
    }
}

#[tokio::test]
async fn what_hangs_after_quick_answers_is_noticed_before_the_read_timeout() {
    let mut answered = 0;
    let act = move |_: &_, _: &mut _| {
        answered += 1;
        if answered <= 3 { Answer::ok("well").into() } else { Act::Hang }
    };
    let rogue = Rogue::builder().keep_heard(0).each(act).bind().unwrap();
    let read = Duration::from_secs(5);
    // The successes have left the window before the witnesses end.
    let settings = "timeout = { read = \"5s\" }\nbreaker = { window = \"2s\" }";
    let gateway = Gateway::start(&dependency("up", rogue.address(), settings)).await;
    for _ in 0..3 {
        gateway.ask("GET", "/up/x", &[], "").await;
    }
    let began = Instant::now();
    soon("the breaker to open", async {
        while endpoint(&gateway).await["breaker"]["state"] == "closed" {
            impatient(&gateway, "GET", Leaves::Closes, Duration::from_millis(20)).await;
        }
    })
    .await;
    let took = began.elapsed();
    assert!(took >= read / 5 * 4 && took < read, "a witness waits for four fifths of `read`: {took:?}");
}

#[tokio::test]
async fn a_deadline_that_passes_while_a_connection_is_made_is_no_failure_to_connect() {
    let hole = tokio::task::spawn_blocking(|| BlackHole::open().unwrap()).await.unwrap();
    let up = dependency("up", hole.address(), "timeout = { connect = \"5s\" }");
    let gateway = Gateway::start(&up).await;
    for method in ["GET", "POST"] {
        for _ in 0..5 {
            let heard = gateway.ask(method, "/up/x", &[("seawall-timeout", "30ms")], "").await;
            assert_eq!(heard.status, Some(504));
            assert_eq!(heard.header("seawall-effect"), Some("not-applied"));
            assert_ne!(heard.header("seawall-reason"), Some("connect-timeout"));
        }
    }
    is_untouched(&gateway).await;
    assert_eq!(endpoint(&gateway).await["window"]["bad"], 0);
}

#[tokio::test]
async fn a_connection_that_hangs_is_noticed_though_every_deadline_is_short() {
    let hole = tokio::task::spawn_blocking(|| BlackHole::open().unwrap()).await.unwrap();
    let up = dependency("up", hole.address(), "timeout = { connect = \"600ms\" }");
    let gateway = Gateway::start(&up).await;
    let began = Instant::now();
    soon("the breaker to open", async {
        while endpoint(&gateway).await["breaker"]["state"] == "closed" {
            gateway.ask("GET", "/up/x", &[("seawall-timeout", "30ms")], "").await;
        }
    })
    .await;
    assert!(began.elapsed() >= Duration::from_millis(600), "{:?}", began.elapsed());
    let seen = endpoint(&gateway).await;
    assert!(seen["breaker"].to_string().contains("2 not connected"), "{seen}");
}

#[tokio::test]
async fn who_hangs_up_before_a_deadline_of_its_own_is_followed_past_it() {
    let rogue = Rogue::builder().keep_heard(0).each(|_, _| Act::Hang).bind().unwrap();
    let up = dependency("up", rogue.address(), "timeout = { read = \"1s\" }");
    let gateway = Gateway::start(&up).await;
    for _ in 0..2 {
        leave_when_read(&gateway, &rogue, &[("seawall-timeout", "200ms")]).await;
    }
    soon("the breaker to open", async {
        while endpoint(&gateway).await["breaker"]["state"] == "closed" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(rogue.read(|counts| counts.requests), 2, "only those two were sent");
}

#[tokio::test]
async fn the_time_that_a_body_took_to_come_is_none_of_its_calls() {
    let rogue = slow(Duration::from_millis(1_500));
    let up = dependency("up", rogue.address(), "timeout = { total = \"2s\", read = \"1900ms\" }");
    let gateway = Gateway::start(&up).await;
    let mut caller = Multiplexed::connect(gateway.address()).await;
    let (answer, mut stream) = caller.open("POST", "/up/x", &[("content-length", "8")], false).await;
    tokio::time::sleep(Duration::from_millis(1_700)).await;
    stream.send_data("amount=5".into(), true).unwrap();
    assert_eq!(hear(answer).await.verdict().0, 200);
}

#[tokio::test]
async fn two_abandoned_reads_are_followed_and_all_others_are_given_up() {
    let rogue = Rogue::builder().keep_heard(0).each(|_, _| Act::Hang).bind().unwrap();
    let gateway = Gateway::start(&dependency("up", rogue.address(), "")).await;
    for _ in 0..10 {
        leave_when_read(&gateway, &rogue, &[]).await;
    }
    soon("the others' end", rogue.until(|counts| counts.departures.len() == 8)).await;
    // The provider may see the end of a connection before the gateway has given back the slot of its call.
    soon("two calls in flight, which keep their slots", async {
        while endpoint(&gateway).await["limit"]["in_flight"] != 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(rogue.read(|counts| (counts.requests, counts.departures.len())), (10, 8));
}

#[tokio::test]
async fn a_caller_who_leaves_after_far_more_than_others_needed_is_told_as_such() {
    let hangs = Arc::new(AtomicBool::new(false));
    let hung = Arc::clone(&hangs);
    let act = move || if hung.load(Ordering::SeqCst) { Act::Hang } else { Answer::ok("well").into() };
    let rogue = Rogue::builder().keep_heard(0).each(move |_, _| act()).bind().unwrap();
    let lines = "timeout = { read = \"2s\" }\nbreaker = { window_calls = 20, min_calls = 20 }";
    let gateway = Gateway::start(&dependency("up", rogue.address(), lines)).await;
    for _ in 0..12 {
        assert_eq!(gateway.ask("GET", "/up/x", &[], "").await.status, Some(200));
    }
    hangs.store(true, Ordering::SeqCst);
    let leave = || impatient(&gateway, "GET", Leaves::Closes, Duration::from_millis(300));
    for _ in 0..4 {
        tokio::join!(leave(), leave(), leave(), leave());
    }
    soon("the breaker to open", async {
        while endpoint(&gateway).await["breaker"]["state"] == "closed" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let seen = endpoint(&gateway).await;
    assert!(seen["breaker"].to_string().contains("callers left"), "{seen}");
    let heard = gateway.ask("GET", "/up/x", &[], "").await;
    assert!(heard.text().contains("callers left"), "{}", heard.text());
}

#[tokio::test]
async fn the_end_of_the_gateway_does_not_wait_for_a_witness() {
    let rogue = Rogue::builder().acts([Act::Hang]).bind().unwrap();
    let mut gateway = Gateway::start(&dependency("up", rogue.address(), "")).await;
    leave_when_read(&gateway, &rogue, &[]).await;
    assert_eq!(
        rogue.read(|counts| (counts.requests, counts.departures.len())),
        (1, 0),
        "the attempt is followed"
    );
    let asked = Instant::now();
    gateway.signal("TERM");
    assert_eq!(gateway.until_exit().await.code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
}
