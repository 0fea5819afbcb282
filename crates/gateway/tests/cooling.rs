//! The gateway remembers an answer that says "come back later". These tests are about the calls that follow such an answer.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use seawall_lab::rogue::{Answer, Rogue};
use support::{Caller, Gateway, dependency, soon};

/// A rogue that answers every request with this status and these fields.
fn says(status: u16, fields: &'static [(&'static str, &'static str)]) -> Rogue {
    let answer = move || {
        fields.iter().fold(Answer::status(status), |answer, (name, value)| answer.header(name, value))
    };
    Rogue::builder().keep_heard(0).each(move |_, _| answer().into()).bind().unwrap()
}

fn requests(rogue: &Rogue) -> u64 {
    rogue.read(|counts| counts.requests)
}

fn two(first: SocketAddr, second: SocketAddr, lines: &str) -> String {
    format!(
        "[dependency.up]\nkeys = true\n{lines}\n[[dependency.up.endpoint]]\nurl = \"http://{first}\"\n[[dependency.up.endpoint]]\nurl = \"http://{second}\"\n"
    )
}

#[tokio::test]
async fn after_one_answer_none_of_a_hundred_calls_reaches_it_and_all_are_told_the_rest() {
    for (status, told, fields) in [
        (429, 429, &[("retry-after", "8")] as &[_]),
        (503, 503, &[("retry-after", "8")]),
        (529, 503, &[("retry-after-ms", "8000")]),
        (429, 429, &[("x-ratelimit-remaining-tokens", "0"), ("x-ratelimit-reset-tokens", "8s")]),
    ] {
        let rogue = says(status, fields);
        let up = dependency("up", rogue.address(), "retry = { attempts = 1 }");
        let gateway = Gateway::start(&up).await;
        assert_eq!(
            gateway.ask("GET", "/up/x", &[], "").await.status,
            Some(status),
            "the answer itself passes"
        );
        let began = Instant::now();
        let mut caller = gateway.connect().await;
        let mut waits = Vec::new();
        for _ in 0..100 {
            let heard = caller.ask("GET", "/up/x", &[], "").await;
            assert_eq!(heard.verdict(), (told, "not-applied", "0", "cooling-down"));
            assert_eq!(heard.header("seawall-origin"), Some("seawall"));
            let millis: u64 = heard.header("retry-after-ms").unwrap().parse().unwrap();
            let seconds: u64 = heard.header("retry-after").unwrap().parse().unwrap();
            assert_eq!(seconds, millis.div_ceil(1000), "rounded up");
            waits.push(began.elapsed() + Duration::from_millis(millis));
        }
        assert_eq!(requests(&rogue), 1);
        // No caller is asked to come back before the provider's time is over, and not all callers are given the same time.
        waits.sort();
        let (first, last) = (waits[0], waits[99]);
        assert!(
            first >= Duration::from_millis(7_900) && last < Duration::from_millis(10_600),
            "{first:?} {last:?}"
        );
        let together = waits.iter().map(|from| {
            waits.iter().filter(|wait| (*from..*from + Duration::from_millis(100)).contains(*wait)).count()
        });
        let together = together.max().unwrap();
        assert!(together <= 20, "{together} of 100 in one tenth of a second");
        let seen =
            Caller::connect(gateway.admin()).await.ask("GET", "/api/dependencies/up", &[], "").await.json();
        let cooling = seen["endpoints"][0]["cooling_seconds"].as_f64().unwrap();
        assert!(cooling > 1.0 && cooling < 10.1, "{cooling}");
        assert_eq!(seen["endpoints"][0]["breaker"]["state"], "closed");
    }
}

#[tokio::test]
async fn where_another_endpoint_takes_the_calls_all_are_served_by_it() {
    for fields in [&[("retry-after", "8")] as &[_], &[]] {
        let (first, second) =
            (says(429, fields), Rogue::builder().answer(Answer::ok("well")).bind().unwrap());
        // No token is left. If a move to the other endpoint cost a token, the move would be refused.
        let poor = "budget = { per_success = 0, burst = 1, initial = 0 }";
        let gateway = Gateway::start(&two(first.address(), second.address(), poor)).await;
        let mut caller = gateway.connect().await;
        let key = [("idempotency-key", "k-1")];
        for call in 0..101 {
            let heard = caller.ask("POST", "/up/x", &key, "amount=5").await;
            assert_eq!(
                (heard.status, heard.header("seawall-endpoint")),
                (Some(200), Some("1")),
                "call {call}"
            );
            assert_eq!(heard.header("seawall-attempts"), Some(if call == 0 { "2" } else { "1" }));
        }
        // On a busy machine a cooling time of one second may be over before the test ends, but not one of eight seconds.
        let most = if fields.is_empty() { 3 } else { 1 };
        assert!(requests(&first) <= most, "{}", requests(&first));
    }
}

