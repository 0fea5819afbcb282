//! What all handles of one ledger share.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::action::{ActionId, Sizes};
use crate::machine::Owner;
use crate::operation::Operations;
use crate::store::Store;

pub(crate) struct Inner<S: Store> {
    pub(crate) store: S,
    pub(crate) operations: Arc<Operations<S>>,
    /// This process's incarnation.
    pub(crate) owner: Owner,
    pub(crate) sizes: Sizes,
    /// A row was written by this process: each task that waits for it reads it again.
    pub(crate) changes: Changes,
    /// Something was recorded by this process that a worker may take up.
    pub(crate) recorded: Notify,
}

/// The tasks that wait for rows, by a hash of the row's id. Some rows share a bell, so that a task is now and then
/// woken in vain.
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
