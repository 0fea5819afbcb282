//! An outage of a provider, with real workers; and many stuck actions that are started again. `pace_outage_tests.rs` plays an
//! outage of half an hour in virtual time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use seawall_ledger::machine::{Effect, Limits, Stamp};
use seawall_ledger::pace::Class;
use seawall_ledger::store::{Boxed, Filter, Standing, Store, Which};
use seawall_ledger::{
    ActionId, By, CancelKind, CancelRules, Delivery, End, Found, Goal, Ledger, Operation, Owner, Performed,
    Remote, Report, RetryFilter, Rules, SettleBy, StuckReason, Undone,
};
use seawall_policy::Idempotency;

use crate::suite::{PATIENCE, charge, ended, pay, soon};
use crate::world::{World, quick};

/// A provider whose cancels fail while it is down.
#[derive(Default)]
pub(crate) struct Api {
    is_down: AtomicBool,
    cancels: AtomicUsize,
}

impl Api {
    fn cancels(&self) -> usize {
        self.cancels.load(Ordering::SeqCst)
    }

    pub(crate) fn goes_down(&self) {
        self.is_down.store(true, Ordering::SeqCst);
    }

    pub(crate) async fn until_cancels(&self, most: usize) {
        let end = Instant::now() + PATIENCE;
        while self.cancels() < most {
            assert!(Instant::now() < end, "{} of {most} cancels", self.cancels());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Remote for Api {
    fn perform<'a>(&'a self, _: Delivery<'a>) -> Boxed<'a, (Performed, Report)> {
        Box::pin(async { (Performed::Yes(Some(b"{}".to_vec())), Report::default()) })
    }

    fn confirm<'a>(&'a self, _: Delivery<'a>) -> Boxed<'a, (Found, Report)> {
        Box::pin(async { (Found::Applied(None), Report::default()) })
    }

    fn cancel<'a>(&'a self, _: Delivery<'a>) -> Boxed<'a, (Undone, Report)> {
        self.cancels.fetch_add(1, Ordering::SeqCst);
        let down = (Undone::Unknown, Report { status: Some(500), ..Report::default() });
        let answer =
            if self.is_down.load(Ordering::SeqCst) { down } else { (Undone::Yes, Report::default()) };
        Box::pin(async { answer })
    }
}

/// Rules for a provider whose cancels name the action by its key. `most` is the maximum number of cancels.
pub(crate) fn cancels_by_key(most: Option<u32>) -> Rules {
    let cancel = CancelRules { kind: CancelKind::State, by_key: true, ..CancelRules::default() };
    Rules {
        cancel: Some(cancel),
        settle: SettleBy::Explicit(Duration::from_secs(600)),
        limits: Limits { cancel: most, ..quick(Idempotency::Keyed).limits },
        ..quick(Idempotency::Keyed)
    }
}

fn ledger_of<S: Store>(store: S, api: &Arc<Api>, cancels: Option<u32>) -> Ledger<S> {
    let rules = cancels_by_key(cancels);
    Ledger::builder(store).operation(Operation::new("pay", "charge", rules, api.clone())).build().unwrap()
}

/// Makes actions that are applied, and that are then to be undone.
pub(crate) async fn to_undo<S: Store>(ledger: &Ledger<S>, count: usize) -> Vec<ActionId> {
    let mut ids = Vec::new();
    for number in 0..count {
        let applied = ledger.perform(&charge(&format!("k{number}"))).await.unwrap();
        ids.push(ledger.cancel(applied.id).await.unwrap().id);
    }
    ids
}

pub(crate) async fn an_outage_costs_few_requests_and_heals_by_itself<W: World>(world: W) {
    let api = Arc::new(Api { is_down: AtomicBool::new(true), ..Api::default() });
    let ledger = ledger_of(world.open().await, &api, None);
    let ids = to_undo(&ledger, 30).await;
    let _worker = ledger.worker(soon());
    // What is new is tried immediately.
    api.until_cancels(ids.len()).await;
    // Each action alone would be tried about ten times a second. Probes come at intervals of up to 200 ms.
    let (before, begin) = (api.cancels(), Instant::now());
    api.until_cancels(before + 12).await;
    assert!(begin.elapsed() > Duration::from_millis(800), "12 cancels in {:?}", begin.elapsed());
    api.is_down.store(false, Ordering::SeqCst);
    for id in ids {
        assert_eq!(ended(&ledger, id).await.state.end(), Some(End::Cancelled));
    }
}

pub(crate) async fn a_claim_leaves_out_the_failing_rows_of_a_held_class<W: World>(world: W) {
    let api = Arc::new(Api { is_down: AtomicBool::new(true), ..Api::default() });
    let store = world.open().await;
    let ledger = ledger_of(store.clone(), &api, None);
    let ids = to_undo(&ledger, 3).await;
    // Two of the three fail.
    for id in &ids[..2] {
        ledger.run_within(*id, Duration::ZERO).await.unwrap();
    }
    let end = Instant::now() + PATIENCE;
    let due = |count: usize| {
        let (store, mut claimed) = (store.clone(), 0);
        async move {
            let refunds =
                Class { operation: "charge".to_owned(), goal: Goal::Cancel, effect: Effect::Applied };
            let others = Class { effect: Effect::Unknown, ..refunds.clone() };
            let give_up = Duration::from_secs(600);
            let held = vec![refunds.clone(), others.clone()];
            let lease = Duration::from_secs(60);
            let later = store.ask_time().await.unwrap().now().saturating_add(Duration::from_secs(1));
            let none = Which::AllBut { held: held.clone(), give_up, from: later };
            assert_eq!(store.claim_which(&pay(), Owner(1), 9, lease, none).await.unwrap(), []);
            let all = Which::AllBut { held, give_up, from: Stamp::from_micros(0) };
            let fresh = store.claim_which(&pay(), Owner(1), 9, lease, all).await.unwrap();
            let other = store.claim_which(&pay(), Owner(1), 9, lease, Which::Failing(others)).await.unwrap();
            assert_eq!(other.len(), 0);
            while claimed < count {
                assert!(Instant::now() < end, "{claimed} failing rows");
                let failing = Which::Failing(refunds.clone());
                let failing = store.claim_which(&pay(), Owner(1), 1, lease, failing).await.unwrap();
                assert!(failing.iter().all(|action| action.state.failing_since().is_some()));
                claimed += failing.len();
            }
            fresh
        }
    };
    let fresh = due(2).await;
    assert_eq!(fresh.iter().map(|action| action.id).collect::<Vec<_>>(), &ids[2..]);
}

pub(crate) async fn many_stuck_actions_are_started_again_one_after_the_other<W: World>(world: W) {
    let api = Arc::new(Api { is_down: AtomicBool::new(true), ..Api::default() });
    let ledger = ledger_of(world.open().await, &api, Some(1));
    let ids = to_undo(&ledger, 12).await;
    let _worker = ledger.worker(soon());
    for id in &ids {
        let stuck = ended(&ledger, *id).await.state;
        assert_eq!(stuck.why().and_then(StuckReason::of), Some(StuckReason::NotCancelled));
    }
    let by = By::new("ann", "the provider is back");
    let day = Duration::from_secs(24 * 3600);
    let all = RetryFilter::first(100);
    for none in [
        all.clone().of("mail"),
        all.clone().operation("refund"),
        all.clone().reason(StuckReason::Unanswered),
        all.clone().older_than(day),
        all.clone().newer_than(Duration::ZERO),
    ] {
        assert_eq!(ledger.retry_all(&none, &by).await.unwrap().retried, 0, "{none:?}");
    }
    api.is_down.store(false, Ordering::SeqCst);
    let wanted = all.of("pay").operation("charge").reason(StuckReason::NotCancelled).newer_than(day);
    let first = RetryFilter::first(4).of("pay");
    let begin = Instant::now();
    let begun = ledger.retry_all(&first, &by).await.unwrap();
    assert_eq!((begun.retried, begun.left, begun.more), (4, 0, true));
    let rest = ledger.retry_all(&wanted, &by).await.unwrap();
    assert_eq!((rest.retried, rest.left, rest.more), (8, 0, false));
    // Nobody knows the load of this provider, so five are due in a second. Those of the first call are counted, too.
    let spread = begin.elapsed() + rest.spread_over;
    assert!(spread > Duration::from_millis(2000), "{spread:?}");
    let stuck = Filter::first(100).standing(Standing::Stuck);
    assert_eq!(ledger.list(&stuck).await.unwrap(), []);
    for id in ids {
        assert_eq!(ended(&ledger, id).await.state.end(), Some(End::Cancelled));
        let story = ledger.story(id).await.unwrap();
        assert_eq!(story.marks.len(), 1, "{story:?}");
        assert_eq!((story.marks[0].what.as_str(), story.marks[0].who.as_str()), ("retry", "ann"));
    }
    assert_eq!(ledger.retry_all(&wanted, &by).await.unwrap().retried, 0);
}
