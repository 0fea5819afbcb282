//! The data that all handles of one ledger share.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::action::{ActionId, Sizes};
use crate::machine::Owner;
use crate::operation::Operations;
use crate::paces::Paces;
use crate::store::Store;

/// The maximum number of times that a row is read or inserted for one wish of a caller. This is enough, since other
/// writers change a row only a few times while the wish is handled.
pub(crate) const LOOKS: u32 = 16;

pub(crate) struct Inner<S: Store> {
    pub(crate) store: S,
    pub(crate) operations: Arc<Operations<S>>,
    /// The random id of this process.
    pub(crate) owner: Owner,
    pub(crate) sizes: Sizes,
    /// Wakes the tasks that wait for a row when this process has written the row.
    pub(crate) changes: Changes,
    /// How fast rows whose requests have failed are taken up again.
    pub(crate) paces: Paces,
    /// Wakes the workers when this process has recorded an action that they may claim.
    pub(crate) recorded: Notify,
}

/// Wakes the tasks that wait for a row. A hash of the row's id selects one of the 64 entries. Several rows share an
/// entry, so a task is sometimes woken by a write of another row. The task then reads its own row once more and waits
/// again.
pub(crate) struct Changes([Notify; 64]);

impl Default for Changes {
    fn default() -> Self {
        Changes(std::array::from_fn(|_| Notify::new()))
    }
}

impl Changes {
    pub(crate) fn of(&self, id: ActionId) -> &Notify {
        // The low bits of a UUID of version 7 are random.
        &self.0[usize::try_from(id.as_u128() & 63).unwrap_or(0)]
    }

    pub(crate) fn written(&self, id: ActionId) {
        self.of(id).notify_waiters();
    }
}
