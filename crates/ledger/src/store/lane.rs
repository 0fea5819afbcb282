//! Group commit: what arrives while one commit is under way is committed together by the next one.
//!
//! A commit waits some milliseconds for the disk, whether it carries one row or a hundred. With one transaction for
//! each write, a hundred writers stand in line for the disk. Here each writer leaves its job and waits. One task, the
//! lane, takes all jobs that have gathered, executes them with few statements in one transaction, commits, and answers.
//! Nobody waits for a batch to fill: an idle lane takes the first job immediately.
//!
//! A job that the database refuses would take its whole batch with it. So a refused batch is run again job by job, and
//! only the bad job fails.

use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::action::{Action, ActionId};
use crate::error::{StoreError, Trouble};
use crate::machine::{AttemptRow, NotSettled, Owner, Scope, Stamp};

use super::{Change, Changed, Follow, Insert, Recorded, Result, ScopeSettled, Swept};

/// The most jobs in one transaction.
pub(crate) const BATCH: usize = 128;

/// The most jobs that may wait. Further callers wait until there is room.
const WAITING: usize = 4096;

/// How often a transaction that lost against another one is run again.
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

/// What became of it. Each kind of task has its own answer.
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

/// What executes a batch in one transaction: the whole batch, or nothing and an error.
pub(crate) trait Batch<C>: Send + 'static {
    /// Returns one answer for each job, in their order. A handler that fails in a batch of several jobs is an error of
    /// the batch (`Trouble::Refused`); alone it is an answer.
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
    /// Starts one lane for each of `batches` on the current runtime. The lanes end when the last entry is dropped.
    pub(crate) fn start<B: Batch<C>>(batches: Vec<B>) -> Lanes<C> {
        let (jobs, waiting) = mpsc::channel(WAITING);
        let waiting = Arc::new(tokio::sync::Mutex::new(waiting));
        for mut batch in batches {
            let waiting = waiting.clone();
            tokio::spawn(async move {
                let mut gathered = Vec::with_capacity(BATCH);
                loop {
                    // The lock is held during the wait. Another lane has its turn as soon as this one has its batch.
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
    /// Dropping the future does not undo the task: once it is left, it is done.
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
                    // It is let go of before the answer, so that the task that waits is then its only holder.
                    drop(task);
                    // A caller that left before the answer came does not want it.
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
    // The buffer is used again.
    *gathered = Vec::with_capacity(BATCH);
}

/// Runs a batch until it does not lose against another transaction, or has lost too often.
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

/// The wait before a transaction is run again. It is drawn, so that two transactions that collided do not collide
/// again.
pub(crate) fn pause(run: u32) -> Duration {
    Duration::from_micros(fastrand::u64(0..(1000 << run.min(6))))
}

/// Splits off the jobs that change a row which an earlier job changes: one statement can change a row only once.
fn without_doubles<C>(jobs: Vec<Job<C>>) -> (Vec<Job<C>>, Vec<Job<C>>) {
    let mut seen = HashSet::with_capacity(jobs.len());
    jobs.into_iter().partition(|job| match &job.task {
        Task::Record(insert) => seen.insert(insert.action.id),
        Task::Change(change) => seen.insert(change.action.id),
        Task::Evidence { id, .. } => seen.insert(*id),
        // They are executed after the others, one by one.
        Task::Scope { .. } | Task::Claim { .. } | Task::ClaimOne { .. } | Task::Sweep { .. } => true,
    })
}
