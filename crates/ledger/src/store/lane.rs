//! Group commit: the writes that arrive during one commit are committed together by the next commit.
//!
//! The obvious design has one transaction for each write. But a commit waits some milliseconds for the disk, whether it
//! carries one row or a hundred. So a hundred writers would wait for the disk one after the other.
//!
//! Here, each caller that writes hands its job to the lane, which is a task of the runtime, and waits for the answer.
//! The lane takes the jobs that are waiting, at most [`BATCH`] of them. It executes them with few statements in one
//! transaction, commits, and sends the answers.
//!
//! A lane does not wait for a batch to fill: an idle lane takes the first job immediately. While there are several
//! callers, the lane first lets the other tasks of the runtime run, so that more jobs arrive. Otherwise the first
//! caller that got an answer would begin a batch with its next job alone, and the others would wait for the disk twice.
//! With 32 callers there were a quarter more commits.
//!
//! If the database refuses one job, the whole batch fails. Then the jobs of the batch are run again one by one, and
//! only the refused job fails.

use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{MutexGuard, mpsc, oneshot};
use tokio::time::Sleep;

use crate::action::{Action, ActionId};
use crate::caught::caught;
use crate::error::{StoreError, Trouble};
use crate::machine::{Evidence, NotSettled, Owner, Scope, Stamp};

use super::{Change, Changed, Declared, Follow, Insert, Recorded, Result, ScopeSettled, Swept, Which};

/// The maximum number of jobs in one transaction.
pub(crate) const BATCH: usize = 128;

/// The maximum number of jobs that wait for a lane. If this number is reached, further callers wait until a lane has
/// taken some of the jobs.
const WAITING: usize = 4096;

/// The maximum number of times that a transaction is run. It is run again only if it conflicts with another transaction
/// and the database refuses it for that reason.
pub(crate) const RUNS: u32 = 12;

/// A transaction that the database has refused is not run again when its oldest job has waited for this time. A caller
/// must be told within five seconds that the ledger cannot be used, and the last run may take one second.
const PATIENCE: Duration = Duration::from_secs(4);

/// What a caller wants a lane to execute, such as a change of a row or a claim.
#[cfg_attr(
    not(feature = "sqlite"),
    expect(dead_code, reason = "some tasks go through a lane only on SQLite")
)]
pub(crate) enum Task<C> {
    Record(Box<Insert>),
    Change(Arc<Change<C>>),
    Scope { scope: Scope, follow: Option<Follow<C>> },
    Evidence { id: ActionId, attempt: Box<Evidence> },
    Claim { declared: Declared, owner: Owner, most: u32, lease: Duration },
    ClaimWhich { declared: Declared, owner: Owner, most: u32, lease: Duration, which: Which },
    ClaimOne { id: ActionId, owner: Owner, lease: Duration },
    Sweep { before: Stamp, after: Option<ActionId>, most: u32 },
}

impl<C> Task<C> {
    /// Returns whether the task is of no use once its caller has left, because nobody else would go on with its result.
    fn is_for_its_caller(&self) -> bool {
        match self {
            Task::Record(_) | Task::Claim { .. } | Task::ClaimWhich { .. } | Task::ClaimOne { .. } => true,
            Task::Change(_) | Task::Scope { .. } | Task::Evidence { .. } | Task::Sweep { .. } => false,
        }
    }
}

/// The result of a task. Each kind of task has its own kind of result.
#[cfg_attr(
    not(feature = "sqlite"),
    expect(dead_code, reason = "some tasks go through a lane only on SQLite")
)]
pub(crate) enum Answer {
    Recorded(Recorded),
    Changed(Changed),
    Scope(std::result::Result<ScopeSettled, NotSettled>),
    Claimed(Vec<Action>),
    Swept(Swept),
    Nothing,
}

/// Hands a task to the lanes, waits, and returns its result. `$kind` is the variant of [`Answer`] that holds the result
/// of such a task.
macro_rules! ask {
    ($lanes:expr, $task:expr, $kind:ident) => {
        match $lanes.run($task).await? {
            $crate::store::lane::Answer::$kind(it) => Ok(it),
            _ => Err($crate::store::lane::unexpected()),
        }
    };
}
pub(crate) use ask;

