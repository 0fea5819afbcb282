//! The only writer of SQLite. It executes each batch in one transaction.

use std::collections::HashSet;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, Row, SqliteConnection};

use crate::action::{Action, ActionId};
use crate::caught::message;
use crate::error::{StoreError, Trouble};
use crate::machine::{NotSettled, Scope, Stamp, Write};
use crate::store::lane::{Answer, Batch, Job, Task};
use crate::store::{
    Change, Changed, Follow, Insert, Recorded, Result, ScopeSettled, followed, settle_members,
};

use super::locked::at;
use super::statements::{self, failed};
use super::time::Source;

pub(super) struct Writer {
    options: SqliteConnectOptions,
    /// The writer's connection. After it was lost, this is `None` until the next batch opens a new one.
    conn: Option<SqliteConnection>,
    /// The highest `needs` of a row that this program works on.
    knows: u32,
    time: Source,
}

impl Writer {
    /// Opens the writer's connection, and checks that its commits are durable. `knows` is the highest `needs` of a row
    /// that this program works on. `time` is the clock that counts as the database's clock.
    pub(super) async fn open(options: SqliteConnectOptions, knows: u32, time: Source) -> Result<Writer> {
        let conn = connect(&options).await?;
        Ok(Writer { options, conn: Some(conn), knows, time })
    }
}

/// Opens a connection. Fails if its settings do not ensure that a commit is on the disk when it returns.
async fn connect(options: &SqliteConnectOptions) -> Result<SqliteConnection> {
    let mut conn = options.connect().await.map_err(failed)?;
    verify(&mut conn).await?;
    Ok(conn)
}

async fn verify(conn: &mut SqliteConnection) -> Result<()> {
    let journal: String = pragma(conn, "PRAGMA journal_mode").await?;
    let synchronous: i64 = pragma(conn, "PRAGMA synchronous").await?;
    // `PRAGMA synchronous` returns 2 for FULL and 3 for EXTRA (https://sqlite.org/pragma.html#pragma_synchronous).
    if journal != "wal" || synchronous < 2 {
        let found = format!("journal_mode is {journal}, synchronous {synchronous}; wal and 2 are needed");
        return Err(StoreError::new(Trouble::Refused, found));
    }
    Ok(())
}

async fn pragma<'r, T>(conn: &mut SqliteConnection, text: &'static str) -> Result<T>
where
    T: for<'a> sqlx::Decode<'a, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    sqlx::query(text).fetch_one(conn).await.and_then(|row| row.try_get(0)).map_err(failed)
}

impl Batch<SqliteConnection> for Writer {
    async fn execute(&mut self, jobs: &[&Job<SqliteConnection>]) -> Result<Vec<Answer>> {
        let file = self.options.get_filename();
        let conn = match &mut self.conn {
            Some(conn) => conn,
            None => self.conn.insert(connect(&self.options).await.map_err(|e| at(file, &e))?),
        };
        let executed = transaction(conn, jobs, self.knows, &self.time).await;
        if executed.as_ref().is_err_and(|e| e.trouble() == Trouble::Away) {
            self.conn = None;
        }
        executed.map_err(|e| match e.trouble() {
            Trouble::Away | Trouble::Again => at(file, &e),
            Trouble::Busy | Trouble::Refused | Trouble::Foreign => e,
        })
    }

    fn give_up(&mut self) {
        self.conn = None;
    }

    fn is_open(&self) -> bool {
        self.conn.is_some()
    }
}

async fn transaction(
    conn: &mut SqliteConnection,
    jobs: &[&Job<SqliteConnection>],
    knows: u32,
    time: &Source,
) -> Result<Vec<Answer>> {
    let mut tx = conn.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
    // The time is read while the write lock is held. So all earlier writes have an earlier time.
    let now = time.stamp();
    let inserts: Vec<&Insert> = jobs
        .iter()
        .filter_map(|job| if let Task::Record(insert) = &job.task { Some(&**insert) } else { None })
        .collect();
    let writes: Vec<(ActionId, &Write)> = jobs
        .iter()
        .filter_map(|job| {
            if let Task::Change(change) = &job.task { Some((change.action.id, &change.write)) } else { None }
        })
        .collect();
    let inserted = statements::insert(&mut tx, &inserts).await?;
    let changed = statements::change(&mut tx, &writes, now).await?;
    let mut answers = Vec::with_capacity(jobs.len());
    for job in jobs {
        let answer = match &job.task {
            Task::Record(insert) => recorded(&mut tx, insert, &inserted).await?,
            Task::Change(change) => match completed(&mut tx, change, &changed).await? {
                Changed::HandlerFailed(why) if jobs.len() > 1 => {
                    return Err(StoreError::new(Trouble::Refused, why));
                }
                Changed::HandlerFailed(why) => {
                    tx.rollback().await.map_err(failed)?;
                    return Ok(vec![Answer::Changed(Changed::HandlerFailed(why))]);
                }
                Changed::Clash if jobs.len() > 1 => {
                    return Err(StoreError::new(Trouble::Refused, "another action is sent under this key"));
                }
                Changed::Clash => {
                    tx.rollback().await.map_err(failed)?;
                    return Ok(vec![Answer::Changed(Changed::Clash)]);
                }
                done @ (Changed::Taken | Changed::Stale(_)) => Answer::Changed(done),
            },
            Task::Scope { scope, follow } => {
                Answer::Scope(scope_settled(&mut tx, scope, follow.as_ref(), knows, now).await?)
            }
            Task::Evidence { id, attempt } => {
                statements::log(&mut tx, &[(*id, attempt.line())]).await?;
                Answer::Nothing
            }
            Task::Claim { declared, owner, most, lease } => {
                let claim =
                    statements::Claim { owner: *owner, now, until: now.saturating_add(*lease), knows };
                Answer::Claimed(statements::claim_due(&mut tx, declared, *most, claim).await?)
            }
            Task::ClaimWhich { declared, owner, most, lease, which } => {
                let claim =
                    statements::Claim { owner: *owner, now, until: now.saturating_add(*lease), knows };
                Answer::Claimed(statements::claim_which(&mut tx, declared, *most, claim, which).await?)
            }
            Task::ClaimOne { id, owner, lease } => {
                let claim =
                    statements::Claim { owner: *owner, now, until: now.saturating_add(*lease), knows };
                let claimed = statements::claim_one(&mut tx, *id, claim).await?;
                Answer::Claimed(claimed.into_iter().collect())
            }
            Task::Sweep { before, after, most } => {
                Answer::Swept(statements::sweep(&mut tx, *before, *after, *most).await?)
            }
        };
        answers.push(answer);
    }
    tx.commit().await.map_err(|e| match failed(e) {
        // The disk failed in the middle of the COMMIT. So the transaction may be there or not when the file is opened
        // again. The error says that it is not known.
        e if e.trouble() == Trouble::Away => e.after_commit(),
        e => e,
    })?;
    Ok(answers)
}

