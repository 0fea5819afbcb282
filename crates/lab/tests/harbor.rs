//! The harbor's business and its books.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod raw;

use std::net::SocketAddr;

use raw::{Caller, ask};
use seawall_lab::harbor::{Books, Harbor};
use serde_json::Value;

const CHARGE: &str = r#"{"amount": 1200, "currency": "eur", "metadata": {"order": "A-1"}}"#;

fn open() -> (SocketAddr, Books) {
    let harbor = Harbor::bind(([127, 0, 0, 1], 0).into(), None).unwrap();
    let found = (harbor.address(), harbor.books());
    tokio::spawn(harbor.run());
    found
}

fn id(charge: &Value) -> &str {
    charge["id"].as_str().unwrap()
}

#[tokio::test]
async fn charge_is_made_found_and_listed() {
    let (at, _) = open();
    let made = ask(at, "POST", "/v1/charges", &[("idempotency-key", "k 1")], CHARGE).await;
    assert_eq!(made.status, Some(200));
    let charge = made.json();
    assert!(id(&charge).starts_with("ch_"));
    assert_eq!(charge["status"], "succeeded");
    assert_eq!(charge["code"], "OK");
    assert_eq!(charge["amount"], 1200);
    assert_eq!(charge["key"], "k 1");
    assert_eq!(charge["metadata"]["key"], "k 1");
    assert_eq!(charge["metadata"]["order"], "A-1");
    assert!(charge["created"].as_str().unwrap().ends_with('Z'));

    assert_eq!(ask(at, "GET", "/v1/charges?key=k%201", &[], "").await.json(), charge);
    assert_eq!(ask(at, "GET", &format!("/v1/charges/{}", id(&charge)), &[], "").await.json(), charge);
    assert_eq!(ask(at, "GET", "/v1/charges?key=other", &[], "").await.status, Some(404));
    assert_eq!(ask(at, "GET", "/v1/charges/ch_other", &[], "").await.status, Some(404));
    let list = ask(at, "GET", "/v1/charges?from=2020-01-01&to=2100-01-01T00:00:00Z", &[], "").await.json();
    assert_eq!(list["data"], serde_json::json!([charge]));
    assert_eq!(list["next"], Value::Null);
    let past = ask(at, "GET", "/v1/charges?to=2020-01-01", &[], "").await.json();
    assert_eq!(past["data"], serde_json::json!([]));
    assert_eq!(ask(at, "GET", "/v1/charges?from=yesterday", &[], "").await.status, Some(400));
}

