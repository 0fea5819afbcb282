//! The tests, over any store, of what a reload of the configuration changes for actions that are open. The ledger of the
//! new configuration succeeds the one of the old configuration.

use std::sync::Arc;
use std::time::{Duration, Instant};

use seawall_ledger::store::Store;
use seawall_ledger::{
    AttemptKind, AttemptRow, End, Known, Ledger, Lifetime, Operation, Performed, Report, Rules, Stamp,
};
use seawall_policy::{Backoff, Idempotency};

use crate::outages::{Api, cancels_by_key, to_undo};
use crate::partners::{lines, millis};
use crate::provider::Provider;
use crate::starts::started;
use crate::suite::{asking, charge, ended, soon};
use crate::world::{World, ledger};

/// Rules with an attempt that ends soon.
fn short(quiet: Duration, life: Duration) -> Rules {
    Rules {
        attempt: millis(200),
        quiet,
        key_lifetime: Some(Lifetime::For(life)),
        ..asking(Idempotency::Keyed)
    }
}

/// Returns the ledger after a reload.
fn reloaded<S: Store>(store: S, old: &Ledger<S>, rules: Rules, provider: &Provider) -> Ledger<S> {
    let operation = Operation::new("pay", "charge", rules, Arc::new(provider.clone()));
    Ledger::builder(store).operation(operation).succeeds(old).build().unwrap()
}

/// Loses a request under the rules `before`, and finishes the action under the rules `after`. Returns the attempts, the
/// last question that was believed, and whether the action was done.
async fn lost_and_finished<W: World>(
    world: &W,
    key: &str,
    before: Rules,
    after: Rules,
) -> (Vec<AttemptRow>, Stamp, bool) {
    let provider = Provider::new().keyed();
    let store = world.open().await;
    let old = ledger(store.clone(), before, &provider);
    let lost = started(&old, &charge(key)).await;
    let id = lost.action().id;
    let new = reloaded(store, &old, after, &provider);
    lost.ended(Performed::Unknown, Report::default()).await.unwrap();
    let worker = new.worker(soon());
    let end = ended(&new, id).await;
    let asked = lines(&new, id, AttemptKind::Confirm).await;
    let asked = asked.last().expect("the provider is asked").recorded_at;
    let sent = lines(&new, id, AttemptKind::Perform).await;
    drop(worker);
    let is_done = end.state.end() == Some(End::Done);
    assert_eq!(end.state.known(), if is_done { Known::Applied } else { Known::Never }, "{end:?}");
    (sent, asked, is_done)
}

const DAY: Duration = Duration::from_secs(24 * 3600);

pub(crate) async fn the_longer_quiet_time_counts<W: World>(world: W) {
    for (key, before, after) in [("longer", 100, 1500), ("shorter", 1500, 100)] {
        let (before, after) = (short(millis(before), DAY), short(millis(after), DAY));
        let (sent, asked, is_done) = lost_and_finished(&world, key, before, after).await;
        let [lost, again] = sent.as_slice() else { panic!("{key}: {sent:?}") };
        let quiet = lost.send_by.saturating_add(millis(1500));
        assert!(is_done && asked >= quiet && again.recorded_at >= asked, "{key}: {asked:?} {sent:?}");
        assert!(asked.since(quiet) < Duration::from_secs(20), "{key}: waited for much longer");
    }
}

pub(crate) async fn the_shorter_life_of_a_key_counts<W: World>(world: W) {
    // An attempt that is sent after the quiet time could arrive only after the shorter of the two lives.
    for (key, before, after) in [("longer", millis(400), DAY), ("shorter", DAY, millis(400))] {
        let (before, after) = (short(millis(200), before), short(millis(200), after));
        let (sent, _, is_done) = lost_and_finished(&world, key, before, after).await;
        assert!(sent.len() == 1 && !is_done, "{key}: {sent:?}");
    }
}

pub(crate) async fn an_outage_is_not_forgotten<W: World>(world: W) {
    let api = Arc::new(Api::default());
    api.goes_down();
    let second = Duration::from_secs(1);
    let rules = Rules { backoff: Backoff { base: second, cap: second }, ..cancels_by_key(None) };
    let store = world.open().await;
    let declared = || Operation::new("pay", "charge", rules.clone(), api.clone());
    let old = Ledger::builder(store.clone()).operation(declared()).build().unwrap();
    let ids = to_undo(&old, 30).await;
    let worker = old.worker(soon());
    // All are tried once, and fail. From then on, one is tried in each second.
    api.until_cancels(ids.len()).await;
    let begin = Instant::now();
    worker.drain(second).await;
    let new = Ledger::builder(store).operation(declared()).succeeds(&old).build().unwrap();
    let _worker = new.worker(soon());
    api.until_cancels(ids.len() + 3).await;
    assert!(begin.elapsed() > second * 2, "three more in {:?}", begin.elapsed());
}
