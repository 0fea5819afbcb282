//! PostgreSQL 15 and newer, with any number of workers on one database.
//!
//! - Every transaction of the ledger's own sets READ COMMITTED. This is enough, because a change is written only if the
//!   row still has the version that was read. Under SERIALIZABLE, two thirds of concurrent claims would be run again.
//!   Only a transaction in which a handler of the application runs uses the isolation that is the database's default,
//!   since the application was written for that default. A transaction that is refused with 40001 or 40P01 is run
//!   again.
//! - Nothing is left in the server session after a transaction: no session state, no advisory lock and no `LISTEN`. If
//!   [`Settings::prepared`] is off, there are no named statements either. Then the ledger works behind a pooler in
//!   transaction mode.
//! - A batch waits only 100 ms for a row that another transaction holds. After that, the job that needs this row waits
//!   for it in a transaction of its own, and tries again if that wait was too short. [`Settings::handlers`] limits how
//!   many transactions may wait for so long. So some connections are always left for batches, claims and reads.
//! - A URL may name several servers (`url`), of which the one that takes writes is used (`hosts`).
//! - Every operation ends within [`Settings::answer_within`], even if the database goes silent (`deadline`). Only a
//!   handler of the application and a step of the migration may take longer.

mod alone;
mod bounds;
mod commit;
mod deadline;
mod hosts;
mod lanes;
mod migrations;
mod places;
mod rows;
mod settings;
mod statements;
mod stuck;
mod url;

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::AssertSqlSafe;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};

use crate::action::{Action, ActionId, Mark, Story};
use crate::clock::{DbClock, SharedClock, machine_time};
use crate::error::{StoreError, Trouble};
use crate::machine::{Evidence, NotSettled, Owner, Scope, Stamp, Write};
use crate::terms::Declaration;

use super::declared;
use super::dialect::Dialect;
use super::kept::ActionPage;
use super::lane::{Lanes, Task, ask};
use super::polled::{self, Answers};
use super::version::Version;
use super::{
    COUNTED, Change, Changed, Counts, Declared, Due, Filter, Follow, Insert, KeptClock, OperationCount,
    OwnTime, Recorded, Result, ScopeSettled, Store, Swept, Which,
};
use bounds::SharedBounds;
pub(crate) use deadline::{Begin, Link, Tx};
use hosts::Hosts;
use places::Places;
pub use settings::Settings;
pub(crate) use statements::failed;
use statements::{NOW, Session};

/// A store that keeps actions in a PostgreSQL database, in the schema `seawall`.
#[derive(Clone)]
pub struct Postgres {
    link: Link,
    lanes: Lanes<PgConnection>,
    places: Places,
    clock: SharedClock,
    bounds: SharedBounds,
    prepared: bool,
    handler_within: Duration,
    program: Version,
}

/// The least value of [`Settings::answer_within`].
const SHORTEST: Duration = Duration::from_millis(10);

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Postgres").field("prepared", &self.prepared).finish_non_exhaustive()
    }
}

impl Postgres {
    /// Connects to `postgres://…` and starts the writers on the current runtime. The tables are not created: see
    /// [`Store::migrate`].
    ///
    /// The URL may name several servers, as in `postgres://user@a:5432,b:5433/db`. Then the one that takes writes is
    /// used, and it is searched for again whenever it is lost.
    ///
    /// # Errors
    ///
    /// If the URL is not valid, if the database cannot be reached, or if none of several servers takes writes. The
    /// error names the servers, and never the password.
    pub async fn connect(url: &str, settings: Settings) -> Result<Postgres> {
        let servers = url::servers(url)?;
        let prepare = |options: PgConnectOptions| {
            // Poolers refuse the start-up parameter `extra_float_digits`, and it matters only for floating-point
            // columns.
            let options = options.extra_float_digits(None).application_name("seawall");
            if settings.prepared { options } else { options.statement_cache_capacity(0) }
        };
        let all = servers.all.iter().cloned().map(prepare).collect();
        let within = settings.answer_within.max(SHORTEST);
        let hosts = Arc::new(Hosts::new(all, servers.must_write, within));
        let options = hosts.first().await?;
        servers.tell_ignored();
        let pool = PgPoolOptions::new()
            .max_connections(settings.connections_needed())
            // The pool's limit is longer than the ledger's own limit on the wait for a connection. So the ledger's
            // error comes first, which says more than the pool's.
            .acquire_timeout(within * 2)
            .test_before_acquire(false)
            .connect_lazy_with(options);
        Postgres::with(pool, Some(hosts), settings).await
    }

