//! Waits while the database does not answer or a row is locked, and tells the caller that waits for the task.
//!
//! If a task that works on an action cannot write, it goes on trying. It may have an answer of the provider that is
//! stored nowhere else. But its caller cannot wait for that long. So after `patience`, the time that the database has
//! for an answer, the caller gets the error, and the task goes on without the caller.

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

/// Counts the failed tries of one statement or write, and the time since the first try began.
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

    /// Waits for a moment after a try has failed with the error `e`. If `patience` has passed since the first try
    /// began, the error is also sent to the caller of this task.
    pub(crate) async fn wait_out(&mut self, e: &StoreError, patience: Duration) {
        if self.failed == 0 {
            tracing::warn!(error = %e, "the ledger's database does not answer; waiting");
        }
        if matches!(e.trouble(), Trouble::Away | Trouble::Busy) && self.since.elapsed() >= patience {
            // The send may fail, and that is fine. A worker's task has no caller, and another caller may have left or
            // been told.
            let _ = CALLER.try_with(|caller| caller.try_send(e.repeated()));
        }
        self.failed += 1;
        let bound = Duration::from_millis(20).saturating_mul(1 << self.failed.min(6)).min(AWAY_CAP);
        tokio::time::sleep(Draw::new(fastrand::u64(..)).share_of(bound)).await;
    }
}

/// Runs `work` in a task of its own, and returns its result. Also returns `None` if the task panics.
///
/// # Errors
///
/// [`Trouble::Away`] or [`Trouble::Busy`] if the task has failed to write for too long. The task then goes on without
/// its caller.
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
