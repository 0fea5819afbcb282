//! Providers that answer nonsense or far too much, and applications that settle late or never.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use seawall_lab::rogue::{Act, Answer, Load, Rogue, Then};
use serde_json::Value;
use support::charges::{
    BODY, FINE, Place, all, booked, charge, charge_within, ended, headers, known, opened, send,
    until_in_flight,
};
use support::{Ended, Gateway, harbor, soon};

/// A provider that does this with each charge, and knows of each charge when it is asked. Also returns the number of
/// charges that it was sent.
fn provider(act: impl Fn() -> Act + Send + 'static) -> (Rogue, Arc<AtomicU64>) {
    let sent = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&sent);
    let each = move |heard: &seawall_lab::rogue::Heard, _: &mut _| {
        if heard.method == "POST" {
            count.fetch_add(1, Ordering::Relaxed);
            return act();
        }
        Answer::ok(r#"{"id":"ch_1","status":"succeeded"}"#).header("content-type", "application/json").into()
    };
    (Rogue::builder().each(each).bind().unwrap(), sent)
}

/// The declaration of a charge whose effect the status alone decides.
fn plain(address: SocketAddr) -> String {
    let text = charge(address, "");
    let lines = text.lines().filter(|line| !line.starts_with("answers."));
    lines.collect::<Vec<_>>().join("\n")
}

const PAGE: &str = "<!doctype html><title>Bad gateway</title><p>Please try again later.";