    /// Returns whether `url` is a valid URL of PostgreSQL, without connecting.
    ///
    /// # Errors
    ///
    /// If it is not. The message says what to write instead, and shows no part of a password.
    pub fn check_url(url: &str) -> Result<()> {
        url::servers(url).map(drop)
    }

    /// Uses a pool of the application's own, and starts the writers on the current runtime. The setting `connections`
    /// has no effect then. Each lane keeps one connection of the pool. Transactions that may wait for long take at most
    /// `settings.handlers` connections. They take fewer if the pool has less than `lanes` + `handlers` + 2 connections.
    ///
    /// # Errors
    ///
    /// If the database cannot be reached, or if the pool has less than `lanes` + 2 connections.
    pub async fn on(pool: PgPool, settings: Settings) -> Result<Postgres> {
        Postgres::with(pool, None, settings).await
    }

    async fn with(pool: PgPool, hosts: Option<Arc<Hosts>>, settings: Settings) -> Result<Postgres> {
        let within = settings.answer_within.max(SHORTEST);
        let places = Places::of(&pool, settings.lanes, settings.handlers, within)?;
        let Settings { prepared, handler_within, .. } = settings;
        let link = &Link::new(pool, hosts, within, handler_within).await?;
        let asking = |until| async move {
            let mut tx = link.begin(Begin::Read, until).await?;
            let clock = Session { conn: &mut tx, prepared }.time().await?;
            tx.commit().await.map(|()| clock)
        };
        let clock = SharedClock::new(link.reads(asking).await?);
        let lane = || lanes::Lane::new(link.clone(), clock.clone(), prepared);
        let lanes = Lanes::start((0..settings.lanes.max(1)).map(|_| lane()).collect());
        let program = Version::of(&migrations::STEPS);
        let (link, bounds) = (link.clone(), SharedBounds::new());
        Ok(Postgres { link, lanes, places, clock, bounds, prepared, handler_within, program })
    }

    /// Returns this store as the next version of the program would use it: it makes the tables of that version, and
    /// works on that version's rows. Tests let both versions work together.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn one_ahead(mut self) -> Postgres {
        self.program = Version { steps: &migrations::AHEAD, knows: self.program.knows + 1 };
        self
    }

    /// Returns the statements whose plans the tests check: the beginning of a transaction of the ledger's own, a claim,
    /// a change of several rows, and a change of one row.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn texts() -> [&'static str; 4] {
        let [claim, changes, change] = statements::texts();
        [deadline::BATCH, claim, changes, change]
    }

    /// Returns the two statements that claim rows while the pace holds classes back. The first one claims all due rows
    /// except the failing ones of these classes. The second one claims the failing rows of one class. Tests check how
    /// many rows the statements read.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn held_texts() -> [&'static str; 2] {
        statements::held_texts()
    }

    /// Returns the statements that begin a transaction that lists actions, and the statement that lists the actions
    /// which match the filter. Tests check the query plan of the second one.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn list_texts(filter: &Filter) -> [&'static str; 2] {
        [deadline::LIST, statements::list_text(filter)]
    }

    pub(crate) fn link(&self) -> &Link {
        &self.link
    }

    /// Executes one of the statements of [`polled`] that search for due rows, and returns the answers.
    async fn answers(&self, declared: &[Declared], question: String) -> Result<Answers> {
        let (rows, asked) = self.link.plain(question).await?;
        let mut answers = Answers::of(declared);
        rows.iter().try_for_each(|row| answers.read(&mut rows::reader(row)))?;
        answers.now.into_iter().for_each(|now| self.clock.set(DbClock::heard(now, asked)));
        Ok(answers)
    }

    /// Executes a statement that counts rows of operations.
    async fn count(&self, text: String) -> Result<Vec<OperationCount>> {
        let (rows, _) = self.link.plain(text).await?;
        rows.iter().map(|row| declared::count_of(&mut rows::reader(row))).collect()
    }

    /// Executes a statement that finds the ids of rows.
    async fn ids(&self, text: String) -> Result<Vec<ActionId>> {
        let (rows, _) = self.link.plain(text).await?;
        rows.iter().map(|row| declared::id_of(&mut rows::reader(row))).collect()
    }

    fn session<'c>(&self, conn: &'c mut PgConnection) -> Session<'c> {
        Session { conn, prepared: self.prepared }
    }

    /// Begins a transaction that only reads. A single read needs a transaction, too, if prepared statements are off:
    /// sqlx sends a statement with parameters in two messages, and without a transaction a pooler could send them to
    /// two server sessions.
    async fn reading(&self, until: Instant) -> Result<Tx> {
        self.link.begin(Begin::Read, until).await
    }
}

