//! PostgreSQL 15 and newer, with any number of workers on one database.
//!
//! - Every transaction of the ledger's own sets READ COMMITTED. The compare-and-set needs no more, and under
//!   SERIALIZABLE two thirds of concurrent claims would be run again. Only a transaction in which a handler of the
//!   application runs uses the isolation that is the database's default, since the application was written for that
//!   default. A transaction that is refused with 40001 or 40P01 is run again.
//! - Nothing is left in the server session after a transaction: no session state, no advisory lock and no listening. If
//!   [`Settings::prepared`] is off, there are no named statements either. Then the ledger works behind a pooler in
//!   transaction mode.
//! - A batch waits only 100 ms for a row that another transaction holds. After that, the job that needs this row waits
//!   for it in a transaction of its own.

mod lanes;
mod migrations;
mod rows;
mod statements;

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, Postgres as Db, Transaction};

use crate::action::{Action, ActionId, Mark, Story};
use crate::clock::DbClock;
use crate::error::{StoreError, Trouble};
use crate::machine::{Evidence, NotSettled, Owner, Scope, Stamp, Write};

use super::lane::{Answer, Lanes, RUNS, Task, ask, pause, unexpected};
use super::version::Version;
use super::{
    COUNTED, Change, Changed, Counts, Filter, Follow, Insert, Recorded, Result, ScopeSettled, Store, Swept,
    Which, settle_members,
};
use lanes::{BEGIN, SharedClock};
use statements::Session;
pub(crate) use statements::failed;

/// Begins a transaction with a single change. The transaction waits at most 5 s for a row that another transaction
/// holds.
const BEGIN_ALONE: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = '5s'";

/// Begins a transaction in which a handler runs. The transaction has the isolation that is the database's default, and
/// waits at most 5 s for a row that another transaction holds.
const BEGIN_DEFAULT: &str = "BEGIN; SET LOCAL lock_timeout = '5s'";

const BEGIN_READ: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY";

/// The settings of the connection to PostgreSQL. Begin with the defaults, and change single fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// The maximum number of connections, for writers, claims and reads. Default 8; it is raised to `lanes` + 2 if it
    /// is set to less. No connection is held during a call to the provider.
    pub connections: u32,
    /// The number of batches that can be under way at the same time. Default 2, so that one batch is gathered while the
    /// other waits for the disk; 0 means 1.
    pub lanes: u32,
    /// Whether prepared statements are kept in the server session. Default yes. Set this to no behind a pooler in
    /// transaction mode (pgbouncer), since each transaction may then run in another server session.
    pub prepared: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { connections: 8, lanes: 2, prepared: true }
    }
}

/// A store that keeps actions in a PostgreSQL database, in the schema `seawall`.
#[derive(Clone)]
pub struct Postgres {
    pool: PgPool,
    lanes: Lanes<PgConnection>,
    clock: SharedClock,
    prepared: bool,
    program: Version,
}

/// The longest time that connecting may take.
const CONNECT: Duration = Duration::from_secs(5);

/// Connects once without the pool, and closes the connection. An error of the pool would only say that it waited too
/// long, and not why the database cannot be reached.
async fn first_connection(options: &PgConnectOptions) -> Result<()> {
    let at = || format!("{}:{}", options.get_host(), options.get_port());
    match tokio::time::timeout(CONNECT, options.connect()).await {
        Ok(Ok(conn)) => conn.close().await.map_err(failed),
        Ok(Err(e)) => {
            let said = format!("{}: {e}", at());
            Err(StoreError::new(failed(e).trouble(), said))
        }
        Err(_) => Err(StoreError::new(Trouble::Away, format!("{}: no answer within {CONNECT:?}", at()))),
    }
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Postgres").field("prepared", &self.prepared).finish_non_exhaustive()
    }
}

impl Postgres {
    /// Connects to `postgres://…` and starts the writers on the current runtime. The tables are not created: see
    /// [`Store::migrate`].
    ///
    /// # Errors
    ///
    /// If the URL is not valid, or if the database cannot be reached.
    pub async fn connect(url: &str, settings: Settings) -> Result<Postgres> {
        let options: PgConnectOptions =
            url.parse().map_err(|e: sqlx::Error| StoreError::new(Trouble::Refused, e))?;
        // Poolers refuse the start-up parameter `extra_float_digits`, and it matters only for floating-point columns.
        let options = options.extra_float_digits(None).application_name("seawall");
        let options = if settings.prepared { options } else { options.statement_cache_capacity(0) };
        first_connection(&options).await?;
        let pool = PgPoolOptions::new()
            .max_connections(settings.connections.max(settings.lanes + 2))
            .acquire_timeout(CONNECT)
            .test_before_acquire(false)
            .connect_lazy_with(options);
        Postgres::on(pool, settings).await
    }

