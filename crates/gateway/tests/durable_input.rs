//! Requests for durable operations that are wrong, callers that leave, and callers that come with the same key: what they
//! are told, and what the provider's books say.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::time::Duration;

use bytes::Bytes;
use support::charges::{
    BODY, FINE, Place, all, booked, charge, charge_within, ended, headers, opened, send, until_in_flight,
};
use support::relay::{Relay, Then};
use support::scratch::Server;
use support::{Gateway, Multiplexed, harbor, http2, soon};

/// The longest body that the gateways of these tests take, in bytes.
const MOST: usize = 1024;

/// A gateway with a short bound for the request.
async fn bounded(charge: &str) -> Gateway {
    let gateway = Gateway::start(&format!("[ledger]\nrequest_max = \"1KiB\"\n{charge}")).await;
    gateway.until_said("the ledger is open").await;
    gateway
}

/// Checks that no action is recorded under this key.
async fn assert_no_row(gateway: &Gateway, key: &str) {
    let found = gateway.ask("GET", &format!("/-/actions?dependency=pay&key={key}"), &[], "").await;
    assert_eq!(found.status, Some(404), "{found:?}");
}

#[tokio::test]
async fn wrong_key_in_the_header_is_refused() {
    let (address, books) = harbor();
    let gateway = bounded(&charge(address, "")).await;
    let none = gateway.ask("POST", "/pay/v1/charges", &[], BODY).await;
    assert_eq!(none.verdict(), (400, "not-applied", "0", "bad-request"), "{none:?}");
    for (key, says) in [
        (String::new(), "idempotency-key"),
        ("k".repeat(256), "255"),
        ("order\t1".to_owned(), "control character"),
        ("größe".to_owned(), "idempotency-key"),
    ] {
        let heard = send(&gateway, &key, FINE).await;
        assert_eq!(heard.verdict(), (400, "not-applied", "0", "bad-request"), "{key:?}: {heard:?}");
        assert!(heard.json()["detail"].as_str().unwrap().to_lowercase().contains(says), "{key:?}: {heard:?}");
    }
    for key in ["order\u{1}1", "order\u{7f}1", "order\u{0}1"] {
        // A head with such a character is none, so this is refused before the route is known.
        let heard = send(&gateway, key, FINE).await;
        assert_eq!(heard.status, Some(400), "{key:?}: {heard:?}");
        assert_ne!(heard.header("seawall-effect"), Some("unknown"), "{key:?}: {heard:?}");
    }
    let twice = [("idempotency-key", "order-1"), ("idempotency-key", "order-2")];
    let heard = gateway.ask("POST", "/pay/v1/charges", &twice, BODY).await;
    assert_eq!(heard.verdict(), (400, "not-applied", "0", "bad-request"), "{heard:?}");
    assert_no_row(&gateway, "order-1").await;
    let longest = send(&gateway, &"k".repeat(255), FINE).await;
    assert_eq!(longest.verdict(), (200, "applied", "1", ""), "{longest:?}");
    assert_eq!((books.snapshot().requests, books.snapshot().effects), (1, 1));
}

