//! The tests of the protocol with real workers, over any store.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use seawall_ledger::store::{Declared, Insert, Recorded, Store};
use seawall_ledger::{
    Action, ActionId, CancelRules, ConfirmRules, End, Goal, Known, Ledger, NewAction, NotApplied, OnUnknown,
    Operation, Owner, Refusal, Rules, SettleBy, WorkerSettings, machine,
};
use seawall_policy::Idempotency;

use crate::provider::{Fate, Provider};
use crate::world::{World, ledger, quick};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
/// The longest time that anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn charge(key: &str) -> NewAction {
    NewAction::new("pay", "charge", key, b"{\"amount\":5}".to_vec())
}

/// The operations that the tests' ledgers declare of `pay`.
pub(crate) fn pay() -> Declared {
    Declared::new("pay", &["charge"])
}

pub(crate) fn asking(idempotency: Idempotency) -> Rules {
    Rules {
        on_unknown: OnUnknown::Confirm,
        confirm: Some(ConfirmRules { after: Duration::from_millis(20), ..ConfirmRules::default() }),
        cancel: Some(CancelRules {
            kind: seawall_ledger::CancelKind::State,
            by_key: true,
            ..CancelRules::default()
        }),
        ..quick(idempotency)
    }
}

pub(crate) fn soon() -> WorkerSettings {
    let mut settings = WorkerSettings::default();
    settings.scan = Duration::from_millis(50);
    settings
}

