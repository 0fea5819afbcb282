//! Actions against the harbor, over HTTP, on a real store: what goes wrong at the harbor, and what both sides say in
//! the end.
//!
//! The harbor keeps its own books. What the ledger believes is compared with them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

#[path = "support/databases.rs"]
mod databases;
#[path = "support/stage.rs"]
mod stage;

use std::time::{Duration, Instant};

use seawall::ledger::protocol::{AttemptOutcome, Delivery, Found, Known, Performed, State, Undone};
use seawall::ledger::stored::{AnswerOf, StoredAnswer};
use seawall::ledger::{Actions, End, OnUnknown, Refusal, Store};
use seawall::{Effect, GuardedPool, OnHeld, Reason};
use seawall_lab::dead_end::Refused;
use seawall_lab::harbor::Status;
use seawall_ledger::machine::Row;
use serde_json::json;

use stage::Stage;

/// Runs each story on each store.
macro_rules! on_both_stores {
    ($($story:ident,)*) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $story() { super::$story(super::stage::sqlite().await).await; })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $story() { super::$story(super::stage::postgres().await).await; })*
        }
    };
}

on_both_stores! {
    quiet_day_is_one_request_and_one_effect,
    lost_reply_is_asked_about_and_not_sent_again,
    lost_reply_of_a_keyed_operation_is_repeated_with_the_same_key_and_bytes,
    lost_answer_of_a_keyed_operation_is_learned_before_it_is_cancelled,
    failure_after_the_effect_is_unknown_and_confirmed,
    refused_connection_is_not_sent_and_tried_again,
    not_found_that_is_found_later_is_never_sent_again,
    declined_charge_fails_and_is_settled_as_such,
    settled_in_the_business_transaction,
    rolled_back_business_cancels_the_charge,
    cancel_that_fails_and_heals_refunds_once,
    cancel_in_the_transaction_that_takes_the_order_back,
    net_cancel_leaves_nothing_behind,
    follow_up_is_written_with_the_outcome,
    run_inside_a_transaction_is_refused_before_a_byte,
    same_key_gives_the_same_action_and_another_body_a_conflict,
    rolled_back_record_never_was,
    nothing_leaves_once_the_deadline_has_passed,
}

fn order() -> serde_json::Value {
    json!({ "amount": 1000, "currency": "eur" })
}

/// Records an action in one transaction with an order, commits, and runs the action.
async fn order_and_run<S: Store, D: stage::Orders<S>>(
    stage: &Stage<S, D>,
    charges: &Actions<S>,
    key: &str,
) -> seawall::ledger::Outcome {
    let mut tx = stage.orders.begin().await;
    stage.orders.insert(&mut tx, key).await;
    let action = charges.record(stage.orders.connection(&mut tx), key, &order()).await.unwrap();
    stage.orders.commit(tx).await;
    charges.run(action).await.unwrap()
}

async fn quiet_day_is_one_request_and_one_effect<S: Store, D: stage::Orders<S>>(stage: Stage<S, D>) {
    let rig = stage.rig(|it| it);
    let outcome = order_and_run(&stage, &rig.charges, "k1").await;
    assert_eq!((outcome.effect(), outcome.end()), (Effect::Applied, Some(End::Done)));
    assert!(outcome.is_settled());
    let answer: serde_json::Value = outcome.json().unwrap().unwrap();
    assert_eq!(answer["status"], "succeeded");
    let books = stage.books.snapshot();
    assert_eq!((books.effects, books.by_key["k1"].requests, books.charges.len()), (1, 1, 1));
    let stored = String::from_utf8(outcome.action().request.clone()).unwrap();
    assert!(stored.starts_with("POST /v1/charges HTTP/1.1\r\n"), "{stored}");
    assert!(!stored.to_lowercase().contains("secret"), "credentials are never stored: {stored}");
    rig.stop().await;
}

async fn lost_reply_is_asked_about_and_not_sent_again<S: Store, D: stage::Orders<S>>(stage: Stage<S, D>) {
    let rig = stage.rig(|it| it.header("harbor-fault", "close-after-effect").on_unknown(OnUnknown::Confirm));
    let outcome = stage.resolved(&rig, order_and_run(&stage, &rig.charges, "k1").await).await;
    assert_eq!((outcome.effect(), outcome.end()), (Effect::Applied, Some(End::Done)));
    let books = stage.books.snapshot();
    assert_eq!((books.effects, books.by_key["k1"].requests), (1, 1));
    rig.stop().await;
}

