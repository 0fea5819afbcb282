//! Tells the other processes of a ledger which operations this process declares. Makes actions stuck, so that a person
//! looks at them, if no process declares their operation any longer.
//!
//! An operation can be removed while actions of it are open, by a reload of a gateway or by a deploy. Nobody has the
//! rules of these actions any more, so nobody may work on them. They wait until a process declares the operation again.
//! But they must not wait unseen for ever, so after a time they are stuck.
//!
//! The obvious worker would make a due row stuck as soon as it finds no declaration of its operation in the ledger's
//! table. If all processes were down for two days, the first one that starts would make the actions of all the others
//! stuck. So a worker does that only after the worker itself has found the operation undeclared for some time
//! ([`Declaring::patience`]).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::action::ActionId;
use crate::error::StoreError;
use crate::inner::{Inner, LOOKS, Stopped};
use crate::ledger::Ledger;
use crate::machine::{self, Write};
use crate::store::{Change, Changed, DECLARED_FOR, Declared, OperationCount, Store};
use crate::terms::Declaration;

/// How often the declarations are renewed, and how often the process looks for rows that nobody works on.
const RENEW: Duration = Duration::from_secs(60);

/// The wait after a renewal that has failed.
const AGAIN: Duration = Duration::from_secs(5);

/// The maximum number of rows of one operation that become stuck in one look. The next look, a minute later, makes
/// further rows stuck.
const MOST_STUCK: u32 = 500;

/// The maximum number of rows whose claims a process gives up when it ends.
const MOST_HELD: u32 = 5000;

/// The names of a dependency and of an operation.
type Name = (String, String);

/// Renews the declarations of a process, and makes rows stuck whose operations nobody declares.
pub(crate) struct Declaring<S: Store> {
    inner: Arc<Inner<S>>,
    declared: Vec<Declared>,
    declarations: Vec<Declaration>,
    /// For how long a row may be due before it is stuck.
    after: Duration,
    /// For each operation that the last look found undeclared: since when every look has found it undeclared.
    since: HashMap<Name, Instant>,
}

impl<S: Store> Declaring<S> {
    pub(crate) fn new(inner: Arc<Inner<S>>, after: Duration) -> Declaring<S> {
        let declared = inner.operations.dependencies().map(|of| inner.operations.declared(of)).collect();
        let declarations = inner.operations.declarations(inner.sizes);
        Declaring { inner, declared, declarations, after, since: HashMap::new() }
    }

