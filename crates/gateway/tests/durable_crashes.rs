//! Gateways that are killed, stopped and ended in the middle of durable calls: other gateways, or the next start, finish the
//! work, and each action has one effect.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::charges::{
    BODY, FINE, Place, all, booked, charge, ended, headers, opened, send, until_in_flight,
};
use support::relay::{Relay, Then};
use support::scratch::Server;
use support::{Caller, Ended, Gateway, Heard, harbor, soon};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// The state and the effect of an action.
fn outcome(shown: &Value) -> (&str, &str) {
    (shown["state"].as_str().unwrap(), shown["effect"].as_str().unwrap())
}

/// Checks that the caller got no byte of an answer.
fn assert_silent(heard: &Heard) {
    assert_eq!(heard.status, None, "{heard:?}");
    assert_ne!(heard.ended, Ended::Open, "{heard:?}");
}

/// Starts a gateway that ends at this failpoint, sends a charge through it, and waits until it has ended. Returns the
/// gateway that goes on.
async fn crashed_at(point: &str, place: &Place, address: SocketAddr) -> Gateway {
    let text = place.section() + &charge(address, "");
    let mut one = Gateway::start_armed(&format!("{point}=abort@1"), &text).await;
    one.until_said("the ledger is open").await;
    assert_silent(&send(&one, "order-1", FINE).await);
    one.until_exit().await;
    assert_eq!(one.said(&format!("failpoint {point}")).len(), 1);
    opened(place, &charge(address, "")).await
}

#[tokio::test]
async fn crash_between_the_answer_and_its_commit_is_found_out() {
    all(Place::both().map(|place| async move {
        let (address, books) = harbor();
        let two = crashed_at("after-answer", &place, address).await;
        assert_eq!(booked(&books, "order-1"), (1, 1));
        let shown = ended(&two, "order-1").await;
        assert_eq!(outcome(&shown), ("done", "applied"), "{shown}");
        assert_eq!(booked(&books, "order-1"), (1, 1), "nothing was sent again");
        let again = send(&two, "order-1", FINE).await;
        assert_eq!(again.verdict(), (409, "applied", "1", "answer-not-kept"), "{again:?}");
    }))
    .await;
}

#[tokio::test]
async fn crash_between_the_commit_and_the_head_is_a_replay() {
    all(Place::both().map(|place| async move {
        let (address, books) = harbor();
        let two = crashed_at("after-outcome", &place, address).await;
        let again = send(&two, "order-1", FINE).await;
        assert_eq!(again.verdict(), (200, "applied", "1", ""), "{again:?}");
        assert_eq!(again.header("seawall-replayed"), Some("true"));
        assert_eq!(again.json()["amount"], 1200);
        assert_eq!(booked(&books, "order-1"), (1, 1));
    }))
    .await;
}

#[tokio::test]
async fn crash_between_the_record_and_the_first_byte_leaves_no_effect() {
    all(Place::both().map(|place| async move {
        let (address, books) = harbor();
        let two = crashed_at("after-attempt", &place, address).await;
        let shown = ended(&two, "order-1").await;
        assert_eq!(outcome(&shown), ("failed", "not-applied"), "{shown}");
        assert_eq!(booked(&books, "order-1"), (0, 0));
    }))
    .await;
}

#[tokio::test]
async fn killed_gateway_with_200_calls_in_flight_sends_nothing_again() {
    for place in Place::both() {
        let (address, books) = harbor();
        let one = opened(&place, &charge(address, "")).await;
        let keys: Vec<String> = (0..200).map(|number| format!("order-{number}")).collect();
        // Every second request is lost on its way.
        let fault = |number: usize| if number.is_multiple_of(2) { "delay=1900ms" } else { "hang" };
        let calls = all(keys.iter().enumerate().map(|(number, key)| send(&one, key, fault(number))));
        let killing = async {
            until_in_flight(&books, 200).await;
            one.signal("KILL");
            Instant::now()
        };
        let (heard, killed) = tokio::join!(calls, killing);
        heard.iter().for_each(assert_silent);
        let two = opened(&place, &charge(address, "")).await;
        let shown = all(keys.iter().map(|key| ended(&two, key))).await;
        let took = killed.elapsed();
        println!("all 200 resolved {took:?} after the kill");
        for (number, (key, shown)) in keys.iter().zip(&shown).enumerate() {
            let (expected, effects) = if number.is_multiple_of(2) {
                (("done", "applied"), 1)
            } else {
                (("failed", "not-applied"), 0)
            };
            assert_eq!(outcome(shown), expected, "{key}: {shown}");
            assert_eq!(booked(&books, key), (1, effects), "{key}: nothing was sent again");
        }
        // Lease, quiet time, and five seconds.
        assert!(took < Duration::from_millis(4_000 + 400 + 5_000), "{took:?}");
    }
}

