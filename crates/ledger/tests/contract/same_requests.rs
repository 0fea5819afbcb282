//! The tests, over any store, of what makes two requests under one key the same request.

use seawall_ledger::store::Store;
use seawall_ledger::{Action, Begun, End, Ledger, NewAction, Refusal, Same};
use seawall_policy::Idempotency;

use crate::provider::Provider;
use crate::suite::{asking, charge};
use crate::world::{World, ledger};

/// A request with this path, with one header besides the content type.
fn request(key: &str, path: &str, header: &str, body: &str) -> NewAction {
    let head = format!("POST {path}\napplication/json");
    let recorded = format!("POST {path} HTTP/1.1\r\n{header}\r\n\r\n{body}");
    let same = Same { head: head.into_bytes(), body_at: recorded.len() - body.len() };
    NewAction { request: recorded.into_bytes(), same: Some(same), ..charge(key) }
}

fn first(key: &str) -> NewAction {
    request(key, "/v1/charges?a=1", "traceparent: 1", "{}")
}

async fn conflicts<S: Store>(ledger: &Ledger<S>, new: &NewAction, what: &str) {
    let refused = [
        ledger.record(new).await.map(drop),
        ledger.perform(new).await.map(drop),
        ledger.start(new).await.map(drop),
    ];
    for refused in refused {
        assert_eq!(refused.unwrap_err().refusal(), Some(Refusal::KeyConflict), "{what}");
    }
}

async fn finds<S: Store>(ledger: &Ledger<S>, new: &NewAction, action: &Action) {
    assert_eq!(ledger.record(new).await.unwrap(), *action);
    assert_eq!(ledger.reserve(new).await.unwrap(), *action);
    assert_eq!(ledger.perform(new).await.unwrap(), *action);
    assert!(matches!(ledger.start(new).await.unwrap(), Begun::Found(found) if *found == *action));
}

pub(crate) async fn the_same_request_is_found_whatever_its_other_headers_are<W: World>(world: W) {
    let provider = Provider::new();
    let rules = asking(Idempotency::Keyed);
    let ledgers =
        [world.open().await, world.open().await].map(|store| ledger(store, rules.clone(), &provider));
    let done = ledgers[0].perform(&first("k")).await.unwrap();
    assert_eq!((done.state.end(), &done.request), (Some(End::Done), &first("k").request));
    for (ledger, header) in ledgers.iter().zip(["traceparent: 2", "traceparent: 3\r\nx-more: 1"]) {
        finds(ledger, &request("k", "/v1/charges?a=1", header, "{}"), &done).await;
        let mut conn = world.connect().await;
        W::execute(&mut conn, W::BEGIN).await;
        assert_eq!(ledger.record_in(&mut conn, &first("k")).await.unwrap(), done);
        W::execute(&mut conn, "COMMIT").await;
        conflicts(ledger, &request("k", "/v1/charges?a=1", header, "{} "), "another body").await;
        conflicts(ledger, &request("k", "/v1/charges?a=2", header, "{}"), "another path").await;
        let text = Same { head: b"POST /v1/charges?a=1\ntext/plain".to_vec(), ..first("k").same.unwrap() };
        conflicts(ledger, &NewAction { same: Some(text), ..first("k") }, "another content type").await;
    }
    assert_eq!(provider.performs("k"), 1);
}

pub(crate) async fn another_client_never_finds_an_action<W: World>(world: W) {
    let ledger = ledger(world.open().await, asking(Idempotency::Keyed), &Provider::new());
    let of = |key: &str, client: Option<&str>| NewAction { client: client.map(str::to_owned), ..first(key) };
    let done = ledger.perform(&of("named", Some("shop"))).await.unwrap();
    assert_eq!(done.client.as_deref(), Some("shop"));
    finds(&ledger, &of("named", Some("shop")), &done).await;
    conflicts(&ledger, &of("named", Some("bank")), "another client").await;
    conflicts(&ledger, &of("named", None), "a caller without a name").await;
    ledger.perform(&of("nameless", None)).await.unwrap();
    conflicts(&ledger, &of("nameless", Some("shop")), "a caller with a name").await;
}

pub(crate) async fn a_row_without_fingerprints_is_compared_by_its_bytes<W: World>(world: W) {
    let ledger = ledger(world.open().await, asking(Idempotency::Keyed), &Provider::new());
    // As a program of the version before records it, or one with a remote of its own.
    let plain = NewAction { same: None, ..first("whole") };
    let done = ledger.perform(&plain).await.unwrap();
    assert_eq!(done.prints, None);
    finds(&ledger, &first("whole"), &done).await;
    conflicts(&ledger, &request("whole", "/v1/charges?a=1", "traceparent: 2", "{}"), "other bytes").await;
    // As plain SQL records it: the body alone.
    let body = NewAction { request: b"{}".to_vec(), same: None, ..first("body") };
    let done = ledger.perform(&body).await.unwrap();
    finds(&ledger, &first("body"), &done).await;
    conflicts(&ledger, &request("body", "/v1/charges?a=1", "traceparent: 1", "[]"), "another body").await;
    // A request without fingerprints finds a row that has them by its bytes.
    let done = ledger.perform(&first("printed")).await.unwrap();
    assert!(done.prints.is_some());
    finds(&ledger, &NewAction { same: None, ..first("printed") }, &done).await;
    let other = NewAction { request: b"{}".to_vec(), same: None, ..first("printed") };
    conflicts(&ledger, &other, "other bytes").await;
}
