//! Tests each fault: what a caller sees of it, and what the books say about it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod raw;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use raw::{Caller, Ended, Heard, ask};
use seawall_lab::harbor::{Books, Harbor, Script};

const CHARGE: &str = r#"{"amount": 1200, "currency": "eur"}"#;

fn open(script: Option<Script>) -> (SocketAddr, Books) {
    let harbor = Harbor::bind(([127, 0, 0, 1], 0).into(), script).unwrap();
    let found = (harbor.address(), harbor.books());
    tokio::spawn(harbor.run());
    found
}

async fn charge(at: SocketAddr, key: &str, fault: &str) -> Heard {
    ask(at, "POST", "/v1/charges", &[("idempotency-key", key), ("harbor-fault", fault)], CHARGE).await
}

/// Waits, without sleeping, until the books show what is expected.
async fn until(books: &Books, expected: impl Fn(&seawall_lab::harbor::Snapshot) -> bool) {
    let patience = Instant::now();
    while !expected(&books.snapshot()) {
        assert!(patience.elapsed() < Duration::from_secs(20), "{:?}", books.snapshot());
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn lost_reply_leaves_one_effect_that_a_repeat_finds() {
    let (at, books) = open(None);
    let lost = charge(at, "k", "close-after-effect").await;
    assert_eq!((lost.ended, lost.bytes.len()), (Ended::Closed, 0));
    assert_eq!(books.snapshot().effects, 1);
    let again = charge(at, "k", "close-after-effect").await;
    assert_eq!((again.status, again.header("idempotent-replayed")), (Some(200), Some("true")));
    assert_eq!((books.snapshot().effects, books.snapshot().by_key["k"].requests), (1, 2));
}

#[tokio::test]
async fn connection_ends_as_ordered_and_the_effect_is_as_named() {
    for (fault, ended, effects) in [
        ("close", Ended::Closed, 0),
        ("close-after-effect", Ended::Closed, 1),
        ("reset", Ended::Reset, 0),
        ("reset-after-effect", Ended::Reset, 1),
    ] {
        let (at, books) = open(None);
        let heard = charge(at, "k", fault).await;
        assert_eq!((heard.ended, heard.bytes.len()), (ended, 0), "{fault}");
        assert_eq!(books.snapshot().effects, effects, "{fault}");
        assert_eq!(charge(at, "k", fault).await.status, Some(200), "{fault} strikes the first only");
        assert_eq!(books.snapshot().effects, 1, "{fault}");
        until(&books, |books| books.in_flight == 0).await;
    }
}

#[tokio::test]
async fn statuses_come_with_and_without_effect() {
    let (at, books) = open(None);
    assert_eq!(charge(at, "a", "status=503").await.status, Some(503));
    assert_eq!(books.snapshot().effects, 0);
    assert_eq!(charge(at, "b", "status-after-effect=500").await.status, Some(500));
    assert_eq!(books.snapshot().effects, 1);
    let limited = charge(at, "c", "status=429,retry-after=1500ms").await;
    assert_eq!((limited.status, limited.header("retry-after")), (Some(429), Some("2")));
    assert_eq!(charge(at, "b", "").await.status, Some(400));
}

#[tokio::test]
async fn always_strikes_each_request_of_a_key() {
    let (at, books) = open(None);
    for _ in 0..3 {
        assert_eq!(charge(at, "k", "status-after-effect=502;always").await.status, Some(502));
    }
    assert_eq!((books.snapshot().effects, books.snapshot().by_key["k"].requests), (1, 3));
}

#[tokio::test]
async fn unkeyed_request_is_struck_each_time_unless_it_says_who_it_is() {
    let (at, books) = open(None);
    let ping = async |headers: &[(&str, &str)]| ask(at, "GET", "/v1/ping", headers, "").await.status;
    for _ in 0..2 {
        assert_eq!(ping(&[("harbor-fault", "status=503")]).await, Some(503));
    }
    assert_eq!(ping(&[("harbor-fault", "status=503"), ("harbor-id", "g1")]).await, Some(503));
    assert_eq!(ping(&[("harbor-fault", "status=503"), ("harbor-id", "g1")]).await, Some(200));
    assert_eq!(books.snapshot().by_id["g1"], 2);
}

#[tokio::test]
async fn misspelt_fault_is_refused_with_the_valid_ones() {
    let (at, books) = open(None);
    let heard = charge(at, "k", "clos-after-effect").await;
    assert_eq!(heard.status, Some(400));
    let said = heard.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(said.contains("nearest first: close-after-effect,"), "{said}");
    assert_eq!(books.snapshot().effects, 0);
    assert_eq!(
        charge(at, "k", "close").await.ended,
        Ended::Closed,
        "a refused request is not the first of its key"
    );
}

#[tokio::test]
async fn hang_answers_nothing_until_the_caller_leaves() {
    for (fault, effects) in [("hang", 0), ("hang-after-effect", 1)] {
        let (at, books) = open(None);
        let mut caller = Caller::connect(at).await;
        caller
            .send("POST", "/v1/charges", &[("idempotency-key", "k"), ("harbor-fault", fault)], CHARGE)
            .await;
        until(&books, |books| books.requests == 1 && books.in_flight == 1).await;
        assert_eq!(books.snapshot().effects, effects, "{fault}");
        // A repeat finds either that the key is free, or that the work is done.
        assert_eq!(charge(at, "k", fault).await.status, Some(200));
        assert_eq!((books.snapshot().in_flight, books.snapshot().max_in_flight), (1, 2));
        drop(caller);
        until(&books, |books| books.in_flight == 0).await;
        assert_eq!(books.snapshot().effects, 1, "{fault}");
    }
}

#[tokio::test]
async fn key_is_held_while_the_work_takes_its_time() {
    let (at, books) = open(None);
    let mut caller = Caller::connect(at).await;
    caller
        .send("POST", "/v1/charges", &[("idempotency-key", "k"), ("harbor-fault", "delay=1s")], CHARGE)
        .await;
    until(&books, |books| books.requests == 1).await;
    assert_eq!(charge(at, "k", "delay=1s").await.status, Some(409));
    assert_eq!(books.snapshot().effects, 0);
    assert_eq!(caller.hear().await.status, Some(200));
    assert_eq!(books.snapshot().effects, 1);
}

#[tokio::test]
async fn work_goes_on_when_the_caller_leaves() {
    let (at, books) = open(None);
    let mut caller = Caller::connect(at).await;
    caller.send("POST", "/v1/charges", &[("harbor-fault", "delay=1s")], CHARGE).await;
    until(&books, |books| books.in_flight == 1 && books.requests == 1).await;
    drop(caller);
    until(&books, |books| books.in_flight == 0).await;
    assert_eq!(books.snapshot().effects, 0, "the caller left before the work was done");
    until(&books, |books| books.effects == 1).await;
}

#[tokio::test]
async fn delay_after_effect_answers_late_what_was_done_at_once() {
    let (at, books) = open(None);
    let mut caller = Caller::connect(at).await;
    let began = Instant::now();
    caller.send("POST", "/v1/charges", &[("harbor-fault", "delay-after-effect=150ms")], CHARGE).await;
    until(&books, |books| books.effects == 1).await;
    assert_eq!(caller.hear().await.status, Some(200));
    assert!(began.elapsed() >= Duration::from_millis(150));
}

#[tokio::test]
async fn drip_sends_a_byte_per_interval() {
    let (at, _) = open(None);
    let mut caller = Caller::connect(at).await;
    let began = Instant::now();
    let heard = caller.ask("GET", "/v1/ping", &[("harbor-fault", "drip=5ms")], "").await;
    assert_eq!(heard.json()["pong"], true);
    assert!(began.elapsed() >= Duration::from_millis(5 * heard.body.len() as u64), "{:?}", began.elapsed());
    assert_eq!(caller.ask("GET", "/v1/ping", &[], "").await.status, Some(200), "the connection stays usable");
}

#[tokio::test]
async fn slow_head_is_a_whole_answer_in_the_end() {
    let (at, _) = open(None);
    let began = Instant::now();
    let heard = ask(at, "GET", "/v1/ping", &[("harbor-fault", "slow-head=2ms")], "").await;
    assert_eq!((heard.status, heard.json()["pong"].as_bool()), (Some(200), Some(true)));
    assert!(began.elapsed() >= Duration::from_millis(2 * heard.head.len() as u64));
}

#[tokio::test]
async fn truncated_answer_promises_more_than_it_sends() {
    let (at, books) = open(None);
    let heard = charge(at, "k", "truncate").await;
    let promised: usize = heard.header("content-length").unwrap().parse().unwrap();
    assert_eq!((heard.status, heard.ended), (Some(200), Ended::Closed));
    assert!(!heard.body.is_empty() && heard.body.len() < promised);
    assert_eq!(books.snapshot().effects, 1);
}

#[tokio::test]
async fn garbage_is_not_http() {
    let (at, books) = open(None);
    let heard = charge(at, "k", "garbage").await;
    assert!(heard.status.is_none() && !heard.bytes.is_empty());
    assert!(!heard.bytes.starts_with(b"HTTP"));
    assert_eq!(books.snapshot().effects, 1);
}

#[tokio::test]
async fn script_strikes_at_its_rate_without_effect() {
    let script = "seed = 3\n[[fault]]\nmatch = 'POST /v1/charges'\nfault = 'status=503'\nrate = 0.25";
    let (at, books) = open(Some(script.parse().unwrap()));
    let mut caller = Caller::connect(at).await;
    let mut refused = 0;
    for _ in 0..400 {
        refused += u64::from(caller.ask("POST", "/v1/charges", &[], CHARGE).await.status == Some(503));
    }
    assert!((70..130).contains(&refused), "{refused}");
    assert_eq!(books.snapshot().effects, 400 - refused);
    assert_eq!(caller.ask("GET", "/v1/ping", &[], "").await.status, Some(200));
}

async fn charge_http2(
    sender: &mut http2::SendRequest<Full<Bytes>>,
    key: &str,
    fault: Option<&str>,
) -> Result<(u16, Result<Bytes, hyper::Error>), hyper::Error> {
    let mut request = http::Request::post("http://harbor/v1/charges").header("idempotency-key", key);
    if let Some(fault) = fault {
        request = request.header("harbor-fault", fault);
    }
    let answer = sender.send_request(request.body(Full::new(Bytes::from(CHARGE))).unwrap()).await?;
    Ok((answer.status().as_u16(), answer.into_body().collect().await.map(|body| body.to_bytes())))
}

#[tokio::test]
async fn http2_is_served_and_struck_stream_by_stream() {
    let (at, books) = open(None);
    let stream = tokio::net::TcpStream::connect(at).await.unwrap();
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let reason = |error: &hyper::Error| {
        let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<h2::Error>());
        source.and_then(h2::Error::reason)
    };
    assert_eq!(charge_http2(&mut sender, "plain", None).await.unwrap().0, 200);
    for (fault, expected) in [
        ("reset", h2::Reason::INTERNAL_ERROR),
        ("close-after-effect", h2::Reason::CANCEL),
        ("garbage", h2::Reason::PROTOCOL_ERROR),
    ] {
        let error = charge_http2(&mut sender, fault, Some(fault)).await.unwrap_err();
        assert_eq!(reason(&error), Some(expected), "{fault}");
    }
    let (status, body) = charge_http2(&mut sender, "truncate", Some("truncate")).await.unwrap();
    assert_eq!(status, 200, "the head comes");
    assert!(body.is_err(), "the body breaks");
    let again = charge_http2(&mut sender, "close-after-effect", Some("close-after-effect")).await.unwrap();
    assert_eq!(again.0, 200);
    assert_eq!(charge_http2(&mut sender, "slow", Some("slow-head=1ms")).await.unwrap().0, 200);
    let books = books.snapshot();
    assert_eq!(books.by_key["close-after-effect"].effects, 1);
    assert_eq!(books.by_key["reset"].effects, 0);
    assert_eq!(books.effects, 5);
}