#[tokio::test]
async fn gateway_that_stands_still_past_its_lease_adds_nothing() {
    all(Place::both().map(|place| async move {
        let (address, books) = harbor();
        let one = opened(&place, &charge(address, "")).await;
        let two = opened(&place, &charge(address, "")).await;
        let mut caller = one.connect().await;
        caller.send("POST", "/pay/v1/charges", &headers("order-1", "delay=500ms"), BODY).await;
        until_in_flight(&books, 1).await;
        one.signal("STOP");
        let shown = ended(&two, "order-1").await;
        assert_eq!(outcome(&shown), ("done", "applied"), "{shown}");
        one.signal("CONT");
        let heard = caller.hear().await;
        // Its answer had come before it stood still for too long, or its time is over.
        match heard.verdict() {
            (200, "applied", "1", "") => {}
            (504, "unknown", "1", _) => assert!(heard.header("location").is_some(), "{heard:?}"),
            _ => panic!("{heard:?}"),
        }
        for gateway in [&one, &two] {
            let again = send(gateway, "order-1", "delay=500ms").await;
            assert_eq!(again.header("seawall-effect"), Some("applied"), "{again:?}");
        }
        assert_eq!(booked(&books, "order-1"), (1, 1));
    }))
    .await;
}

#[tokio::test]
async fn gateway_that_stands_still_before_the_first_byte_sends_nothing_late() {
    let (address, books) = harbor();
    let server = Server::shared();
    let url = server.database();
    let relay = Relay::before(server, &url).await;
    let one = opened(&Place::at(relay.url.clone()), &charge(address, "")).await;
    let two = opened(&Place::at(url), &charge(address, "")).await;
    relay.trap(&["order-1", "COMMIT"], Then::Hold);
    let mut caller = one.connect().await;
    caller.send("POST", "/pay/v1/charges", &headers("order-1", FINE), BODY).await;
    relay.until_caught(1).await;
    one.signal("STOP");
    relay.release();
    let shown = ended(&two, "order-1").await;
    assert_eq!(outcome(&shown), ("failed", "not-applied"), "{shown}");
    one.signal("CONT");
    let heard = caller.hear().await;
    assert_eq!(heard.header("seawall-effect"), Some("unknown"), "{heard:?}");
    // Another call on the same gateway shows that it has worked off what it had before.
    assert_eq!(send(&one, "order-2", FINE).await.status, Some(200));
    assert_eq!(booked(&books, "order-1"), (0, 0));
}

#[tokio::test]
async fn calls_end_before_a_gateway_that_is_told_to_end() {
    all(Place::both().map(|place| async move {
        let (address, books) = harbor();
        let mut one = opened(&place, &charge(address, "")).await;
        let keys: Vec<String> = (0..50).map(|number| format!("order-{number}")).collect();
        let calls = all(keys.iter().map(|key| send(&one, key, "delay=900ms")));
        let ending = async {
            until_in_flight(&books, 50).await;
            one.signal("TERM");
        };
        let (heard, ()) = tokio::join!(calls, ending);
        for heard in &heard {
            assert_eq!(heard.verdict(), (200, "applied", "1", ""), "{heard:?}");
        }
        assert!(one.until_exit().await.success());
        let two = opened(&place, &charge(address, "")).await;
        for (key, heard) in keys.iter().zip(&heard) {
            let again = send(&two, key, "delay=900ms").await;
            assert_eq!((again.status, again.json()), (Some(200), heard.json()), "{key}");
            assert_eq!(booked(&books, key), (1, 1), "{key}");
        }
    }))
    .await;
}

