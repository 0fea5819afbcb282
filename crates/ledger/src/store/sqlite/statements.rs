//! The SQL statements for SQLite. Each statement that inserts or changes rows takes many rows.
//!
//! Each statement has to be sent to the thread of the connection, and its result has to come back. So a statement over
//! several rows costs little more than one over a single row. But the text of a statement depends on its number of
//! rows. So there are texts only for a few numbers of rows, whose prepared statements are kept. If a batch has
//! fewer rows than the text, the missing rows are filled with NULL, and the statement ignores them.

use std::collections::HashSet;
use std::sync::LazyLock;
use std::time::Duration;

use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, Connection, Row, SqliteConnection};
use uuid::Uuid;

use crate::action::{Action, ActionId, Mark};
use crate::error::{StoreError, Trouble};
use crate::machine::{AttemptRow, Back, Owner, Row as StateRow, SentKey, Stamp, Write};
use crate::store::columns::{self, Columns};
use crate::store::dialect::Dialect;
use crate::store::lane::BATCH;
use crate::store::polled::{self, Answers};
use crate::store::select::Select;
use crate::store::{
    Counts, Declared, Due, Filter, Insert, KeptClock, OperationCount, OwnTime, Result, Standing, Swept,
    Which, declared, kept, which,
};
use crate::terms::Declaration;

use super::rows;
use super::sized::{LINE_COLUMNS, Sized, WithLines, lines_text};

static INSERT: LazyLock<WithLines> = LazyLock::new(|| {
    let all = columns::action();
    let text = |values| {
        format!(
            "INSERT INTO seawall_action ({all}) SELECT * FROM (VALUES {values}) WHERE column1 IS NOT NULL \
             ON CONFLICT DO NOTHING RETURNING id"
        )
    };
    WithLines::new(text, columns::width())
});

static CHANGE: LazyLock<WithLines> = LazyLock::new(|| {
    let changing = columns::names::<StateRow>();
    let assigned = columns::assigned(StateRow::columns().iter().map(|column| column.name), "w");
    let text = |values| {
        format!(
            "WITH w (id, from_version, now, {changing}) AS (VALUES {values}) \
             UPDATE seawall_action SET {assigned}, ended_at = CASE WHEN w.ended IS NULL THEN NULL \
             WHEN w.ended = seawall_action.ended THEN coalesce(seawall_action.ended_at, w.now) ELSE w.now END \
             FROM w WHERE seawall_action.id = w.id AND seawall_action.version = w.from_version RETURNING id"
        )
    };
    WithLines::new(text, StateRow::columns().len() + 3)
});

static ATTEMPT: LazyLock<Sized> =
    LazyLock::new(|| Sized::new(|values| lines_text(&values, ""), *LINE_COLUMNS));

/// The statements that only read.
static SELECT: LazyLock<Select> = LazyLock::new(|| Select::of(Dialect::Sqlite));

/// Returns the statement that claims due rows of several operations. `operations` is their number.
pub(super) fn claim_text(operations: usize) -> String {
    claim_of(operations, "", 7)
}

/// Returns the statement that claims due rows of several operations, except the failing rows of the classes that the
/// pace holds back. `operations` is the number of operations.
pub(super) fn claim_all_but_text(operations: usize) -> String {
    let which = which::all_but(Dialect::Sqlite, "?7", "?9", "?4", "?8");
    claim_of(operations, &format!("AND {which} "), 10)
}

/// Returns the statement that claims the due rows of several operations which fulfil the SQL condition `which`.
/// `operations` is the number of operations, and their names are the parameters from the number `first` on. Each
/// operation has a SELECT of its own, which finds its rows in the order of the index. One SELECT with a list of names
/// would make SQLite sort all due rows of these operations.
fn claim_of(operations: usize, which: &str, first: usize) -> String {
    let of = |number: usize| {
        format!(
            "SELECT * FROM (SELECT id, due_at FROM seawall_action WHERE dependency = ?3 AND operation = ?{} \
             AND due_at <= ?4 AND needs <= ?6 {which}ORDER BY due_at LIMIT ?5)",
            number + first
        )
    };
    let each = (0..operations).map(of).collect::<Vec<_>>().join(" UNION ALL ");
    claim(&format!("id IN (SELECT id FROM ({each}) ORDER BY due_at LIMIT ?5)"))
}