#[tokio::test]
async fn same_key_and_bytes_is_replayed_and_other_bytes_are_refused() {
    let (at, books) = open();
    let mut caller = Caller::connect(at).await;
    let key = [("Idempotency-Key", "k1")];
    let first = caller.ask("POST", "/v1/charges", &key, CHARGE).await;
    let again = caller.ask("POST", "/v1/charges", &key, CHARGE).await;
    assert_eq!(first.header("idempotent-replayed"), None);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(first.body, again.body);
    assert_eq!(caller.ask("POST", "/v1/charges", &key, r#"{"amount": 1}"#).await.status, Some(422));
    assert_eq!(caller.ask("POST", "/v1/refunds", &key, CHARGE).await.status, Some(422));
    let books = books.snapshot();
    assert_eq!((books.effects, books.requests, books.bytes_mismatch), (1, 4, 2));
    assert_eq!((books.by_key["k1"].requests, books.by_key["k1"].effects), (4, 1));
}

#[tokio::test]
async fn without_a_key_each_post_is_a_new_effect() {
    let (at, books) = open();
    let mut caller = Caller::connect(at).await;
    for _ in 0..3 {
        caller.ask("POST", "/v1/charges", &[], CHARGE).await;
    }
    caller.ask("GET", "/health", &[], "").await;
    let books = books.snapshot();
    assert_eq!((books.effects, books.unkeyed.requests, books.unkeyed.effects), (3, 3, 3));
    assert_eq!((books.requests, books.reads), (4, 1));
    let ids: std::collections::BTreeSet<_> = books.charges.iter().map(|charge| &charge.id).collect();
    assert_eq!(ids.len(), 3);
}

#[tokio::test]
async fn declined_charge_is_a_200_without_effect() {
    let (at, books) = open();
    for body in [r#"{"amount": 402}"#, r#"{"amount": 7, "metadata": {"decline": true}}"#] {
        let heard = ask(at, "POST", "/v1/charges", &[("idempotency-key", body)], body).await;
        assert_eq!(heard.status, Some(200));
        assert_eq!((&heard.json()["code"], &heard.json()["status"]), (&"DECLINED".into(), &"failed".into()));
    }
    assert_eq!((books.snapshot().effects, books.snapshot().charges.len()), (0, 0));
    assert_eq!(
        ask(at, "GET", "/v1/charges?key=%7B%22amount%22%3A%20402%7D", &[], "").await.status,
        Some(404)
    );
}

#[tokio::test]
async fn malformed_orders_are_refused_without_effect() {
    let (at, books) = open();
    for body in [
        "",
        "no json",
        "[]",
        "{}",
        r#"{"amount": 0}"#,
        r#"{"amount": "9"}"#,
        r#"{"amount": 9, "metadata": 3}"#,
    ] {
        assert_eq!(ask(at, "POST", "/v1/charges", &[], body).await.status, Some(400), "{body}");
    }
    assert_eq!(ask(at, "PATCH", "/v1/charges", &[], "").await.status, Some(405));
    assert_eq!(ask(at, "GET", "/v2", &[], "").await.status, Some(404));
    assert_eq!(books.snapshot().effects, 0);
}

#[tokio::test]
async fn refused_answer_leaves_the_key_free() {
    let (at, _) = open();
    let key = [("idempotency-key", "k")];
    assert_eq!(ask(at, "POST", "/v1/charges", &key, "{}").await.status, Some(400));
    assert_eq!(ask(at, "POST", "/v1/charges", &key, CHARGE).await.status, Some(200));
}

#[tokio::test]
async fn refund_gives_back_once_and_is_counted_under_the_key_of_the_charge() {
    let (at, books) = open();
    let charge = ask(at, "POST", "/v1/charges", &[("idempotency-key", "k")], CHARGE).await.json();
    let order = format!(r#"{{"charge": "{}"}}"#, id(&charge));
    let first = ask(at, "POST", "/v1/refunds", &[("idempotency-key", "c1")], &order).await.json();
    let other_key = ask(at, "POST", "/v1/refunds", &[("idempotency-key", "c2")], &order).await.json();
    assert_eq!((&first["amount"], &first["charge"]), (&1200.into(), &charge["id"]));
    assert_eq!(first, other_key, "refunding what is refunded changes nothing");
    assert_eq!(ask(at, "GET", "/v1/charges?key=k", &[], "").await.json()["status"], "refunded");
    assert_eq!(ask(at, "POST", "/v1/refunds", &[], r#"{"charge": "ch_0"}"#).await.status, Some(404));
    let books = books.snapshot();
    assert_eq!((books.effects, books.refunds), (2, 1));
    assert_eq!((books.by_key["k"].effects, books.by_key["k"].refunds), (1, 1));
    assert_eq!((books.by_key["c1"].effects, books.by_key["c2"].effects), (1, 0));
}

#[tokio::test]
async fn partial_refunds_add_up_to_the_charge_and_no_further() {
    let (at, books) = open();
    let charge = ask(at, "POST", "/v1/charges", &[], CHARGE).await.json();
    let order = |amount| format!(r#"{{"charge": "{}", "amount": {amount}}}"#, id(&charge));
    assert_eq!(ask(at, "POST", "/v1/refunds", &[], &order(700)).await.status, Some(200));
    assert_eq!(ask(at, "POST", "/v1/refunds", &[], &order(700)).await.status, Some(400));
    assert_eq!(books.snapshot().charges[0].status, seawall_lab::harbor::Status::Succeeded);
    assert_eq!(ask(at, "POST", "/v1/refunds", &[], &order(500)).await.status, Some(200));
    assert_eq!(books.snapshot().charges[0].status, seawall_lab::harbor::Status::Refunded);
}

#[tokio::test]
async fn deleting_and_putting_again_is_no_new_effect() {
    let (at, books) = open();
    let charge = ask(at, "POST", "/v1/charges", &[("idempotency-key", "k")], CHARGE).await.json();
    let target = format!("/v1/charges/{}", id(&charge));
    assert_eq!(ask(at, "DELETE", &target, &[], "").await.status, Some(204));
    assert_eq!(ask(at, "DELETE", &target, &[], "").await.status, Some(204));
    assert_eq!(ask(at, "GET", &target, &[], "").await.status, Some(404));
    assert_eq!(ask(at, "GET", "/v1/charges?key=k", &[], "").await.status, Some(404));
    assert_eq!(ask(at, "DELETE", "/v1/charges/ch_0", &[], "").await.status, Some(404));
    assert_eq!(books.snapshot().effects, 2);
    for effects in [3, 3] {
        let heard = ask(at, "PUT", "/v1/customers/c1", &[], r#"{"name": "Ada"}"#).await;
        assert_eq!((heard.status, heard.json()["name"].as_str()), (Some(200), Some("Ada")));
        assert_eq!(books.snapshot().effects, effects);
    }
    ask(at, "PUT", "/v1/customers/c1", &[], r#"{"name": "Eve"}"#).await;
    assert_eq!(books.snapshot().effects, 4);
}

#[tokio::test]
async fn list_pages_through_everything_once() {
    let (at, _) = open();
    let mut caller = Caller::connect(at).await;
    let mut made = Vec::new();
    for _ in 0..7 {
        made.push(caller.ask("POST", "/v1/charges", &[], CHARGE).await.json());
    }
    let mut read = Vec::new();
    let mut cursor = String::new();
    for pages in 1.. {
        let page = caller.ask("GET", &format!("/v1/charges?limit=3&cursor={cursor}"), &[], "").await.json();
        read.extend(page["data"].as_array().unwrap().clone());
        match page["next"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => {
                assert_eq!(pages, 3);
                break;
            }
        }
    }
    assert_eq!(read, made);
}

#[tokio::test]
async fn books_are_served_uncounted_and_cleared() {
    let (at, _) = open();
    ask(at, "POST", "/v1/charges", &[("idempotency-key", "k")], CHARGE).await;
    for _ in 0..2 {
        let books = ask(at, "GET", "/books", &[], "").await.json();
        assert_eq!(
            (&books["effects"], &books["requests"], &books["in_flight"]),
            (&1.into(), &1.into(), &0.into())
        );
        assert_eq!(books["by_key"]["k"], serde_json::json!({"requests": 1, "effects": 1, "refunds": 0}));
        assert_eq!(books["unkeyed"], serde_json::json!({"requests": 0, "effects": 0}));
        assert_eq!(books["charges"][0]["key"], "k");
        assert_eq!((&books["max_in_flight"], &books["bytes_mismatch"]), (&1.into(), &0.into()));
    }
    assert_eq!(ask(at, "DELETE", "/books", &[], "").await.status, Some(204));
    let books = ask(at, "GET", "/books", &[], "").await.json();
    assert_eq!((&books["effects"], &books["by_key"]), (&0.into(), &serde_json::json!({})));
    let again = ask(at, "POST", "/v1/charges", &[("idempotency-key", "k")], CHARGE).await;
    assert_eq!(again.header("idempotent-replayed"), None, "a cleared key is new");
}

#[tokio::test]
async fn oversized_body_is_refused_and_not_counted_as_a_request() {
    let (at, books) = open();
    let mut caller = Caller::connect(at).await;
    let head =
        format!("POST /v1/charges HTTP/1.1\r\nhost: harbor\r\ncontent-length: {}\r\n\r\n", (1 << 20) + 1);
    tokio::io::AsyncWriteExt::write_all(&mut caller.stream, head.as_bytes()).await.unwrap();
    assert_eq!(caller.hear().await.status, Some(413));
    assert_eq!((books.snapshot().requests, books.snapshot().broken), (0, 1));
}

#[tokio::test]
async fn dropping_the_harbor_closes_its_connections() {
    let harbor = Harbor::bind(([127, 0, 0, 1], 0).into(), None).unwrap();
    let at = harbor.address();
    let running = tokio::spawn(harbor.run());
    let mut caller = Caller::connect(at).await;
    assert_eq!(caller.ask("GET", "/v1/ping", &[], "").await.status, Some(200));
    running.abort();
    assert_ne!(caller.hear().await.ended, raw::Ended::Open);
    assert!(tokio::net::TcpStream::connect(at).await.is_err());
}

#[tokio::test]
async fn kept_books_outlive_the_harbor() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("books");
    let open = || {
        let books = Books::kept_in(&file).unwrap();
        let harbor = Harbor::bind(([127, 0, 0, 1], 0).into(), None).unwrap().with_books(books.clone());
        (harbor.address(), books, tokio::spawn(harbor.run()))
    };
    let key = [("Idempotency-Key", "k1")];
    let (at, books, running) = open();
    let charge = ask(at, "POST", "/v1/charges", &key, CHARGE).await.json();
    let other = ask(at, "POST", "/v1/charges", &[], CHARGE).await.json();
    let refund = format!(r#"{{"charge": "{}"}}"#, id(&other));
    ask(at, "POST", "/v1/refunds", &[("Idempotency-Key", "k2")], &refund).await;
    let before = serde_json::to_value(books.snapshot()).unwrap();
    let taken = Books::kept_in(&file).unwrap_err();
    assert_eq!(taken.kind(), std::io::ErrorKind::WouldBlock);
    running.abort();
    let _ = running.await;
    drop(books);

    // As if the process had been killed in the middle of a line.
    let mut torn = std::fs::OpenOptions::new().append(true).open(&file).unwrap();
    std::io::Write::write_all(&mut torn, b"{\"seen\":{\"asked\":{\"method\":\"POST\"").unwrap();
    drop(torn);

    let (at, books, running) = open();
    let after = serde_json::to_value(books.snapshot()).unwrap();
    for what in ["effects", "requests", "refunds", "by_key", "unkeyed", "charges"] {
        assert_eq!(after[what], before[what], "{what}");
    }
    let again = ask(at, "POST", "/v1/charges", &key, CHARGE).await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.json(), charge);
    let next = ask(at, "POST", "/v1/charges", &[], CHARGE).await.json();
    assert!(id(&next) != id(&charge) && id(&next) != id(&other));
    books.clear();
    assert_eq!(ask(at, "POST", "/v1/charges", &key, CHARGE).await.header("idempotent-replayed"), None);
    running.abort();
    let _ = running.await;
    drop(books);
    assert_eq!(open().1.snapshot().effects, 1);
}

#[tokio::test]
async fn closed_harbor_refuses_until_it_runs() {
    let harbor = Harbor::closed(([127, 0, 0, 1], 0).into(), None).unwrap();
    let at = harbor.address();
    let refused = tokio::net::TcpStream::connect(at).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    let running = tokio::spawn(harbor.run());
    while tokio::net::TcpStream::connect(at).await.is_err() {
        tokio::task::yield_now().await;
    }
    assert_eq!(ask(at, "GET", "/health", &[], "").await.status, Some(200));
    running.abort();
}