#[tokio::test]
async fn other_gateways_finish_the_work_of_one_that_was_killed() {
    let (address, books) = harbor();
    let place = Place::postgres();
    let one = opened(&place, &charge(address, "")).await;
    let two = opened(&place, &charge(address, "")).await;
    let three = opened(&place, &charge(address, "")).await;
    let keys: Vec<String> = (0..60).map(|number| format!("order-{number}")).collect();
    let calls = all(keys.iter().map(|key| send(&one, key, "delay=1500ms")));
    let killing = async {
        until_in_flight(&books, 60).await;
        one.signal("KILL");
    };
    let (heard, ()) = tokio::join!(calls, killing);
    heard.iter().for_each(assert_silent);
    for (key, gateway) in keys.iter().zip([&two, &three].into_iter().cycle()) {
        let shown = ended(gateway, key).await;
        assert_eq!(outcome(&shown), ("done", "applied"), "{key}: {shown}");
        assert_eq!(booked(&books, key), (1, 1), "{key}");
    }
}

/// Sends a charge to this address; `None` if no answer comes.
async fn try_send(address: SocketAddr, key: &str) -> Option<Heard> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!(
        "POST /pay/v1/charges HTTP/1.1\r\nhost: localhost\r\nidempotency-key: {key}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    stream.write_all(request.as_bytes()).await.ok()?;
    Some(Caller::over(stream).hear().await).filter(|heard| heard.status.is_some())
}

/// Makes a charge as a careful application does: it repeats the request under its key until the effect is known.
async fn insist(gateways: &Mutex<Vec<SocketAddr>>, number: usize, retries: &AtomicUsize) {
    let key = format!("order-{number}");
    let trying = async {
        for turn in number.. {
            let address = {
                let gateways = gateways.lock().unwrap();
                gateways[turn % gateways.len()]
            };
            let heard = try_send(address, &key).await;
            let told = heard.as_ref().map(|heard| (heard.status, heard.header("seawall-effect")));
            match told {
                Some((Some(200), Some("applied"))) => return,
                // The answer is known from a question only.
                Some((Some(409), Some("applied"))) => return,
                Some((Some(502..=504 | 409), _)) | None => {}
                _ => panic!("{key}: {heard:?}"),
            }
            retries.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon("a charge", trying).await;
}

/// Makes this number of charges over three gateways, one of which ends and starts again every two seconds.
#[tokio::test]
async fn actions_and_effects_are_equal_while_one_of_three_gateways_comes_and_goes() {
    let actions: usize = std::env::var("SEAWALL_ACTIONS").map_or(1000, |text| text.parse().unwrap());
    let (address, books) = harbor();
    let place = Place::postgres();
    let text = charge(address, "");
    let one = opened(&place, &text).await;
    let two = opened(&place, &text).await;
    let gateways = Mutex::new(vec![one.address(), two.address()]);
    let (next, retries) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let begun = Instant::now();
    let callers = all((0..16).map(|_| async {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= actions {
                return;
            }
            insist(&gateways, number, &retries).await;
        }
    }));
    let mut starts = 0;
    let restarting = async {
        loop {
            let mut three = opened(&place, &text).await;
            starts += 1;
            let place_of_three = gateways.lock().unwrap().len();
            gateways.lock().unwrap().push(three.address());
            tokio::time::sleep(Duration::from_secs(2)).await;
            three.signal("TERM");
            assert!(three.until_exit().await.success());
            gateways.lock().unwrap().truncate(place_of_three);
        }
    };
    tokio::select! {
        _ = callers => {}
        () = restarting => {}
    }
    let took = begun.elapsed();
    println!("{actions} actions in {took:?}, {starts} starts, {} repeats", retries.load(Ordering::Relaxed));
    let seen = books.snapshot();
    assert_eq!((seen.by_key.len(), seen.effects), (actions, actions as u64));
    for (key, of) in &seen.by_key {
        assert_eq!((of.requests, of.effects), (1, 1), "{key}");
    }
}