async fn lost_reply_of_a_keyed_operation_is_repeated_with_the_same_key_and_bytes<S, D>(stage: Stage<S, D>)
where
    S: Store,
    D: stage::Orders<S>,
{
    let rig = stage.rig_unasked(|it| it.header("harbor-fault", "close-after-effect"));
    let outcome = stage.resolved(&rig, order_and_run(&stage, &rig.charges, "k1").await).await;
    assert_eq!((outcome.effect(), outcome.end()), (Effect::Applied, Some(End::Done)));
    let books = stage.books.snapshot();
    assert_eq!((books.effects, books.bytes_mismatch), (1, 0));
    assert!(books.by_key["k1"].requests >= 2, "{:?}", books.by_key);
    rig.stop().await;
}

async fn lost_answer_of_a_keyed_operation_is_learned_before_it_is_cancelled<S, D>(stage: Stage<S, D>)
where
    S: Store,
    D: stage::Orders<S>,
{
    // The refund needs the id from the lost answer, and there is no status API. So the operation is sent again with the
    // same key to get the id.
    let rig =
        stage.rig_unasked(|it| it.header("harbor-fault", "close-after-effect").on_unknown(OnUnknown::Cancel));
    let outcome = stage.resolved(&rig, order_and_run(&stage, &rig.charges, "k1").await).await;
    assert_eq!((outcome.effect(), outcome.end()), (Effect::NotApplied, Some(End::Cancelled)));
    let books = stage.books.snapshot();
    assert_eq!((books.charges.len(), books.charges[0].status), (1, Status::Refunded));
    assert_eq!((books.refunds, books.bytes_mismatch), (1, 0));
    rig.stop().await;
}

async fn failure_after_the_effect_is_unknown_and_confirmed<S: Store, D: stage::Orders<S>>(
    stage: Stage<S, D>,
) {
    let fault = "status-after-effect=500";
    let rig = stage.rig(|it| it.header("harbor-fault", fault).on_unknown(OnUnknown::Confirm));
    let outcome = stage.resolved(&rig, order_and_run(&stage, &rig.charges, "k1").await).await;
    assert_eq!((outcome.effect(), outcome.end()), (Effect::Applied, Some(End::Done)));
    let books = stage.books.snapshot();
    assert_eq!((books.effects, books.by_key["k1"].requests), (1, 1));
    rig.stop().await;
}

async fn refused_connection_is_not_sent_and_tried_again<S: Store, D: stage::Orders<S>>(stage: Stage<S, D>) {
    let closed = Refused::open().unwrap();
    let rig = stage.rig_at(closed.address(), |it| it.give_up(Duration::from_secs(600)));
    let outcome = order_and_run(&stage, &rig.charges, "k1").await;
    assert_eq!((outcome.effect(), outcome.end()), (Effect::Unknown, None));
    stage
        .until("two attempts were proved unsent", async || {
            let story = rig.charges.ledger().story(outcome.id()).await.unwrap();
            let unsent = story.attempts.iter().filter(|line| line.outcome == AttemptOutcome::NotSent);
            unsent.count() >= 2 && story.action.state.known() == Known::Never
        })
        .await;
    let address = closed.address();
    drop(closed);
    let _harbor = stage.open_at(address);
    let outcome = stage.resolved(&rig, outcome).await;
    assert_eq!((outcome.effect(), outcome.end()), (Effect::Applied, Some(End::Done)));
    rig.stop().await;
}

async fn not_found_that_is_found_later_is_never_sent_again<S: Store, D: stage::Orders<S>>(
    stage: Stage<S, D>,
) {
    stage.faults("[[fault]]\nmatch = 'GET /v1/charges'\nfault = 'status=404'");
    let rig = stage.rig(|it| it.header("harbor-fault", "close-after-effect").on_unknown(OnUnknown::Confirm));
    let mut tx = stage.orders.begin().await;
    stage.orders.insert(&mut tx, "k1").await;
    let action = rig.charges.record(stage.orders.connection(&mut tx), "k1", &order()).await.unwrap();
    stage.orders.commit(tx).await;
    // The worker goes on with the action. It asks for the first time long before the quiet time is over.
    stage.until("it was asked about and not found", async || stage.books.snapshot().reads >= 1).await;
    stage.heal();
    let outcome = rig.charges.load(action).await.unwrap();
    assert_eq!((outcome.effect(), outcome.end()), (Effect::Unknown, None));
    let outcome = stage.resolved(&rig, outcome).await;
    assert_eq!((outcome.effect(), outcome.end()), (Effect::Applied, Some(End::Done)));
    let books = stage.books.snapshot();
    assert_eq!((books.effects, books.by_key["k1"].requests), (1, 1));
    rig.stop().await;
}

async fn declined_charge_fails_and_is_settled_as_such<S: Store, D: stage::Orders<S>>(stage: Stage<S, D>) {
    let rig = stage.rig(|it| it);
    let declined = json!({ "amount": 402 });
    let outcome = rig.charges.perform("k1", &declined).await.unwrap();
    assert_eq!((outcome.effect(), outcome.end()), (Effect::NotApplied, Some(End::Failed)));
    assert_eq!(stage.books.snapshot().effects, 0);
    rig.stop().await;
}

