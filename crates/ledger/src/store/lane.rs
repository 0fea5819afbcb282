//! Group commit: what arrives while one commit is under way goes into the next one together.
//!
//! A commit waits for the disk, some milliseconds, whether it carries one row or a hundred. One transaction for each write
//! makes a hundred writers stand in line for the disk. Here each writer leaves its job and waits; one task, the lane, takes
//! all that have gathered, executes them as few statements in one transaction, commits, and answers. Nobody waits for a
//! batch to fill: an idle lane takes the first job at once.
//!
//! A job that the database refuses would take its whole batch with it. So a batch that is refused is run again one by one:
//! the bad job fails alone.

use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::action::{Action, ActionId};
use crate::error::{StoreError, Trouble};
use crate::machine::{AttemptRow, NotSettled, Owner, Scope, Stamp};

use super::{Change, Changed, Follow, Insert, Recorded, Result, ScopeSettled, Swept};

/// Jobs in one transaction.
pub(crate) const BATCH: usize = 128;

/// Jobs that may wait; more wait in their callers.
const WAITING: usize = 4096;

/// A transaction that lost against another one is run again so often.
pub(crate) const RUNS: u32 = 12;

/// One thing to do in the writer's transaction.
pub(crate) enum Task<C> {
    Record(Box<Insert>),
    Change(Arc<Change<C>>),
    Scope { scope: Scope, follow: Option<Follow<C>> },
    Evidence { id: ActionId, attempt: Box<AttemptRow> },
    Claim { dependency: String, owner: Owner, most: u32, lease: Duration },
    ClaimOne { id: ActionId, owner: Owner, lease: Duration },
    Sweep { before: Stamp, after: Option<ActionId>, most: u32 },
}

/// What became of it; each task has its own answer.
pub(crate) enum Answer {
    Recorded(Recorded),
    Changed(Changed),
    Scope(std::result::Result<ScopeSettled, NotSettled>),
    Claimed(Vec<Action>),
    Swept(Swept),
    Nothing,
}

/// An answer that belongs to another task.
pub(crate) fn unexpected() -> StoreError {
    StoreError::new(Trouble::Away, "the writer gave another task's answer")
}

/// A task and where its answer goes.
pub(crate) struct Job<C> {
    pub(crate) task: Task<C>,
    reply: oneshot::Sender<Result<Answer>>,
}

/// What executes a batch in one transaction: all of it, or none and an error.
pub(crate) trait Batch<C>: Send + 'static {
    /// One answer for each job, in their order. A handler that fails in a batch of several is an error of the batch
    /// (`Trouble::Refused`); alone it is an answer.
    fn execute(&mut self, jobs: &[&Job<C>]) -> impl Future<Output = Result<Vec<Answer>>> + Send;
}

/// The entry to one or more lanes.
pub(crate) struct Lanes<C> {
    jobs: mpsc::Sender<Job<C>>,
}

impl<C> Clone for Lanes<C> {
    fn clone(&self) -> Self {
        Lanes { jobs: self.jobs.clone() }
    }
}

impl<C: Send + 'static> Lanes<C> {
    /// Starts one lane for each of `batches` on the current runtime; they end when the last entry is dropped.
    pub(crate) fn start<B: Batch<C>>(batches: Vec<B>) -> Lanes<C> {
        let (jobs, waiting) = mpsc::channel(WAITING);
        let waiting = Arc::new(tokio::sync::Mutex::new(waiting));
        for mut batch in batches {
            let waiting = waiting.clone();
            tokio::spawn(async move {
                let mut gathered = Vec::with_capacity(BATCH);
                loop {
                    // The lock is held while waiting: another lane has its turn as soon as this one has its batch.
                    let taken = waiting.lock().await.recv_many(&mut gathered, BATCH).await;
                    if taken == 0 {
                        return;
                    }
                    serve(&mut batch, &mut gathered).await;
                }
            });
        }
        Lanes { jobs }
    }

    /// Leaves a task and waits for its answer.
    ///
    /// Dropping the future does not undo the task: once left, it is done.
    pub(crate) async fn run(&self, task: Task<C>) -> Result<Answer> {
        let (reply, answer) = oneshot::channel();
        let gone = |_| StoreError::new(Trouble::Away, "the ledger's writer has ended");
        self.jobs.send(Job { task, reply }).await.map_err(|_| gone(()))?;
        answer.await.map_err(|_| gone(()))?
    }
}

async fn serve<C: Send, B: Batch<C>>(batch: &mut B, gathered: &mut Vec<Job<C>>) {
    let mut rest: Vec<Job<C>> = std::mem::take(gathered);
    while !rest.is_empty() {
        let (now, later) = without_doubles(rest);
        rest = later;
        let jobs: Vec<&Job<C>> = now.iter().collect();
        let together = run_again(batch, &jobs).await;
        drop(jobs);
        match together {
            Ok(answers) => {
                for (Job { task, reply }, answer) in now.into_iter().zip(answers) {
                    // Let go of first: whoever waits has it alone then.
                    drop(task);
                    // Whoever left before the answer came does not want it.
                    let _ = reply.send(Ok(answer));
                }
            }
            Err(e)
                if now.len() > 1
                    && matches!(e.trouble(), Trouble::Refused | Trouble::Busy | Trouble::Foreign) =>
            {
                for job in now {
                    let alone = run_again(batch, &[&job]).await;
                    let _ = job
                        .reply
                        .send(alone.map(|answers| answers.into_iter().next().unwrap_or(Answer::Nothing)));
                }
            }
            Err(e) => {
                for job in now {
                    let _ = job.reply.send(Err(e.repeated()));
                }
            }
        }
    }
    // The room is used again.
    *gathered = Vec::with_capacity(BATCH);
}

/// Runs a batch until it neither lost against another transaction nor did so too often.
async fn run_again<C: Send, B: Batch<C>>(batch: &mut B, jobs: &[&Job<C>]) -> Result<Vec<Answer>> {
    let mut run = 1;
    loop {
        match batch.execute(jobs).await {
            Err(e) if e.trouble() == Trouble::Again && run < RUNS => {
                tokio::time::sleep(pause(run)).await;
                run += 1;
            }
            ended => return ended,
        }
    }
}

/// The wait before a transaction is run again: drawn, so that two that met do not meet again.
pub(crate) fn pause(run: u32) -> Duration {
    Duration::from_micros(fastrand::u64(0..(1000 << run.min(6))))
}

/// Splits off what changes a row that an earlier job changes: one statement changes a row once.
fn without_doubles<C>(jobs: Vec<Job<C>>) -> (Vec<Job<C>>, Vec<Job<C>>) {
    let mut seen = HashSet::with_capacity(jobs.len());
    jobs.into_iter().partition(|job| match &job.task {
        Task::Record(insert) => seen.insert(insert.action.id),
        Task::Change(change) => seen.insert(change.action.id),
        Task::Evidence { id, .. } => seen.insert(*id),
        // Executed after the others, one by one.
        Task::Scope { .. } | Task::Claim { .. } | Task::ClaimOne { .. } | Task::Sweep { .. } => true,
    })
}
