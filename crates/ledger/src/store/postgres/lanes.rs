//! One lane of PostgreSQL: a writer that executes each batch of jobs in one transaction.
//!
//! While batches follow each other, a lane commits a batch and begins the next transaction in one message ([`Ahead`]).
//! With a BEGIN of its own, each batch would wait for the server once more. A transaction that was begun ahead has no
//! snapshot and holds no row. If no job comes within [`LINGER`], it is rolled back.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnection;
use tokio::time::timeout_at;

use crate::action::{Action, ActionId};
use crate::clock::SharedClock;
use crate::error::{StoreError, Trouble};
use crate::machine::Write;
use crate::store::lane::{Answer, Batch, Job, Task, unexpected};
use crate::store::{Changed, Insert, Recorded, Result};

use super::deadline::{Begin, Kept, Link, Tx};
use super::statements::Session;

/// One lane: a writer with a connection of its own. It keeps this connection between batches, since giving the
/// connection back to the pool and taking it again would cost a round trip for each batch.
pub(super) struct Lane {
    pub(super) link: Link,
    pub(super) conn: Option<Kept>,
    pub(super) clock: SharedClock,
    pub(super) prepared: bool,
    /// The transaction that was begun for the next batch.
    ahead: Option<Ahead>,
    /// When the previous batch ended.
    ended: Option<Instant>,
}

/// How long a transaction that was begun ahead waits for jobs. A lane begins a transaction ahead only if the present
/// batch began within this time after the end of the previous one.
const LINGER: Duration = Duration::from_millis(10);

/// A transaction that was begun for the next batch.
struct Ahead {
    tx: Tx,
    since: Instant,
}

impl Lane {
    pub(super) fn new(link: Link, clock: SharedClock, prepared: bool) -> Lane {
        Lane { link, conn: None, clock, prepared, ahead: None, ended: None }
    }
}

/// Returns the result of a change that was not written, because the stored row has another version. If the stored row
/// is exactly as the change would have made it, the change was written earlier and its answer was lost.
pub(super) fn stale(found: Option<Action>, write: &Write) -> Changed {
    match found {
        Some(action) if action.state == *write.to() => Changed::Taken,
        other => Changed::Stale(other.map(Box::new)),
    }
}

/// Returns whether the database refused a statement of the application in favour of another transaction: a
/// serialization failure (SQLSTATE 40001) or a deadlock (40P01).
pub(super) fn lost_against_another(e: &sqlx::Error) -> bool {
    let code = e.as_database_error().and_then(|said| said.code());
    matches!(code.as_deref(), Some("40001" | "40P01"))
}

impl Batch<PgConnection> for Lane {
    async fn execute(&mut self, jobs: &[&Job<PgConnection>]) -> Result<Vec<Answer>> {
        let mut inserts: Vec<&Insert> = Vec::new();
        let mut writes: Vec<(ActionId, &Write)> = Vec::new();
        for job in jobs {
            match &job.task {
                Task::Record(insert) => inserts.push(insert),
                Task::Change(change) => writes.push((change.action.id, &change.write)),
                // These tasks have transactions of their own, so a lane must never receive them.
                Task::Scope { .. }
                | Task::Evidence { .. }
                | Task::Claim { .. }
                | Task::ClaimWhich { .. }
                | Task::ClaimOne { .. }
                | Task::Sweep { .. } => return Err(StoreError::new(Trouble::Refused, "no task of a lane")),
            }
        }
        // The writes are sorted, so that two batches that lock the same rows lock them in the same order.
        writes.sort_unstable_by_key(|(id, _)| *id);
        inserts.sort_unstable_by(|a, b| a.action.key.cmp(&b.action.key));

        let until = self.link.until();
        let mut executed = self.transaction(&inserts, &writes, until).await;
        // The connection was lost, and the batch may have been committed. So it is executed again. If it was committed,
        // its rows are there already, exactly as the batch would have made them.
        if executed.as_ref().is_err_and(|e| e.trouble() == Trouble::Away) && Instant::now() < until {
            let again = self.transaction(&inserts, &writes, until).await;
            let doubt = executed.as_ref().is_err_and(|e| e.in_doubt());
            executed = again.map_err(|e| if doubt { e.after_commit() } else { e });
        }
        let (recorded, changed) = executed?;
        jobs.iter().map(|job| answer(&job.task, &recorded, &changed)).collect()
    }

    fn give_up(&mut self) {
        if let Some(Ahead { mut tx, .. }) = self.ahead.take() {
            tx.close();
        }
        if let Some(broken) = self.conn.take() {
            broken.close();
        }
    }

    fn is_open(&self) -> bool {
        self.conn.is_some() || self.ahead.is_some()
    }

    fn rests_at(&self) -> Option<Instant> {
        self.ahead.as_ref().map(|ahead| ahead.since + LINGER)
    }

    async fn rest(&mut self) {
        let Some(Ahead { mut tx, .. }) = self.ahead.take() else { return };
        // Jobs that come meanwhile wait. So if there is no answer soon, the connection is closed.
        let until = Instant::now() + self.link.within() / 4;
        tx.has_until(until);
        let rolled_back = self.link.bounded(until, tx.rollback_and_keep()).await;
        self.conn = rolled_back.unwrap_or_default();
    }
}

