//! The tests, over any store, of panics in the code of the application: in handlers, in remotes and in the functions of
//! reconciliation.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use seawall_ledger::store::{Boxed, Store};
use seawall_ledger::{
    Action, AttemptKind, AttemptOutcome, Delivery, End, Found, Known, Ledger, Operation, Performed, Remote,
    Report, Rules, SettleBy, Undone,
};
use seawall_policy::Idempotency;

use crate::provider::Provider;
use crate::suite::{SECOND, asking, charge, ended, soon, until};
use crate::world::{World, quick};

/// The ways in which a handler of these tests fails, one after the other. After them it succeeds.
const WAYS: u32 = 5;

/// The message of the handler's trouble after each of the [`WAYS`].
const SAID: [&str; WAYS as usize] = [
    "it panicked: before its future",
    "it panicked: in call 1",
    "it panicked: a word",
    "it panicked",
    "a zero byte: ",
];

/// Returns an operation whose handler writes an order and then fails, in another way with each run.
fn panicking<W: World>(provider: &Provider, runs: &Arc<AtomicU32>) -> Operation<W::Store> {
    let runs = runs.clone();
    let remote = Arc::new(provider.clone());
    Operation::new("pay", "charge", quick(Idempotency::Keyed), remote).on_settled(move |conn, action| {
        let run = runs.fetch_add(1, Ordering::SeqCst);
        assert!(run != 0, "before its future");
        Box::pin(async move {
            W::write_order(conn, &action.key, "paid").await?;
            match run {
                1 => panic!("in call {run}"),
                2 => panic!("a word"),
                3 => std::panic::panic_any(run),
                4 => Err("a zero byte: \0".into()),
                _ => Ok(()),
            }
        })
    })
}

fn said(action: &Action, run: u32) -> bool {
    action
        .state
        .handler()
        .is_some_and(|trouble| trouble.tries == run + 1 && trouble.error == SAID[run as usize])
}

pub(crate) async fn a_handler_that_panics_is_counted_and_keeps_the_outcome<W: World>(world: W) {
    let (provider, runs) = (Provider::new(), Arc::new(AtomicU32::new(0)));
    let silent = Operation::new("pay", "silent", quick(Idempotency::Keyed), Arc::new(provider.clone()));
    let ledger = Ledger::builder(world.open().await)
        .operation(panicking::<W>(&provider, &runs))
        .operation(silent)
        .build()
        .unwrap();
    let mut action = ledger.perform(&charge("k")).await.unwrap();
    for run in 0..WAYS {
        assert!(said(&action, run), "{run}: {action:#?}");
        assert_eq!((action.state.end(), action.state.known()), (None, Known::Applied));
        assert_eq!(action.state.answer(), Some(&b"{\"id\":\"ch_1\"}"[..]));
        assert_eq!(ledger.counts("pay").await.unwrap().failing, 1);
        // The store goes on with other actions.
        let mut other = charge(&format!("other-{run}"));
        other.operation = "silent".to_owned();
        assert_eq!(ledger.perform(&other).await.unwrap().state.end(), Some(End::Done));
        action = next(&ledger, &action).await;
    }
    assert_eq!((action.state.end(), action.state.handler()), (Some(End::Done), None));
    assert_eq!((provider.performs("k"), runs.load(Ordering::SeqCst)), (1, WAYS + 1));
    let mut conn = world.connect().await;
    assert_eq!(W::number(&mut conn, "SELECT count(*) FROM orders").await, 1, "the others were rolled back");
}

/// Waits until the handler is run once more, and returns the action after that.
async fn next<S: Store>(ledger: &Ledger<S>, action: &Action) -> Action {
    let tries = |action: &Action| action.state.handler().map(|trouble| trouble.tries);
    let before = tries(action);
    loop {
        let now = ledger.run_within(action.id, SECOND / 100).await.unwrap();
        if tries(&now) != before {
            return now;
        }
    }
}

