//! The tests, over any store, of actions whose first attempt the caller sends by itself.

use std::sync::Arc;
use std::time::Duration;

use seawall_ledger::store::Store;
use seawall_ledger::{
    Action, AttemptOutcome, Begun, End, Known, Ledger, NewAction, NotApplied, Operation, Performed, Refusal,
    Report, Rules, SettleBy, Started,
};
use seawall_policy::Idempotency;

use crate::provider::Provider;
use crate::sent_keys::{fails_by_sql, long_keys, mapped, recorded_by_sql};
use crate::suite::{PATIENCE, SECOND, asking, charge, ended, soon, until};
use crate::world::{World, ledger};

pub(crate) fn yes() -> Performed {
    Performed::Yes(Some(b"{}".to_vec()))
}

/// Starts an action, which must begin by that.
pub(crate) async fn started<S: Store>(ledger: &Ledger<S>, new: &NewAction) -> Started<S> {
    match ledger.start(new).await.unwrap() {
        Begun::Started(started) => started,
        Begun::Found(action) => panic!("it was there: {action:#?}"),
    }
}

/// Starts an action, which must be there already or fail by that.
async fn found<S: Store>(ledger: &Ledger<S>, new: &NewAction) -> Action {
    match ledger.start(new).await.unwrap() {
        Begun::Started(started) => panic!("it began: {:#?}", started.action()),
        Begun::Found(action) => *action,
    }
}

/// Rules with an attempt and a lease that a test can wait for.
fn short(idempotency: Idempotency) -> Rules {
    Rules { attempt: Duration::from_millis(300), lease: Duration::from_millis(600), ..asking(idempotency) }
}

pub(crate) async fn a_key_is_started_once_and_its_outcome_is_kept<W: World>(world: W) {
    let provider = Provider::new();
    let ledger = ledger(world.open().await, asking(Idempotency::Keyed), &provider);
    let started = started(&ledger, &charge("k")).await;
    let action = started.action().clone();
    assert_eq!(ledger.load(action.id).await.unwrap(), action);
    assert_eq!((action.state.in_flight(), action.state.owner()), (Some(1), Some(ledger.owner())));
    let left = started.deadline().saturating_duration_since(std::time::Instant::now());
    assert!(left > SECOND && left <= SECOND * 3, "{left:?}");
    assert_eq!(found(&ledger, &charge("k")).await, action);
    let other = NewAction { request: b"{}".to_vec(), ..charge("k") };
    assert_eq!(ledger.start(&other).await.map(drop).unwrap_err().refusal(), Some(Refusal::KeyConflict));

    let report = Report { status: Some(200), detail: Some("a\0b".to_owned()), retry_after: None };
    let done = started.ended(yes(), report).await.unwrap();
    assert_eq!((done.state.end(), done.state.answer()), (Some(End::Done), Some(&b"{}"[..])));
    // The record with its attempt, and the outcome.
    assert_eq!((done.id, done.state.version(), provider.performs("k")), (action.id, 2, 0));
    assert_eq!(ledger.load(done.id).await.unwrap(), done);
    assert_eq!(found(&ledger, &charge("k")).await, done);
    let line = ledger.story(done.id).await.unwrap().attempts.remove(0);
    assert_eq!(
        (line.outcome, line.status, line.detail.as_deref()),
        (AttemptOutcome::Yes, Some(200), Some("ab"))
    );
}

pub(crate) async fn of_many_starts_of_one_key_one_sends<W: World>(world: W) {
    let provider = Provider::new();
    let rules = asking(Idempotency::Keyed);
    let ledgers =
        [world.open().await, world.open().await].map(|store| ledger(store, rules.clone(), &provider));
    let starts: Vec<_> = (0..30)
        .map(|number| {
            let ledger = ledgers[number % 2].clone();
            tokio::spawn(async move { ledger.start(&charge("k")).await.unwrap() })
        })
        .collect();
    let (mut began, mut ids) = (Vec::new(), Vec::new());
    for start in starts {
        match start.await.unwrap() {
            Begun::Started(started) => began.push(started),
            Begun::Found(action) => ids.push(action.id),
        }
    }
    assert_eq!((began.len(), ids.len()), (1, 29));
    let done = began.remove(0).ended(yes(), Report::default()).await.unwrap();
    assert!(ids.iter().all(|id| *id == done.id));
}

pub(crate) async fn what_was_not_sent_has_failed_and_its_key_is_started_anew<W: World>(world: W) {
    let ledger = ledger(world.open().await, asking(Idempotency::Keyed), &Provider::new());
    let worker = ledger.worker(soon());
    let first = started(&ledger, &charge("k")).await;
    let failed = first.ended(Performed::NotSent, Report::default()).await.unwrap();
    assert_eq!((failed.state.end(), failed.state.known()), (Some(End::Failed), Known::Never));
    assert_eq!((failed.state.version(), failed.state.due_at()), (2, None), "no worker sends it");
    let again = started(&ledger, &charge("k")).await;
    assert_eq!(again.action().id, failed.id);
    let refused = again.ended(Performed::No(Some(b"no".to_vec())), Report::default()).await.unwrap();
    assert_eq!((refused.state.end(), refused.state.answer()), (Some(End::Failed), Some(&b"no"[..])));
    assert_eq!(found(&ledger, &charge("k")).await, refused, "it had left");
    let lines = ledger.story(failed.id).await.unwrap().attempts;
    let outcomes: Vec<_> = lines.iter().map(|line| (line.number, line.outcome)).collect();
    assert_eq!(outcomes, [(1, AttemptOutcome::NotSent), (2, AttemptOutcome::No)]);
    drop(worker);
}

