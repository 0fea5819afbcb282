//! The worker: claims rows that are due, and works on them.
//!
//! Every scan finds all rows that are due, whichever process worked on them before. So a worker needs no step at
//! start-up that recovers the rows of a process that crashed. Each dependency has its own loop and its own limit. So a
//! dependency with hanging calls or with many waiting rows does not delay another one. A row that keeps failing waits
//! until its own `next_at`, while the worker goes on with the other rows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::drive::until;
use crate::failpoint::point;
use crate::inner::Inner;
use crate::ledger::Ledger;
use crate::store::Store;

/// The settings of a worker. Begin with the defaults, and change single fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerSettings {
    /// The maximum number of actions of one dependency that are under way at the same time. Default 32. Further actions
    /// wait in the database.
    pub concurrency: usize,
    /// The longest time between two scans. Default 1 s. A row that another process has recorded is found only by a
    /// scan.
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
        }
    }
}

/// A running worker. If it is dropped, it claims no more rows, and the actions that are under way are aborted. Another
/// worker claims their rows when the leases end. [`Worker::drain`] waits for them instead.
#[derive(Debug)]
pub struct Worker {
    stop: watch::Sender<bool>,
    loops: Vec<JoinHandle<JoinSet<()>>>,
}

impl<S: Store> Ledger<S> {
    /// Starts a worker for all declared operations on the current runtime. A process needs only one worker.
    #[must_use]
    pub fn worker(&self, settings: WorkerSettings) -> Worker {
        let (stop, stopped) = watch::channel(false);
        let mut loops: Vec<_> = self
            .inner
            .operations
            .dependencies()
            .map(|dependency| {
                let looper = Looper {
                    inner: self.inner.clone(),
                    dependency: dependency.to_owned(),
                    settings,
                    stopped: stopped.clone(),
                };
                tokio::spawn(looper.run())
            })
            .collect();
        loops.push(tokio::spawn(clean(self.inner.clone(), settings, stopped)));
        Worker { stop, loops }
    }
}

impl Worker {
    /// Claims no more rows, and waits at most `within` for the actions that are under way. After that time, the
    /// remaining actions are aborted, and another worker claims their rows when the leases end. Returns the number of
    /// aborted actions.
    pub async fn drain(self, within: Duration) -> usize {
        let end = Instant::now() + within;
        // Sending fails if all loops have ended, and then there is nothing to stop.
        let _ = self.stop.send(true);
        let mut left = 0;
        for one in self.loops {
            let Ok(mut under_way) = one.await else { continue };
            loop {
                let wait = end.saturating_duration_since(Instant::now());
                match tokio::time::timeout(wait, under_way.join_next()).await {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(_) => {
                        left += under_way.len();
                        under_way.abort_all();
                        break;
                    }
                }
            }
        }
        left
    }
}

struct Looper<S: Store> {
    inner: Arc<Inner<S>>,
    dependency: String,
    settings: WorkerSettings,
    stopped: watch::Receiver<bool>,
}

impl<S: Store> Looper<S> {
    async fn run(mut self) -> JoinSet<()> {
        let permits = Arc::new(Semaphore::new(self.settings.concurrency.max(1)));
        let lease = self.inner.operations.lease(&self.dependency);
        let mut under_way = JoinSet::new();
        let mut failures = 0;
        loop {
            while under_way.try_join_next().is_some() {}
            let Some(first) = self.permit(&permits).await else { return under_way };
            let mut free = take_free(first, &permits, self.settings.claim);
            let wanted = u32::try_from(free.len()).unwrap_or(u32::MAX);
            // The worker registers for new rows before the scan, so that it misses no row that is recorded after the
            // scan.
            let inner = self.inner.clone();
            let recorded = inner.recorded.notified();
            let moved = inner.store.clock_moved();
            let wait = match self.inner.claim_at_pace(&self.dependency, wanted, lease).await {
                Ok(claimed) => {
                    failures = 0;
                    point("claimed").await;
                    for action in claimed.actions {
                        let permit = free.pop();
                        let inner = self.inner.clone();
                        under_way.spawn(async move {
                            inner.drive(action).await;
                            drop(permit);
                        });
                    }
                    match claimed.held {
                        _ if claimed.is_full => continue,
                        Some(held) => held.clamp(Duration::from_millis(1), self.settings.scan),
                        None => self.until_due().await,
                    }
                }
                Err(e) => {
                    if failures == 0 {
                        tracing::warn!(dependency = %self.dependency, error = %e, "the ledger's rows cannot be claimed");
                    }
                    failures += 1;
                    let bound = self.settings.scan.max(Duration::from_millis(50));
                    bound.mul_f64(0.5 + fastrand::f64() / 2.0)
                }
            };
            drop(free);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = recorded => {}
                () = moved => {}
                _ = self.stopped.changed() => {}
            }
        }
    }

    /// Waits until one more action may be under way, and returns the permit for it. Returns `None` if the worker was
    /// stopped.
    async fn permit(&mut self, permits: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
        loop {
            // An error means that the worker was dropped.
            if *self.stopped.borrow() || self.stopped.has_changed().is_err() {
                return None;
            }
            tokio::select! {
                permit = permits.clone().acquire_owned() => return permit.ok(),
                changed = self.stopped.changed() => changed.ok()?,
            }
        }
    }

    /// Returns the time until the next row is due, but at most the time between two scans.
    async fn until_due(&self) -> Duration {
        let scan = self.settings.scan;
        match self.inner.store.next_due(&self.dependency).await {
            Ok(Some(due)) => until(&self.inner.store.clock(), due).clamp(Duration::from_millis(1), scan),
            Ok(None) | Err(_) => scan,
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

/// Deletes the actions that ended long ago. It goes through the whole table in small steps, the oldest rows first, and
/// begins again after a pause.
async fn clean<S: Store>(
    inner: Arc<Inner<S>>,
    settings: WorkerSettings,
    mut stopped: watch::Receiver<bool>,
) -> JoinSet<()> {
    let mut after = None;
    loop {
        let swept = match inner.time().await {
            Ok(clock) => {
                let keep = i64::try_from(settings.keep.as_micros()).unwrap_or(i64::MAX);
                let before = crate::machine::Stamp::from_micros(clock.now().as_micros().saturating_sub(keep));
                inner.store.sweep(before, after, settings.sweep).await
            }
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
            _ = stopped.changed() => return JoinSet::new(),
        }
    }
}