    /// Uses a pool of the application's own, and starts the writers on the current runtime. The pool needs one
    /// connection for each lane, and some more for claims and reads.
    ///
    /// # Errors
    ///
    /// If the database cannot be reached.
    pub async fn on(pool: PgPool, settings: Settings) -> Result<Postgres> {
        let prepared = settings.prepared;
        let mut conn = pool.acquire().await.map_err(failed)?;
        let mut tx = conn.begin_with(BEGIN_READ).await.map_err(failed)?;
        let clock = Session { conn: &mut tx, prepared }.time().await?;
        tx.commit().await.map_err(failed)?;
        drop(conn);
        let clock = SharedClock::new(clock);
        let lane = || lanes::Lane { pool: pool.clone(), conn: None, clock: clock.clone(), prepared };
        let lanes = Lanes::start((0..settings.lanes.max(1)).map(|_| lane()).collect());
        Ok(Postgres { pool, lanes, clock, prepared, program: Version::of(&migrations::STEPS) })
    }

    /// Returns this store as the next version of the program would use it: it makes the tables of that version, and
    /// works on that version's rows. Tests let both versions work together.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn one_ahead(mut self) -> Postgres {
        self.program = Version { steps: &migrations::AHEAD, knows: self.program.knows + 1 };
        self
    }

    /// Returns the statements whose plans the tests check: the begin of a transaction of the ledger's own, a claim, a
    /// change of several rows, and a change of one row.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn texts() -> [&'static str; 4] {
        let [claim, changes, change] = statements::texts();
        [BEGIN, claim, changes, change]
    }

    pub(crate) fn pool(&self) -> &PgPool {
        &self.pool
    }

    fn session<'c>(&self, conn: &'c mut PgConnection) -> Session<'c> {
        Session { conn, prepared: self.prepared }
    }

    /// Begins a transaction that only reads. A single read needs a transaction, too, if prepared statements are off.
    pub(crate) async fn reading(&self) -> Result<Transaction<'static, Db>> {
        self.begin(BEGIN_READ).await
    }

    /// Begins a transaction in a task of its own, so that a caller that stops waiting cannot leave the transaction half
    /// begun. Otherwise sqlx would give the connection to the next caller inside a transaction that sqlx does not know
    /// of. If that unknown transaction is read-only, the next caller's change fails.
    async fn begin(&self, statement: &'static str) -> Result<Transaction<'static, Db>> {
        let pool = self.pool.clone();
        let begun = tokio::spawn(async move { pool.begin_with(statement).await });
        begun.await.unwrap_or(Err(sqlx::Error::WorkerCrashed)).map_err(failed)
    }

    /// Makes one change, with its handler, in a transaction of its own. If the database refuses the transaction in
    /// favour of another one, the transaction is run again, at most [`RUNS`] times in all.
    async fn change_alone(&self, change: &Change<PgConnection>) -> Result<Changed> {
        let mut run = 1;
        loop {
            match self.try_change(change).await {
                Err(e) if e.trouble() == Trouble::Again && run < RUNS => {
                    tokio::time::sleep(pause(run)).await;
                    run += 1;
                }
                ended => return ended,
            }
        }
    }

    async fn try_change(&self, change: &Change<PgConnection>) -> Result<Changed> {
        let begin = if change.follow.is_some() { BEGIN_DEFAULT } else { BEGIN_ALONE };
        let mut tx = self.begin(begin).await?;
        let id = change.action.id;
        let (taken, clock) = self.session(&mut tx).change(&[(id, &change.write)]).await?;
        self.clock.set(clock);
        if taken.is_empty() {
            let found = self.session(&mut tx).load(id).await?;
            tx.commit().await.map_err(failed)?;
            return Ok(lanes::stale(found, &change.write));
        }
        if let Some(mark) = &change.mark {
            self.session(&mut tx).mark(id, mark).await?;
        }
        if let Some(key) = change.write.names()
            && !self.session(&mut tx).name(id, key).await?
        {
            tx.rollback().await.map_err(failed)?;
            return Ok(Changed::Clash);
        }
        if let Some(follow) = &change.follow
            && let Err(e) = follow(&mut tx, &change.action).await
        {
            let lost = e.downcast_ref::<sqlx::Error>().is_some_and(lanes::lost_against_another);
            tx.rollback().await.map_err(failed)?;
            return if lost {
                Err(StoreError::new(Trouble::Again, e))
            } else {
                Ok(Changed::HandlerFailed(e.to_string()))
            };
        }
        tx.commit().await.map_err(failed)?;
        Ok(Changed::Taken)
    }

    async fn try_settle_scope(
        &self,
        scope: &Scope,
        follow: Option<&Follow<PgConnection>>,
    ) -> Result<std::result::Result<ScopeSettled, NotSettled>> {
        let begin = if follow.is_some() { BEGIN_DEFAULT } else { BEGIN_ALONE };
        let mut tx = self.pool.begin_with(begin).await.map_err(failed)?;
        let clock = self.session(&mut tx).time().await?;
        self.clock.set(clock);
        let mut members = self.session(&mut tx).members(&scope.name).await?;
        let writes = match settle_members(&members, scope.size, self.knows(), clock.now()) {
            Ok(writes) => writes,
            Err(why) => return Ok(Err(why)),
        };
        let unsettled = members.iter_mut().filter(|member| !member.state.settled());
        let mut pairs = Vec::with_capacity(writes.len());
        for (member, write) in unsettled.zip(&writes) {
            pairs.push((member.id, write));
            member.state = write.to().clone();
        }
        if !pairs.is_empty() {
            let (taken, _) = self.session(&mut tx).change(&pairs).await?;
            if taken.len() != pairs.len() {
                tx.rollback().await.map_err(failed)?;
                return Err(StoreError::new(Trouble::Again, "a member of the scope moved meanwhile"));
            }
        }
        for member in &members {
            if let Some(follow) = follow {
                follow(&mut tx, member).await.map_err(|e| StoreError::new(Trouble::Refused, e))?;
            }
        }
        tx.commit().await.map_err(failed)?;
        Ok(Ok(ScopeSettled { members }))
    }
}

