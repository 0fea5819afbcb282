//! Waits while the database does not answer or a row is locked, and tells the caller who waits for the task.
//!
//! A task that works on an action goes on for as long as it cannot write, since it may have an answer of the provider that
//! is stored nowhere else. Its caller cannot wait for that long. So after the time that the database has for an answer,
//! the caller gets the error, and the task goes on without the caller.

use std::future::Future;
use std::time::{Duration, Instant};

use seawall_policy::Draw;
use tokio::sync::mpsc;

use crate::error::{StoreError, Trouble};

/// The longest wait between two tries while the database cannot be reached.
const AWAY_CAP: Duration = Duration::from_secs(1);

tokio::task_local! {
    /// Where a task tells its caller that it cannot write.
    static CALLER: mpsc::Sender<StoreError>;
}

/// The tries of one statement or write, while the database fails.
pub(crate) struct Tries {
    failed: u32,
    since: Instant,
}

impl Tries {
    /// Begins with the first try.
    pub(crate) fn begin() -> Tries {
        Tries { failed: 0, since: Instant::now() }
    }

    /// Returns the number of tries that have failed.
    pub(crate) fn failed(&self) -> u32 {
        self.failed
    }

    /// Waits for a moment after a try failed with this error. If the tries have failed for `patience`, the caller of this
    /// task is told.
    pub(crate) async fn wait_out(&mut self, e: &StoreError, patience: Duration) {
        if self.failed == 0 {
            tracing::warn!(error = %e, "the ledger's database does not answer; waiting");
        }
        if matches!(e.trouble(), Trouble::Away | Trouble::Busy) && self.since.elapsed() >= patience {
            // Nobody waits for a task of a worker, and the caller of another task may have left or have been told.
            let _ = CALLER.try_with(|caller| caller.try_send(e.repeated()));
        }
        self.failed += 1;
        let bound = Duration::from_millis(20).saturating_mul(1 << self.failed.min(6)).min(AWAY_CAP);
        tokio::time::sleep(Draw::new(fastrand::u64(..)).share_of(bound)).await;
    }
}

/// Runs `work` in a task of its own, and waits for it. Returns `None` if the task panics.
///
/// # Errors
///
/// [`Trouble::Away`] or [`Trouble::Busy`] if the task has waited for too long until it can write. The task then goes on.
pub(crate) async fn in_task<T, F>(work: F) -> Result<Option<T>, StoreError>
where
    T: Send + 'static,
    F: Future<Output = Option<T>> + Send + 'static,
{
    let (caller, mut away) = mpsc::channel(1);
    let mut task = tokio::spawn(CALLER.scope(caller, work));
    tokio::select! {
        biased;
        ended = &mut task => Ok(ended.unwrap_or(None)),
        Some(e) = away.recv() => Err(e),
    }
}
