//! What tests of other programs use: a database whose clock is moved, and a provider that misbehaves.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::time::{Duration, Instant};

use seawall::ledger::{Actions, Confirm, DurableBuilder, Ledger, Outcome, Sqlite, Worker, WorkerSettings};
use seawall::testing::{Database, Fault, Provider};
use seawall::{Dependency, Effect, Idempotency, When, secs};
use serde_json::json;

const HOUR: Duration = Duration::from_secs(3600);

/// Declares a charge of this provider, about which the ledger first asks after an hour.
fn charge(provider: &Provider) -> DurableBuilder {
    let payments = Dependency::builder("payments").endpoint(provider.url()).unwrap().build().unwrap();
    let charge = payments.operation("charge").idempotency(Idempotency::Keyed).build().unwrap();
    charge.durable("POST /v1/charges").key_lifetime(HOUR * 24).confirm(
        Confirm::by("GET /v1/charges?key={key}")
            .after(HOUR)
            .applied(When::status(200).field("/status", ["succeeded"]))
            .cancelled(When::status(200).field("/status", ["refunded"]))
            .absent(When::status(404).field("/error/code", [404])),
    )
}

/// A ledger with a worker that by itself looks once an hour.
fn ledger(database: &Database, provider: &Provider) -> (Actions<Sqlite>, Worker) {
    let charge = charge(provider).build().unwrap();
    let ledger = Ledger::builder(database.store()).operation(&charge).build().unwrap();
    let mut seldom = WorkerSettings::default();
    seldom.scan = HOUR;
    (charge.actions(&ledger).unwrap(), ledger.worker(seldom))
}

async fn charged(charges: &Actions<Sqlite>, key: &str) -> Outcome {
    let action = charges.reserve(key, &json!({ "amount": 500 })).await.unwrap();
    charges.run_within(action, Duration::ZERO).await.unwrap()
}

#[tokio::test]
async fn worker_that_sleeps_looks_again_when_the_clock_is_moved() {
    let (database, provider) = (Database::new().await, Provider::start().await);
    let (charges, _worker) = ledger(&database, &provider);
    provider.next("POST /v1/charges", Fault::AnswerLost);
    assert_eq!(charged(&charges, "order-1").await.effect(), Effect::Unknown);

    let is_known = async || charges.find("order-1").await.unwrap().effect() == Effect::Applied;
    let begun = Instant::now();
    let passed = database.clock().pass_until(HOUR * 2, is_known).await;
    assert!(passed >= HOUR && begun.elapsed() < secs(20), "{passed:?} in {:?}", begun.elapsed());
    assert_eq!((provider.effects("order-1"), provider.requests("order-1")), (1, 1));
}

#[tokio::test]
async fn faults_strike_one_request_each_in_their_order() {
    let (database, provider) = (Database::new().await, Provider::start().await);
    let (charges, _worker) = ledger(&database, &provider);
    provider.next("POST /v1/charges", Fault::StatusAfterEffect(500));
    provider.next("POST /v1/charges", Fault::RequestLost);
    for (key, effects) in [("order-1", 1), ("order-2", 0)] {
        assert_eq!(charged(&charges, key).await.effect(), Effect::Unknown);
        assert_eq!(provider.effects(key), effects, "{key}");
    }
    assert_eq!(charged(&charges, "order-3").await.effect(), Effect::Applied);

    provider.always("POST /v1/charges", Fault::Status(422));
    assert_eq!(charged(&charges, "order-4").await.effect(), Effect::NotApplied);
    provider.heal();
    assert_eq!(charged(&charges, "order-5").await.effect(), Effect::Applied);
}

#[tokio::test]
async fn database_is_removed_when_it_is_dropped() {
    let database = Database::new().await;
    let (path, begun) = (database.path(), database.clock().clone());
    assert!(path.is_file());
    begun.advance(HOUR);
    drop(database);
    assert!(!path.exists());
}

#[tokio::test]
#[should_panic(expected = "method and path")]
async fn request_that_is_no_method_and_path_is_told() {
    Provider::start().await.next("/v1/charges", Fault::AnswerLost);
}