impl Store for Postgres {
    type Connection = PgConnection;

    async fn migrate(&self) -> Result<()> {
        migrations::migrate(&self.link, self.program).await
    }

    fn knows(&self) -> u32 {
        self.program.knows
    }

    fn answers_within(&self) -> Duration {
        self.link.within()
    }

    fn clock(&self) -> DbClock {
        self.clock.get()
    }

    fn shared_clock(&self) -> &SharedClock {
        &self.clock
    }

    fn own_time(&self) -> Option<OwnTime> {
        Some(OwnTime { micros: machine_time().as_micros(), boot: None })
    }

    async fn kept_clock(&self) -> Result<Option<KeptClock>> {
        let reading = |until| async move {
            let mut tx = self.reading(until).await?;
            let kept = self.session(&mut tx).kept_clock().await?;
            tx.commit().await.map(|()| kept)
        };
        self.link.reads(reading).await
    }

    async fn keep_clock(&self, kept: KeptClock) -> Result<()> {
        let until = self.link.until();
        let writing = async {
            let mut tx = self.link.begin(Begin::Alone, until).await?;
            self.session(&mut tx).keep_clock(&kept).await?;
            tx.commit().await
        };
        self.link.bounded(until, writing).await
    }

    async fn print_key(&self) -> Result<[u8; 32]> {
        let reading = |until| async move {
            let mut tx = self.reading(until).await?;
            let key = self.session(&mut tx).print_key().await?;
            tx.commit().await.map(|()| key)
        };
        self.link.reads(reading).await
    }

    async fn ask_time(&self) -> Result<DbClock> {
        let asking = |until| async move {
            let mut tx = self.reading(until).await?;
            let clock = self.session(&mut tx).time().await?;
            tx.commit().await.map(|()| clock)
        };
        let clock = self.link.reads(asking).await?;
        let clock = self.clock.heard(clock);
        Ok(clock)
    }

    async fn record(&self, insert: Insert) -> Result<Recorded> {
        let recording = async { ask!(self.lanes, Task::Record(Box::new(insert)), Recorded) };
        self.link.bounded(self.link.until(), recording).await
    }

    async fn change(&self, change: Arc<Change<PgConnection>>) -> Result<Changed> {
        if change.follow.is_some() || change.mark.is_some() || change.write.names().is_some() {
            return Box::pin(self.change_alone(&change)).await;
        }
        let changing = async { ask!(self.lanes, Task::Change(change.clone()), Changed) };
        match self.link.bounded(self.link.until(), changing).await {
            // Another transaction holds this row. This change now waits for the row in a transaction of its own, so
            // that changes of other rows need not wait.
            Err(e) if e.trouble() == Trouble::Busy => Box::pin(self.change_alone(&change)).await,
            ended => ended,
        }
    }