impl Store for Postgres {
    type Connection = PgConnection;

    async fn migrate(&self) -> Result<()> {
        migrations::migrate(&self.pool, self.program).await
    }

    fn knows(&self) -> u32 {
        self.program.knows
    }

    fn clock(&self) -> DbClock {
        self.clock.get()
    }

    async fn ask_time(&self) -> Result<DbClock> {
        let mut tx = self.reading().await?;
        let clock = self.session(&mut tx).time().await?;
        self.clock.set(clock);
        tx.commit().await.map_err(failed)?;
        Ok(clock)
    }

    async fn record(&self, insert: Insert) -> Result<Recorded> {
        ask!(self.lanes, Task::Record(Box::new(insert)), Recorded)
    }

    async fn change(&self, change: Arc<Change<PgConnection>>) -> Result<Changed> {
        if change.follow.is_some() || change.mark.is_some() || change.write.names().is_some() {
            return Box::pin(self.change_alone(&change)).await;
        }
        match self.lanes.run(Task::Change(change.clone())).await {
            Ok(Answer::Changed(changed)) => Ok(changed),
            Ok(_) => Err(unexpected()),
            // Another transaction holds this row. This change now waits for the row in a transaction of its own, so
            // that changes of other rows need not wait.
            Err(e) if e.trouble() == Trouble::Busy => Box::pin(self.change_alone(&change)).await,
            Err(e) => Err(e),
        }
    }

    async fn settle_scope(
        &self,
        scope: Scope,
        follow: Option<Follow<PgConnection>>,
    ) -> Result<std::result::Result<ScopeSettled, NotSettled>> {
        let mut run = 1;
        loop {
            match self.try_settle_scope(&scope, follow.as_ref()).await {
                Err(e) if e.trouble() == Trouble::Again && run < RUNS => {
                    tokio::time::sleep(pause(run)).await;
                    run += 1;
                }
                ended => return ended,
            }
        }
    }

    async fn evidence(&self, id: ActionId, attempt: Evidence) -> Result<()> {
        let mut tx = self.pool.begin_with(BEGIN_ALONE).await.map_err(failed)?;
        self.session(&mut tx).evidence(id, attempt.line()).await?;
        tx.commit().await.map_err(failed)
    }

    async fn claim(&self, dependency: &str, owner: Owner, most: u32, lease: Duration) -> Result<Vec<Action>> {
        let mut tx = self.pool.begin_with(BEGIN).await.map_err(failed)?;
        let (claimed, clock) =
            self.session(&mut tx).claim_due(dependency, owner, most, lease, self.knows()).await?;
        tx.commit().await.map_err(failed)?;
        clock.into_iter().for_each(|clock| self.clock.set(clock));
        Ok(claimed)
    }

    async fn claim_which(
        &self,
        dependency: &str,
        owner: Owner,
        most: u32,
        lease: Duration,
        which: Which,
    ) -> Result<Vec<Action>> {
        let mut tx = self.pool.begin_with(BEGIN).await.map_err(failed)?;
        let claim = statements::Claim { owner, most, lease, knows: self.knows() };
        let (claimed, clock) = self.session(&mut tx).claim_which(dependency, claim, &which).await?;
        tx.commit().await.map_err(failed)?;
        clock.into_iter().for_each(|clock| self.clock.set(clock));
        Ok(claimed)
    }