/// Waits until an action is in the wanted state.
pub(crate) async fn until<S: Store>(
    ledger: &Ledger<S>,
    id: ActionId,
    as_asked: impl Fn(&Action) -> bool,
) -> Action {
    let end = Instant::now() + PATIENCE;
    loop {
        let action = ledger.load(id).await.unwrap();
        if as_asked(&action) {
            return action;
        }
        assert!(Instant::now() < end, "it stays like this: {action:#?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) async fn ended<S: Store>(ledger: &Ledger<S>, id: ActionId) -> Action {
    until(ledger, id, |action| action.state.end().is_some()).await
}

pub(crate) async fn performs_at_once_and_keeps_the_answer<W: World>(world: W) {
    let provider = Provider::new();
    let ledger = ledger(world.open().await, quick(Idempotency::Keyed), &provider);
    let done = ledger.perform(&charge("k1")).await.unwrap();
    assert_eq!((done.state.end(), done.state.known()), (Some(End::Done), Known::Applied));
    assert_eq!(done.state.answer(), Some(&b"{\"id\":\"ch_1\"}"[..]));
    assert_eq!(ledger.load(done.id).await.unwrap(), done);
    assert_eq!((provider.performs("k1"), provider.effects("k1")), (1, 1));
    // There were two changes in all: the record with its attempt, and the outcome.
    assert_eq!(done.state.version(), 2);
    let again = ledger.perform(&charge("k1")).await.unwrap();
    assert_eq!((again, provider.performs("k1")), (done, 1));
}

pub(crate) async fn what_is_recorded_in_a_transaction_shares_its_fate<W: World>(world: W) {
    let provider = Provider::new();
    let ledger = ledger(world.open().await, quick(Idempotency::Keyed), &provider);
    let worker = ledger.worker(soon());
    let mut conn = world.connect().await;
    W::execute(&mut conn, W::BEGIN).await;
    W::write_order(&mut conn, "lost", "new").await.unwrap();
    let lost = ledger.record_in(&mut conn, &charge("lost")).await.unwrap();
    W::execute(&mut conn, "ROLLBACK").await;

    W::execute(&mut conn, W::BEGIN).await;
    W::write_order(&mut conn, "kept", "new").await.unwrap();
    let kept = ledger.record_in(&mut conn, &charge("kept")).await.unwrap();
    assert_eq!(provider.performs("kept"), 0, "sent before the commit");
    // If the same action is recorded again in the transaction, the first one is returned.
    assert_eq!(ledger.record_in(&mut conn, &charge("kept")).await.unwrap().id, kept.id);
    W::execute(&mut conn, "COMMIT").await;

    assert_eq!(ended(&ledger, kept.id).await.state.end(), Some(End::Done));
    assert_eq!(ledger.load(lost.id).await.unwrap_err().refusal(), Some(Refusal::NotFound));
    assert_eq!((provider.performs("lost"), provider.performs("kept")), (0, 1));
    assert_eq!(worker.drain(SECOND * 5).await, 0);
}

pub(crate) async fn what_is_reserved_in_a_transaction_is_run_by_its_caller<W: World>(world: W) {
    let provider = Provider::new();
    let ledger = ledger(world.open().await, quick(Idempotency::Keyed), &provider);
    let worker = ledger.worker(soon());
    let mut conn = world.connect().await;
    W::execute(&mut conn, W::BEGIN).await;
    let action = ledger.reserve_in(&mut conn, &charge("k")).await.unwrap();
    W::execute(&mut conn, "COMMIT").await;
    let done = ledger.run(action.id).await.unwrap();
    // There were three changes: the record, the attempt and the outcome. No further claim was needed.
    assert_eq!((done.state.end(), done.state.version(), done.state.fence()), (Some(End::Done), 3, 1));
    drop(worker);
}

pub(crate) async fn the_handler_shares_the_transaction_of_the_outcome<W: World>(world: W) {
    let provider = Provider::new();
    let failures = Arc::new(AtomicU32::new(2));
    let left = failures.clone();
    let operation = Operation::new("pay", "charge", quick(Idempotency::Keyed), Arc::new(provider.clone()))
        .on_settled(move |conn, action| {
            let left = left.clone();
            Box::pin(async move {
                W::write_order(conn, &action.key, "paid").await?;
                match left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) {
                    Ok(_) => Err("the handler says no".into()),
                    Err(_) => Ok(()),
                }
            })
        });
    let ledger = Ledger::builder(world.open().await).operation(operation).build().unwrap();
    let worker = ledger.worker(soon());
    let first = ledger.perform(&charge("k")).await.unwrap();
    // What was learned is kept although the handler failed, and no further request is sent.
    assert_eq!(first.state.known(), Known::Applied);
    let done = ended(&ledger, first.id).await;
    assert_eq!((done.state.end(), done.state.settled(), provider.performs("k")), (Some(End::Done), true, 1));
    let mut conn = world.connect().await;
    assert_eq!(W::number(&mut conn, "SELECT count(*) FROM orders WHERE state = 'paid'").await, 1);
    assert_eq!(failures.load(Ordering::SeqCst), 0);
    drop(worker);
}

pub(crate) async fn a_handler_that_keeps_failing_is_counted_and_tried_until_it_is_mended<W: World>(world: W) {
    let provider = Provider::new();
    let (broken, tries) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU32::new(0)));
    let handler = (broken.clone(), tries.clone());
    let operation = Operation::new("pay", "charge", quick(Idempotency::Keyed), Arc::new(provider.clone()))
        .on_settled(move |_, _| {
            let (broken, tries) = handler.clone();
            Box::pin(async move {
                tries.fetch_add(1, Ordering::SeqCst);
                if broken.load(Ordering::SeqCst) { Err("no such column".into()) } else { Ok(()) }
            })
        });
    let ledger = Ledger::builder(world.open().await).operation(operation).build().unwrap();
    let worker = ledger.worker(soon());
    let alone = ledger.record(&charge("alone")).await.unwrap().id;
    let one = ledger.record(&charge("one").in_scope("both", 2)).await.unwrap().id;
    ledger.record(&charge("two").in_scope("both", 2)).await.unwrap();
    // The handler is run again and again, with longer and longer waits. No further request is sent.
    let fourth = |action: &Action| {
        action.state.handler().is_some_and(|trouble| trouble.tries >= 4 && trouble.error == "no such column")
    };
    let failing = until(&ledger, alone, fourth).await;
    assert_eq!(
        (failing.state.end(), failing.state.settled(), failing.state.known()),
        (None, false, Known::Applied)
    );
    let said = |action: &Action| {
        action.state.handler().is_some_and(|trouble| trouble.error.contains("no such column"))
    };
    until(&ledger, one, said).await;
    let counts = ledger.counts("pay").await.unwrap();
    assert_eq!((counts.open, counts.stuck), (3, 0));
    assert!((2..=3).contains(&counts.failing), "{counts:?}");

    broken.store(false, Ordering::SeqCst);
    for id in [alone, one] {
        let done = ended(&ledger, id).await;
        assert_eq!((done.state.end(), done.state.handler()), (Some(End::Done), None));
    }
    assert_eq!(ledger.counts("pay").await.unwrap().failing, 0);
    assert!(tries.load(Ordering::SeqCst) >= 7);
    for key in ["alone", "one", "two"] {
        assert_eq!((provider.performs(key), provider.confirms(key)), (1, 0));
    }
    drop(worker);
}