    async fn settle_scope(
        &self,
        dependency: &str,
        scope: Scope,
        follow: Option<Follow<PgConnection>>,
    ) -> Result<std::result::Result<ScopeSettled, NotSettled>> {
        Box::pin(self.scope_alone(dependency, &scope, follow.as_ref())).await
    }

    async fn evidence(&self, id: ActionId, attempt: Evidence) -> Result<()> {
        let until = self.link.until();
        let writing = async {
            let mut tx = self.link.begin(Begin::Batch, until).await?;
            self.session(&mut tx).evidence(id, attempt.line()).await?;
            tx.commit().await
        };
        self.link.bounded(until, writing).await
    }

    async fn claim(
        &self,
        declared: &Declared,
        owner: Owner,
        most: u32,
        lease: Duration,
    ) -> Result<Vec<Action>> {
        let until = self.link.until();
        let claiming = async {
            let mut tx = self.link.begin(Begin::Batch, until).await?;
            let (begun, from) = (self.clock.get().now(), self.bounds.of(declared));
            let (claimed, clock) =
                self.session(&mut tx).claim_due(declared, owner, most, lease, self.knows(), from).await?;
            tx.commit().await?;
            clock.into_iter().for_each(|clock| self.clock.set(clock));
            if claimed.len() < most as usize {
                self.bounds.lock().emptied(&declared.dependency, &declared.operations, begun);
            }
            Ok(claimed)
        };
        self.link.bounded(until, claiming).await
    }

    async fn claim_which(
        &self,
        declared: &Declared,
        owner: Owner,
        most: u32,
        lease: Duration,
        which: Which,
    ) -> Result<Vec<Action>> {
        let until = self.link.until();
        let claiming = async {
            let mut tx = self.link.begin(Begin::Batch, until).await?;
            let claim = statements::Claim { owner, most, lease, knows: self.knows() };
            let (claimed, clock) = self.session(&mut tx).claim_which(declared, claim, &which).await?;
            tx.commit().await?;
            clock.into_iter().for_each(|clock| self.clock.set(clock));
            Ok(claimed)
        };
        self.link.bounded(until, claiming).await
    }

    async fn claim_one(&self, id: ActionId, owner: Owner, lease: Duration) -> Result<Option<Action>> {
        let until = self.link.until();
        let claiming = async {
            let mut tx = self.link.begin(Begin::Batch, until).await?;
            let (claimed, clock) = match self.session(&mut tx).claim_one(id, owner, lease, self.knows()).await
            {
                // Another transaction holds the row, so it cannot be claimed now.
                Err(e) if e.trouble() == Trouble::Busy => return tx.rollback().await.map(|()| None),
                claimed => claimed?,
            };
            tx.commit().await?;
            clock.into_iter().for_each(|clock| self.clock.set(clock));
            Ok(claimed.into_iter().next())
        };
        self.link.bounded(until, claiming).await
    }

    async fn due(&self, declared: &[Declared], within: Duration) -> Result<Vec<Due>> {
        let answers = self.answers(declared, self.bounds.question(declared, self.knows(), within)).await?;
        self.bounds.polled(declared, &answers);
        while let Some(question) = self.bounds.question_below(declared, self.knows()) {
            if !self.bounds.searched(declared, &self.answers(declared, question).await?) {
                break;
            }
        }
        Ok(answers.due)
    }

    async fn declare(&self, owner: Owner, declared: &[Declaration]) -> Result<()> {
        let (delete, insert) = &declared::declare(Dialect::Postgres, NOW, owner, declared);
        let until = self.link.until();
        let writing = async {
            let mut tx = self.link.begin(Begin::Alone, until).await?;
            for text in std::iter::once(delete).chain(insert) {
                sqlx::raw_sql(AssertSqlSafe(text.as_str())).execute(&mut *tx).await.map_err(failed)?;
            }
            tx.commit().await
        };
        self.link.bounded(until, writing).await
    }

    async fn declared(&self) -> Result<Vec<Declared>> {
        let (rows, _) = self.link.plain(declared::declared(Dialect::Postgres, NOW)).await?;
        let mut all = Vec::new();
        rows.iter().try_for_each(|row| declared::declared_of(&mut all, &mut rows::reader(row)))?;
        Ok(all)
    }

