//! When a worker takes a row up, and which rows it leaves alone: what it finds by the poll, what it knows without it,
//! and rows of operations that it does not declare.

use std::sync::Arc;
use std::time::{Duration, Instant};

use seawall_ledger::store::Store;
use seawall_ledger::{End, Ledger, NewAction, Operation, Rules, SettleBy, Worker, WorkerSettings};
use seawall_policy::{Backoff, Idempotency};

use crate::provider::{Fate, Provider};
use crate::suite::{SECOND, asking, charge, ended, left_behind, soon, until};
use crate::world::{World, ledger, quick};

/// The settings of a worker whose polls are so rare that none of them helps the test.
fn rarely() -> WorkerSettings {
    let mut settings = WorkerSettings::default();
    settings.scan = SECOND * 60;
    settings
}

fn payout(key: &str) -> NewAction {
    NewAction::new("pay", "payout", key, b"{\"amount\":7}".to_vec())
}

/// A ledger that declares these operations of `pay`.
fn declaring<S: Store>(store: S, operations: &[&str], rules: &Rules, provider: &Provider) -> Ledger<S> {
    let builder = operations.iter().fold(Ledger::builder(store), |builder, name| {
        builder.operation(Operation::new("pay", *name, rules.clone(), Arc::new(provider.clone())))
    });
    builder.build().unwrap()
}

/// The program of before a deploy has a worker, and the program of after the deploy adds an operation.
pub(crate) async fn a_row_of_an_operation_that_is_not_declared_is_left_alone_and_counted<W: World>(world: W) {
    let provider = Provider::new();
    let rules = quick(Idempotency::Keyed);
    let before = declaring(world.open().await, &["charge"], &rules, &provider);
    let after = declaring(world.open().await, &["charge", "payout"], &rules, &provider);
    let settles = Rules { settle: SettleBy::Explicit(Duration::from_millis(300)), ..rules };
    let reserves = declaring(world.open().await, &["payout"], &settles, &provider);
    let worker = before.worker(soon());
    // One of them has a deadline to settle that passes while only the older program runs.
    let late = reserves.record(&payout("late")).await.unwrap();
    let plain = after.record(&payout("plain")).await.unwrap();
    ended(&before, before.record(&charge("first")).await.unwrap().id).await;
    // Each charge is found by a claim, so the worker has claimed more than once.
    let deadline = Instant::now() + Duration::from_millis(600);
    let mut number = 0;
    while Instant::now() < deadline || number < 4 {
        number += 1;
        ended(&before, before.record(&charge(&format!("k{number}"))).await.unwrap().id).await;
    }
    for left in [&late, &plain] {
        assert_eq!(before.load(left.id).await.unwrap(), *left, "it is as it was recorded");
    }
    let counts = before.counts("pay").await.unwrap();
    assert_eq!((counts.open, counts.undeclared), (2, 2));
    assert_eq!(after.counts("pay").await.unwrap().undeclared, 0);
    // A program that declares nothing of the dependency counts its rows as well.
    let elsewhere = Ledger::builder(world.open().await).build().unwrap();
    assert_eq!(elsewhere.counts("pay").await.unwrap().undeclared, 2);
    assert_eq!(elsewhere.counts("nobody").await.unwrap().undeclared, 0);

    let newer = after.worker(soon());
    assert_eq!(ended(&after, plain.id).await.state.end(), Some(End::Done));
    // The program that declares the operation cancels it, since nothing was sent before the deadline.
    assert_eq!(ended(&after, late.id).await.state.end(), Some(End::Cancelled));
    assert_eq!((provider.performs("late"), provider.performs("plain")), (0, 1));
    drop((worker, newer));
}

/// Rows of operations that nobody declares are older than all others, and more than one claim takes.
pub(crate) async fn undeclared_rows_do_not_stand_in_the_way_of_others<W: World>(world: W) {
    let provider = Provider::new();
    let rules = quick(Idempotency::Keyed);
    let removed = declaring(world.open().await, &["payout"], &rules, &provider);
    for number in 0..50 {
        removed.record(&payout(&format!("old{number}"))).await.unwrap();
    }
    let others = declaring(world.open().await, &["charge", "refund"], &rules, &provider);
    let mut ids = Vec::new();
    for number in 0..40 {
        let operation = if number % 2 == 0 { "charge" } else { "refund" };
        let new = NewAction::new("pay", operation, format!("k{number}"), b"{}".to_vec());
        ids.push(others.record(&new).await.unwrap().id);
    }
    let worker = others.worker(soon());
    for id in ids {
        assert_eq!(ended(&others, id).await.state.end(), Some(End::Done));
    }
    assert_eq!(others.counts("pay").await.unwrap().undeclared, 50);
    assert_eq!(provider.performs("old0"), 0);
    drop(worker);
}

