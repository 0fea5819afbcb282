//! The worker: claims rows that are due, and works on them.
//!
//! The poll (`poll.rs`) finds all rows that are due, whichever process worked on them before. So a worker needs no step
//! at start-up that recovers the rows of a process that crashed. Each dependency has its own loop and its own limit. So
//! a dependency with hanging calls or with many waiting rows does not delay another one. The poll wakes the loop of a
//! dependency that has due rows. The loop then claims until no more rows are due, without another poll. A row that
//! keeps failing waits until its own `next_at`, while the worker goes on with the other rows.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::action::ActionId;
use crate::declare::Declaring;
use crate::failpoint::point;
use crate::inner::{Inner, Stopped};
use crate::ledger::Ledger;
use crate::moved;
use crate::poll::Poll;
use crate::store::{Declared, Store, Swept};
use crate::tell;

/// The settings of a worker. Begin with the defaults, and change single fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerSettings {
    /// The maximum number of actions of one dependency that are under way at the same time. Default 32. Further actions
    /// wait in the database.
    pub concurrency: usize,
    /// The longest time between two polls, each of which is one statement for all dependencies together. Default 1 s; a
    /// value below 10 ms means 10 ms. A row that another process has recorded, or that was recorded in a transaction of
    /// the application, is found only by a poll.
    pub scan: Duration,
    /// The maximum number of rows in one claim. Default 32. If the process crashes, the rows that it has claimed wait
    /// until their leases end.
    pub claim: u32,
    /// For how long actions are kept after their end. Default 90 days, since a charge can be disputed for that long.
    pub keep: Duration,
    /// The number of rows in one step of the clean-up. Default 500, so that none of its transactions is long.
    pub sweep: u32,
    /// The time between two runs of the clean-up over the whole table. Default 1 h.
    pub sweep_every: Duration,
    /// For how long an action may be due although no process declares its operation. Default 24 h. After that time the
    /// action is stuck. But this worker must also have found for some time that no process declares the operation: for
    /// 10 min, or for `undeclared_after` if that is shorter. So a process that has just started leaves the other
    /// processes time to start as well.
    pub undeclared_after: Duration,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        WorkerSettings {
            concurrency: 32,
            scan: Duration::from_secs(1),
            claim: 32,
            keep: Duration::from_secs(90 * 24 * 3600),
            sweep: 500,
            sweep_every: Duration::from_secs(3600),
            undeclared_after: Duration::from_secs(24 * 3600),
        }
    }
}

/// A running worker. If it is dropped, it claims no more rows. The actions that are under way go on for as long as the
/// runtime does. No one waits for them then, so use [`Worker::drain`] to wait for them.
#[derive(Debug)]
pub struct Worker {
    /// The time by which the actions that are under way must have ended; `None` until the worker is told to stop.
    stop: watch::Sender<Option<Instant>>,
    /// The loops of the worker. Each of them ends with the number of its actions that were aborted.
    loops: Vec<JoinHandle<usize>>,
}

impl<S: Store> Ledger<S> {
    /// Starts a worker for all declared operations on the current runtime, and returns it. A process needs only one
    /// worker.
    ///
    /// The worker also writes into the ledger which operations this process declares, so that other processes know that
    /// somebody works on their actions.
    #[must_use]
    pub fn worker(&self, settings: WorkerSettings) -> Worker {
        let (stop, stopped) = watch::channel(None);
        let mut loops: Vec<_> = self
            .inner
            .operations
            .dependencies()
            .map(|dependency| {
                let looper = Looper {
                    inner: self.inner.clone(),
                    declared: self.inner.operations.declared(dependency),
                    settings,
                    stopped: stopped.clone(),
                    held: Arc::default(),
                };
                tokio::spawn(looper.run())
            })
            .collect();
        let poll = Poll::new(self.inner.clone(), settings.scan).run(stopped.clone());
        let keep = moved::keep(self.inner.clone(), stopped.clone());
        let declare = Declaring::new(self.inner.clone(), settings.undeclared_after).run(stopped.clone());
        // The loop that tells somebody of stuck actions looks half as often as the poll. The news need not come within
        // a second.
        let every = settings.scan.max(Duration::from_millis(10)) * 2;
        let tell = tell::run(self.inner.clone(), every, stopped.clone());
        let clean = clean(self.inner.clone(), settings, stopped);
        loops.push(tokio::spawn(async move {
            poll.await;
            0
        }));
        loops.push(tokio::spawn(async move {
            keep.await;
            0
        }));
        loops.push(tokio::spawn(async move {
            declare.await;
            0
        }));
        loops.push(tokio::spawn(async move {
            tell.await;
            0
        }));
        loops.push(tokio::spawn(async move {
            clean.await;
            0
        }));
        Worker { stop, loops }
    }
}