    async fn claim_one(&self, id: ActionId, owner: Owner, lease: Duration) -> Result<Option<Action>> {
        let mut tx = self.pool.begin_with(BEGIN_ALONE).await.map_err(failed)?;
        let (claimed, clock) = self.session(&mut tx).claim_one(id, owner, lease, self.knows()).await?;
        tx.commit().await.map_err(failed)?;
        clock.into_iter().for_each(|clock| self.clock.set(clock));
        Ok(claimed.into_iter().next())
    }

    async fn next_due(&self, dependency: &str) -> Result<Option<Stamp>> {
        let mut tx = self.reading().await?;
        let due = self.session(&mut tx).next_due(dependency, self.knows()).await;
        tx.commit().await.map_err(failed)?;
        due
    }

    async fn load(&self, id: ActionId) -> Result<Option<Action>> {
        let mut tx = self.reading().await?;
        let found = self.session(&mut tx).load(id).await;
        tx.commit().await.map_err(failed)?;
        found
    }

    async fn find(&self, dependency: &str, key: &str) -> Result<Option<Action>> {
        let mut tx = self.reading().await?;
        let found = self.session(&mut tx).find(dependency, key).await;
        tx.commit().await.map_err(failed)?;
        found
    }

    async fn members(&self, scope: &str) -> Result<Vec<Action>> {
        let mut tx = self.reading().await?;
        let found = self.session(&mut tx).members(scope).await;
        tx.commit().await.map_err(failed)?;
        found
    }

    async fn story(&self, id: ActionId) -> Result<Option<Story>> {
        let mut tx = self.reading().await?;
        let mut session = self.session(&mut tx);
        let Some(action) = session.load(id).await? else { return Ok(None) };
        let attempts = session.attempts(id).await?;
        let marks = session.marks(id).await?;
        tx.commit().await.map_err(failed)?;
        Ok(Some(Story { action, attempts, marks }))
    }

    async fn list(&self, filter: &Filter) -> Result<Vec<Action>> {
        let mut tx = self.reading().await?;
        let found = self.session(&mut tx).list(filter).await;
        tx.commit().await.map_err(failed)?;
        found
    }

    async fn counts(&self, dependency: &str) -> Result<Counts> {
        let mut tx = self.reading().await?;
        let counts = self.session(&mut tx).counts(dependency, COUNTED).await;
        tx.commit().await.map_err(failed)?;
        counts
    }

    async fn sweep(&self, before: Stamp, after: Option<ActionId>, most: u32) -> Result<Swept> {
        let mut tx = self.pool.begin_with(BEGIN).await.map_err(failed)?;
        let swept = self.session(&mut tx).sweep(before, after, most).await?;
        tx.commit().await.map_err(failed)?;
        Ok(swept)
    }

    async fn record_in(&self, conn: &mut PgConnection, insert: &Insert) -> Result<Recorded> {
        let mut session = self.session(conn);
        let (taken, clock) = session.insert(&[insert]).await?;
        self.clock.set(clock);
        if taken.contains(&insert.action.id) {
            return Ok(Recorded::New);
        }
        let found = session.find(&insert.action.dependency, &insert.action.key).await?;
        let same_key = found.filter(|found| found.key == insert.action.key);
        Ok(same_key.map_or(Recorded::Clash, |found| Recorded::Existing(Box::new(found))))
    }

    async fn load_in(&self, conn: &mut PgConnection, id: ActionId) -> Result<Option<(Action, Stamp)>> {
        let mut session = self.session(conn);
        let clock = session.time().await?;
        self.clock.set(clock);
        Ok(session.load(id).await?.map(|action| (action, clock.now())))
    }

    async fn change_in(
        &self,
        conn: &mut PgConnection,
        id: ActionId,
        write: &Write,
        mark: Option<&Mark>,
    ) -> Result<bool> {
        let mut session = self.session(conn);
        let (taken, clock) = session.change(&[(id, write)]).await?;
        self.clock.set(clock);
        if let (false, Some(key)) = (taken.is_empty(), write.names())
            && !session.name(id, key).await?
        {
            return Err(StoreError::new(Trouble::Refused, "another action is sent under this key"));
        }
        if let (false, Some(mark)) = (taken.is_empty(), mark) {
            session.mark(id, mark).await?;
        }
        Ok(!taken.is_empty())
    }

    async fn members_in(&self, conn: &mut PgConnection, scope: &str) -> Result<Vec<Action>> {
        self.session(conn).members(scope).await
    }
}