/// The statement that claims the failing rows of one class.
pub(super) static CLAIM_FAILING: LazyLock<String> = LazyLock::new(|| {
    let which = which::failing(["?7", "?8", "?9"]);
    claim(&format!(
        "id IN (SELECT id FROM seawall_action WHERE dependency = ?3 AND due_at <= ?4 AND needs <= ?6 AND {which} \
         ORDER BY due_at LIMIT ?5)"
    ))
});

/// The maximum number of operations in one statement of a claim, which has one part of a `UNION` for each. SQLite
/// allows at most 500 parts.
const OPERATIONS: usize = 100;

static CLAIM_ONE: LazyLock<String> = LazyLock::new(|| claim("id = ?3 AND due_at <= ?4 AND needs <= ?5"));

fn claim(which: &str) -> String {
    format!(
        "UPDATE seawall_action SET version = version + 1, fence = fence + 1, owner = ?1, in_flight = NULL, cancel_asked = false, \
         leased_until = ?2, due_at = ?2 WHERE {which} RETURNING {}",
        columns::action()
    )
}

/// Returns the text of the statement that lists the actions which match the filter. Tests check its plan.
#[cfg(feature = "testing")]
pub(super) fn list_text(filter: &Filter) -> &'static str {
    SELECT.list(filter)
}

pub(crate) fn failed(e: sqlx::Error) -> StoreError {
    let trouble = match &e {
        sqlx::Error::Database(said) => {
            // The low byte of SQLite's error code is the primary result code (https://sqlite.org/rescode.html).
            let code: i64 = said.code().and_then(|code| code.parse().ok()).unwrap_or(1);
            match code & 0xff {
                5 | 6 => Trouble::Again,
                8 | 10 | 13 | 14 => Trouble::Away,
                // SQLite has no code of its own for tables and columns that do not exist.
                1 if ["no such table", "no such column"].iter().any(|text| said.message().contains(text)) => {
                    Trouble::Foreign
                }
                _ => Trouble::Refused,
            }
        }
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::ColumnNotFound(_) => {
            Trouble::Foreign
        }
        // All connections of the readers are in use.
        sqlx::Error::PoolTimedOut => Trouble::Busy,
        _ => Trouble::Away,
    };
    StoreError::new(trouble, e)
}

/// Inserts rows, with their first attempts. Returns the ids of the rows whose key was new.
pub(super) async fn insert(conn: &mut SqliteConnection, inserts: &[&Insert]) -> Result<HashSet<ActionId>> {
    let bind = |query, insert: &&Insert| {
        rows::bind_state(rows::bind_fixed(query, &insert.action), &insert.action.state)
    };
    write(conn, &INSERT, inserts, bind, |insert| (insert.action.id, insert.attempt.as_ref())).await
}

/// Changes rows. Returns the ids of the rows that were changed: those that had not changed since the machine read them.
pub(super) async fn change(
    conn: &mut SqliteConnection,
    writes: &[(ActionId, &Write)],
    now: Stamp,
) -> Result<HashSet<ActionId>> {
    let bind = |query: rows::Statement<'static>, (id, write): &(ActionId, &Write)| {
        let query = query.bind(id.to_string()).bind(count(write.from())).bind(now.as_micros());
        rows::bind_state(query, write.to())
    };
    write(conn, &CHANGE, writes, bind, |(id, write)| (*id, write.attempt())).await
}

/// Writes rows of actions, and the lines of the attempt log for the rows that were written. Returns the ids of the
/// written rows.
async fn write<'r, T>(
    conn: &mut SqliteConnection,
    text: &'static WithLines,
    rows: &'r [T],
    bind: impl Fn(rows::Statement<'static>, &'r T) -> rows::Statement<'static>,
    line: impl Fn(&'r T) -> (ActionId, Option<&'r AttemptRow>),
) -> Result<HashSet<ActionId>> {
    let mut taken = HashSet::with_capacity(rows.len());
    for piece in rows.chunks(BATCH) {
        let before = taken.len();
        for row in text.query(piece, &bind, &line).fetch_all(&mut *conn).await.map_err(failed)? {
            let id: &str = row.try_get(0).map_err(failed)?;
            taken.insert(ActionId::parse(id).ok_or_else(|| StoreError::foreign("id", id))?);
        }
        // If some rows were not written, the statement has written no line at all. So the lines of the other rows are
        // written here.
        if taken.len() - before < piece.len() {
            let written = piece.iter().map(&line).filter(|(id, _)| taken.contains(id));
            let lines: Vec<_> = written.filter_map(|(id, line)| Some((id, line?))).collect();
            log(conn, &lines).await?;
        }
    }
    Ok(taken)
}

