//! The SQL statements for PostgreSQL. A statement over many rows takes one array for each column.
//!
//! Each statement that writes or claims also returns `statement_timestamp()`, the time at which the statement began.
//! The time of the transaction would be wrong, since the transaction may have begun long ago.

use std::collections::HashSet;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnection, PgDatabaseError, PgSeverity};
use sqlx::{AssertSqlSafe, Row};
use uuid::Uuid;

use crate::action::{Action, ActionId, Mark};
use crate::clock::DbClock;
use crate::error::{StoreError, Trouble};
use crate::machine::{AttemptRow, Back, Owner, Row as StateRow, SentKey, Stamp, Write};
use crate::store::columns::{self, Columns, Fixed};
use crate::store::dialect::Dialect;
use crate::store::select::Select;
use crate::store::{
    Counts, Declared, Filter, Insert, KeptClock, OwnTime, Result, Standing, Swept, Which, declared, kept,
    which,
};

use super::rows::{self, At, Statement};

/// The type of each column of `T`, in their order.
fn types<T: Columns>() -> impl Iterator<Item = &'static str> {
    T::columns().iter().map(|column| rows::sql_type(column.kind))
}

/// Returns the SQL `unnest($n::type[], …)` with one array for each of `types`. The parameters are numbered from
/// `first`.
fn unnest<'a>(types: impl Iterator<Item = &'a str>, first: usize) -> String {
    let each: Vec<String> =
        types.enumerate().map(|(index, kind)| format!("${}::{kind}[]", first + index)).collect();
    format!("unnest({})", each.join(", "))
}

/// Returns a part of an SQL statement: the INSERT of new lines into the attempt log. Another part of the same
/// statement, which is named `taken`, has the ids of the actions that the statement has inserted or changed. Lines of
/// other actions are left out. The parameters of this part are numbered from `first`.
fn new_lines(first: usize) -> String {
    let all = columns::names::<AttemptRow>();
    let source = unnest(std::iter::once("uuid").chain(types::<AttemptRow>()), first);
    format!(
        "INSERT INTO seawall.attempt (action, {all}) SELECT t.* FROM {source} AS t (action, {all}) \
         JOIN taken ON taken.id = t.action"
    )
}

/// Returns a part of an SQL statement that writes lines of the attempt log. A new line is inserted, and an existing
/// line is completed. Only lines of the actions that the same statement has written are taken: they are listed in the
/// statement's part `taken`. The parameters are numbered from `first`.
fn logged(first: usize) -> String {
    let assigned = columns::assigned(columns::ENDED.into_iter(), "excluded");
    let lines = new_lines(first);
    format!("logged AS ({lines} ON CONFLICT (action, number) DO UPDATE SET {assigned})")
}

const GIVE: &str = "SELECT statement_timestamp(), (SELECT array_agg(id) FROM taken)";

