//! Waits while the database does not answer or a row is locked. If that takes too long, the caller that waits gets an
//! error.
//!
//! If a task that works on an action cannot write, it goes on trying. It may have an answer of the provider that is
//! stored nowhere else. But its caller cannot wait for that long. So after `patience`, the time that the database has
//! for an answer, the caller gets the error, and the task goes on without the caller.

use std::cell::Cell;
use std::time::{Duration, Instant};

use seawall_policy::Draw;
use tokio::sync::oneshot;

use crate::error::{StoreError, Trouble};
use crate::store::Boxed;

/// The longest wait before a statement is sent again while the database cannot be reached.
const AWAY_CAP: Duration = Duration::from_secs(1);

tokio::task_local! {
    /// Where a task tells its caller that it cannot write.
    static CALLER: Cell<Option<oneshot::Sender<StoreError>>>;
}

/// Counts how often one statement has failed, and measures the time since it was sent for the first time.
pub(crate) struct Tries {
    failed: u32,
    since: Instant,
}

impl Tries {
    /// Begins to count and to measure, directly before a statement is sent for the first time.
    pub(crate) fn begin() -> Tries {
        Tries { failed: 0, since: Instant::now() }
    }

    /// Returns how often the statement has failed.
    pub(crate) fn failed(&self) -> u32 {
        self.failed
    }

    /// Waits for a moment after the statement has failed with the error `e`. If `patience` has passed since it was sent
    /// for the first time, the error is also sent to the caller of this task.
    pub(crate) async fn wait_out(&mut self, e: &StoreError, patience: Duration) {
        if self.failed == 0 {
            tracing::warn!(error = %e, "the ledger's database does not answer; waiting");
        }
        if matches!(e.trouble(), Trouble::Away | Trouble::Busy) && self.since.elapsed() >= patience {
            // The channel may have no receiver any more, because the caller has left. The task of a worker has no
            // caller at all. In both cases nobody needs the error. The channel is taken out, so the error is sent only
            // once.
            let caller = CALLER.try_with(Cell::take).ok().flatten();
            let _ = caller.map(|caller| caller.send(e.repeated()));
        }
        self.failed += 1;
        let bound = Duration::from_millis(20).saturating_mul(1 << self.failed.min(6)).min(AWAY_CAP);
        tokio::time::sleep(Draw::new(fastrand::u64(..)).share_of(bound)).await;
    }
}

/// Runs `work` in a task of its own, and returns the result of `work`, which may be `None`. If the task panics,
/// returns `None`, too.
///
/// # Errors
///
/// [`Trouble::Away`] or [`Trouble::Busy`] if the task has failed to write for too long. The task then goes on without
/// its caller.
pub(crate) async fn in_task<T: Send + 'static>(
    work: Boxed<'static, Option<T>>,
) -> Result<Option<T>, StoreError> {
    let (caller, away) = oneshot::channel();
    let mut task = tokio::spawn(CALLER.scope(Cell::new(Some(caller)), work));
    tokio::select! {
        biased;
        ended = &mut task => Ok(ended.unwrap_or(None)),
        Ok(e) = away => Err(e),
    }
}

#[cfg(all(test, feature = "postgres", feature = "sqlite"))]
mod tests {
    use crate::action::{Action, NewAction};
    use crate::inner::Inner;
    use crate::ledger::Ledger;
    use crate::store::Store;
    use crate::store::postgres::Postgres;
    use crate::store::sqlite::Sqlite;

    fn size_of_future<A, F: Future>(_: impl Fn(A) -> F) -> usize {
        size_of::<F>()
    }

    /// Checks the sizes of the ledger's futures. A future is copied as a whole when it is given to another future or to
    /// a task. When each action had a future of 17 KB, a third of the worker's instructions were copies.
    fn futures_are_small<S: Store>() {
        let time = size_of_future(|inner: &'static Inner<S>| inner.time());
        let drive = size_of_future(|(inner, action): (&'static Inner<S>, Action)| inner.drive(action));
        let perform =
            size_of_future(|(ledger, new): (&'static Ledger<S>, &'static NewAction)| ledger.perform(new));
        assert!(
            time <= 256 && drive <= 4700 && perform <= 6500,
            "time {time}, drive {drive}, perform {perform}"
        );
    }

    #[test]
    fn the_futures_that_work_on_an_action_are_small() {
        futures_are_small::<Postgres>();
        futures_are_small::<Sqlite>();
    }
}