async fn settled_in_the_business_transaction<S: Store, D: stage::Orders<S>>(stage: Stage<S, D>) {
    let rig = stage.rig(|it| it.settle_within(Duration::from_secs(120)));
    let action = rig.charges.reserve("k1", &order()).await.unwrap();
    let outcome = rig.charges.run(action).await.unwrap();
    assert!(outcome.awaits_settling() && outcome.effect() == Effect::Applied);
    let mut tx = stage.orders.begin().await;
    stage.orders.insert(&mut tx, "k1").await;
    rig.charges.settle(stage.orders.connection(&mut tx), action).await.unwrap();
    stage.orders.commit(tx).await;
    let outcome = rig.charges.load(action).await.unwrap();
    assert_eq!((outcome.end(), outcome.is_settled()), (Some(End::Done), true));
    assert_eq!(stage.books.snapshot().charges[0].status, Status::Succeeded);
    rig.stop().await;
}

async fn rolled_back_business_cancels_the_charge<S: Store, D: stage::Orders<S>>(stage: Stage<S, D>) {
    let rig = stage.rig(|it| it.settle_within(stage::SHORT_SETTLE));
    let action = rig.charges.reserve("k1", &order()).await.unwrap();
    let outcome = rig.charges.run(action).await.unwrap();
    assert_eq!(outcome.effect(), Effect::Applied);
    let mut tx = stage.orders.begin().await;
    stage.orders.insert(&mut tx, "k1").await;
    rig.charges.settle(stage.orders.connection(&mut tx), action).await.unwrap();
    stage.orders.rollback(tx).await;
    let outcome = stage.resolved(&rig, outcome).await;
    assert_eq!((outcome.effect(), outcome.end()), (Effect::NotApplied, Some(End::Cancelled)));
    let books = stage.books.snapshot();
    assert_eq!((books.charges[0].status, books.refunds), (Status::Refunded, 1));
    // An application that settles too late gets an error that says so.
    let mut tx = stage.orders.begin().await;
    let late = rig.charges.settle(stage.orders.connection(&mut tx), action).await.unwrap_err();
    assert_eq!(late.refusal(), Some(Refusal::TooLate));
    stage.orders.rollback(tx).await;
    rig.stop().await;
}

async fn cancel_that_fails_and_heals_refunds_once<S: Store, D: stage::Orders<S>>(stage: Stage<S, D>) {
    stage.faults("[[fault]]\nmatch = 'POST /v1/refunds'\nfault = 'status-after-effect=500'");
    let rig = stage.rig(|it| it.settle_within(stage::SHORT_SETTLE));
    let action = rig.charges.reserve("k1", &order()).await.unwrap();
    let outcome = rig.charges.run(action).await.unwrap();
    stage
        .until("a cancel was answered with 500", async || {
            let story = rig.charges.ledger().story(action).await.unwrap();
            story.attempts.iter().any(|line| line.status == Some(500))
        })
        .await;
    stage.heal();
    let outcome = stage.resolved(&rig, outcome).await;
    assert_eq!((outcome.effect(), outcome.end()), (Effect::NotApplied, Some(End::Cancelled)));
    let books = stage.books.snapshot();
    assert_eq!((books.charges[0].status, books.refunds), (Status::Refunded, 1));
    rig.stop().await;
}

async fn cancel_in_the_transaction_that_takes_the_order_back<S: Store, D: stage::Orders<S>>(
    stage: Stage<S, D>,
) {
    let rig = stage.rig(|it| it);
    let outcome = order_and_run(&stage, &rig.charges, "k1").await;
    assert_eq!(outcome.end(), Some(End::Done));
    let mut tx = stage.orders.begin().await;
    rig.charges.cancel(stage.orders.connection(&mut tx), outcome.id()).await.unwrap();
    stage.orders.commit(tx).await;
    let outcome = stage.cancelled(&rig, outcome).await;
    assert_eq!(outcome.effect(), Effect::NotApplied);
    assert_eq!(stage.books.snapshot().charges[0].status, Status::Refunded);
    rig.stop().await;
}

async fn net_cancel_leaves_nothing_behind<S: Store, D: stage::Orders<S>>(stage: Stage<S, D>) {
    let rig = stage.rig(|it| it.header("harbor-fault", "hang-after-effect").on_unknown(OnUnknown::Cancel));
    let outcome = order_and_run(&stage, &rig.charges, "k1").await;
    let outcome = stage.resolved(&rig, outcome).await;
    assert_eq!((outcome.effect(), outcome.end()), (Effect::NotApplied, Some(End::Cancelled)));
    let books = stage.books.snapshot();
    assert_eq!((books.charges.len(), books.charges[0].status), (1, Status::Refunded));
    rig.stop().await;
}