#[tokio::test]
async fn one_customers_limit_stops_nobody_else() {
    let answer = |heard: &seawall_lab::rogue::Heard| match heard.target.as_str() {
        "/limited" => Answer::status(429).header("retry-after", "60"),
        _ => Answer::ok("well"),
    };
    let rogue = Rogue::builder().keep_heard(0).each(move |heard, _| answer(heard).into()).bind().unwrap();
    let up = dependency("up", rogue.address(), "retry = { attempts = 1 }");
    let gateway = Gateway::start(&up).await;
    let mut caller = gateway.connect().await;
    for call in 0..100 {
        let heard = caller.ask("GET", "/up/well", &[], "").await;
        assert_eq!(heard.status, Some(200), "call {call}: {:?}", heard.verdict());
        if call % 4 == 0 {
            assert_eq!(caller.ask("GET", "/up/limited", &[], "").await.header("seawall-reason"), None);
        }
    }
}

#[tokio::test]
async fn a_repeat_comes_after_the_time_and_the_calls_after_it_are_served() {
    let told = Arc::new(AtomicBool::new(false));
    let once = Arc::clone(&told);
    let answer = move || match once.swap(true, Ordering::SeqCst) {
        false => Answer::status(429).header("retry-after-ms", "300"),
        true => Answer::ok("well"),
    };
    let rogue = Rogue::builder().keep_heard(0).each(move |_, _| answer().into()).bind().unwrap();
    let gateway = Gateway::start(&dependency("up", rogue.address(), "")).await;
    let began = Instant::now();
    let heard = gateway.ask("GET", "/up/x", &[], "").await;
    assert_eq!(heard.verdict(), (200, "applied", "2", ""));
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(4), "{took:?}");
    soon("all to pass again", async {
        while gateway.ask("GET", "/up/x", &[], "").await.status != Some(200) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn turned_off_a_time_binds_only_the_call_that_was_told_it() {
    let rogue = says(429, &[("retry-after", "8")]);
    let lines = "cooldown = false\nretry = { attempts = 1 }";
    let gateway = Gateway::start(&dependency("up", rogue.address(), lines)).await;
    for call in 1..=20 {
        let heard = gateway.ask("GET", "/up/x", &[], "").await;
        assert_eq!((heard.status, heard.header("seawall-reason")), (Some(429), None));
        assert_eq!(requests(&rogue), call);
    }
    // The same holds for a status that the dependency does not declare as overload.
    let lines = "overload = [503]\nretry = { attempts = 1 }";
    let gateway = Gateway::start(&dependency("up", rogue.address(), lines)).await;
    for _ in 0..20 {
        assert_eq!(gateway.ask("GET", "/up/x", &[], "").await.header("seawall-reason"), None);
    }
}

#[tokio::test]
async fn an_hour_is_not_waited_for() {
    let rogue = says(503, &[("retry-after", "3600")]);
    let lines = "timeout = { total = \"off\" }";
    let gateway = Gateway::start(&dependency("up", rogue.address(), lines)).await;
    let heard = gateway.ask("GET", "/up/x", &[], "").await;
    assert_eq!((heard.status, heard.header("seawall-retry-stopped")), (Some(503), Some("cooling")));
    let heard = gateway.ask("GET", "/up/x", &[], "").await;
    let millis: u64 = heard.header("retry-after-ms").unwrap().parse().unwrap();
    assert!(millis < 75_100, "after_max, and a quarter of it: {millis}");
}

#[tokio::test]
async fn while_it_cools_its_health_is_not_asked() {
    let rogue = says(503, &[("retry-after", "5")]);
    let lines = "health = \"GET /health\"\nretry = { attempts = 1 }\nbreaker = { consecutive = 1, open_for = \"1s\" }";
    let gateway = Gateway::start(&dependency("up", rogue.address(), lines)).await;
    assert_eq!(gateway.ask("GET", "/up/x", &[], "").await.status, Some(503));
    // The breaker is open as well. By itself it would send a probe after a second.
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(1_600) {
        let heard = gateway.ask("GET", "/up/x", &[], "").await;
        assert_eq!(heard.header("seawall-reason"), Some("cooling-down"));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(requests(&rogue), 1, "no probe and no health request");
}