/// Inserts or completes lines of the attempt log.
pub(super) async fn log(conn: &mut SqliteConnection, attempts: &[(ActionId, &AttemptRow)]) -> Result<()> {
    let bind = |query, (id, attempt): &(ActionId, &AttemptRow)| rows::bind_attempt(query, *id, attempt);
    for query in ATTEMPT.each(attempts, bind) {
        query.execute(&mut *conn).await.map_err(failed)?;
    }
    Ok(())
}

/// Stores the key under which an action is sent. Returns `false` if another action of the same dependency is sent under
/// this key; the transaction then has to roll back.
pub(super) async fn name(conn: &mut SqliteConnection, id: ActionId, key: &SentKey) -> Result<bool> {
    let query = sqlx::query("UPDATE seawall_action SET sent_key = ?, salt = ? WHERE id = ?");
    let query = query.bind(key.mapped.clone()).bind(key.salt).bind(id.to_string());
    match query.execute(conn).await {
        Ok(_) => Ok(true),
        Err(e) if e.as_database_error().is_some_and(|said| said.is_unique_violation()) => Ok(false),
        Err(e) => Err(failed(e)),
    }
}

fn count(version: u64) -> i64 {
    i64::try_from(version).unwrap_or(i64::MAX)
}

/// Adds a line to the audit trail.
pub(super) async fn mark(conn: &mut SqliteConnection, id: ActionId, mark: &Mark) -> Result<()> {
    sqlx::query(
        "INSERT INTO seawall_mark (action, id, at, who, what, why, via, was, became) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(id.to_string())
    .bind(Uuid::now_v7().to_string())
    .bind(mark.at.as_micros())
    .bind(mark.who.clone())
    .bind(mark.what.clone())
    .bind(mark.why.clone())
    .bind(mark.via.clone())
    .bind(mark.was.map(Standing::as_str))
    .bind(mark.became.map(Standing::as_str))
    .execute(conn)
    .await
    .map_err(failed)?;
    Ok(())
}

pub(super) async fn load(conn: &mut SqliteConnection, id: ActionId) -> Result<Option<Action>> {
    one(sqlx::query(&*SELECT.load).bind(id.to_string()), conn).await
}

pub(super) async fn find(conn: &mut SqliteConnection, dependency: &str, key: &str) -> Result<Option<Action>> {
    one(sqlx::query(&*SELECT.find).bind(dependency.to_owned()).bind(key.to_owned()), conn).await
}

pub(super) async fn members(conn: &mut SqliteConnection, scope: &str) -> Result<Vec<Action>> {
    many(sqlx::query(&*SELECT.members).bind(scope.to_owned()), conn).await
}

async fn one(query: rows::Statement<'_>, conn: &mut SqliteConnection) -> Result<Option<Action>> {
    query.fetch_optional(conn).await.map_err(failed)?.map(|row| rows::action(&row)).transpose()
}

async fn many(query: rows::Statement<'_>, conn: &mut SqliteConnection) -> Result<Vec<Action>> {
    query.fetch_all(conn).await.map_err(failed)?.iter().map(rows::action).collect()
}

/// What a claim writes, and which rows it takes.
#[derive(Clone, Copy)]
pub(super) struct Claim {
    pub(super) owner: Owner,
    pub(super) now: Stamp,
    pub(super) until: Stamp,
    pub(super) knows: u32,
}

/// Claims up to `most` due rows of the declared operations of a dependency, and returns them.
pub(super) async fn claim_due(
    conn: &mut SqliteConnection,
    declared: &Declared,
    most: u32,
    claim: Claim,
) -> Result<Vec<Action>> {
    let mut rows = Vec::new();
    for operations in declared.operations.chunks(OPERATIONS) {
        let query = sqlx::query(AssertSqlSafe(claim_text(operations.len())));
        let query = claiming(query, declared, left(most, &rows), claim);
        let query = operations.iter().fold(query, |query, name| query.bind(name.clone()));
        rows.extend(query.fetch_all(&mut *conn).await.map_err(failed)?);
    }
    Ok(readable(&rows))
}

/// Of the due rows of the declared operations, claims those that `which` names, at most `most`, and returns them.
pub(super) async fn claim_which(
    conn: &mut SqliteConnection,
    declared: &Declared,
    most: u32,
    claim: Claim,
    which: &Which,
) -> Result<Vec<Action>> {
    let (held, give_up, from) = match which {
        Which::AllBut { held, give_up, from } => (which::texts(held), *give_up, *from),
        Which::Failing(class) => {
            let query = claiming(sqlx::query(CLAIM_FAILING.as_str()), declared, most, claim);
            let query = which::columns(class).into_iter().fold(query, |query, column| query.bind(column));
            return Ok(readable(&query.fetch_all(conn).await.map_err(failed)?));
        }
    };
    let mut rows = Vec::new();
    for operations in declared.operations.chunks(OPERATIONS) {
        let query = sqlx::query(AssertSqlSafe(claim_all_but_text(operations.len())));
        let query = claiming(query, declared, left(most, &rows), claim)
            .bind(serde_json::Value::from(held.clone()).to_string())
            .bind(claim.now.saturating_sub(give_up).as_micros())
            .bind(from.as_micros());
        let query = operations.iter().fold(query, |query, name| query.bind(name.clone()));
        rows.extend(query.fetch_all(&mut *conn).await.map_err(failed)?);
    }
    Ok(readable(&rows))
}

type Query<'q> = sqlx::query::Query<'q, Sqlite, SqliteArguments>;

/// Binds the parameters that all claims of several rows have.
fn claiming<'q>(query: Query<'q>, declared: &Declared, most: u32, claim: Claim) -> Query<'q> {
    query
        .bind(rows::owner_text(claim.owner))
        .bind(claim.until.as_micros())
        .bind(declared.dependency.clone())
        .bind(claim.now.as_micros())
        .bind(most)
        .bind(claim.knows)
}

