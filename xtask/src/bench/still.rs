//! Callers that each keep one exchange open without finishing it. Each caller runs in a task of its own until the
//! benchmark ends the task.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::process::Outcome;

/// The maximum time that the benchmark waits for the callers to begin. If some have not begun after this time, the
/// benchmark fails.
pub(super) const BEGIN_WITHIN: Duration = Duration::from_secs(30);

/// The tasks of callers that each keep one exchange open, and the number of these callers whose exchange has begun.
pub(super) struct Still {
    begun: Arc<AtomicUsize>,
    tasks: JoinSet<Outcome<()>>,
    /// The text of the error if a caller's task ends without an error of its own. A caller's task should not end.
    ended: &'static str,
}

impl Still {
    pub(super) fn new(ended: &'static str) -> Still {
        Still { begun: Arc::default(), tasks: JoinSet::new(), ended }
    }

    /// Returns the counter of callers whose exchange has begun. Each caller must add one to it when its exchange
    /// begins.
    pub(super) fn begun(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.begun)
    }

    pub(super) fn spawn(&mut self, caller: impl Future<Output = Outcome<()>> + Send + 'static) {
        self.tasks.spawn(caller);
    }

    /// Waits until all started callers but `most` have begun their exchange. Fails if a caller's exchange has ended, or
    /// if the wait is longer than [`BEGIN_WITHIN`].
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

    /// Returns an error if the exchange of any caller has ended.
    fn all_hold(&mut self) -> Outcome<()> {
        match self.tasks.try_join_next() {
            None => Ok(()),
            Some(Ok(Err(why))) => Err(why),
            Some(Ok(Ok(()))) => Err(self.ended.to_owned()),
            Some(Err(e)) => Err(format!("a caller's task ended: {e}")),
        }
    }

    /// Ends the tasks of all callers, which closes their connections. The server sees a reset in place of an ordinary
    /// end if a caller has not read all bytes that it received. Fails if an exchange has already ended by itself.
    pub(super) async fn leave(mut self) -> Outcome<()> {
        self.all_hold()?;
        self.tasks.shutdown().await;
        Ok(())
    }
}