/// Returns the error of a caller whose task got the [`Answer`] of another kind of task. For example, it wanted to
/// change a row, and got the answer to a claim.
pub(crate) fn unexpected() -> StoreError {
    StoreError::new(Trouble::Away, "the writer gave another task's answer")
}

/// A task, and the channel for its answer.
pub(crate) struct Job<C> {
    pub(crate) task: Task<C>,
    /// When the caller handed the task to the lanes.
    since: Instant,
    reply: oneshot::Sender<Result<Answer>>,
}

/// Executes the jobs of a batch in one transaction. Either all jobs are executed, or none is and an error is returned.
pub(crate) trait Batch<C>: Send + 'static {
    /// Executes the jobs in one transaction, and returns one answer for each job, in their order.
    ///
    /// If the handler of a job fails, the transaction is rolled back. With several jobs, this function fails with
    /// `Trouble::Refused`: the caller then executes the jobs one by one, so that the other jobs do not fail. With one
    /// job, the answer to this job says that its handler failed.
    fn execute(&mut self, jobs: &[&Job<C>]) -> impl Future<Output = Result<Vec<Answer>>> + Send;

    /// Closes the connection. The next batch opens another one.
    fn give_up(&mut self);

    /// Returns whether there is a connection for the next batch.
    fn is_open(&self) -> bool;

    /// Returns the moment at which the lane calls [`Batch::rest`] if no job has come by then. With `None`, the lane
    /// never calls that function.
    fn rests_at(&self) -> Option<Instant> {
        None
    }

    /// Ends what was begun for the next batch before its first job came, such as a transaction. The lane calls this
    /// when no job has come for some time.
    fn rest(&mut self) -> impl Future<Output = ()> + Send {
        async {}
    }
}

/// Hands jobs to one or more lanes.
pub(crate) struct Lanes<C> {
    records: mpsc::Sender<Job<C>>,
    others: mpsc::Sender<Job<C>>,
}

impl<C> Clone for Lanes<C> {
    fn clone(&self) -> Self {
        Lanes { records: self.records.clone(), others: self.others.clone() }
    }
}

impl<C: Send + 'static> Lanes<C> {
    /// Starts one lane for each of `batches` on the current runtime. The lanes end when the last clone of the returned
    /// value is dropped.
    ///
    /// If there are several lanes, there are two queues: one for records, and one for all other jobs. Each lane looks
    /// into one of the two queues first. So while there is much to do, a batch has only records or no record, and fewer
    /// statements are needed for it.
    pub(crate) fn start<B: Batch<C>>(batches: Vec<B>) -> Lanes<C> {
        let queue = || {
            let (jobs, waiting) = mpsc::channel(WAITING);
            (jobs, Arc::new(tokio::sync::Mutex::new(waiting)))
        };
        let (records, first) = queue();
        let (others, second) = if batches.len() > 1 { queue() } else { (records.clone(), first.clone()) };
        for (index, batch) in batches.into_iter().enumerate() {
            let [own, other] = if index % 2 == 0 { [&first, &second] } else { [&second, &first] };
            let other = (!Arc::ptr_eq(own, other)).then(|| other.clone());
            tokio::spawn(work(batch, own.clone(), other));
        }
        Lanes { records, others }
    }

    /// Hands a task to a lane, waits until the task is executed, and returns its answer.
    ///
    /// Dropping the future does not undo the task: once a lane has the task, the task is executed. If the caller
    /// leaves before that, a record or a claim is not made, since nobody would go on with it.
    pub(crate) async fn run(&self, task: Task<C>) -> Result<Answer> {
        let (reply, answer) = oneshot::channel();
        let gone = |_| StoreError::new(Trouble::Away, "the ledger's writer has ended");
        let queue = if matches!(task, Task::Record(_)) { &self.records } else { &self.others };
        queue.send(Job { task, since: Instant::now(), reply }).await.map_err(|_| gone(()))?;
        answer.await.map_err(|_| gone(()))?
    }
}

/// A queue of jobs, which several lanes share. One of them holds the lock while it waits for jobs and gathers a batch.
/// Then the next lane gets the lock.
type Queue<C> = Arc<tokio::sync::Mutex<mpsc::Receiver<Job<C>>>>;

