//! The tests, over any store, of what a reload of the configuration changes for actions that are open. The ledger of the
//! new configuration succeeds the one of the old configuration.

use std::sync::Arc;
use std::time::Duration;

use seawall_ledger::store::Store;
use seawall_ledger::{
    AttemptKind, AttemptRow, End, Known, Ledger, Lifetime, Operation, Performed, Report, Rules, Stamp,
};
use seawall_policy::Idempotency;

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
