//! The tests, over any store.

use seawall_ledger::{End, Known, NewAction};
use seawall_policy::Idempotency;

use crate::provider::Provider;
use crate::world::{World, ledger, quick};

fn charge(key: &str) -> NewAction {
    NewAction::new("pay", "charge", key, b"{\"amount\":5}".to_vec())
}

pub(crate) async fn performs_at_once_and_keeps_the_answer<W: World>(world: W) {
    let provider = Provider::new();
    let ledger = ledger(world.open().await, quick(Idempotency::Keyed), &provider);
    let done = ledger.perform(&charge("k1")).await.unwrap();
    assert_eq!((done.state.end, done.state.known), (Some(End::Done), Known::Applied));
    assert_eq!(done.state.answer.as_deref(), Some(&b"{\"id\":\"ch_1\"}"[..]));
    assert_eq!(ledger.load(done.id).await.unwrap(), done);
    assert_eq!((provider.performs("k1"), provider.effects("k1")), (1, 1));
    // Two changes in all: the record with its attempt, and the outcome.
    assert_eq!(done.state.version, 2);
    let again = ledger.perform(&charge("k1")).await.unwrap();
    assert_eq!((again, provider.performs("k1")), (done, 1));
}