async fn recorded(
    conn: &mut SqliteConnection,
    insert: &Insert,
    inserted: &HashSet<ActionId>,
) -> Result<Answer> {
    if inserted.contains(&insert.action.id) {
        return Ok(Answer::Recorded(Recorded::New));
    }
    existing(conn, insert).await.map(Answer::Recorded)
}

/// Returns the result of an insert that inserted no row: another row has its key already, or is sent under its key.
pub(super) async fn existing(conn: &mut SqliteConnection, insert: &Insert) -> Result<Recorded> {
    let found = statements::find(conn, &insert.action.dependency, &insert.action.key).await?;
    let same_key = found.filter(|found| found.key == insert.action.key);
    Ok(same_key.map_or(Recorded::Clash, |found| Recorded::Existing(Box::new(found))))
}

/// Completes a change: writes its audit mark and its mapped key, and runs its handler. Returns what became of the
/// change. `changed` has the ids of the changes that were written. If this change was not written, the result holds the
/// row as it is now.
async fn completed(
    conn: &mut SqliteConnection,
    change: &Change<SqliteConnection>,
    changed: &HashSet<ActionId>,
) -> Result<Changed> {
    let id = change.action.id;
    if !changed.contains(&id) {
        let found = statements::load(conn, id).await?;
        return Ok(match found {
            // The row is exactly as this change makes it. So the change was written when it was offered before, and
            // that answer was lost.
            Some(action) if action.state == *change.write.to() => Changed::Taken,
            other => Changed::Stale(other.map(Box::new)),
        });
    }
    if let Some(mark) = &change.mark {
        statements::mark(conn, id, mark).await?;
    }
    if let Some(key) = change.write.names()
        && !statements::name(conn, id, key).await?
    {
        return Ok(Changed::Clash);
    }
    match &change.follow {
        Some(follow) => match followed(follow, conn, &change.action).await {
            Ok(()) => Ok(Changed::Taken),
            Err(e) => Ok(Changed::HandlerFailed(message(&e))),
        },
        None => Ok(Changed::Taken),
    }
}

async fn scope_settled(
    conn: &mut SqliteConnection,
    scope: &Scope,
    follow: Option<&Follow<SqliteConnection>>,
    knows: u32,
    now: Stamp,
) -> Result<std::result::Result<ScopeSettled, NotSettled>> {
    let mut members = statements::members(conn, &scope.name).await?;
    let writes = match settle_members(&members, scope.size, knows, now) {
        Ok(writes) => writes,
        Err(why) => return Ok(Err(why)),
    };
    // There is no other writer, so no member has changed since it was read.
    let settled = write_members(conn, &mut members, writes, now).await?;
    // The handler runs only for the members that were settled just now. For a member that was settled before, it ran
    // at that time.
    for member in members.iter().filter(|member| settled.contains(&member.id)) {
        if let Some(follow) = follow {
            followed(follow, conn, member)
                .await
                .map_err(|e| StoreError::new(Trouble::Refused, message(&e)))?;
        }
    }
    Ok(Ok(ScopeSettled { members }))
}

/// Settles the members that are not settled, and returns their ids. `writes` has one change for each of them, in order.
async fn write_members(
    conn: &mut SqliteConnection,
    members: &mut [Action],
    writes: Vec<Write>,
    now: Stamp,
) -> Result<Vec<ActionId>> {
    let mut pairs = Vec::with_capacity(writes.len());
    let unsettled = members.iter_mut().filter(|member| !member.state.settled());
    for (member, write) in unsettled.zip(&writes) {
        pairs.push((member.id, write));
        member.state = write.to().clone();
    }
    statements::change(conn, &pairs, now).await?;
    Ok(pairs.into_iter().map(|(id, _)| id).collect())
}