impl Worker {
    /// Claims no more rows, and waits at most `within` for the actions that are under way. After that time, the
    /// remaining actions are aborted, and their rows are given back: another worker can claim them immediately, and
    /// finds out what became of the requests that were under way. If the database does not answer, the rows stay
    /// claimed until their leases end. Returns the number of aborted actions.
    pub async fn drain(self, within: Duration) -> usize {
        // Sending fails if all loops have ended, and then there is nothing to stop.
        let _ = self.stop.send(Some(Instant::now() + within));
        let mut left = 0;
        for one in self.loops {
            left += one.await.unwrap_or(0);
        }
        left
    }
}

/// The actions that are under way. When this value is dropped, they are not aborted: they go on until their ends.
#[derive(Debug, Default)]
struct UnderWay(JoinSet<()>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.detach_all();
    }
}

/// The shortest time between two claims of rows that the pace lets through.
const SPACING: Duration = Duration::from_millis(10);

/// The ids of the actions that a loop has claimed and that are under way.
type Held = Arc<Mutex<HashSet<ActionId>>>;

struct Looper<S: Store> {
    inner: Arc<Inner<S>>,
    declared: Declared,
    settings: WorkerSettings,
    stopped: Stopped,
    held: Held,
}

impl<S: Store> Looper<S> {
    /// Claims rows when there is something to claim, and works on them, until the worker is stopped or dropped. Returns
    /// the number of actions that were aborted.
    async fn run(mut self) -> usize {
        let permits = Arc::new(Semaphore::new(self.settings.concurrency.max(1)));
        let mut under_way = UnderWay::default();
        loop {
            // Rows that the pace holds back are let through at times that no poll knows. So this loop also wakes at the
            // next of these times.
            let pace = self.inner.paces.wait(&self.declared.dependency).map(|wait| wait.max(SPACING));
            tokio::select! {
                () = self.inner.wakes.to_claim(&self.declared.dependency) => {}
                () = tokio::time::sleep(pace.unwrap_or_default()), if pace.is_some() => {}
                _ = self.stopped.changed() => return self.end(under_way).await,
            }
            if self.claim_all(&permits, &mut under_way).await.is_none() {
                return self.end(under_way).await;
            }
        }
    }

    /// Waits until the actions under way have ended, but no longer than the time by which they must have ended. Aborts
    /// those that are left, gives their rows back, and returns their number. If the worker was dropped, returns
    /// immediately, and the actions go on.
    async fn end(self, mut under_way: UnderWay) -> usize {
        let Some(by) = *self.stopped.borrow() else { return 0 };
        while let Ok(Some(_)) = tokio::time::timeout_at(by.into(), under_way.0.join_next()).await {}
        let left = under_way.0.len();
        // If a task is aborted in the middle of a write, the store finishes the write without the task. So `shutdown`
        // does not wait for the database.
        under_way.0.shutdown().await;
        let held = std::mem::take(&mut *self.held.lock().unwrap_or_else(PoisonError::into_inner));
        self.inner.give_back(held).await;
        left
    }