/// Returns how many of `most` rows may still be claimed after these.
fn left(most: u32, rows: &[SqliteRow]) -> u32 {
    most.saturating_sub(u32::try_from(rows.len()).unwrap_or(u32::MAX))
}

/// Returns the actions of claimed rows. A row that cannot be read must not stop the others. Such a row stays claimed
/// until its lease ends.
fn readable(rows: &[SqliteRow]) -> Vec<Action> {
    let readable = rows.iter().filter_map(|row| {
        rows::action(row).inspect_err(|e| tracing::error!(error = %e, "a row cannot be read")).ok()
    });
    readable.collect()
}

/// Claims one row, if it is due. Returns `None` if it is not.
pub(super) async fn claim_one(
    conn: &mut SqliteConnection,
    id: ActionId,
    claim: Claim,
) -> Result<Option<Action>> {
    let query = sqlx::query(&**CLAIM_ONE)
        .bind(rows::owner_text(claim.owner))
        .bind(claim.until.as_micros())
        .bind(id.to_string())
        .bind(claim.now.as_micros())
        .bind(claim.knows);
    one(query, conn).await
}

/// Returns for each dependency whether a row is due, and when the next row will be due.
pub(super) async fn due(
    conn: &mut SqliteConnection,
    declared: &[Declared],
    knows: u32,
    within: Duration,
    now: Stamp,
) -> Result<Vec<Due>> {
    let mut answers = Answers::of(declared);
    // The last argument of `polled::due` can say for each operation at which due time its search begins. It returns
    // `None` here, so all index entries are searched. This is fast, because SQLite removes the old entry of a row from
    // the index when the row changes.
    let now = now.as_micros().to_string();
    for row in plain(conn, polled::due(Dialect::Sqlite, &now, declared, knows, within, |_, _| None)).await? {
        answers.read(&mut rows::reader(&row))?;
    }
    Ok(answers.due)
}