static INSERT: LazyLock<String> = LazyLock::new(|| {
    let all = columns::action();
    let source = unnest(types::<Fixed<'_>>().chain(types::<StateRow>()), 1);
    // The actions are new, so no line of theirs exists. Without a search for one, the insert takes less time.
    let lines = new_lines(columns::width() + 1);
    format!(
        "WITH taken AS (INSERT INTO seawall.action ({all}) SELECT * FROM {source} \
         ON CONFLICT DO NOTHING RETURNING id), logged AS ({lines}) {GIVE}"
    )
});

static CHANGE: LazyLock<String> = LazyLock::new(|| {
    let changing = columns::names::<StateRow>();
    let assigned = columns::assigned(StateRow::columns().iter().map(|column| column.name), "w");
    let source = unnest(["uuid", "bigint"].into_iter().chain(types::<StateRow>()), 1);
    let logged = logged(StateRow::columns().len() + 3);
    format!(
        "WITH taken AS (UPDATE seawall.action a SET {assigned}, ended_at = CASE WHEN w.ended IS NULL THEN NULL \
         WHEN w.ended = a.ended THEN coalesce(a.ended_at, statement_timestamp()) ELSE statement_timestamp() END \
         FROM {source} AS w (id, from_version, {changing}) \
         WHERE a.id = w.id AND a.version = w.from_version RETURNING a.id), {logged} {GIVE}"
    )
});

/// The statement that changes a single row. Its plan needs no join, so the row is always found by its id, even in a
/// transaction that allows scans of whole tables, and in a new table.
static CHANGE_ONE: LazyLock<String> = LazyLock::new(|| {
    let value = |index: usize, kind: &str| format!("(${}::{kind}[])[1]", index + 3);
    let all = StateRow::columns();
    let assigned: Vec<String> = all
        .iter()
        .enumerate()
        .map(|(index, column)| format!("{} = {}", column.name, value(index, rows::sql_type(column.kind))))
        .collect();
    let ended = all.iter().position(|column| column.name == "ended").expect("it is one of them");
    let ended = value(ended, "text");
    let logged = logged(all.len() + 3);
    format!(
        "WITH taken AS (UPDATE seawall.action a SET {}, ended_at = CASE WHEN {ended} IS NULL THEN NULL \
         WHEN {ended} = a.ended THEN coalesce(a.ended_at, statement_timestamp()) ELSE statement_timestamp() END \
         WHERE a.id = ($1::uuid[])[1] AND a.version = ($2::bigint[])[1] RETURNING a.id), {logged} {GIVE}",
        assigned.join(", "),
    )
});

/// The time at which the database began the statement.
pub(super) const NOW: &str = "statement_timestamp()";

/// The statements that only read.
static SELECT: LazyLock<Select> = LazyLock::new(|| Select::of(Dialect::Postgres));

static LOAD_MANY: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {} FROM seawall.action WHERE id = ANY ($1::uuid[])", columns::action()));

static FIND_MANY: LazyLock<String> = LazyLock::new(|| {
    let keys = "(dependency, key) IN (SELECT * FROM unnest($1::text[], $2::text[]))";
    format!("SELECT {} FROM seawall.action WHERE {keys}", columns::action())
});

/// The statement of a claim. The index gives the rows of each operation in the order of their due times. The statement
/// begins with the operation that has the earliest due time, and stops when it has enough rows. So it locks only the
/// rows that it claims. The search begins at a given time for each operation, so that it reads few old entries of the
/// index (see `bounds.rs`).
static CLAIM: LazyLock<String> = LazyLock::new(|| {
    claim(
        "a.id = ANY (ARRAY(SELECT d.id FROM (SELECT name, low FROM unnest($6::text[], $7::timestamptz[]) AS u (name, low) \
         ORDER BY (SELECT f.due_at FROM seawall.action f WHERE f.dependency = $3 AND f.operation = u.name \
         AND f.due_at >= u.low AND f.due_at <= statement_timestamp() ORDER BY f.due_at LIMIT 1)) AS o \
         CROSS JOIN LATERAL (SELECT d.id FROM seawall.action d WHERE d.dependency = $3 AND d.operation = o.name \
         AND d.due_at >= o.low AND d.due_at <= statement_timestamp() AND d.needs <= $5 ORDER BY d.due_at LIMIT $4 FOR UPDATE SKIP LOCKED) AS d \
         LIMIT $4))",
    )
});

/// The statement of a claim while the pace holds classes back. The operations are looked at in random order, and not in
/// the order of their oldest due rows as in [`CLAIM`]. Rows that are held back stay due, so an operation with such rows
/// would always come first. The other operations would then get fewer claims, or none.
static CLAIM_ALL_BUT: LazyLock<String> = LazyLock::new(|| {
    let ago = "statement_timestamp() - $8 * interval '1 microsecond'";
    let which = which::all_but(Dialect::Postgres, "$7", "$9::timestamptz", NOW, ago);
    claim(&format!(
        "a.id = ANY (ARRAY(SELECT d.id FROM (SELECT name FROM unnest($6::text[]) AS u (name) ORDER BY random()) AS o \
         CROSS JOIN LATERAL (SELECT d.id FROM seawall.action d WHERE d.dependency = $3 AND d.operation = o.name \
         AND d.due_at <= {NOW} AND d.needs <= $5 AND {which} ORDER BY d.due_at LIMIT $4 FOR UPDATE SKIP LOCKED) AS d \
         LIMIT $4))"
    ))
});
static CLAIM_FAILING: LazyLock<String> = LazyLock::new(|| {
    let which = which::failing(["$6", "$7", "$8"]);
    claim(&format!(
        "a.id = ANY (ARRAY(SELECT id FROM seawall.action WHERE dependency = $3 AND due_at <= {NOW} AND needs <= $5 \
         AND {which} ORDER BY due_at LIMIT $4 FOR UPDATE SKIP LOCKED))"
    ))
});
static CLAIM_ONE: LazyLock<String> =
    LazyLock::new(|| claim("a.id = $3 AND a.due_at <= statement_timestamp() AND a.needs <= $4"));

fn claim(which: &str) -> String {
    let all: Vec<String> = columns::action().split(", ").map(|column| format!("a.{column}")).collect();
    let until = "statement_timestamp() + $2 * interval '1 microsecond'";
    format!(
        "UPDATE seawall.action a SET version = version + 1, fence = fence + 1, owner = $1, in_flight = NULL, cancel_asked = false, \
         leased_until = {until}, due_at = {until} WHERE {which} RETURNING {}, statement_timestamp()",
        all.join(", ")
    )
}

/// Returns the texts of three statements whose plans the tests check: a claim, a change of several rows, and a change
/// of one row.
#[cfg(feature = "testing")]
pub(super) fn texts() -> [&'static str; 3] {
    [&CLAIM, &CHANGE, &CHANGE_ONE]
}

/// Returns the texts of the two statements that claim rows while the pace holds classes back, for tests. The first one
/// claims all due rows except the failing ones of these classes. The second one claims the failing rows of one class.
#[cfg(feature = "testing")]
pub(super) fn held_texts() -> [&'static str; 2] {
    [&CLAIM_ALL_BUT, &CLAIM_FAILING]
}

/// Returns the text of the statement that lists the actions which match the filter. The tests check its plan.
#[cfg(feature = "testing")]
pub(super) fn list_text(filter: &Filter) -> &'static str {
    SELECT.list(filter)
}