    /// Claims rows until no more are due. Returns `None` if the worker was stopped.
    async fn claim_all(&mut self, permits: &Arc<Semaphore>, under_way: &mut UnderWay) -> Option<()> {
        let lease = self.inner.operations.lease(&self.declared.dependency);
        let mut has_failed = false;
        loop {
            while under_way.0.try_join_next().is_some() {}
            let first = self.permit(permits).await?;
            let mut free = take_free(first, permits, self.settings.claim);
            let wanted = u32::try_from(free.len()).unwrap_or(u32::MAX);
            match self.inner.claim_at_pace(&self.declared, wanted, lease).await {
                Ok(claimed) => {
                    point("claimed").await;
                    for action in claimed.actions {
                        let permit = free.pop();
                        let (inner, held, id) = (self.inner.clone(), self.held.clone(), action.id);
                        held.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
                        under_way.0.spawn(async move {
                            inner.drive(action).await;
                            held.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
                            drop(permit);
                        });
                    }
                    if !claimed.is_full {
                        return Some(());
                    }
                }
                Err(e) => {
                    drop(free);
                    if !std::mem::replace(&mut has_failed, true) {
                        let dependency = &self.declared.dependency;
                        tracing::warn!(%dependency, error = %e, "the ledger's rows cannot be claimed");
                    }
                    let bound = self.settings.scan.max(Duration::from_millis(50));
                    tokio::select! {
                        () = tokio::time::sleep(bound.mul_f64(0.5 + fastrand::f64() / 2.0)) => {}
                        _ = self.stopped.changed() => {}
                    }
                }
            }
        }
    }

    /// Waits until one more action may be under way, and returns the permit for it. Returns `None` if the worker was
    /// stopped.
    async fn permit(&mut self, permits: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
        loop {
            // An error means that the worker was dropped.
            if self.stopped.borrow().is_some() || self.stopped.has_changed().is_err() {
                return None;
            }
            tokio::select! {
                permit = permits.clone().acquire_owned() => return permit.ok(),
                changed = self.stopped.changed() => changed.ok()?,
            }
        }
    }
}

/// Returns the permit `first` and all other permits that are free now, at most `most` in all.
fn take_free(first: OwnedSemaphorePermit, permits: &Arc<Semaphore>, most: u32) -> Vec<OwnedSemaphorePermit> {
    let mut free = vec![first];
    while free.len() < usize::try_from(most).unwrap_or(usize::MAX) {
        let Ok(permit) = permits.clone().try_acquire_owned() else { break };
        free.push(permit);
    }
    free
}

/// Deletes the actions that ended longer ago than `keep`. Each run goes through the whole table in small steps, the
/// oldest rows first. After a pause, the next run begins.
async fn clean<S: Store>(inner: Arc<Inner<S>>, settings: WorkerSettings, mut stopped: Stopped) {
    let mut after = None;
    loop {
        let swept = match inner.time().await {
            // Nothing is deleted while the time is in doubt. By a clock that was set wrong, every action could seem to
            // be old.
            Ok(clock) if clock.moment().is_sure() => {
                let keep = i64::try_from(settings.keep.as_micros()).unwrap_or(i64::MAX);
                let before = crate::machine::Stamp::from_micros(clock.now().as_micros().saturating_sub(keep));
                inner.store.sweep(before, after, settings.sweep).await
            }
            Ok(_) => Ok(Swept { deleted: 0, after: None }),
            Err(e) => Err(e),
        };
        let wait = match swept {
            Ok(swept) => {
                after = swept.after;
                if after.is_some() { Duration::from_millis(50) } else { settings.sweep_every }
            }
            Err(e) => {
                tracing::debug!(error = %e, "the clean-up waits");
                settings.sweep_every.min(Duration::from_secs(60))
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = stopped.changed() => return,
        }
    }
}