/// Waits for a job of this queue. Returns it with the queue, so that more jobs can be taken. Returns `None` if the
/// queue has ended.
async fn first<C>(queue: &Queue<C>) -> Option<(Job<C>, MutexGuard<'_, mpsc::Receiver<Job<C>>>)> {
    let mut jobs = queue.lock().await;
    let job = jobs.recv().await?;
    Some((job, jobs))
}

/// The task of a lane. It takes jobs of its own queue first, and those of the other queue when there are none.
async fn work<C: Send, B: Batch<C>>(mut batch: B, own: Queue<C>, other: Option<Queue<C>>) {
    let mut gathered = Vec::with_capacity(BATCH);
    // The number of jobs in the previous batch.
    let mut before = 0;
    let mut alarm = Alarm::default();
    loop {
        let rests_at = batch.rests_at();
        let (job, mut jobs) = tokio::select! {
            biased;
            Some(taken) = first(&own) => taken,
            Some(taken) = async { first(other.as_ref()?).await } => taken,
            () = alarm.reached(rests_at), if rests_at.is_some() => {
                batch.rest().await;
                continue;
            }
            else => return,
        };
        gathered.push(job);
        fill(&mut gathered, &mut jobs);
        // The callers of the previous batch have just got their answers, and each of them may now have its next job. If
        // the first of these jobs began a batch alone, the others would wait for the disk twice. So the lane lets these
        // callers run first. A single caller would only lose time by that, so it is done only if the previous batch had
        // several jobs.
        if before > 1 {
            tokio::task::yield_now().await;
            fill(&mut gathered, &mut jobs);
        }
        before = gathered.len();
        drop(jobs);
        serve(&mut batch, &mut gathered).await;
    }
}

/// Takes the jobs that wait, up to the size of a batch.
fn fill<C>(gathered: &mut Vec<Job<C>>, jobs: &mut mpsc::Receiver<Job<C>>) {
    while gathered.len() < BATCH {
        let Ok(job) = jobs.try_recv() else { return };
        gathered.push(job);
    }
}

/// A timer that is used for many batches. When tokio gets a new timer that is due before all others, it wakes the
/// thread that waits for the sockets. That costs a system call and often a change of threads. With a new timer for each
/// batch, this would happen for each batch. This timer is usually moved only when it fires.
#[derive(Default)]
struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Waits until this moment. Without one, it waits for ever.
    async fn reached(&mut self, by: Option<Instant>) {
        let Some(by) = by else { return std::future::pending().await };
        let by = tokio::time::Instant::from_std(by);
        let sleep = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(by)));
        if sleep.deadline() > by || sleep.is_elapsed() {
            sleep.as_mut().reset(by);
        }
        loop {
            sleep.as_mut().await;
            if sleep.deadline() >= by {
                return;
            }
            sleep.as_mut().reset(by);
        }
    }
}