pub(crate) fn failed(e: sqlx::Error) -> StoreError {
    let trouble = match &e {
        // The server has ended or refused the connection, because it shuts down, starts up, or accepts no connections.
        sqlx::Error::Database(said) if ended_the_connection(said.as_ref()) => Trouble::Away,
        sqlx::Error::Database(said) => match said.code().as_deref().unwrap_or_default() {
            "40001" | "40P01" => Trouble::Again,
            "55P03" => Trouble::Busy,
            "42P01" | "42703" | "3F000" | "42883" => Trouble::Foreign,
            // The connection was lost, or the server shuts down, starts up, has no resources left, or is a standby that
            // cannot write.
            code if code.starts_with("08") || code.starts_with("53") || code.starts_with("57P") => {
                Trouble::Away
            }
            "25006" => Trouble::Away,
            _ => Trouble::Refused,
        },
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::ColumnNotFound(_) => {
            Trouble::Foreign
        }
        _ => Trouble::Away,
    };
    StoreError::new(trouble, e)
}

fn ended_the_connection(said: &dyn sqlx::error::DatabaseError) -> bool {
    let severity = said.try_downcast_ref::<PgDatabaseError>().map(PgDatabaseError::severity);
    matches!(severity, Some(PgSeverity::Fatal | PgSeverity::Panic))
}

/// What a claim writes, and how many rows it takes.
#[derive(Clone, Copy)]
pub(super) struct Claim {
    pub(super) owner: Owner,
    pub(super) most: u32,
    pub(super) lease: Duration,
    pub(super) knows: u32,
}

/// A connection in a transaction, together with the choice whether its statements are prepared by name.
pub(super) struct Session<'c> {
    pub(super) conn: &'c mut PgConnection,
    /// Whether statements are prepared under a name and kept in the server session. If not, the server parses a
    /// statement each time, and no prepared statement is left after the transaction, as a pooler in transaction mode
    /// requires.
    pub(super) prepared: bool,
}