#[tokio::test]
async fn wrong_key_in_the_body_is_refused() {
    let (address, books) = harbor();
    let gateway = bounded(&charge(address, "key = \"{request:/reference}\"")).await;
    for reference in [
        r#""order\u00001""#,
        r#""order\n1""#,
        r#""order\u00071""#,
        r#""order\u007f1""#,
        r#""""#,
        "null",
        "{}",
        &format!("\"{}\"", "k".repeat(256)),
    ] {
        let body = format!(r#"{{"amount":1200,"currency":"EUR","reference":{reference}}}"#);
        let heard = gateway.ask("POST", "/pay/v1/charges", &headers("unused", FINE), &body).await;
        assert_eq!(heard.verdict(), (400, "not-applied", "0", "bad-request"), "{reference}: {heard:?}");
    }
    for body in ["", "no JSON", r#"{"amount":1200"#, "[]"] {
        let heard = gateway.ask("POST", "/pay/v1/charges", &headers("unused", FINE), body).await;
        assert_eq!(heard.verdict(), (400, "not-applied", "0", "bad-request"), "{body}: {heard:?}");
    }
    assert_eq!(books.snapshot().requests, 0);
    let body = r#"{"amount":1200,"currency":"EUR","reference":"order-1"}"#;
    let heard = gateway.ask("POST", "/pay/v1/charges", &headers("unused", FINE), body).await;
    assert_eq!(heard.verdict(), (200, "applied", "1", ""), "{heard:?}");
    // The provider finds the key in the body, and not in a header.
    assert_eq!((books.snapshot().unkeyed.requests, books.snapshot().effects), (1, 1));
}

#[tokio::test]
async fn body_over_the_bound_is_refused_before_anything_is_sent() {
    let (address, books) = harbor();
    let gateway = bounded(&charge(address, "")).await;
    let too_large = (413, "not-applied", "0", "body-too-large");

    // Announced: the answer comes before a byte of the body.
    let mut caller = gateway.connect().await;
    let head = |framing: &str| {
        format!(
            "POST /pay/v1/charges HTTP/1.1\r\nhost: localhost\r\nidempotency-key: long\r\n{framing}\r\n\r\n"
        )
    };
    caller.write(head(&format!("content-length: {}", MOST + 1))).await;
    assert_eq!(caller.hear().await.verdict(), too_large);
    // In chunks: the bound is passed by the second one.
    let mut caller = gateway.connect().await;
    caller.write(head("transfer-encoding: chunked")).await;
    let chunk = format!("200\r\n{}\r\n", "x".repeat(0x200));
    caller.write(format!("{chunk}{chunk}1\r\n")).await;
    caller.write("x\r\n").await;
    assert_eq!(caller.hear().await.verdict(), too_large);

    let of_h2 = [("idempotency-key", "long")];
    let length = (MOST + 1).to_string();
    for announced in [true, false] {
        let mut caller = Multiplexed::connect(gateway.address()).await;
        let mut all = of_h2.to_vec();
        all.extend(announced.then_some(("content-length", &*length)));
        let (response, mut stream) = caller.open("POST", "/pay/v1/charges", &all, false).await;
        if !announced {
            stream.send_data(Bytes::from(vec![b'x'; MOST]), false).unwrap();
            stream.send_data(Bytes::from_static(b"x"), false).unwrap();
        }
        let heard = http2::hear(response).await;
        assert_eq!(heard.verdict(), too_large, "{heard:?}");
        // The connection goes on to work.
        let fine = caller.ask("GET", "/pay/v1/ping", &[], "").await;
        assert_eq!(fine.head.status(), 200);
    }
    assert_no_row(&gateway, "long").await;
    assert_eq!(books.snapshot().requests, 2, "the two pings");

    let spaces = MOST - BODY.len();
    let longest = format!("{BODY}{}", " ".repeat(spaces));
    let heard = gateway.ask("POST", "/pay/v1/charges", &headers("longest", FINE), &longest).await;
    assert_eq!(heard.verdict(), (200, "applied", "1", ""), "{heard:?}");
}

#[tokio::test]
async fn body_that_breaks_off_leaves_nothing() {
    let (address, books) = harbor();
    let gateway = bounded(&charge(address, "")).await;
    let mut caller = gateway.connect().await;
    caller
        .write("POST /pay/v1/charges HTTP/1.1\r\nhost: localhost\r\nidempotency-key: half\r\ncontent-length: 100\r\n\r\nhalf")
        .await;
    caller.half_close().await;
    let heard = caller.hear().await;
    assert!(matches!(heard.status, None | Some(400)), "{heard:?}");

    let mut caller = Multiplexed::connect(gateway.address()).await;
    let (response, mut stream) =
        caller.open("POST", "/pay/v1/charges", &[("idempotency-key", "half")], false).await;
    stream.send_data(Bytes::from_static(b"half"), false).unwrap();
    stream.send_reset(h2::Reason::NO_ERROR);
    drop(response);
    // The second request of the same connection is read after the reset.
    assert_eq!(caller.ask("GET", "/pay/v1/ping", &[], "").await.head.status(), 200);
    assert_no_row(&gateway, "half").await;
    assert_eq!(books.snapshot().requests, 1, "the ping");
}

#[tokio::test]
async fn caller_that_leaves_while_the_provider_works_stops_nothing() {
    all(Place::both().map(|place| async move {
        let (address, books) = harbor();
        let gateway = opened(&place, &charge(address, "")).await;
        let mut caller = gateway.connect().await;
        caller.send("POST", "/pay/v1/charges", &headers("order-1", "delay=400ms"), BODY).await;
        until_in_flight(&books, 1).await;
        caller.reset();
        let shown = ended(&gateway, "order-1").await;
        assert_eq!((&shown["state"], &shown["effect"]), (&"done".into(), &"applied".into()), "{shown}");
        assert_eq!(shown["attempts"].as_array().unwrap().len(), 1, "the answer itself was written: {shown}");
        let again = send(&gateway, "order-1", "delay=400ms").await;
        assert_eq!(again.verdict(), (200, "applied", "1", ""), "{again:?}");
        assert_eq!(again.header("seawall-replayed"), Some("true"));
        assert_eq!(booked(&books, "order-1"), (1, 1));
    }))
    .await;
}

#[tokio::test]
async fn caller_that_leaves_before_the_record_stops_nothing() {
    let (address, books) = harbor();
    let server = Server::shared();
    let relay = Relay::before(server, &server.database()).await;
    let place = Place::at(relay.url.clone());
    let gateway = opened(&place, &charge(address, "")).await;
    relay.trap(&["order-1", "COMMIT"], Then::Hold);
    let mut caller = gateway.connect().await;
    caller.send("POST", "/pay/v1/charges", &headers("order-1", FINE), BODY).await;
    relay.until_caught(1).await;
    assert_eq!(books.snapshot().requests, 0, "nothing is sent before the record is confirmed");
    caller.reset();
    relay.release();
    let shown = ended(&gateway, "order-1").await;
    assert_eq!((&shown["state"], &shown["effect"]), (&"done".into(), &"applied".into()), "{shown}");
    assert_eq!(booked(&books, "order-1"), (1, 1));
}

#[tokio::test]
async fn time_that_ends_before_the_record_leaves_an_unknown_effect_that_is_resolved() {
    let (address, books) = harbor();
    let server = Server::shared();
    let relay = Relay::before(server, &server.database()).await;
    let place = Place::at(relay.url.clone());
    let timeout = "{ read = \"500ms\", total = \"600ms\" }";
    let gateway = opened(&place, &charge_within(address, timeout, "")).await;
    relay.trap(&["order-1", "COMMIT"], Then::Hold);
    let heard = send(&gateway, "order-1", FINE).await;
    assert_eq!(heard.verdict(), (503, "unknown", "0", "ledger-unavailable"), "{heard:?}");
    let location = "/-/actions?dependency=pay&key=order%2D1";
    assert_eq!(heard.header("location"), Some(location));
    relay.release();
    let shown = ended(&gateway, "order-1").await;
    assert_eq!((&shown["state"], &shown["effect"]), (&"failed".into(), &"not-applied".into()), "{shown}");
    assert_eq!(booked(&books, "order-1"), (0, 0));
    // What was never sent can be tried again under its key.
    let again = send(&gateway, "order-1", FINE).await;
    assert_eq!((again.status, again.header("seawall-effect")), (Some(200), Some("applied")), "{again:?}");
    assert_eq!(booked(&books, "order-1"), (1, 1));
}

#[tokio::test]
async fn key_that_another_gateway_is_recording_is_waited_for() {
    let (address, books) = harbor();
    let server = Server::shared();
    let url = server.database();
    let relay = Relay::before(server, &url).await;
    let one = opened(&Place::at(relay.url.clone()), &charge(address, "")).await;
    let two = opened(&Place::at(url), &charge(address, "")).await;
    relay.trap(&["order-1", "COMMIT"], Then::HoldBefore);
    let (first, second) = tokio::join!(send(&one, "order-1", FINE), async {
        relay.until_caught(1).await;
        let second = send(&two, "order-1", FINE);
        let releasing = async {
            tokio::time::sleep(Duration::from_millis(800)).await;
            relay.release();
        };
        tokio::join!(second, releasing).0
    });
    for heard in [&first, &second] {
        assert_eq!(heard.verdict(), (200, "applied", "1", ""), "{heard:?}");
        assert_eq!(heard.json(), first.json());
    }
    assert_eq!(booked(&books, "order-1"), (1, 1));
}

#[tokio::test]
async fn fifty_callers_of_one_key_get_one_answer_from_two_gateways() {
    let (address, books) = harbor();
    let place = Place::postgres();
    let one = opened(&place, &charge(address, "")).await;
    let two = opened(&place, &charge(address, "")).await;
    let calls = (0..50).map(|n| send(if n % 2 == 0 { &one } else { &two }, "order-1", "delay=500ms"));
    let heard = soon("fifty answers", all(calls)).await;
    let first = heard[0].json();
    for one in &heard {
        assert_eq!((one.status, one.header("seawall-effect")), (Some(200), Some("applied")), "{one:?}");
        assert_eq!(one.json(), first);
    }
    let replayed = heard.iter().filter(|one| one.header("seawall-replayed").is_some()).count();
    assert_eq!(replayed, 49);
    assert_eq!(booked(&books, "order-1"), (1, 1));
    // A refusal is the same for all, too.
    let body = r#"{"amount":402,"currency":"EUR"}"#;
    let declined = headers("order-2", "delay=500ms");
    let calls = (0..50).map(|n| {
        let gateway = if n % 2 == 0 { &one } else { &two };
        gateway.ask("POST", "/pay/v1/charges", &declined, body)
    });
    for one in soon("fifty refusals", all(calls)).await {
        assert_eq!((one.status, one.header("seawall-effect")), (Some(200), Some("not-applied")), "{one:?}");
        assert_eq!(one.json()["code"], "DECLINED");
    }
    assert_eq!(booked(&books, "order-2"), (1, 0));
}