pub(crate) async fn what_cannot_be_settled_in_time_is_not_started<W: World>(world: W) {
    let rules =
        Rules { settle: SettleBy::Explicit(SECOND), attempt: SECOND * 3, ..asking(Idempotency::Keyed) };
    let ledger = ledger(world.open().await, rules, &Provider::new());
    let failed = found(&ledger, &charge("k")).await;
    assert_eq!((failed.state.end(), failed.state.known()), (Some(End::Failed), Known::Never));
    assert_eq!(failed.state.logged(), 0);
    assert!(failed.state.why().unwrap().contains("in time to be settled"));
}

pub(crate) async fn a_key_without_a_name_is_mapped_before_it_is_started<W: World>(world: W) {
    let ledger = ledger(world.open().await, long_keys(), &Provider::new());
    let id = recorded_by_sql(&world, &ledger, "order-1").await;
    fails_by_sql(&world, id).await;
    let started = started(&ledger, &charge("order-1")).await;
    assert_eq!((started.action().id, started.action().sent_key()), (id, &*mapped("order-1", 0)));
    assert_eq!(started.action().state.in_flight(), Some(1));
    let done = started.ended(yes(), Report::default()).await.unwrap();
    assert_eq!(done.state.end(), Some(End::Done));
}

pub(crate) async fn an_attempt_whose_caller_is_gone_is_asked_about<W: World>(world: W) {
    let provider = Provider::new();
    let store = world.open().await;
    let other = Operation::new("pay", "once", short(Idempotency::None), Arc::new(provider.clone()));
    let charges = Operation::new("pay", "charge", short(Idempotency::Keyed), Arc::new(provider.clone()));
    let ledger = Ledger::builder(store).operation(charges).operation(other).build().unwrap();
    let worker = ledger.worker(soon());
    let mut ids = Vec::new();
    for new in [charge("arrived"), NewAction { operation: "once".to_owned(), ..charge("lost") }] {
        ids.push(started(&ledger, &new).await.action().id);
    }
    provider.has("arrived");
    let done = ended(&ledger, ids[0]).await;
    assert_eq!((done.state.end(), provider.effects("arrived")), (Some(End::Done), 1));
    let failed = ended(&ledger, ids[1]).await;
    assert_eq!(failed.state.known(), Known::NotApplied(NotApplied::Absent));
    for key in ["arrived", "lost"] {
        assert_eq!(provider.performs(key), 0, "it is not sent again");
        assert!(provider.confirms(key) > 0);
    }
    drop(worker);
}

pub(crate) async fn an_end_after_the_lease_changes_nothing_that_is_known<W: World>(world: W) {
    let provider = Provider::new();
    let ledger = ledger(world.open().await, short(Idempotency::Keyed), &provider);
    let worker = ledger.worker(soon());
    let late = started(&ledger, &charge("k")).await;
    provider.has("k");
    let done = ended(&ledger, late.action().id).await;
    assert_eq!(done.state.end(), Some(End::Done));
    let told = late.ended(Performed::Unknown, Report::default()).await.unwrap();
    assert_eq!((told.id, told.state.end()), (done.id, Some(End::Done)));
    let line = ledger.story(done.id).await.unwrap().attempts.remove(0);
    assert_eq!((line.number, line.outcome), (1, AttemptOutcome::Unknown));
    drop(worker);
}

pub(crate) async fn what_follows_an_outcome_needs_no_caller<W: World>(world: W) {
    let provider = Provider::new();
    let ledger = ledger(world.open().await, asking(Idempotency::Keyed), &provider);
    // It is taken back while it is under way. Nothing but the task of its end undoes it, since there is no worker.
    let back = started(&ledger, &charge("back")).await;
    provider.has("back");
    let id = back.action().id;
    ledger.cancel(id).await.unwrap();
    let applied = back.ended(yes(), Report::default()).await.unwrap();
    assert_eq!((applied.state.known(), applied.state.end()), (Known::Applied, None));
    until(&ledger, id, |action| action.state.end() == Some(End::Cancelled)).await;
    assert_eq!((provider.effects("back"), provider.cancels("back")), (0, 1));
    // Without an answer, it is told immediately that the effect is unknown.
    let lost = started(&ledger, &charge("lost")).await;
    provider.has("lost");
    let unknown = lost.ended(Performed::Unknown, Report::default()).await.unwrap();
    assert_eq!((unknown.state.known(), unknown.state.end()), (Known::Unknown, None));
    let worker = ledger.worker(soon());
    assert_eq!(ended(&ledger, unknown.id).await.state.end(), Some(End::Done));
    drop(worker);
}

pub(crate) async fn a_successor_goes_on_with_what_the_old_ledger_began<W: World>(world: W) {
    let provider = Provider::new();
    let store = world.open().await;
    let old = ledger(store.clone(), asking(Idempotency::Keyed), &provider);
    let started = started(&old, &charge("k")).await;
    let id = started.action().id;
    let declared = || Operation::new("pay", "charge", asking(Idempotency::Keyed), Arc::new(provider.clone()));
    let new = Ledger::builder(store).operation(declared()).succeeds(&old).build().unwrap();
    let stranger = Ledger::builder(world.open().await).operation(declared()).build().unwrap();
    assert_eq!((new.owner(), new.owner() == stranger.owner()), (old.owner(), false));
    let (written, elsewhere) = (new.written(id), stranger.written(id));
    assert_eq!(found(&new, &charge("k")).await.state.in_flight(), Some(1));
    started.ended(yes(), Report::default()).await.unwrap();
    tokio::time::timeout(PATIENCE, written).await.expect("it is woken");
    assert_eq!(new.load(id).await.unwrap().state.end(), Some(End::Done));
    tokio::time::timeout(Duration::ZERO, elsewhere).await.expect_err("another process is not woken");
}