/// Executes a statement that counts rows of operations.
pub(super) async fn counted(conn: &mut SqliteConnection, text: String) -> Result<Vec<OperationCount>> {
    let rows = plain(conn, text).await?;
    rows.iter().map(|row| declared::count_of(&mut rows::reader(row))).collect()
}

/// Executes a statement that finds the ids of rows.
pub(super) async fn ids(conn: &mut SqliteConnection, text: String) -> Result<Vec<ActionId>> {
    let rows = plain(conn, text).await?;
    rows.iter().map(|row| declared::id_of(&mut rows::reader(row))).collect()
}

/// Writes which operations a process declares now, instead of what it declared before.
pub(super) async fn declare(
    conn: &mut SqliteConnection,
    owner: Owner,
    declared: &[Declaration],
    now: Stamp,
) -> Result<()> {
    let (delete, insert) = declared::declare(Dialect::Sqlite, &now.as_micros().to_string(), owner, declared);
    let mut tx = conn.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
    for text in std::iter::once(delete).chain(insert) {
        plain(&mut tx, text).await?;
    }
    tx.commit().await.map_err(failed)
}

/// Returns the operations that some process declares.
pub(super) async fn declared_now(conn: &mut SqliteConnection, now: Stamp) -> Result<Vec<Declared>> {
    let rows = plain(conn, declared::declared(Dialect::Sqlite, &now.as_micros().to_string())).await?;
    let mut all = Vec::new();
    rows.iter().try_for_each(|row| declared::declared_of(&mut all, &mut rows::reader(row)))?;
    Ok(all)
}

/// Returns the versions of the rows with these ids.
pub(super) async fn versions(conn: &mut SqliteConnection, ids: &[ActionId]) -> Result<Vec<(ActionId, u64)>> {
    let rows = plain(conn, polled::versions(Dialect::Sqlite, ids)).await?;
    rows.iter().map(|row| polled::version_of(&mut rows::reader(row))).collect()
}

/// Executes a statement without parameters, and returns its rows. The prepared statement is not kept: its text contains
/// values such as the time, so the same text hardly comes again.
async fn plain(conn: &mut SqliteConnection, text: String) -> Result<Vec<SqliteRow>> {
    sqlx::query(AssertSqlSafe(text)).persistent(false).fetch_all(conn).await.map_err(failed)
}

pub(super) async fn attempts(conn: &mut SqliteConnection, id: ActionId) -> Result<Vec<AttemptRow>> {
    let rows = sqlx::query(&*SELECT.attempts).bind(id.to_string()).fetch_all(conn).await.map_err(failed)?;
    rows.iter().map(rows::attempt).collect()
}

pub(super) async fn marks(conn: &mut SqliteConnection, id: ActionId) -> Result<Vec<Mark>> {
    let rows = sqlx::query(&*SELECT.marks).bind(id.to_string()).fetch_all(conn).await.map_err(failed)?;
    rows.iter().map(rows::mark).collect()
}

pub(super) async fn list(
    conn: &mut SqliteConnection,
    filter: &Filter,
) -> Result<Vec<(ActionId, Option<Action>)>> {
    let query = sqlx::query(SELECT.list(filter))
        .bind(filter.after.unwrap_or(ActionId::from_u128(0)).to_string())
        .bind(filter.most.min(1000));
    let query = match &filter.dependency {
        Some(dependency) => query.bind(dependency.clone()),
        None => query,
    };
    query.fetch_all(conn).await.map_err(failed)?.iter().map(rows::listed).collect()
}

pub(super) async fn counts(
    conn: &mut SqliteConnection,
    declared: &Declared,
    most: u32,
    now: Stamp,
) -> Result<Counts> {
    let dependency = &declared.dependency;
    let open = sqlx::query(&*SELECT.open).bind(dependency.to_owned()).bind(most);
    let open = open.fetch_one(&mut *conn).await.map_err(failed)?;
    let stuck = sqlx::query(&*SELECT.stuck).bind(dependency.to_owned()).bind(most);
    let stuck = stuck.fetch_one(&mut *conn).await.map_err(failed)?;
    let now = now.as_micros().to_string();
    let own = std::slice::from_ref(declared);
    let undeclared = counted(conn, declared::undeclared(Dialect::Sqlite, &now, Some(dependency), own, most));
    let undeclared = undeclared.await?.iter().map(|of| of.number).sum();
    Ok(Counts { undeclared, ..rows::counts(&open, &stuck, most)? })
}

