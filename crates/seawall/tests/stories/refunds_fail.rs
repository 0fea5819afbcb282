//! A cancel API that always fails: a person is asked after the set number of tries, and no other action is delayed.

use std::time::{Duration, Instant};

use seawall::ledger::protocol::AttemptKind;
use seawall::ledger::{Cancel, Confirm, End, Ledger, WorkerSettings};
use seawall::{Dependency, Idempotency, Timeouts, When, millis, secs};
use seawall_lab::harbor::Harbor;
use serde_json::json;

use crate::Place;
use crate::orders::Engine;

const BUDGET: usize = 4;

async fn is_stuck_within_its_budget<E: Engine>(place: Place) {
    let script = "[[fault]]\nmatch = 'POST /v1/refunds'\nfault = 'status=500'".parse().unwrap();
    let harbor = Harbor::bind(([127, 0, 0, 1], 0).into(), Some(script)).unwrap();
    let (url, books) = (format!("http://{}", harbor.address()), harbor.books());
    let _harbor = tokio::spawn(harbor.run());
    let provider = Dependency::builder("harbor")
        .endpoint(url)
        .unwrap()
        .timeout(Timeouts::default().connect(secs(1)).read(secs(2)).total(secs(3)))
        .build()
        .unwrap();
    let charge = provider.operation("charge").idempotency(Idempotency::Keyed).build().unwrap();
    let charge = charge
        .durable("POST /v1/charges")
        .confirm(Confirm::by("GET /v1/charges?key={key}").applied(When::status(200)).id("/id"))
        .cancel(Cancel::by("POST /v1/refunds").json(json!({ "charge": "{answer:/id}" })).sets_a_state())
        .attempts(5, BUDGET as u32, 50)
        .lease(secs(5))
        .network(millis(100))
        .pause(millis(100))
        .quiet(millis(300))
        .backoff(millis(50), millis(200))
        .build()
        .unwrap();
    let shelves = E::open(&place.url, None).await.unwrap();
    let ledger = Ledger::builder(shelves.store).operation(&charge).build().unwrap();
    let mut settings = WorkerSettings::default();
    settings.scan = millis(50);
    let _worker = ledger.worker(settings);
    let charges = charge.actions(&ledger).unwrap();

    let taken_back = charges.perform("taken back", &json!({ "amount": 5 })).await.unwrap().id();
    let mut tx = shelves.pool.begin_with(E::BEGIN).await.unwrap();
    charges.cancel(&mut tx, taken_back).await.unwrap();
    tx.commit().await.unwrap();
    // The other actions go through meanwhile.
    for number in 0..10 {
        let other = charges.perform(&format!("other {number}"), &json!({ "amount": 5 })).await.unwrap();
        assert_eq!(other.end(), Some(End::Done));
    }
    let until = Instant::now() + Duration::from_secs(60);
    while charges.load(taken_back).await.unwrap().end().is_none() {
        assert!(Instant::now() < until, "neither cancelled nor stuck");
        tokio::time::sleep(millis(20)).await;
    }
    let story = ledger.story(taken_back).await.unwrap();
    assert_eq!(story.action.state.end(), Some(End::Stuck), "{story:?}");
    assert!(story.action.state.why().is_some());
    let tries = story.attempts.iter().filter(|attempt| attempt.kind == AttemptKind::Cancel).count();
    assert_eq!(tries, BUDGET, "{story:?}");
    let asked = books.snapshot().requests;
    // Nothing is tried any more: some further scans of the worker pass without a request.
    for _ in 0..5 {
        charges.ledger().counts("harbor").await.unwrap();
        tokio::time::sleep(millis(60)).await;
    }
    assert_eq!(books.snapshot().requests, asked);
    assert_eq!(charges.ledger().counts("harbor").await.unwrap().stuck, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancel_that_always_fails_is_stuck_within_its_budget_on_sqlite() {
    is_stuck_within_its_budget::<sqlx::Sqlite>(Place::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancel_that_always_fails_is_stuck_within_its_budget_on_postgres() {
    is_stuck_within_its_budget::<sqlx::Postgres>(Place::postgres()).await;
}