pub(crate) async fn a_panic_in_a_scopes_handler_is_counted_and_settles_nothing<W: World>(world: W) {
    let (provider, broken) = (Provider::new(), Arc::new(AtomicBool::new(true)));
    let handler = broken.clone();
    let operation = Operation::new("pay", "charge", quick(Idempotency::Keyed), Arc::new(provider.clone()))
        .on_settled(move |conn, action| {
            let broken = handler.load(Ordering::SeqCst);
            Box::pin(async move {
                W::write_order(conn, &action.key, "paid").await?;
                assert!(!broken, "in a scope");
                Ok(())
            })
        });
    let ledger = Ledger::builder(world.open().await).operation(operation).build().unwrap();
    let worker = ledger.worker(soon());
    let one = ledger.record(&charge("one").in_scope("both", 2)).await.unwrap().id;
    let two = ledger.record(&charge("two").in_scope("both", 2)).await.unwrap().id;
    let counted = |action: &Action| {
        action.state.handler().is_some_and(|trouble| trouble.error.contains("it panicked: in a scope"))
    };
    for id in [one, two] {
        let failing = until(&ledger, id, counted).await;
        assert_eq!((failing.state.known(), failing.state.settled()), (Known::Applied, false));
    }
    let mut conn = world.connect().await;
    assert_eq!(W::number(&mut conn, "SELECT count(*) FROM orders").await, 0);
    broken.store(false, Ordering::SeqCst);
    for id in [one, two] {
        assert_eq!(ended(&ledger, id).await.state.end(), Some(End::Done));
    }
    assert_eq!(W::number(&mut conn, "SELECT count(*) FROM orders WHERE state = 'paid'").await, 2);
    assert_eq!((provider.performs("one"), provider.performs("two")), (1, 1));
    drop(worker);
}

/// A provider that panics once in each method, and then does as it is told.
struct Panics {
    provider: Provider,
    performs: AtomicU32,
    confirms: AtomicU32,
    cancels: AtomicU32,
}

/// Panics in the first call, and in the future of the second call.
fn panics<T>(calls: &AtomicU32, what: &str) -> Option<Boxed<'static, T>> {
    match calls.fetch_add(1, Ordering::SeqCst) {
        0 => panic!("no {what}"),
        1 => {
            let what = what.to_owned();
            Some(Box::pin(async move { panic!("again no {what}\0") }))
        }
        _ => None,
    }
}

impl Remote for Panics {
    fn perform<'a>(&'a self, delivery: Delivery<'a>) -> Boxed<'a, (Performed, Report)> {
        panics(&self.performs, "perform").unwrap_or_else(|| self.provider.perform(delivery))
    }

    fn confirm<'a>(&'a self, delivery: Delivery<'a>) -> Boxed<'a, (Found, Report)> {
        panics(&self.confirms, "confirm").unwrap_or_else(|| self.provider.confirm(delivery))
    }

    fn cancel<'a>(&'a self, delivery: Delivery<'a>) -> Boxed<'a, (Undone, Report)> {
        panics(&self.cancels, "cancel").unwrap_or_else(|| self.provider.cancel(delivery))
    }
}

pub(crate) async fn a_remote_that_panics_gave_no_answer<W: World>(world: W) {
    let remote = Panics {
        provider: Provider::new(),
        performs: AtomicU32::new(0),
        confirms: AtomicU32::new(0),
        cancels: AtomicU32::new(0),
    };
    let remote = Arc::new(remote);
    let rules = Rules { settle: SettleBy::Explicit(SECOND * 600), ..asking(Idempotency::Keyed) };
    let ledger = Ledger::builder(world.open().await)
        .operation(Operation::new("pay", "charge", rules, remote.clone()))
        .build()
        .unwrap();
    let first = ledger.perform(&charge("k")).await.unwrap();
    assert_eq!((first.state.end(), first.state.known()), (None, Known::Unknown), "{first:#?}");
    assert_eq!(first.state.in_flight(), None, "the attempt has ended");
    // The remote panics in each of its methods, and the one permit of the worker is always free again.
    let mut settings = soon();
    settings.concurrency = 1;
    let worker = ledger.worker(settings);
    until(&ledger, first.id, |action| action.state.known() == Known::Applied).await;
    ledger.cancel(first.id).await.unwrap();
    assert_eq!(ended(&ledger, first.id).await.state.end(), Some(End::Cancelled));
    let lines = ledger.story(first.id).await.unwrap().attempts;
    for (kind, what) in [
        (AttemptKind::Perform, "perform"),
        (AttemptKind::Confirm, "confirm"),
        (AttemptKind::Cancel, "cancel"),
    ] {
        let mut of_kind = lines.iter().filter(|line| line.kind == kind);
        for wanted in [format!("no {what}"), format!("again no {what}")] {
            let line = of_kind.next().unwrap_or_else(|| panic!("{lines:#?}"));
            assert_eq!(line.outcome, AttemptOutcome::Unknown, "{line:#?}");
            assert_eq!(line.detail, Some(format!("the remote failed: it panicked: {wanted}")));
        }
    }
    assert_eq!(remote.provider.effects("k"), 0);
    drop(worker);
}