async fn serve<C: Send, B: Batch<C>>(batch: &mut B, gathered: &mut Vec<Job<C>>) {
    let mut rest: Vec<Job<C>> = std::mem::take(gathered);
    rest.retain(|job| !(job.reply.is_closed() && job.task.is_for_its_caller()));
    while !rest.is_empty() {
        let (now, later) = without_doubles(rest);
        rest = later;
        let jobs: Vec<&Job<C>> = now.iter().collect();
        let together = run_again(batch, &jobs).await;
        drop(jobs);
        match together {
            Ok(answers) => {
                for (Job { task, reply, since: _ }, answer) in now.into_iter().zip(answers) {
                    // The task is dropped before the answer is sent. So when the waiting caller gets the answer, it has
                    // the only reference to the change.
                    drop(task);
                    // Sending fails if the caller no longer waits, and then nobody needs the answer.
                    let _ = reply.send(Ok(answer));
                }
            }
            Err(e) if now.len() > 1 && is_of_one_job(batch, &e) => {
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
    // The old vector was used up. This is the one for the jobs of the next batch.
    *gathered = Vec::with_capacity(BATCH);
}

/// Returns whether a batch may have failed because of a single job, so that its jobs are worth running one by one. If
/// the batch failed because it got no connection, this returns false: a single job would get no connection either.
fn is_of_one_job<C, B: Batch<C>>(batch: &B, e: &StoreError) -> bool {
    match e.trouble() {
        Trouble::Refused | Trouble::Foreign => true,
        Trouble::Busy => batch.is_open(),
        Trouble::Away | Trouble::Again => false,
    }
}

/// Runs a batch again while the database refuses it in favour of another transaction: at most [`RUNS`] times, and until
/// a job has waited for [`PATIENCE`]. Returns the answers of the last run.
///
/// A job may panic, for example in a handler of the application. That ends neither the lane nor the jobs of other
/// callers. It happens before the commit, so the batch counts as refused, and its jobs are run again one by one.
async fn run_again<C: Send, B: Batch<C>>(batch: &mut B, jobs: &[&Job<C>]) -> Result<Vec<Answer>> {
    let mut run = 1;
    let oldest = jobs.iter().map(|job| job.since).min();
    let has_time = || oldest.is_none_or(|oldest| oldest.elapsed() < PATIENCE);
    loop {
        let executed = caught(|| Box::pin(batch.execute(jobs))).await.unwrap_or_else(|panic| {
            tracing::error!(error = %panic, "a transaction of the ledger panicked");
            batch.give_up();
            Err(StoreError::new(Trouble::Refused, panic))
        });
        match executed {
            Err(e) if e.trouble() == Trouble::Again && run < RUNS && has_time() => {
                tokio::time::sleep(pause(run)).await;
                run += 1;
            }
            ended => return ended,
        }
    }
}

/// Returns the wait before a transaction is run again, after the run number `run` (1 is the first). The wait is random,
/// so that two transactions that collided do not collide again. It is below 2 ms after the first run; this bound
/// doubles with each run up to 64 ms.
pub(crate) fn pause(run: u32) -> Duration {
    Duration::from_micros(fastrand::u64(0..(1000 << run.min(6))))
}

/// Splits the jobs into two lists. The first list can be executed together. The second list has the jobs that change a
/// row that an earlier job changes, too, since one statement can change a row only once.
fn without_doubles<C>(jobs: Vec<Job<C>>) -> (Vec<Job<C>>, Vec<Job<C>>) {
    let mut seen = HashSet::with_capacity(jobs.len());
    jobs.into_iter().partition(|job| match &job.task {
        Task::Record(insert) => seen.insert(insert.action.id),
        Task::Change(change) => seen.insert(change.action.id),
        Task::Evidence { id, .. } => seen.insert(*id),
        // These tasks are executed one by one, after the others.
        Task::Scope { .. }
        | Task::Claim { .. }
        | Task::ClaimWhich { .. }
        | Task::ClaimOne { .. }
        | Task::Sweep { .. } => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If a job of a batch is a sweep of this number of rows, the test's batch panics.
    const UNLUCKY: u32 = 13;

    struct Panics {
        given_up: Arc<std::sync::atomic::AtomicU32>,
    }

    impl Batch<()> for Panics {
        async fn execute(&mut self, jobs: &[&Job<()>]) -> Result<Vec<Answer>> {
            tokio::task::yield_now().await;
            let unlucky = |job: &&Job<()>| matches!(job.task, Task::Sweep { most: UNLUCKY, .. });
            assert!(!jobs.iter().any(unlucky), "an unlucky number");
            Ok(jobs.iter().map(|_| Answer::Nothing).collect())
        }

        fn give_up(&mut self) {
            self.given_up.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }

        fn is_open(&self) -> bool {
            true
        }
    }

    #[tokio::test]
    async fn a_panic_fails_its_own_job_and_neither_the_others_nor_the_lane() {
        let given_up = Arc::<std::sync::atomic::AtomicU32>::default();
        let lanes = Lanes::start(vec![Panics { given_up: given_up.clone() }]);
        let sweep = |most| lanes.run(Task::Sweep { before: Stamp::from_micros(0), after: None, most });
        let (first, unlucky, last) = tokio::join!(sweep(1), sweep(UNLUCKY), sweep(2));
        assert!(first.is_ok() && last.is_ok());
        let Err(e) = unlucky else { panic!("it has an answer") };
        assert_eq!(e.trouble(), Trouble::Refused);
        assert!(e.to_string().contains("it panicked: an unlucky number"), "{e}");
        assert!(sweep(3).await.is_ok(), "the lane goes on");
        assert!(given_up.load(std::sync::atomic::Ordering::SeqCst) >= 1, "its connection is closed");
    }

    /// Keeps the number of jobs of each batch.
    struct Counts(Arc<std::sync::Mutex<Vec<usize>>>);

    impl Batch<()> for Counts {
        async fn execute(&mut self, jobs: &[&Job<()>]) -> Result<Vec<Answer>> {
            self.0.lock().unwrap().push(jobs.len());
            Ok(jobs.iter().map(|_| Answer::Nothing).collect())
        }

        fn give_up(&mut self) {}

        fn is_open(&self) -> bool {
            true
        }
    }

    #[tokio::test]
    async fn a_caller_that_is_ready_to_run_gets_into_the_batch_of_the_first_one() {
        let sizes = Arc::<std::sync::Mutex<Vec<usize>>>::default();
        let lanes = Lanes::start(vec![Counts(sizes.clone())]);
        let sweep = |most| Task::Sweep { before: Stamp::from_micros(0), after: None, most };
        // Two callers use the lane, so that its next batch waits for further callers.
        let (one, two) = tokio::join!(lanes.run(sweep(1)), lanes.run(sweep(2)));
        assert!(one.is_ok() && two.is_ok());
        let mut first = std::pin::pin!(lanes.run(sweep(1)));
        // The first caller hands its job to the lane, which has not run yet.
        tokio::select! {
            biased;
            _ = &mut first => panic!("the lane has not run"),
            () = std::future::ready(()) => {}
        }
        let second = tokio::spawn({
            let lanes = lanes.clone();
            async move { lanes.run(sweep(2)).await.is_ok() }
        });
        assert!(first.await.is_ok() && second.await.unwrap());
        assert_eq!(*sizes.lock().unwrap(), [2, 2]);
    }

    /// Does not end a batch that has a sweep of [`UNLUCKY`] rows, and tells when it has got one.
    struct Stays(Arc<tokio::sync::Notify>);

    impl Batch<()> for Stays {
        async fn execute(&mut self, jobs: &[&Job<()>]) -> Result<Vec<Answer>> {
            if jobs.iter().any(|job| matches!(job.task, Task::Sweep { most: UNLUCKY, .. })) {
                self.0.notify_one();
                std::future::pending::<()>().await;
            }
            Ok(jobs.iter().map(|_| Answer::Nothing).collect())
        }

        fn give_up(&mut self) {}

        fn is_open(&self) -> bool {
            true
        }
    }

    /// The longest time that anything may take on a busy machine.
    const LONG: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn a_lane_without_jobs_of_its_own_takes_those_of_the_other() {
        let stays = Arc::<tokio::sync::Notify>::default();
        let lanes = Lanes::start(vec![Stays(stays.clone()), Stays(stays.clone())]);
        let sweep = |most| Task::Sweep { before: Stamp::from_micros(0), after: None, most };
        let stuck = tokio::spawn({
            let (lanes, task) = (lanes.clone(), sweep(UNLUCKY));
            async move { lanes.run(task).await.is_ok() }
        });
        stays.notified().await;
        let other = tokio::time::timeout(LONG, lanes.run(sweep(1))).await;
        assert!(other.is_ok_and(|answer| answer.is_ok()), "all jobs wait for one lane");
        stuck.abort();
    }

    #[tokio::test]
    async fn an_alarm_rings_at_the_time_that_was_set_last() {
        let mut alarm = Alarm::default();
        let after = |millis| Some(Instant::now() + Duration::from_millis(millis));
        for (given_up, by) in [(3_600_000, 5), (1, 20), (3_600_000, 1)] {
            // The caller gives up its first wait immediately, before the time `given_up`.
            tokio::select! {
                biased;
                () = alarm.reached(after(given_up)) => {}
                () = std::future::ready(()) => {}
            }
            let by = after(by);
            let rung = tokio::time::timeout(LONG, alarm.reached(by)).await;
            assert!(rung.is_ok() && Some(Instant::now()) >= by, "{given_up}");
        }
    }
}