/// Looks at the next `most` rows after `after`, and deletes those that ended before `before` and have no due time. (An
/// ended row has one while the provider is still to be asked about it.) Returns the number of deleted rows, and the row
/// after which the next call goes on.
pub(super) async fn sweep(
    conn: &mut SqliteConnection,
    before: Stamp,
    after: Option<ActionId>,
    most: u32,
) -> Result<Swept> {
    let rows = sqlx::query(
        "SELECT id, ended IN ('done', 'failed', 'cancelled') AND ended_at < ?1 AND due_at IS NULL \
         FROM seawall_action WHERE id > ?2 AND id < ?3 ORDER BY id LIMIT ?4",
    )
    .bind(before.as_micros())
    .bind(after.unwrap_or(ActionId::from_u128(0)).to_string())
    .bind(ActionId::lowest_at(before).to_string())
    .bind(most)
    .fetch_all(&mut *conn)
    .await
    .map_err(failed)?;
    let mut swept = Swept { deleted: 0, after: None };
    let last_page = rows.len() < usize::try_from(most).unwrap_or(usize::MAX);
    for row in rows {
        let id: String = row.try_get(0).map_err(failed)?;
        if row.try_get::<Option<bool>, _>(1).map_err(failed)? == Some(true) {
            for text in [
                "DELETE FROM seawall_attempt WHERE action = ?",
                "DELETE FROM seawall_mark WHERE action = ?",
                "DELETE FROM seawall_action WHERE id = ?",
            ] {
                sqlx::query(text).bind(id.clone()).execute(&mut *conn).await.map_err(failed)?;
            }
            swept.deleted += 1;
        }
        if !last_page {
            swept.after = ActionId::parse(&id);
        }
    }
    Ok(swept)
}

pub(super) async fn print_key(conn: &mut SqliteConnection) -> Result<[u8; 32]> {
    let row =
        sqlx::query("SELECT print_key FROM seawall_secret").fetch_optional(conn).await.map_err(failed)?;
    kept::print_key(row.as_ref().map(|row| row.try_get(0)).transpose().map_err(failed)?)
}

pub(super) async fn kept_clock(conn: &mut SqliteConnection) -> Result<Option<KeptClock>> {
    let text = "SELECT database_time, own_time, boot, back_micros, back_before FROM seawall_clock";
    let Some(row) = sqlx::query(text).fetch_optional(conn).await.map_err(failed)? else { return Ok(None) };
    let boot: Option<String> = row.try_get(2).map_err(failed)?;
    let own: Option<i64> = row.try_get(1).map_err(failed)?;
    let by: i64 = row.try_get(3).map_err(failed)?;
    Ok(Some(KeptClock {
        database: row.try_get(0).map(Stamp::from_micros).map_err(failed)?,
        own: own.map(|micros| OwnTime { micros, boot }),
        back: Back {
            by: Duration::from_micros(u64::try_from(by).unwrap_or(0)),
            before: row.try_get(4).map(Stamp::from_micros).map_err(failed)?,
        },
    }))
}

pub(super) async fn keep_clock(conn: &mut SqliteConnection, kept: &KeptClock) -> Result<()> {
    sqlx::query(
        "INSERT INTO seawall_clock (one, database_time, own_time, boot, back_micros, back_before) \
         VALUES (1, ?, ?, ?, ?, ?) ON CONFLICT (one) DO UPDATE SET database_time = excluded.database_time, \
         own_time = excluded.own_time, boot = excluded.boot, back_micros = excluded.back_micros, \
         back_before = excluded.back_before",
    )
    .bind(kept.database.as_micros())
    .bind(kept.own.as_ref().map(|own| own.micros))
    .bind(kept.own.as_ref().and_then(|own| own.boot.clone()))
    .bind(i64::try_from(kept.back.by.as_micros()).unwrap_or(i64::MAX))
    .bind(kept.back.before.as_micros())
    .execute(conn)
    .await
    .map_err(failed)?;
    Ok(())
}