    async fn undeclared(&self, declared: &[Declared]) -> Result<Vec<OperationCount>> {
        self.count(declared::undeclared(Dialect::Postgres, NOW, None, declared, COUNTED)).await
    }

    async fn open_counts(&self) -> Result<Vec<OperationCount>> {
        self.count(declared::open(Dialect::Postgres, COUNTED)).await
    }

    async fn overdue(
        &self,
        dependency: &str,
        operation: &str,
        before: Stamp,
        most: u32,
    ) -> Result<Vec<ActionId>> {
        let knows = self.knows();
        self.ids(declared::overdue(Dialect::Postgres, dependency, operation, before, knows, most)).await
    }

    async fn held(
        &self,
        declared: &[Declared],
        owner: Owner,
        within: Duration,
        most: u32,
    ) -> Result<Vec<ActionId>> {
        if declared.is_empty() {
            return Ok(Vec::new());
        }
        self.ids(declared::held(Dialect::Postgres, NOW, declared, owner, within, most)).await
    }

    async fn load(&self, id: ActionId) -> Result<Option<Action>> {
        let reading = |until| async move {
            let mut tx = self.reading(until).await?;
            let found = self.session(&mut tx).load(id).await?;
            tx.commit().await.map(|()| found)
        };
        self.link.reads(reading).await
    }

    async fn find(&self, dependency: &str, key: &str) -> Result<Option<Action>> {
        let reading = |until| async move {
            let mut tx = self.reading(until).await?;
            let found = self.session(&mut tx).find(dependency, key).await?;
            tx.commit().await.map(|()| found)
        };
        self.link.reads(reading).await
    }

    async fn members(&self, scope: &str) -> Result<Vec<Action>> {
        let reading = |until| async move {
            let mut tx = self.reading(until).await?;
            let found = self.session(&mut tx).members(scope).await?;
            tx.commit().await.map(|()| found)
        };
        self.link.reads(reading).await
    }

    async fn story(&self, id: ActionId) -> Result<Option<Story>> {
        let reading = |until| async move {
            let mut tx = self.reading(until).await?;
            let mut session = self.session(&mut tx);
            let Some(action) = session.load(id).await? else { return Ok(None) };
            let attempts = session.attempts(id).await?;
            let marks = session.marks(id).await?;
            tx.commit().await.map(|()| Some(Story { action, attempts, marks }))
        };
        self.link.reads(reading).await
    }

    async fn versions(&self, ids: &[ActionId]) -> Result<Vec<(ActionId, u64)>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let (rows, _) = self.link.plain(polled::versions(Dialect::Postgres, ids)).await?;
        rows.iter().map(|row| polled::version_of(&mut rows::reader(row))).collect()
    }

    async fn list(&self, filter: &Filter) -> Result<Vec<Action>> {
        let reading = |until| async move {
            let mut tx = self.link.begin(Begin::List, until).await?;
            let mut page = ActionPage::of(filter);
            while let Some(missing) = page.missing() {
                let rows = self.session(&mut tx).list(missing).await?;
                page.add(rows);
            }
            tx.commit().await.map(|()| page.into_actions())
        };
        self.link.reads(reading).await
    }

    async fn counts(&self, declared: &Declared) -> Result<Counts> {
        let reading = |until| async move {
            let mut tx = self.reading(until).await?;
            let counts = self.session(&mut tx).counts(declared, COUNTED).await?;
            tx.commit().await.map(|()| counts)
        };
        self.link.reads(reading).await
    }

    async fn sweep(&self, before: Stamp, after: Option<ActionId>, most: u32) -> Result<Swept> {
        let until = self.link.until();
        let sweeping = async {
            let mut tx = self.link.begin(Begin::Batch, until).await?;
            let swept = self.session(&mut tx).sweep(before, after, most).await?;
            tx.commit().await.map(|()| swept)
        };
        self.link.bounded(until, sweeping).await
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
