//! Durable operations: calls that are recorded in the ledger before they are sent.
//!
//! [`books`] is the ledger, in SQLite or PostgreSQL as its URL says, and [`health`] says whether that database answers.
//! [`side`] opens the ledger in the background, keeps it, and replaces it after a reload; [`reloaded`] says in the log
//! what a reload means for open actions. [`call`] makes a durable call for a caller that waits. [`waiters`] lets many
//! callers wait for one action with one read, [`shown`] writes an action as JSON, and [`webhook`] tells of stuck
//! actions.

pub(crate) mod books;
pub(crate) mod call;
pub(crate) mod health;
pub(crate) mod reloaded;
pub(crate) mod shown;
pub(crate) mod side;
pub(crate) mod waiters;
mod webhook;

use std::sync::Arc;

use side::LedgerSide;
use waiters::Waiters;

/// What all workers share of the ledger.
pub(crate) struct Room {
    pub(crate) side: Arc<LedgerSide>,
    pub(crate) waiters: Waiters,
}

impl Room {
    pub(crate) fn new() -> Arc<Room> {
        Arc::new(Room { side: Arc::new(LedgerSide::new()), waiters: Waiters::default() })
    }
}