#[tokio::test]
async fn page_instead_of_json_is_passed_on_and_its_effect_is_found_out() {
    for (status, body, kind) in [
        (200, PAGE, "text/html"),
        (500, PAGE, "text/html"),
        (200, r#"{"id":"ch_1","code":"OK","amo"#, "application/json"),
        (200, "", "application/json"),
    ] {
        let answer =
            move || Answer::status(status).load(Load::bytes(body)).header("content-type", kind).into();
        let (rogue, sent) = provider(answer);
        let place = Place::sqlite();
        let gateway = opened(&place, &charge(rogue.address(), "")).await;
        let heard = send(&gateway, "order-1", FINE).await;
        let (found, effect, attempts, _) = heard.verdict();
        assert_eq!((found, effect, attempts), (status, "unknown", "1"), "{heard:?}");
        assert_eq!(heard.text(), body, "the answer comes as it is");
        let at = format!("/-/actions/{}", heard.header("seawall-action").unwrap());
        assert_eq!(heard.header("location"), Some(&*at));
        let shown = ended(&gateway, "order-1").await;
        assert_eq!((&shown["state"], &shown["effect"]), (&"done".into(), &"applied".into()), "{shown}");
        let again = send(&gateway, "order-1", FINE).await;
        assert_eq!(again.verdict(), (409, "applied", "1", "answer-not-kept"), "{again:?}");
        assert_eq!(sent.load(Ordering::Relaxed), 1);
    }
}

#[tokio::test]
async fn refusal_that_is_a_page_is_recorded_and_replayed() {
    let answer = || Answer::status(404).load(Load::bytes(PAGE)).header("content-type", "text/html").into();
    let (rogue, sent) = provider(answer);
    let place = Place::sqlite();
    let gateway = opened(&place, &charge(rogue.address(), "")).await;
    for replayed in [None, Some("true")] {
        let heard = send(&gateway, "order-1", FINE).await;
        assert_eq!(heard.verdict(), (404, "not-applied", "1", ""), "{heard:?}");
        assert_eq!((heard.header("seawall-replayed"), &*heard.text()), (replayed, PAGE));
        assert_eq!(heard.header("content-type"), Some("text/html"));
    }
    assert_eq!(sent.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn answer_that_breaks_off_is_never_passed_on_in_part() {
    let half = Load::bytes(r#"{"id":"ch_1","code":"OK"}"#).cut_after(12);
    for then in [Then::Close, Then::Reset] {
        let half = half.clone();
        let answer = move || Answer::status(200).load(half.clone()).then(then).into();
        let (rogue, sent) = provider(answer);
        let place = Place::sqlite();
        let gateway = opened(&place, &charge(rogue.address(), "")).await;
        let heard = send(&gateway, "order-1", FINE).await;
        let (status, effect, attempts, _) = heard.verdict();
        assert_eq!((status, effect, attempts), (502, "unknown", "1"), "{heard:?}");
        assert_eq!(known(&gateway, "order-1").await["effect"], "applied");
        assert_eq!(sent.load(Ordering::Relaxed), 1);
    }
}

/// The length of a very long answer, in bytes.
const LONG: u64 = 1 << 30;

/// Sends a charge whose answer is very long, and reads it whole. Returns its head's `seawall-effect`.
async fn long_answer(gateway: &Gateway) -> String {
    let before = gateway.peak_memory();
    let mut caller = gateway.connect().await;
    caller.send("POST", "/pay/v1/charges", &headers("order-1", FINE), BODY).await;
    let heard = caller.hear_head().await;
    assert_eq!((heard.status, heard.ended), (Some(200), Ended::Open), "{heard:?}");
    assert_eq!(heard.header("content-length"), Some(&*LONG.to_string()));
    // The outcome is committed before the first byte of the answer, so it can be read while the rest comes.
    let early = gateway.ask("GET", "/-/actions?dependency=pay&key=order-1", &[], "").await;
    assert_eq!(early.status, Some(200), "{early:?}");
    let mut read = 0;
    while read < LONG {
        let piece = caller.piece().await.unwrap();
        assert!(!piece.is_empty(), "the answer ends after {read} bytes");
        read += piece.len() as u64;
    }
    assert_eq!(read, LONG);
    let grown = gateway.peak_memory() - before;
    println!("the gateway's memory has grown by {} KiB at most", grown >> 10);
    assert!(grown < 16 << 20, "{grown}");
    heard.header("seawall-effect").unwrap().to_owned()
}

/// A gateway that gives a long answer the time that it needs.
async fn patient(charge: &str) -> Gateway {
    let charge = charge.replace("{ read = \"2s\", total = \"3s\" }", "{ read = \"10s\", total = \"80s\" }");
    let gateway = Gateway::start(&format!("[ledger]\nlease = \"90s\"\n{charge}")).await;
    gateway.until_said("the ledger is open").await;
    gateway
}

#[tokio::test]
async fn very_long_answer_is_passed_on_whole_and_not_kept() {
    let (rogue, sent) = provider(|| Answer::status(200).load(Load::pattern(LONG)).into());
    let gateway = patient(&plain(rogue.address())).await;
    assert_eq!(long_answer(&gateway).await, "applied");
    let again = send(&gateway, "order-1", FINE).await;
    assert_eq!(again.verdict(), (409, "applied", "1", "answer-not-kept"), "{again:?}");
    assert_eq!(sent.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn code_behind_the_bound_leaves_the_effect_unknown() {
    let (rogue, sent) = provider(|| Answer::status(200).load(Load::pattern(LONG)).into());
    let gateway = patient(&charge(rogue.address(), "")).await;
    assert_eq!(long_answer(&gateway).await, "unknown");
    let shown = ended(&gateway, "order-1").await;
    assert_eq!((&shown["state"], &shown["effect"]), (&"done".into(), &"applied".into()), "{shown}");
    let again = send(&gateway, "order-1", FINE).await;
    assert_eq!(again.verdict(), (409, "applied", "1", "answer-not-kept"), "{again:?}");
    assert_eq!(sent.load(Ordering::Relaxed), 1);
}

/// A charge that its application must settle soon.
fn explicit(address: SocketAddr) -> String {
    let lines = "settle = \"explicit\"\nsettle_within = \"1300ms\"";
    charge_within(address, "{ read = \"800ms\", total = \"1s\" }", lines)
}

async fn post(gateway: &Gateway, key: &str, what: &str) -> (Option<u16>, Value) {
    let found = gateway.ask("GET", &format!("/-/actions?dependency=pay&key={key}"), &[], "").await.json();
    let target = format!("/-/actions/{}/{what}", found["id"].as_str().unwrap());
    let heard = gateway.ask("POST", &target, &[], "").await;
    (heard.status, heard.json())
}

#[tokio::test]
async fn charge_that_nobody_settles_is_refunded() {
    all(Place::both().map(|place| async move {
        let (address, books) = harbor();
        let gateway = opened(&place, &explicit(address)).await;
        // One application crashes after its answer, one in mid-call, and one loses the reply. One settles in time.
        for (key, fault) in [("settled", FINE), ("crashed", FINE), ("lost", "close-after-effect")] {
            let heard = send(&gateway, key, fault).await;
            assert_eq!(heard.header("seawall-attempts"), Some("1"), "{heard:?}");
        }
        let (status, settled) = post(&gateway, "settled", "settle").await;
        assert_eq!((status, &settled["settled"]), (Some(200), &true.into()), "{settled}");
        let mut caller = gateway.connect().await;
        caller.send("POST", "/pay/v1/charges", &headers("left", "delay=300ms"), BODY).await;
        until_in_flight(&books, 1).await;
        caller.reset();
        for key in ["crashed", "lost", "left"] {
            let shown = ended(&gateway, key).await;
            assert_eq!(
                (&shown["state"], &shown["effect"]),
                (&"cancelled".into(), &"not-applied".into()),
                "{shown}"
            );
            let refunds = books.snapshot().by_key[key].refunds;
            assert_eq!((booked(&books, key), refunds), ((1, 1), 1), "{key}");
            let (status, late) = post(&gateway, key, "settle").await;
            assert_eq!((status, &late["reason"]), (Some(409), &"too-late".into()), "{late}");
            let again = send(&gateway, key, FINE).await;
            assert_eq!(
                (again.status, again.header("seawall-reason")),
                (Some(409), Some("cancelled")),
                "{again:?}"
            );
            assert_eq!(again.header("seawall-effect"), Some("not-applied"), "{again:?}");
        }
        assert_eq!(ended(&gateway, "settled").await["effect"], "applied");
        assert_eq!(books.snapshot().by_key["settled"].refunds, 0);
    }))
    .await;
}

#[tokio::test]
async fn charge_is_refunded_once_although_the_gateway_crashes_too() {
    all(Place::both().map(|place| async move {
        let (address, books) = harbor();
        let text = place.section() + &explicit(address);
        let mut one = Gateway::start_armed("after-cancel-answer=abort@1", &text).await;
        one.until_said("the ledger is open").await;
        assert_eq!(send(&one, "order-1", FINE).await.status, Some(200));
        one.until_exit().await;
        let two = opened(&place, &explicit(address)).await;
        let shown = ended(&two, "order-1").await;
        assert_eq!(
            (&shown["state"], &shown["effect"]),
            (&"cancelled".into(), &"not-applied".into()),
            "{shown}"
        );
        assert_eq!((booked(&books, "order-1"), books.snapshot().refunds), ((1, 1), 1));
        let late = soon("the answer to a late settle", post(&two, "order-1", "settle")).await;
        assert_eq!((late.0, &late.1["reason"]), (Some(409), &"too-late".into()), "{late:?}");
    }))
    .await;
}