    /// Renews the declarations and looks for rows that nobody works on, once in about a minute, until the worker is
    /// stopped or dropped.
    pub(crate) async fn run(mut self, mut stopped: Stopped) {
        loop {
            // A renewal under way ends with the worker, too. The worker that replaces this one declares other operations
            // for the same process, and a late renewal would replace those again.
            let renewed = tokio::select! {
                biased;
                _ = stopped.changed() => return,
                renewed = self.renew() => renewed,
            };
            let wait = match renewed {
                // The time is random, so that not all processes renew their declarations at the same time.
                Ok(()) => RENEW.mul_f64(0.8 + fastrand::f64() / 5.0),
                Err(e) => {
                    tracing::debug!(error = %e, "the declared operations were not written into the ledger");
                    AGAIN
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = stopped.changed() => return,
            }
        }
    }

    /// For how long this process must have found an operation undeclared before it makes rows of it stuck.
    fn patience(&self) -> Duration {
        self.after.min(DECLARED_FOR)
    }

    async fn renew(&mut self) -> Result<(), StoreError> {
        self.inner.store.declare(self.inner.owner, &self.declarations).await?;
        let found = self.inner.store.undeclared(&self.declared).await?;
        let now = Instant::now();
        let name = |of: &OperationCount| (of.dependency.clone(), of.operation.clone());
        let all: HashSet<Name> = found.iter().map(name).collect();
        self.since.retain(|name, _| all.contains(name));
        for of in &found {
            let since = *self.since.entry(name(of)).or_insert_with(|| {
                tracing::warn!(dependency = %of.dependency, operation = %of.operation, actions = of.number,
                    "actions are due whose operation no process declares; they wait until one declares it, and are stuck \
                     after {:?}", self.after);
                now
            });
            if now.duration_since(since) >= self.patience() {
                self.leave_to_a_person(&of.dependency, &of.operation).await?;
            }
        }
        Ok(())
    }

    /// Makes those rows of an operation stuck that have been due for longer than `after`.
    async fn leave_to_a_person(&self, dependency: &str, operation: &str) -> Result<(), StoreError> {
        let now = self.inner.time().await?.moment();
        if !now.is_sure() {
            return Ok(());
        }
        let store = &self.inner.store;
        let ids = store.overdue(dependency, operation, now.at.saturating_sub(self.after), MOST_STUCK).await?;
        let mut stuck: u64 = 0;
        for id in ids {
            let write = |state: &machine::State| machine::undeclared(state, self.after, now);
            stuck += u64::from(self.inner.amend_row(id, write).await?);
        }
        if stuck > 0 {
            tracing::error!(
                dependency,
                operation,
                actions = stuck,
                "actions are stuck, because no process has declared their operation for {:?}; declare it again, and \
                 retry them",
                self.after
            );
        }
        Ok(())
    }
}

impl<S: Store> Ledger<S> {
    /// Gives back the rows of the declared operations that this process still has, so that another process can work on
    /// them before their leases end. Call this at the end of a process, after [`Worker::drain`](crate::Worker::drain).
    /// If a request is still under way in this process, its outcome is only written into the attempt log, and the next
    /// owner of the row finds out what became of it. Returns the number of rows.
    ///
    /// # Errors
    ///
    /// An error of the store. The rows that were not given back can be claimed when their leases end.
    pub async fn give_back(&self) -> Result<usize, StoreError> {
        let operations = &self.inner.operations;
        let declared: Vec<_> = operations.dependencies().map(|of| operations.declared(of)).collect();
        let lease = operations.dependencies().map(|of| operations.lease(of)).max().unwrap_or_default();
        let ids = self.inner.store.held(&declared, self.inner.owner, lease, MOST_HELD).await?;
        Ok(self.inner.give_back(ids).await)
    }
}

impl<S: Store> Inner<S> {
    /// Gives up this process's claims on rows. Stops at the first error of the database. Returns the number of rows
    /// that were given back.
    pub(crate) async fn give_back(&self, ids: impl IntoIterator<Item = ActionId> + Send) -> usize {
        let mut given = 0;
        for id in ids {
            let now = self.store.clock().now();
            let write = |state: &machine::State| machine::give_back(state, self.owner, now);
            match self.amend_row(id, write).await {
                Ok(was_written) => given += usize::from(was_written),
                Err(e) => {
                    tracing::warn!(error = %e, "rows were not given back; another process takes them after their leases");
                    break;
                }
            }
        }
        given
    }

    /// Reads a row and offers a change of it to the store. Returns whether the change was written: it is not if the row
    /// is gone or needs no change. If another writer changes the row meanwhile, the change is computed again, at most
    /// [`LOOKS`] times.
    async fn amend_row(
        &self,
        id: ActionId,
        write: impl Fn(&machine::State) -> Option<Write> + Send,
    ) -> Result<bool, StoreError> {
        let Some(mut action) = self.store.load(id).await? else { return Ok(false) };
        for _ in 0..LOOKS {
            let Some(write) = write(&action.state) else { return Ok(false) };
            let change =
                Change { action: action.in_state(write.to().clone()), write, mark: None, follow: None };
            match self.store.change(Arc::new(change)).await? {
                Changed::Taken => {
                    self.changes.written(id);
                    return Ok(true);
                }
                Changed::Stale(Some(found)) => action = *found,
                Changed::Stale(None) | Changed::Clash | Changed::HandlerFailed(_) => return Ok(false),
            }
        }
        Ok(false)
    }
}
