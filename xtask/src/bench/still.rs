//! Callers that each keep one exchange open without finishing it. Each runs in a task of its own until the benchmark
//! ends it.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::process::Outcome;

/// How long the benchmark waits for the callers to begin. After this time it fails.
pub(super) const BEGIN_WITHIN: Duration = Duration::from_secs(30);

/// The tasks of such callers, and the number of callers that have begun to keep their exchange open.
pub(super) struct Still {
    begun: Arc<AtomicUsize>,
    tasks: JoinSet<Outcome<()>>,
    /// The error text for a caller that ended.
    ended: &'static str,
}

impl Still {
    pub(super) fn new(ended: &'static str) -> Still {
        Still { begun: Arc::default(), tasks: JoinSet::new(), ended }
    }

    /// The counter of callers that have begun. Each caller adds one when its exchange has begun.
    pub(super) fn begun(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.begun)
    }

    pub(super) fn spawn(&mut self, caller: impl Future<Output = Outcome<()>> + Send + 'static) {
        self.tasks.spawn(caller);
    }

    /// Waits until all callers have begun, except for at most this number.
    pub(super) async fn until_waiting(&mut self, most: usize) -> Outcome<()> {
        let end = Instant::now() + BEGIN_WITHIN;
        while self.begun.load(Ordering::Relaxed) + most < self.tasks.len() {
            self.all_hold()?;
            if Instant::now() > end {
                let begun = self.begun.load(Ordering::Relaxed);
                return Err(format!("only {begun} of {} callers could begin", self.tasks.len()));
            }
            sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// An error if any caller's exchange has ended.
    fn all_hold(&mut self) -> Outcome<()> {
        match self.tasks.try_join_next() {
            None => Ok(()),
            Some(Ok(Err(why))) => Err(why),
            Some(Ok(Ok(()))) => Err(self.ended.to_owned()),
            Some(Err(e)) => Err(format!("a caller's task ended: {e}")),
        }
    }

    /// Closes all connections. If a connection has bytes that were not read, it ends with a reset.
    pub(super) async fn leave(mut self) -> Outcome<()> {
        self.all_hold()?;
        self.tasks.shutdown().await;
        Ok(())
    }
}