/// The result of a statement over many rows: the ids of the rows that were written, and the database's time.
type TakenIds = (HashSet<ActionId>, DbClock);

impl Session<'_> {
    fn query<'q>(&self, text: &'static str) -> Statement<'q> {
        sqlx::query(text).persistent(self.prepared)
    }

    /// Inserts rows, with their first attempts. Returns the ids of the rows whose key was new.
    pub(super) async fn insert(&mut self, inserts: &[&Insert]) -> Result<TakenIds> {
        let actions: Vec<&Action> = inserts.iter().map(|insert| &insert.action).collect();
        let states: Vec<_> = actions.iter().map(|action| action.state.row()).collect();
        let attempts: Vec<(ActionId, &AttemptRow)> =
            inserts.iter().filter_map(|insert| Some((insert.action.id, insert.attempt.as_ref()?))).collect();
        let query = rows::bind_fixed(self.query(&INSERT), &actions);
        let query = rows::bind_attempts(rows::bind_states(query, &states), &attempts);
        self.taken(query).await
    }

    /// Changes rows. Returns the ids of the rows that were changed: those that had not changed since the machine read
    /// them.
    pub(super) async fn change(&mut self, writes: &[(ActionId, &Write)]) -> Result<TakenIds> {
        let ids: Vec<Uuid> = writes.iter().map(|(id, _)| rows::uuid(*id)).collect();
        let from: Vec<i64> = writes.iter().map(|(_, write)| rows::count(write.from())).collect();
        let states: Vec<_> = writes.iter().map(|(_, write)| write.to().row()).collect();
        let attempts: Vec<(ActionId, &AttemptRow)> =
            writes.iter().filter_map(|(id, write)| Some((*id, write.attempt()?))).collect();
        let text: &'static str = if writes.len() == 1 { &CHANGE_ONE } else { &CHANGE };
        let query = self.query(text).bind(ids).bind(from);
        let query = rows::bind_attempts(rows::bind_states(query, &states), &attempts);
        self.taken(query).await
    }

    async fn taken(&mut self, query: Statement<'_>) -> Result<TakenIds> {
        let asked = Instant::now();
        let row = query.fetch_one(&mut *self.conn).await.map_err(failed)?;
        let at: At = row.try_get_unchecked(0).map_err(failed)?;
        let ids: Option<Vec<Uuid>> = row.try_get(1).map_err(failed)?;
        let ids = ids.into_iter().flatten().map(|id| ActionId::from_u128(id.as_u128()));
        Ok((ids.collect(), DbClock::heard(at.0, asked)))
    }

    /// Stores the key under which an action is sent. Returns `false` if another action of the same dependency is sent
    /// under this key; the transaction then has to roll back.
    pub(super) async fn name(&mut self, id: ActionId, key: &SentKey) -> Result<bool> {
        let query = self.query("UPDATE seawall.action SET sent_key = $2, salt = $3 WHERE id = $1");
        let query = query.bind(rows::uuid(id)).bind(key.mapped.clone()).bind(i64::from(key.salt));
        match query.execute(&mut *self.conn).await {
            Ok(_) => Ok(true),
            Err(e) if e.as_database_error().is_some_and(|said| said.is_unique_violation()) => Ok(false),
            Err(e) => Err(failed(e)),
        }
    }

    /// Inserts or completes a line of the attempt log, if its action exists.
    pub(super) async fn evidence(&mut self, id: ActionId, attempt: &AttemptRow) -> Result<()> {
        static TEXT: LazyLock<String> = LazyLock::new(|| {
            let logged = logged(2);
            format!("WITH taken AS (SELECT id FROM seawall.action WHERE id = $1), {logged} SELECT 1")
        });
        let query = self.query(&TEXT).bind(rows::uuid(id));
        rows::bind_attempts(query, &[(id, attempt)]).execute(&mut *self.conn).await.map_err(failed)?;
        Ok(())
    }

    /// Adds a line to the audit trail.
    pub(super) async fn mark(&mut self, id: ActionId, mark: &Mark) -> Result<()> {
        self.query(
            "INSERT INTO seawall.mark (action, id, at, who, what, why, via, was, became) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(rows::uuid(id))
        .bind(Uuid::now_v7())
        .bind(At(mark.at))
        .bind(mark.who.clone())
        .bind(mark.what.clone())
        .bind(mark.why.clone())
        .bind(mark.via.clone())
        .bind(mark.was.map(Standing::as_str))
        .bind(mark.became.map(Standing::as_str))
        .execute(&mut *self.conn)
        .await
        .map_err(failed)?;
        Ok(())
    }

    pub(super) async fn time(&mut self) -> Result<DbClock> {
        let asked = Instant::now();
        let query = self.query("SELECT statement_timestamp()");
        let row = query.fetch_one(&mut *self.conn).await.map_err(failed)?;
        let at: At = row.try_get_unchecked(0).map_err(failed)?;
        Ok(DbClock::heard(at.0, asked))
    }

    pub(super) async fn load(&mut self, id: ActionId) -> Result<Option<Action>> {
        let query = self.query(&SELECT.load).bind(rows::uuid(id));
        self.one(query).await
    }

    pub(super) async fn load_many(&mut self, ids: &[ActionId]) -> Result<Vec<Action>> {
        let ids: Vec<Uuid> = ids.iter().map(|id| rows::uuid(*id)).collect();
        let query = self.query(&LOAD_MANY).bind(ids);
        self.many(query).await
    }

    pub(super) async fn find(&mut self, dependency: &str, key: &str) -> Result<Option<Action>> {
        let query = self.query(&SELECT.find).bind(dependency.to_owned()).bind(key.to_owned());
        self.one(query).await
    }

    pub(super) async fn find_many(&mut self, keys: &[(&str, &str)]) -> Result<Vec<Action>> {
        let (dependencies, keys): (Vec<&str>, Vec<&str>) = keys.iter().copied().unzip();
        let query = self.query(&FIND_MANY).bind(dependencies).bind(keys);
        self.many(query).await
    }

    pub(super) async fn members(&mut self, scope: &str) -> Result<Vec<Action>> {
        let query = self.query(&SELECT.members).bind(scope.to_owned());
        self.many(query).await
    }

    async fn one(&mut self, query: Statement<'_>) -> Result<Option<Action>> {
        let row = query.fetch_optional(&mut *self.conn).await.map_err(failed)?;
        row.map(|row| rows::action(&row)).transpose()
    }

    async fn many(&mut self, query: Statement<'_>) -> Result<Vec<Action>> {
        query.fetch_all(&mut *self.conn).await.map_err(failed)?.iter().map(rows::action).collect()
    }

    /// Claims up to `most` due rows of the declared operations of a dependency. Returns the rows and the database's
    /// time; the time is `None` if no row was claimed.
    pub(super) async fn claim_due(
        &mut self,
        declared: &Declared,
        owner: Owner,
        most: u32,
        lease: Duration,
        knows: u32,
        from: Vec<At>,
    ) -> Result<(Vec<Action>, Option<DbClock>)> {
        let query = self
            .query(&CLAIM)
            .bind(Uuid::from_u128(owner.0))
            .bind(micros(lease))
            .bind(declared.dependency.clone())
            .bind(i64::from(most))
            .bind(i64::from(knows))
            .bind(declared.operations.clone())
            .bind(from);
        self.claimed(query).await
    }

    /// Claims the due rows of a dependency that `which` names, at most `claim.most` of them. Returns the rows and the
    /// database's time; the time is `None` if no row was claimed.
    pub(super) async fn claim_which(
        &mut self,
        declared: &Declared,
        claim: Claim,
        which: &Which,
    ) -> Result<(Vec<Action>, Option<DbClock>)> {
        let text: &'static str = match which {
            Which::AllBut { .. } => &CLAIM_ALL_BUT,
            Which::Failing(_) => &CLAIM_FAILING,
        };
        let query = self
            .query(text)
            .bind(Uuid::from_u128(claim.owner.0))
            .bind(micros(claim.lease))
            .bind(declared.dependency.clone())
            .bind(i64::from(claim.most))
            .bind(i64::from(claim.knows));
        let query = match which {
            Which::AllBut { held, give_up, from } => query
                .bind(declared.operations.clone())
                .bind(which::texts(held))
                .bind(micros(*give_up))
                .bind(At(*from)),
            Which::Failing(class) => {
                which::columns(class).into_iter().fold(query, |query, column| query.bind(column))
            }
        };
        self.claimed(query).await
    }

    /// Claims one row, if it is due. Returns the claimed row in a list, and the database's time. If the row is not due,
    /// the list is empty and the time is `None`.
    pub(super) async fn claim_one(
        &mut self,
        id: ActionId,
        owner: Owner,
        lease: Duration,
        knows: u32,
    ) -> Result<(Vec<Action>, Option<DbClock>)> {
        let query = self
            .query(&CLAIM_ONE)
            .bind(Uuid::from_u128(owner.0))
            .bind(micros(lease))
            .bind(rows::uuid(id))
            .bind(i64::from(knows));
        self.claimed(query).await
    }

    async fn claimed(&mut self, query: Statement<'_>) -> Result<(Vec<Action>, Option<DbClock>)> {
        let asked = Instant::now();
        let rows = query.fetch_all(&mut *self.conn).await.map_err(failed)?;
        let last = columns::width();
        let clock = match rows.first() {
            Some(row) => {
                let at: At = row.try_get_unchecked(last).map_err(failed)?;
                Some(DbClock::heard(at.0, asked))
            }
            None => None,
        };
        let readable = rows.iter().filter_map(|row| {
            // A row that cannot be read must not stop the others. Such a row stays claimed until its lease ends.
            rows::action(row).inspect_err(|e| tracing::error!(error = %e, "a row cannot be read")).ok()
        });
        Ok((readable.collect(), clock))
    }

    pub(super) async fn attempts(&mut self, id: ActionId) -> Result<Vec<AttemptRow>> {
        let query = self.query(&SELECT.attempts).bind(rows::uuid(id));
        query.fetch_all(&mut *self.conn).await.map_err(failed)?.iter().map(rows::attempt).collect()
    }

    pub(super) async fn marks(&mut self, id: ActionId) -> Result<Vec<Mark>> {
        let query = self.query(&SELECT.marks).bind(rows::uuid(id));
        query.fetch_all(&mut *self.conn).await.map_err(failed)?.iter().map(rows::mark).collect()
    }

    pub(super) async fn list(&mut self, filter: &Filter) -> Result<Vec<(ActionId, Option<Action>)>> {
        let query = self
            .query(SELECT.list(filter))
            .bind(rows::uuid(filter.after.unwrap_or(ActionId::from_u128(0))))
            .bind(i64::from(filter.most.min(1000)));
        let query = match &filter.dependency {
            Some(dependency) => query.bind(dependency.clone()),
            None => query,
        };
        query.fetch_all(&mut *self.conn).await.map_err(failed)?.iter().map(rows::listed).collect()
    }

    pub(super) async fn counts(&mut self, declared: &Declared, most: u32) -> Result<Counts> {
        let dependency = &declared.dependency;
        let open = self.query(&SELECT.open).bind(dependency.to_owned()).bind(i64::from(most));
        let open = open.fetch_one(&mut *self.conn).await.map_err(failed)?;
        let stuck = self.query(&SELECT.stuck).bind(dependency.to_owned()).bind(i64::from(most));
        let stuck = stuck.fetch_one(&mut *self.conn).await.map_err(failed)?;
        let own = std::slice::from_ref(declared);
        let text = declared::undeclared(Dialect::Postgres, NOW, Some(dependency), own, most);
        let rows = sqlx::raw_sql(AssertSqlSafe(text)).fetch_all(&mut *self.conn).await.map_err(failed)?;
        let undeclared = rows.iter().map(|row| Ok(declared::count_of(&mut rows::reader(row))?.number));
        let undeclared = undeclared.sum::<Result<u64>>()?;
        Ok(Counts { undeclared, ..rows::counts(&open, &stuck, most)? })
    }

    /// Looks at the next `most` rows after `after`, and deletes those that ended before `before` and have no due time.
    /// (An ended row has one while the provider is still to be asked about it.) Returns the number of deleted rows, and
    /// the row after which the next call goes on.
    pub(super) async fn sweep(&mut self, before: Stamp, after: Option<ActionId>, most: u32) -> Result<Swept> {
        let query = self.query(
            "WITH page AS (SELECT id, ended, ended_at, due_at FROM seawall.action \
                 WHERE id > $2 AND id < $3 ORDER BY id LIMIT $4), \
             gone AS (DELETE FROM seawall.action a USING page p WHERE a.id = p.id \
                 AND p.ended IN ('done', 'failed', 'cancelled') AND p.ended_at < $1 AND p.due_at IS NULL \
                 AND a.ended = p.ended AND a.ended_at = p.ended_at AND a.due_at IS NULL RETURNING a.id), \
             attempts AS (DELETE FROM seawall.attempt t USING gone g WHERE t.action = g.id), \
             marks AS (DELETE FROM seawall.mark m USING gone g WHERE m.action = g.id) \
             SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM page), \
                 (SELECT id FROM page ORDER BY id DESC LIMIT 1)",
        );
        let row = query
            .bind(At(before))
            .bind(rows::uuid(after.unwrap_or(ActionId::from_u128(0))))
            .bind(rows::uuid(ActionId::lowest_at(before)))
            .bind(i64::from(most))
            .fetch_one(&mut *self.conn)
            .await
            .map_err(failed)?;
        let deleted: i64 = row.try_get(0).map_err(failed)?;
        let looked_at: i64 = row.try_get(1).map_err(failed)?;
        let last: Option<Uuid> = row.try_get(2).map_err(failed)?;
        let more = looked_at >= i64::from(most);
        Ok(Swept {
            deleted: u64::try_from(deleted).unwrap_or(0),
            after: last.filter(|_| more).map(|id| ActionId::from_u128(id.as_u128())),
        })
    }
}