pub(crate) async fn what_a_transaction_recorded_is_found_within_one_poll<W: World>(world: W) {
    let provider = Provider::new();
    let ledger = ledger(world.open().await, quick(Idempotency::Keyed), &provider);
    let worker = ledger.worker(WorkerSettings::default());
    let mut conn = world.connect().await;
    let mut quickest = Duration::MAX;
    for number in 0..3 {
        W::execute(&mut conn, W::BEGIN).await;
        let new = charge(&format!("k{number}"));
        let action = ledger.record_in(&mut conn, &new).await.unwrap();
        W::execute(&mut conn, "COMMIT").await;
        let start = Instant::now();
        ended(&ledger, action.id).await;
        quickest = quickest.min(start.elapsed());
    }
    println!("done {quickest:?} after the commit");
    assert!(quickest < Duration::from_millis(1500), "{quickest:?}");
    drop(worker);
}

/// Starts a worker whose first poll has ended before this function returns.
async fn started<S: Store>(ledger: &Ledger<S>, settings: WorkerSettings) -> Worker {
    let worker = ledger.worker(settings);
    let first = ledger.record(&charge("first")).await.unwrap();
    ended(ledger, first.id).await;
    worker
}

pub(crate) async fn a_retry_is_made_at_its_time_without_a_poll<W: World>(world: W) {
    let provider = Provider::new();
    // Each wait is drawn between zero and two seconds.
    let backoff = Backoff { base: SECOND * 2, cap: SECOND * 2 };
    let rules = Rules { backoff, ..quick(Idempotency::Keyed) };
    let ledger = ledger(world.open().await, rules, &provider);
    let worker = started(&ledger, rarely()).await;
    // After one more failure in a row, the pace would hold the others back.
    let _scripted = provider.clone().script(&[Fate::NotSent; 4]);
    let start = Instant::now();
    let mut waiting = Vec::new();
    for number in 0..4 {
        waiting.push(ledger.perform(&charge(&format!("k{number}"))).await.unwrap());
    }
    for action in waiting {
        let done = ended(&ledger, action.id).await;
        assert_eq!(done.state.end(), Some(End::Done));
        let attempts = ledger.story(action.id).await.unwrap().attempts;
        // The second attempt is the one that the worker makes.
        let due = action.state.due_at().expect("it waits");
        println!("a retry began {:?} after it was due", attempts[1].recorded_at.since(due));
        assert!(attempts[1].recorded_at >= due);
    }
    // The next poll is more than 40 s away.
    assert!(start.elapsed() < SECOND * 20, "{:?}", start.elapsed());
    drop(worker);
}

pub(crate) async fn a_due_time_that_a_poll_has_seen_is_met<W: World>(world: W) {
    let provider = Provider::new();
    let store = world.open().await;
    let leased = |lease: u64| Rules {
        attempt: Duration::from_millis(200),
        lease: Duration::from_millis(lease),
        ..asking(Idempotency::Keyed)
    };
    // Two rows of a dead process. The second one is seen by the poll that finds the first one due.
    let one = left_behind(&store, &leased(700), "one").await;
    let two = left_behind(&store, &leased(1000), "two").await;
    let ledger = ledger(store, leased(700), &provider);
    let start = Instant::now();
    let worker = ledger.worker(rarely());
    for left in [one, two] {
        assert_eq!(ended(&ledger, left.id).await.state.end(), Some(End::Done));
    }
    println!("both were taken up and done in {:?}", start.elapsed());
    assert!(start.elapsed() < SECOND * 20, "{:?}", start.elapsed());
    drop(worker);
}

pub(crate) async fn a_dropped_worker_lets_its_actions_end<W: World>(world: W) {
    let provider = Provider::new().script(&[Fate::After(400)]);
    let ledger = ledger(world.open().await, quick(Idempotency::Keyed), &provider);
    let first = ledger.record(&charge("first")).await.unwrap();
    let worker = ledger.worker(soon());
    until(&ledger, first.id, |action| action.state.in_flight().is_some()).await;
    drop(worker);
    // The answer is written by the task that sent the request, and nothing is asked or sent again.
    let done = ended(&ledger, first.id).await;
    assert_eq!((done.state.end(), done.state.fence()), (Some(End::Done), 1));
    assert_eq!((provider.performs("first"), provider.confirms("first")), (1, 0));
}
