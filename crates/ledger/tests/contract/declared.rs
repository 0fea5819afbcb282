//! Operations that other processes declare, or that nobody declares, and rows that a process gives back when it ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use seawall_ledger::store::{Declared, OperationCount, Store};
use seawall_ledger::{
    Begun, By, Declaration, End, Known, Ledger, NewAction, Operation, Owner, Rules, StuckReason,
    WorkerSettings,
};
use seawall_policy::Idempotency;

use crate::provider::{Fate, Provider};
use crate::suite::{PATIENCE, SECOND, asking, charge, ended, soon, until};
use crate::world::{World, ledger, quick};

/// A ledger that declares these operations of `pay`.
fn declaring<S: Store>(store: S, operations: &[&str], provider: &Provider) -> Ledger<S> {
    let builder = operations.iter().fold(Ledger::builder(store), |builder, name| {
        let rules = quick(Idempotency::Keyed);
        builder.operation(Operation::new("pay", *name, rules, Arc::new(provider.clone())))
    });
    builder.build().unwrap()
}

fn new(operation: &str, key: &str) -> NewAction {
    NewAction::new("pay", operation, key, b"{}".to_vec())
}

/// The table of the declarations, and SQL for the times eleven minutes and seven days before they were renewed.
fn table<W: World>() -> (String, [&'static str; 2]) {
    let earlier = if W::ACTIONS.contains('.') {
        ["declared_at - interval '11 minutes'", "declared_at - interval '7 days'"]
    } else {
        ["declared_at - 660000000", "declared_at - 604800000000"]
    };
    (W::ACTIONS.replace("action", "declared"), earlier)
}

pub(crate) async fn what_another_process_declares_is_not_undeclared<W: World>(world: W) {
    let provider = Provider::new();
    let store = world.open().await;
    let all = declaring(store.clone(), &["charge", "it's"], &provider);
    all.record(&new("it's", "k")).await.unwrap();
    let one = declaring(store.clone(), &["charge"], &provider);
    assert_eq!(one.counts("pay").await.unwrap().undeclared, 1);
    let odd = OperationCount { dependency: "pay".to_owned(), operation: "it's".to_owned(), number: 1 };
    let odd = [odd];
    assert_eq!(store.undeclared(&[]).await.unwrap(), odd);
    assert_eq!(store.open_counts().await.unwrap(), odd);

    let others = [Declared::new("mail", &["send"]), Declared::new("pay", &["it's", "refund"])];
    let declarations =
        [("mail", "send"), ("pay", "it's"), ("pay", "refund")].map(|(one, two)| Declaration::new(one, two));
    store.declare(Owner(5), &declarations).await.unwrap();
    assert_eq!(store.declared().await.unwrap(), others);
    assert_eq!(one.counts("pay").await.unwrap().undeclared, 0);
    assert_eq!(store.undeclared(&[]).await.unwrap(), []);
    // What a process declares replaces what it declared before.
    store.declare(Owner(5), &declarations[1..]).await.unwrap();
    assert_eq!(store.declared().await.unwrap(), others[1..]);

    // The other process ends, and its declarations are no longer renewed.
    let mut conn = world.connect().await;
    let (table, [earlier, week]) = table::<W>();
    W::execute(&mut conn, &format!("UPDATE {table} SET declared_at = {earlier}")).await;
    assert_eq!(store.declared().await.unwrap(), []);
    assert_eq!(one.counts("pay").await.unwrap().undeclared, 1);
    // They are still known to applications with plain SQL, until the same is declared anew, or for seven days.
    store.declare(Owner(6), &declarations[2..]).await.unwrap();
    assert_eq!(W::number(&mut conn, &format!("SELECT count(*) FROM {table}")).await, 2);
    W::execute(&mut conn, &format!("UPDATE {table} SET declared_at = {week}")).await;
    store.declare(Owner(6), &[]).await.unwrap();
    assert_eq!(W::number(&mut conn, &format!("SELECT count(*) FROM {table}")).await, 0);
}

pub(crate) async fn what_nobody_declares_is_stuck_after_its_time_and_goes_on_after_a_retry<W: World>(
    world: W,
) {
    let provider = Provider::new();
    let store = world.open().await;
    let all = declaring(store.clone(), &["charge", "payout", "refund"], &provider);
    let left = all.record(&new("payout", "left")).await.unwrap();
    let elsewhere = all.record(&new("refund", "elsewhere")).await.unwrap();
    store.declare(Owner(5), &[Declaration::new("pay", "refund")]).await.unwrap();

    let one = declaring(store.clone(), &["charge"], &provider);
    let mut settings = WorkerSettings::default();
    // A row that is due now has not been due for long enough.
    settings.undeclared_after = SECOND * 3600;
    let patient = one.worker(settings);
    let declares = Declared::new("pay", &["charge"]);
    let end = Instant::now() + PATIENCE;
    while !store.declared().await.unwrap().iter().any(|of| of.operations.contains(&"charge".to_owned())) {
        assert!(Instant::now() < end, "the worker declares nothing");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    patient.drain(SECOND).await;
    assert_eq!(all.load(left.id).await.unwrap(), left);

    settings.undeclared_after = Duration::ZERO;
    let hasty = one.worker(settings);
    let stuck = ended(&one, left.id).await;
    assert_eq!(stuck.state.end(), Some(End::Stuck));
    assert_eq!(stuck.state.why().and_then(StuckReason::of), Some(StuckReason::Undeclared));
    assert_eq!(one.load(elsewhere.id).await.unwrap(), elsewhere, "another process declares its operation");
    let counts = store.counts(&declares).await.unwrap();
    assert_eq!((counts.stuck, counts.undeclared), (1, 0));

    // The operation comes back, and a person retries the action.
    let worker = all.worker(soon());
    assert_eq!(ended(&all, elsewhere.id).await.state.end(), Some(End::Done));
    assert_eq!(provider.performs("left"), 0, "it waits for the retry");
    all.retry(left.id, &By::new("ana", "it is declared again")).await.unwrap();
    let done = until(&all, left.id, |action| action.state.end() == Some(End::Done)).await;
    assert_eq!((done.state.known(), provider.performs("left")), (Known::Applied, 1));
    drop((hasty, worker));
}

/// Rules with a lease that is much longer than the test.
fn leased() -> Rules {
    Rules { lease: SECOND * 120, ..asking(Idempotency::Keyed) }
}

pub(crate) async fn a_drain_gives_back_what_it_aborts<W: World>(world: W) {
    let provider = Provider::new().script(&[Fate::Hangs]);
    let one = ledger(world.open().await, leased(), &provider);
    let other = ledger(world.open().await, leased(), &provider);
    let action = one.record(&charge("k")).await.unwrap();
    let worker = one.worker(soon());
    let sent = until(&one, action.id, |action| action.state.in_flight().is_some()).await;
    // The request has taken effect, and its answer does not come.
    provider.has("k");
    assert_eq!(worker.drain(Duration::ZERO).await, 1);
    let given = one.load(action.id).await.unwrap();
    assert_eq!((given.state.owner(), given.state.known()), (None, Known::Unknown));
    assert_eq!((given.state.open_attempts(), given.state.quiet_until()), (1, sent.state.quiet_until()));

    let start = Instant::now();
    let next = other.worker(soon());
    let done = ended(&other, action.id).await;
    assert!(start.elapsed() < SECOND * 60, "it did not wait for the lease");
    assert_eq!((done.state.end(), done.state.known()), (Some(End::Done), Known::Applied));
    assert_eq!((provider.performs("k"), provider.effects("k")), (1, 1), "asked about, and not sent again");
    drop(next);
}

pub(crate) async fn a_process_that_ends_gives_back_what_it_has<W: World>(world: W) {
    let provider = Provider::new();
    let one = ledger(world.open().await, leased(), &provider);
    let other = ledger(world.open().await, leased(), &provider);
    let Begun::Started(started) = one.start(&charge("started")).await.unwrap() else { panic!("it is new") };
    let reserved = one.reserve(&charge("reserved")).await.unwrap();
    let of_other = other.reserve(&charge("other")).await.unwrap();
    provider.has("started");
    assert_eq!(one.give_back().await.unwrap(), 2);
    assert_eq!(one.give_back().await.unwrap(), 0);
    assert_eq!(other.load(of_other.id).await.unwrap(), of_other);

    let worker = other.worker(soon());
    let done = ended(&other, started.action().id).await;
    assert_eq!((done.state.end(), provider.performs("started")), (Some(End::Done), 0));
    assert_eq!(ended(&other, reserved.id).await.state.end(), Some(End::Done));
    assert_eq!(provider.performs("reserved"), 1);
    drop(worker);
}