impl Session<'_> {
    pub(super) async fn print_key(&mut self) -> Result<[u8; 32]> {
        let query = self.query("SELECT print_key FROM seawall.secret");
        let row = query.fetch_optional(&mut *self.conn).await.map_err(failed)?;
        kept::print_key(row.as_ref().map(|row| row.try_get(0)).transpose().map_err(failed)?)
    }

    pub(super) async fn kept_clock(&mut self) -> Result<Option<KeptClock>> {
        let text = "SELECT database_time, wall_time, back_micros, back_before FROM seawall.clock";
        let Some(row) = self.query(text).fetch_optional(&mut *self.conn).await.map_err(failed)? else {
            return Ok(None);
        };
        let at = |column| row.try_get_unchecked::<At, _>(column).map(|At(stamp)| stamp).map_err(failed);
        let by: i64 = row.try_get(2).map_err(failed)?;
        Ok(Some(KeptClock {
            database: at(0)?,
            own: Some(OwnTime { micros: at(1)?.as_micros(), boot: None }),
            back: Back { by: Duration::from_micros(u64::try_from(by).unwrap_or(0)), before: at(3)? },
        }))
    }

    pub(super) async fn keep_clock(&mut self, kept: &KeptClock) -> Result<()> {
        // The table has a column for the time of a second clock, which cannot be null. If there is no such clock, the
        // database's time is stored in that column, too.
        let own = kept.own.as_ref().map_or(kept.database, |own| Stamp::from_micros(own.micros));
        self.query(
            "INSERT INTO seawall.clock (database_time, wall_time, back_micros, back_before) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (one) DO UPDATE SET database_time = excluded.database_time, \
             wall_time = excluded.wall_time, back_micros = excluded.back_micros, back_before = excluded.back_before",
        )
        .bind(At(kept.database))
        .bind(At(own))
        .bind(micros(kept.back.by))
        .bind(At(kept.back.before))
        .execute(&mut *self.conn)
        .await
        .map_err(failed)?;
        Ok(())
    }
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}