pub(crate) async fn two_workers_send_each_of_five_hundred_rows_once<W: World>(world: W) {
    const ROWS: usize = 500;
    let provider = Provider::new().script(&[Fate::Held; 64]);
    // The attempts and the leases are longer than the test, however busy the machine is.
    let rules = Rules { attempt: SECOND * 1800, lease: SECOND * 3600, ..quick(Idempotency::None) };
    let one = ledger(world.open().await, rules.clone(), &provider);
    let two = ledger(world.open().await, rules, &provider);
    let records = (0..ROWS).map(|number| {
        let ledger = one.clone();
        tokio::spawn(async move { ledger.record(&charge(&format!("k{number}"))).await.unwrap().id })
    });
    let mut ids = Vec::new();
    for record in records.collect::<Vec<_>>() {
        ids.push(record.await.unwrap());
    }
    let workers = [one.worker(soon()), two.worker(soon())];
    // The number is above the bound of one worker, so both workers are working.
    let end = Instant::now() + PATIENCE;
    while provider.most_at_once() < 64 {
        assert!(Instant::now() < end, "{} at the same time", provider.most_at_once());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    provider.release();
    for (number, id) in ids.into_iter().enumerate() {
        let action = ended(&one, id).await;
        let key = format!("k{number}");
        assert_eq!((action.state.end(), action.state.settled()), (Some(End::Done), true));
        assert_eq!((provider.performs(&key), provider.effects(&key)), (1, 1), "{key}");
        let story = one.story(id).await.unwrap();
        assert_eq!(
            (story.attempts.len(), story.action.state.fence()),
            (1, 1),
            "{key}: claimed and sent once"
        );
    }
    drop(workers);
}

pub(crate) async fn a_reserved_action_is_settled_with_the_business_row_or_undone<W: World>(world: W) {
    let provider = Provider::new();
    let rules = Rules {
        settle: SettleBy::Explicit(Duration::from_millis(4500)),
        attempt: Duration::from_secs(1),
        ..asking(Idempotency::Keyed)
    };
    let ledger = ledger(world.open().await, rules, &provider);
    let worker = ledger.worker(soon());
    let mut conn = world.connect().await;

    let kept = ledger.reserve(&charge("kept")).await.unwrap();
    // Everything is in transactions, since behind a pooler only a transaction keeps its session.
    W::execute(&mut conn, W::BEGIN).await;
    let early = ledger.settle_in(&mut conn, kept.id).await.unwrap_err();
    assert_eq!(early.refusal(), Some(Refusal::NotKnown));
    W::execute(&mut conn, "ROLLBACK").await;
    let charged = ledger.run(kept.id).await.unwrap();
    assert_eq!((charged.state.known(), charged.state.end()), (Known::Applied, None));
    W::execute(&mut conn, W::BEGIN).await;
    W::write_order(&mut conn, "kept", "paid").await.unwrap();
    ledger.settle_in(&mut conn, kept.id).await.unwrap();
    W::execute(&mut conn, "COMMIT").await;
    W::execute(&mut conn, W::BEGIN).await;
    ledger.settle_in(&mut conn, kept.id).await.unwrap();
    W::execute(&mut conn, "COMMIT").await;

    let lost = ledger.reserve(&charge("lost")).await.unwrap();
    ledger.run(lost.id).await.unwrap();
    W::execute(&mut conn, W::BEGIN).await;
    ledger.settle_in(&mut conn, lost.id).await.unwrap();
    W::execute(&mut conn, "ROLLBACK").await;
    let undone = ended(&ledger, lost.id).await;
    assert_eq!((undone.state.end(), undone.state.goal()), (Some(End::Cancelled), Goal::Cancel));
    W::execute(&mut conn, W::BEGIN).await;
    let late = ledger.settle_in(&mut conn, lost.id).await.unwrap_err();
    assert_eq!(late.refusal(), Some(Refusal::TooLate), "{late}");
    W::execute(&mut conn, "ROLLBACK").await;
    assert_eq!((provider.effects("kept"), provider.effects("lost")), (1, 0));
    assert_eq!(ledger.load(kept.id).await.unwrap().state.end(), Some(End::Done));
    drop(worker);
}

pub(crate) async fn a_settled_action_is_taken_back_with_the_business_row<W: World>(world: W) {
    let provider = Provider::new();
    let ledger = ledger(world.open().await, asking(Idempotency::Keyed), &provider);
    let done = ledger.perform(&charge("k")).await.unwrap();
    assert_eq!(ledger.cancel(done.id).await.unwrap_err().refusal(), Some(Refusal::Settled));
    let worker = ledger.worker(soon());
    let mut conn = world.connect().await;
    W::execute(&mut conn, W::BEGIN).await;
    ledger.cancel_in(&mut conn, done.id).await.unwrap();
    W::execute(&mut conn, "ROLLBACK").await;
    assert_eq!(ledger.load(done.id).await.unwrap(), done);
    W::execute(&mut conn, W::BEGIN).await;
    ledger.cancel_in(&mut conn, done.id).await.unwrap();
    ledger.cancel_in(&mut conn, done.id).await.unwrap();
    W::execute(&mut conn, "COMMIT").await;
    let undone = ended(&ledger, done.id).await;
    assert_eq!(undone.state.known(), Known::NotApplied(NotApplied::Cancelled));
    assert_eq!((provider.effects("k"), provider.cancels("k")), (0, 1));
    drop(worker);
}

pub(crate) async fn a_lost_answer_is_asked_about_and_never_sent_again<W: World>(world: W) {
    let provider = Provider::new().script(&[Fate::DoneUnanswered]);
    let ledger = ledger(world.open().await, asking(Idempotency::None), &provider);
    let worker = ledger.worker(soon());
    let doubtful = ledger.perform(&charge("k")).await.unwrap();
    let done = ended(&ledger, doubtful.id).await;
    assert_eq!((done.state.end(), done.state.known()), (Some(End::Done), Known::Applied));
    assert_eq!((provider.performs("k"), provider.confirms("k"), provider.effects("k")), (1, 1, 1));
    drop(worker);
}

pub(crate) async fn a_lost_request_is_sent_again_only_after_the_quiet_time<W: World>(world: W) {
    let provider = Provider::new().keyed().script(&[Fate::LostUnanswered]);
    let rules = Rules { attempt: Duration::from_millis(500), ..asking(Idempotency::Keyed) };
    let ledger = ledger(world.open().await, rules, &provider);
    let worker = ledger.worker(soon());
    let doubtful = ledger.perform(&charge("k")).await.unwrap();
    let done = ended(&ledger, doubtful.id).await;
    assert_eq!((done.state.end(), provider.performs("k"), provider.effects("k")), (Some(End::Done), 2, 1));
    assert!(provider.bytes_never_changed());
    let story = ledger.story(done.id).await.unwrap();
    let performs: Vec<_> =
        story.attempts.iter().filter(|line| line.kind == seawall_ledger::AttemptKind::Perform).collect();
    let quiet = performs[0].send_by.saturating_add(Duration::from_millis(300));
    assert!(performs[1].recorded_at >= quiet, "{performs:?}");
    drop(worker);
}

pub(crate) async fn a_keyed_action_that_cannot_be_asked_about_is_sent_again_unchanged<W: World>(world: W) {
    let provider = Provider::new().keyed().script(&[Fate::DoneUnanswered, Fate::LostUnanswered]);
    let ledger = ledger(world.open().await, quick(Idempotency::Keyed), &provider);
    let worker = ledger.worker(soon());
    let doubtful = ledger.perform(&charge("k")).await.unwrap();
    let done = ended(&ledger, doubtful.id).await;
    assert_eq!((done.state.end(), provider.performs("k"), provider.effects("k")), (Some(End::Done), 3, 1));
    assert!(provider.bytes_never_changed());
    drop(worker);
}

pub(crate) async fn what_was_not_sent_is_tried_again<W: World>(world: W) {
    let provider = Provider::new().script(&[Fate::NotSent, Fate::NotSent, Fate::NotSent]);
    let ledger = ledger(world.open().await, quick(Idempotency::None), &provider);
    let worker = ledger.worker(soon());
    let waiting = ledger.perform(&charge("k")).await.unwrap();
    let done = ended(&ledger, waiting.id).await;
    assert_eq!((done.state.end(), provider.performs("k"), provider.effects("k")), (Some(End::Done), 4, 1));
    assert_eq!(ledger.story(done.id).await.unwrap().attempts.len(), 4);
    drop(worker);
}

pub(crate) async fn a_refusal_fails_the_action_and_tells_the_handler<W: World>(world: W) {
    let provider = Provider::new().script(&[Fate::No]);
    let operation = Operation::new("pay", "charge", quick(Idempotency::Keyed), Arc::new(provider.clone()))
        .on_settled(|conn, action| {
            let state = if action.state.end() == Some(End::Failed) { "failed" } else { "other" };
            W::write_order(conn, &action.key, state)
        });
    let ledger = Ledger::builder(world.open().await).operation(operation).build().unwrap();
    let failed = ledger.perform(&charge("k")).await.unwrap();
    assert_eq!(failed.state.known(), Known::NotApplied(NotApplied::Refused));
    let mut conn = world.connect().await;
    assert_eq!(W::number(&mut conn, "SELECT count(*) FROM orders WHERE state = 'failed'").await, 1);
    W::execute(&mut conn, W::BEGIN).await;
    let refused = ledger.settle_in(&mut conn, failed.id).await.unwrap_err();
    assert_eq!(refused.refusal(), Some(Refusal::Failed));
}

/// Inserts an action as a worker leaves it that was killed directly after it had recorded its attempt.
pub(crate) async fn left_behind<S: Store>(store: &S, rules: &Rules, key: &str) -> Action {
    let now = store.ask_time().await.unwrap().now();
    let (state, line) = machine::sent(rules, Owner(77), now).unwrap();
    let new = charge(key);
    let action = Action::of(&new, state, now);
    let recorded = store.record(Insert { action: action.clone(), attempt: Some(line) }).await.unwrap();
    assert!(matches!(recorded, Recorded::New));
    action
}

pub(crate) async fn what_a_dead_worker_left_is_asked_about_after_its_lease<W: World>(world: W) {
    let provider = Provider::new();
    let store = world.open().await;
    let rules = Rules {
        attempt: Duration::from_millis(200),
        lease: Duration::from_millis(400),
        ..asking(Idempotency::Keyed)
    };
    let left = left_behind(&store, &rules, "k").await;
    let ledger = ledger(store, rules, &provider);
    let worker = ledger.worker(soon());
    let done = ended(&ledger, left.id).await;
    // The attempt had not been sent. The provider was asked first, and did not know the action after the quiet time.
    // Then the action was sent once.
    assert_eq!((done.state.end(), provider.performs("k"), provider.effects("k")), (Some(End::Done), 1, 1));
    assert!(provider.confirms("k") >= 1);
    let log = ledger.story(done.id).await.unwrap().attempts;
    assert_eq!(
        log[0].outcome,
        seawall_ledger::AttemptOutcome::Open,
        "nobody knows what became of it: {log:?}"
    );
    drop(worker);
}

pub(crate) async fn a_dependency_that_hangs_delays_no_other<W: World>(world: W) {
    let slow = Provider::new().script(&[Fate::Hangs; 64]);
    let fast = Provider::new();
    let rules = Rules { attempt: SECOND * 60, lease: SECOND * 90, ..quick(Idempotency::Keyed) };
    let ledger = Ledger::builder(world.open().await)
        .operation(Operation::new("slow", "charge", rules.clone(), Arc::new(slow.clone())))
        .operation(Operation::new("fast", "charge", rules, Arc::new(fast.clone())))
        .build()
        .unwrap();
    for number in 0..40 {
        let new = NewAction { dependency: "slow".to_owned(), ..charge(&format!("k{number}")) };
        ledger.record(&new).await.unwrap();
    }
    let mut settings = soon();
    settings.concurrency = 8;
    let worker = ledger.worker(settings);
    let end = Instant::now() + PATIENCE;
    while slow.most_at_once() < 8 {
        assert!(Instant::now() < end, "the slow one is not worked on");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let new = NewAction { dependency: "fast".to_owned(), ..charge("f") };
    let quick = ledger.record(&new).await.unwrap();
    assert_eq!(ended(&ledger, quick.id).await.state.end(), Some(End::Done));
    assert_eq!(slow.most_at_once(), 8, "bounded");
    // The call that hangs is still under way when the drain ends, so it is counted.
    assert_eq!(worker.drain(Duration::from_millis(100)).await, 8);
}

pub(crate) async fn a_drain_finishes_what_is_under_way_and_takes_up_nothing<W: World>(world: W) {
    let provider = Provider::new().script(&[Fate::After(400)]);
    let ledger = ledger(world.open().await, quick(Idempotency::Keyed), &provider);
    let first = ledger.record(&charge("first")).await.unwrap();
    let worker = ledger.worker(soon());
    until(&ledger, first.id, |action| action.state.in_flight().is_some()).await;
    let draining = tokio::spawn(worker.drain(PATIENCE));
    tokio::time::sleep(Duration::from_millis(50)).await;
    let second = ledger.record(&charge("second")).await.unwrap();
    assert_eq!(draining.await.unwrap(), 0);
    assert_eq!(ledger.load(first.id).await.unwrap().state.end(), Some(End::Done));
    assert_eq!(ledger.load(second.id).await.unwrap().state.attempts(), 0);
}

pub(crate) async fn a_scope_settles_together_or_not_at_all<W: World>(world: W) {
    let provider = Provider::new();
    let ledger = ledger(world.open().await, asking(Idempotency::Keyed), &provider);
    let worker = ledger.worker(soon());
    let one = ledger.record(&charge("one").in_scope("order-1", 2)).await.unwrap();
    let waits = until(&ledger, one.id, |action| action.state.known() == Known::Applied).await;
    assert_eq!((waits.state.settled(), waits.state.end()), (false, None), "the other is not even recorded");
    let two = ledger.record(&charge("two").in_scope("order-1", 2)).await.unwrap();
    assert_eq!(ended(&ledger, two.id).await.state.end(), Some(End::Done));
    assert_eq!(ended(&ledger, one.id).await.state.end(), Some(End::Done));

    let three = ledger.record(&charge("three").in_scope("order-2", 2)).await.unwrap();
    until(&ledger, three.id, |action| action.state.known() == Known::Applied).await;
    assert_eq!(worker.drain(SECOND * 5).await, 0);
    let failing = ledger.record(&charge("four").in_scope("order-2", 2)).await.unwrap();
    let cancelled = ledger.cancel(failing.id).await.unwrap();
    assert_eq!(cancelled.state.end(), Some(End::Cancelled), "it was never sent");
    let worker = ledger.worker(soon());
    assert_eq!(ended(&ledger, three.id).await.state.end(), Some(End::Cancelled));
    assert_eq!((provider.effects("three"), provider.performs("four")), (0, 0));
    drop(worker);
}

pub(crate) async fn what_was_closed_as_absent_is_asked_about_once_more<W: World>(world: W) {
    // The effect takes place, but the status does not show it for so long that the effect is believed to be absent.
    let provider = Provider::new().script(&[Fate::DoneUnanswered]).blind(1);
    let rules = Rules {
        attempt: Duration::from_millis(200),
        quiet: Duration::from_millis(100),
        confirm: Some(ConfirmRules { after: Duration::from_millis(400), ..ConfirmRules::default() }),
        audit_after: Duration::from_millis(200),
        ..asking(Idempotency::None)
    };
    let ledger = ledger(world.open().await, rules, &provider);
    let worker = ledger.worker(soon());
    let doubtful = ledger.perform(&charge("k")).await.unwrap();
    let healed = until(&ledger, doubtful.id, |action| action.state.end() == Some(End::Cancelled)).await;
    assert_eq!((provider.effects("k"), provider.performs("k"), provider.cancels("k")), (0, 1, 1));
    assert_eq!(healed.state.goal(), Goal::Cancel);
    drop(worker);
}