async fn follow_up_is_written_with_the_outcome<S: Store, D: stage::Orders<S> + 'static>(stage: Stage<S, D>) {
    let rig = stage.rig_following(|it| it);
    let outcome = order_and_run(&stage, &rig.charges, "k1").await;
    assert_eq!(outcome.end(), Some(End::Done));
    assert_eq!(stage.orders.state("k1").await, "paid");
    rig.stop().await;
}

async fn run_inside_a_transaction_is_refused_before_a_byte<S: Store, D: stage::Orders<S>>(
    stage: Stage<S, D>,
) {
    let rig = stage.rig(|it| it);
    let action = rig.charges.reserve("k1", &order()).await.unwrap();
    let file = databases::File::new();
    let pool = GuardedPool::new(file.pool(1).await).on_held(OnHeld::Deny);
    let tx = pool.begin().await.unwrap();
    for denied in [rig.charges.run(action).await, rig.charges.perform("k2", &order()).await] {
        let denied = denied.unwrap_err();
        assert_eq!((denied.reason(), denied.effect()), (Some(Reason::ConnectionHeld), Effect::NotApplied));
        assert!(denied.to_string().contains("ledger_http.rs"), "{denied}");
    }
    assert_eq!(stage.books.snapshot().requests, 0);
    tx.rollback().await.unwrap();
    assert_eq!(rig.charges.run(action).await.unwrap().effect(), Effect::Applied);
    rig.stop().await;
}

async fn same_key_gives_the_same_action_and_another_body_a_conflict<S, D>(stage: Stage<S, D>)
where
    S: Store,
    D: stage::Orders<S>,
{
    let rig = stage.rig(|it| it);
    let first = rig.charges.perform("k1", &order()).await.unwrap();
    let again = rig.charges.perform("k1", &order()).await.unwrap();
    assert_eq!((first.id(), again.effect()), (again.id(), Effect::Applied));
    let other = rig.charges.perform("k1", &json!({ "amount": 1 })).await.unwrap_err();
    assert_eq!((other.reason(), other.effect()), (Some(Reason::KeyConflict), Effect::NotApplied));
    assert_eq!(rig.charges.find("k1").await.unwrap().id(), first.id());
    rig.stop().await;
    // A later version of the program records another header, and finds the action nevertheless.
    let later = stage.rig(|it| it.header("x-program", "2"));
    assert_eq!(later.charges.perform("k1", &order()).await.unwrap().id(), first.id());
    assert_eq!(stage.books.snapshot().by_key["k1"].requests, 1);
    later.stop().await;
}

async fn rolled_back_record_never_was<S: Store, D: stage::Orders<S>>(stage: Stage<S, D>) {
    let rig = stage.rig(|it| it);
    let mut tx = stage.orders.begin().await;
    let action = rig.charges.record(stage.orders.connection(&mut tx), "k1", &order()).await.unwrap();
    stage.orders.rollback(tx).await;
    let gone = rig.charges.run(action).await.unwrap_err();
    assert_eq!(gone.refusal(), Some(Refusal::NotFound));
    assert_eq!(stage.books.snapshot().requests, 0);
    rig.stop().await;
}

async fn nothing_leaves_once_the_deadline_has_passed<S: Store, D: stage::Orders<S>>(stage: Stage<S, D>) {
    let rig = stage.rig(|it| it);
    let outcome = rig.charges.perform("k1", &order()).await.unwrap();
    let (row, remote) = (outcome.action().clone(), rig.charges.durable().remote());
    let requests = stage.books.snapshot().requests;
    let delivery = Delivery { action: &row, number: 1, deadline: Instant::now() };
    assert_eq!(remote.perform(delivery).await.0, Performed::NotSent);
    assert_eq!(remote.confirm(delivery).await.0, Found::NotSent);
    assert_eq!(remote.cancel(delivery).await.0, Undone::NotSent);
    assert_eq!(stage.books.snapshot().requests, requests);
    // The cancel names the id from the answer to a question.
    let body = outcome.answer().unwrap().body;
    let answer =
        StoredAnswer { of: AnswerOf::Confirm, status: 200, headers: http::HeaderMap::new(), body }.encode();
    let mut row = row.clone();
    row.state = State::of_row(Row { answer: Some(answer), ..row.state.row() }).unwrap();
    let delivery = Delivery { action: &row, deadline: Instant::now() + Duration::from_secs(60), ..delivery };
    assert_eq!(remote.cancel(delivery).await.0, Undone::Yes, "with time left it goes out");
    rig.stop().await;
}
