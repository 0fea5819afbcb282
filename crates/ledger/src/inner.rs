//! The data that all handles of one ledger, which are its clones and its workers, share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use tokio::sync::{Notify, Semaphore};

use crate::action::{Action, ActionId, Sizes};
use crate::machine::{Owner, Stamp};
use crate::on_stuck::OnStuck;
use crate::operation::Operations;
use crate::paces::Paces;
use crate::store::Store;

/// The maximum number of times that a row is read or inserted while one wish of a caller is handled, such as a cancel.
/// Other writers change a row only a few times in that time, so this number is high enough.
pub(crate) const LOOKS: u32 = 16;

/// Tells the loops of a worker to stop. The value is the time by which its actions that are under way must have ended;
/// `None` until the worker is told to stop.
pub(crate) type Stopped = tokio::sync::watch::Receiver<Option<Instant>>;

pub(crate) struct Inner<S: Store> {
    pub(crate) store: S,
    pub(crate) operations: Arc<Operations<S>>,
    /// The random id of this process.
    pub(crate) owner: Owner,
    pub(crate) sizes: Sizes,
    /// Wakes the tasks that wait for a row when this process has written the row.
    pub(crate) changes: Arc<Changes>,
    /// For each dependency, how fast rows whose last request failed are claimed again.
    pub(crate) paces: Paces,
    /// Wakes the workers of this process.
    pub(crate) wakes: Wakes,
    /// Set once this process has checked whether the database's clock has jumped while no process was running. The
    /// check compares the clock with a pair of times that an earlier process kept in the database.
    pub(crate) compared: Arc<OnceLock<()>>,
    /// The key of the fingerprints, once it has been read.
    pub(crate) print_key: OnceLock<[u8; 32]>,
    /// Who is told of stuck actions; `None` for nobody.
    pub(crate) on_stuck: Option<OnStuck>,
    /// Limits the number of tasks that search for a row after the database did not answer the write that records the
    /// row.
    pub(crate) lost: Arc<Semaphore>,
}

/// Wakes the workers of this process when there is something to claim.
pub(crate) struct Wakes {
    /// For each declared dependency, wakes the loop that claims its rows.
    claims: HashMap<String, Notify>,
    /// The earliest due time of the rows that this process has written since the last poll. `None` if there is none.
    earliest: Mutex<Option<Stamp>>,
    /// Wakes the poll when `earliest` has become earlier.
    earlier: Notify,
}

impl Wakes {
    pub(crate) fn of<'d>(dependencies: impl Iterator<Item = &'d str>) -> Wakes {
        Wakes {
            claims: dependencies.map(|name| (name.to_owned(), Notify::new())).collect(),
            earliest: Mutex::new(None),
            earlier: Notify::new(),
        }
    }

    /// Wakes the loop that claims rows of this dependency. If the loop is busy, it claims once more afterwards.
    pub(crate) fn claim(&self, dependency: &str) {
        if let Some(loops) = self.claims.get(dependency) {
            loops.notify_one();
        }
    }

    /// Waits until there is something to claim of this dependency. For a dependency that is not declared, this never
    /// ends.
    pub(crate) async fn to_claim(&self, dependency: &str) {
        match self.claims.get(dependency) {
            Some(loops) => loops.notified().await,
            None => std::future::pending().await,
        }
    }

    /// Notes that this process has written a row. If the row is due now, wakes the loop that claims the rows of its
    /// dependency. If it will be due later, makes sure that the poll asks at that time.
    pub(crate) fn written(&self, action: &Action, now: Stamp) {
        let Some(due) = action.state.due_at() else { return };
        if due <= now {
            return self.claim(&action.dependency);
        }
        let mut earliest = self.earliest.lock().unwrap_or_else(PoisonError::into_inner);
        if earliest.is_none_or(|earliest| due < earliest) {
            *earliest = Some(due);
            self.earlier.notify_one();
        }
    }

    pub(crate) fn earliest(&self) -> Option<Stamp> {
        *self.earliest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the earliest due time has become earlier.
    pub(crate) async fn earlier(&self) {
        self.earlier.notified().await;
    }

    /// Forgets the earliest due time, since the poll that follows sees all rows.
    pub(crate) fn forget(&self) {
        *self.earliest.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Wakes the tasks that wait for a row. The low bits of the row's id select one of the 64 entries. Several rows share
/// an entry, so a task is sometimes woken by a write of another row. The task then reads its own row once more and
/// waits again.
pub(crate) struct Changes([Notify; 64]);

impl Default for Changes {
    fn default() -> Self {
        Changes(std::array::from_fn(|_| Notify::new()))
    }
}

impl Changes {
    pub(crate) fn of(&self, id: ActionId) -> &Notify {
        // The low bits of a UUID of version 7 are random, so the ids are spread evenly over the entries.
        &self.0[usize::try_from(id.as_u128() & 63).unwrap_or(0)]
    }

    pub(crate) fn written(&self, id: ActionId) {
        self.of(id).notify_waiters();
    }
}