impl Lane {
    async fn transaction(
        &mut self,
        inserts: &[&Insert],
        writes: &[(ActionId, &Write)],
        until: Instant,
    ) -> Result<(Inserts, Moved)> {
        let link = self.link.clone();
        let committing = AtomicBool::new(false);
        let follows = self.ended.is_some_and(|ended| ended.elapsed() < LINGER);
        let writing = async {
            let ahead = self.ahead.take().filter(|ahead| ahead.tx.is_usable());
            // If a transaction was begun ahead, no BEGIN shows now whether the server still answers. So the first
            // statements have only half of the time, as BEGIN has, and the other half is left to try again on another
            // connection.
            let now = Instant::now();
            let answer_by =
                if ahead.is_some() { now + until.saturating_duration_since(now) / 2 } else { until };
            let mut tx = match ahead {
                Some(Ahead { mut tx, .. }) => {
                    tx.has_until(until);
                    tx
                }
                None => self.link.begin_on(self.conn.take(), Begin::Batch, until).await?,
            };
            let written = async {
                let mut session = Session { conn: &mut tx, prepared: self.prepared };
                let recorded = record(&mut session, inserts, &self.clock).await?;
                let changed = change(&mut session, writes, &self.clock).await?;
                Ok((recorded, changed))
            };
            let written: Result<(Inserts, Moved)> =
                timeout_at(answer_by.into(), written).await.unwrap_or_else(|_| Err(self.link.silent()));
            match &written {
                Ok(_) => {
                    committing.store(true, Ordering::Relaxed);
                    if follows && self.prepared {
                        tx.commit_and_begin(&self.link).await?;
                        self.ahead = Some(Ahead { tx, since: Instant::now() });
                    } else {
                        self.conn = tx.commit_and_keep().await?;
                    }
                }
                Err(e) if e.trouble() == Trouble::Away => {
                    tx.close();
                    self.link.close_idle();
                }
                Err(_) => self.conn = tx.rollback_and_keep().await.unwrap_or_default(),
            }
            written
        };
        let done = link.bounded(until, writing).await;
        self.ended = Some(Instant::now());
        let is_lost = |e: &StoreError| e.trouble() == Trouble::Away && committing.load(Ordering::Relaxed);
        done.map_err(|e| if is_lost(&e) { e.after_commit() } else { e })
    }
}

/// What became of the inserts of a batch.
#[derive(Default)]
struct Inserts {
    /// The ids of the inserted rows.
    taken: HashSet<ActionId>,
    /// The stored rows whose keys were recorded before, by dependency and key.
    existing: HashMap<(String, String), Action>,
}

async fn record(session: &mut Session<'_>, inserts: &[&Insert], shared: &SharedClock) -> Result<Inserts> {
    if inserts.is_empty() {
        return Ok(Inserts::default());
    }
    let (taken, clock) = session.insert(inserts).await?;
    shared.set(clock);
    let missed = inserts.iter().filter(|insert| !taken.contains(&insert.action.id));
    let keys: Vec<(&str, &str)> =
        missed.map(|insert| (insert.action.dependency.as_str(), insert.action.key.as_str())).collect();
    let found = if keys.is_empty() { Vec::new() } else { session.find_many(&keys).await? };
    let existing =
        found.into_iter().map(|action| ((action.dependency.clone(), action.key.clone()), action)).collect();
    Ok(Inserts { taken, existing })
}

/// For each change that was not written, the stored row as it is now; `None` if there is no such row.
type Moved = HashMap<ActionId, Option<Action>>;

async fn change(
    session: &mut Session<'_>,
    writes: &[(ActionId, &Write)],
    shared: &SharedClock,
) -> Result<Moved> {
    if writes.is_empty() {
        return Ok(Moved::new());
    }
    let (taken, clock) = session.change(writes).await?;
    shared.set(clock);
    let missed: Vec<ActionId> = writes.iter().map(|(id, _)| *id).filter(|id| !taken.contains(id)).collect();
    if missed.is_empty() {
        return Ok(HashMap::new());
    }
    let mut found: HashMap<ActionId, Option<Action>> = missed.iter().map(|id| (*id, None)).collect();
    for action in session.load_many(&missed).await? {
        found.insert(action.id, Some(action));
    }
    Ok(found)
}

fn answer(
    task: &Task<PgConnection>,
    recorded: &Inserts,
    changed: &HashMap<ActionId, Option<Action>>,
) -> Result<Answer> {
    match task {
        Task::Record(insert) => {
            let id = insert.action.id;
            if recorded.taken.contains(&id) {
                return Ok(Answer::Recorded(Recorded::New));
            }
            let key = (insert.action.dependency.clone(), insert.action.key.clone());
            Ok(Answer::Recorded(match recorded.existing.get(&key) {
                // The stored row has the same id. So an earlier execution of this batch has inserted it, and the answer
                // was lost.
                Some(found) if found.id == id => Recorded::New,
                Some(found) => Recorded::Existing(Box::new(found.clone())),
                None => Recorded::Clash,
            }))
        }
        Task::Change(change) => Ok(Answer::Changed(match changed.get(&change.action.id) {
            Some(found) => stale(found.clone(), &change.write),
            None => Changed::Taken,
        })),
        Task::Scope { .. }
        | Task::Evidence { .. }
        | Task::Claim { .. }
        | Task::ClaimWhich { .. }
        | Task::ClaimOne { .. }
        | Task::Sweep { .. } => Err(unexpected()),
    }
}
