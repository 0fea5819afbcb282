//! SQLite: one file, one writer, many readers.
//!
//! The ledger uses the write-ahead log with `synchronous = FULL`: a commit is on the disk when it returns. The setting
//! `NORMAL` is often recommended. But with `NORMAL`, a power failure loses the last commits, and these can be the
//! records of attempts that were already sent. FULL waits for the disk once for each commit. The lane puts many changes
//! into one commit, so they share that wait.
//!
//! Transactions begin as IMMEDIATE, so they take the write lock first. A transaction that reads first and writes later
//! could be refused without any wait, if another transaction has written meanwhile (SQLITE_BUSY_SNAPSHOT).
//!
//! An application may use the same file with its own connections. The application's transactions and the ledger's wait
//! for each other. When a process starts, it waits up to 30 s for the locks. After that, its error names the process
//! that holds them.

#[cfg(target_os = "linux")]
mod holder;
mod locked;
mod migrations;
mod rows;
mod sized;
mod statements;
mod stuck;
mod time;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, SqliteConnection};

use crate::action::{Action, ActionId, Mark, Story};
use crate::clock::{DbClock, SharedClock};
use crate::error::{StoreError, Trouble};
use crate::machine::{Evidence, NotSettled, Owner, Scope, Stamp, Write};
use crate::terms::Declaration;
#[cfg(feature = "test-clock")]
use crate::testing::TestClock;

use super::declared;
use super::dialect::Dialect;
use super::kept::ActionPage;
use super::lane::{Lanes, Task, ask};
use super::version::Version;
use super::{
    COUNTED, Change, Changed, Counts, Declared, Due, Filter, Follow, Insert, KeptClock, OperationCount,
    OwnTime, Recorded, Result, ScopeSettled, Store, Swept, Which,
};
pub(crate) use locked::at;
pub(crate) use statements::failed;
use time::Source;

/// The time that a statement waits for another connection's transaction. After that the statement fails as busy, and
/// its transaction is run again, for some seconds in all.
const BUSY: Duration = Duration::from_secs(1);

/// A store that keeps actions in an SQLite file.
#[derive(Clone)]
pub struct Sqlite {
    options: SqliteConnectOptions,
    readers: SqlitePool,
    lanes: Lanes<SqliteConnection>,
    program: Version,
    time: Source,
    clock: SharedClock,
    /// The longest time for which [`Store::migrate`] waits for the locks of the file.
    opening: Duration,
}

impl std::fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sqlite").field("file", &self.options.get_filename()).finish_non_exhaustive()
    }
}

impl Sqlite {
    /// Opens a file, or creates it, and starts the writer on the current runtime. If other connections hold the locks
    /// of the file, this function waits for them for up to 30 s, and so does [`Store::migrate`] if tables are missing.
    ///
    /// # Errors
    ///
    /// [`Trouble::Busy`] if the file is still locked after 30 s. Another error if the file cannot be opened, or if it
    /// cannot use `synchronous = FULL` and the write-ahead log. Each error names the file.
    pub async fn open(file: impl AsRef<Path>) -> Result<Sqlite> {
        let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
        Sqlite::with(options, Version::of(&migrations::STEPS), Source::Machine).await
    }

    /// Opens a file, or creates it, as [`Sqlite::open`] does. The store takes its time from `clock`, which a test
    /// moves.
    ///
    /// # Errors
    ///
    /// As [`Sqlite::open`].
    #[cfg(feature = "test-clock")]
    pub async fn open_with(file: impl AsRef<Path>, clock: &TestClock) -> Result<Sqlite> {
        let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
        Sqlite::with(options, Version::of(&migrations::STEPS), Source::Test(clock.clone())).await
    }

    /// Opens a file as the next version of the program would use it: the store makes the tables of that version, and
    /// works on that version's rows. Tests let both versions work together.
    ///
    /// # Errors
    ///
    /// As [`Sqlite::open`].
    #[cfg(feature = "testing")]
    pub async fn open_one_ahead(file: impl AsRef<Path>) -> Result<Sqlite> {
        let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
        let now = Version::of(&migrations::STEPS);
        Sqlite::with(options, Version { steps: &migrations::AHEAD, knows: now.knows + 1 }, Source::Machine)
            .await
    }

    /// Opens the file of a URL `sqlite:FILE` or `sqlite://FILE`, as [`Sqlite::open`] does.
    ///
    /// # Errors
    ///
    /// The errors of [`Sqlite::open`], and an error if the URL has another form.
    pub async fn connect(url: &str) -> Result<Sqlite> {
        let options: SqliteConnectOptions =
            url.parse().map_err(|e: sqlx::Error| StoreError::new(Trouble::Refused, e))?;
        Sqlite::with(options.create_if_missing(true), Version::of(&migrations::STEPS), Source::Machine).await
    }

    /// Returns whether the file of a URL `sqlite:FILE` or `sqlite://FILE` exists.
    ///
    /// # Errors
    ///
    /// If the URL has another form.
    pub fn is_there(url: &str) -> Result<bool> {
        let options: SqliteConnectOptions =
            url.parse().map_err(|e: sqlx::Error| StoreError::new(Trouble::Refused, e))?;
        Ok(options.get_filename().exists())
    }

    async fn with(options: SqliteConnectOptions, program: Version, time: Source) -> Result<Sqlite> {
        let options = durable(options);
        // A file that does not use the write-ahead log yet is switched to it under an exclusive lock. SQLite does not
        // wait for that lock.
        let opened = locked::patiently(options.get_filename(), locked::OPENING, || async {
            writer::Writer::open(options.clone(), program.knows, time.clone()).await
        });
        let writer = opened.await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(4)
            .min_connections(0)
            .test_before_acquire(false)
            .connect_lazy_with(options.clone());
        let lanes = Lanes::start(vec![writer]);
        let clock = SharedClock::new(time.answer());
        Ok(Sqlite { options, readers, clock, lanes, program, time, opening: locked::OPENING })
    }

    /// Returns this store with another longest time for which [`Store::migrate`] waits for the locks of the file. With
    /// it, a test need not wait for the default of 30 s.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn waiting_at_most(self, opening: Duration) -> Sqlite {
        Sqlite { opening, ..self }
    }

    /// Returns the options with which the application should open its own connections to this file. With these options,
    /// the application's commits are as durable as the ledger's.
    #[must_use]
    pub fn options(&self) -> SqliteConnectOptions {
        self.options.clone()
    }

    /// Returns the SQL that claims rows of several operations. `operations` is their number. Tests check its query
    /// plan.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn claim_text(operations: usize) -> String {
        statements::claim_text(operations)
    }

    /// Returns the two statements that claim rows while the pace holds classes back. The first one claims all due rows
    /// of one operation except the failing ones of these classes. The second one claims the failing rows of one class.
    /// Tests check how many rows the statements read.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn held_texts() -> [String; 2] {
        [statements::claim_all_but_text(1), statements::CLAIM_FAILING.clone()]
    }

    /// Returns the SQL that lists the actions which match the filter. Tests check its query plan.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn list_text(filter: &Filter) -> &'static str {
        statements::list_text(filter)
    }
}

/// Adds the settings that make the commits of a connection durable.
fn durable(options: SqliteConnectOptions) -> SqliteConnectOptions {
    options
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY)
        .foreign_keys(false)
}

impl Store for Sqlite {
    type Connection = SqliteConnection;

    async fn migrate(&self) -> Result<()> {
        let migrated = locked::patiently(self.file(), self.opening, || async {
            let mut conn = self.options.connect().await.map_err(failed)?;
            migrations::migrate(&mut conn, self.program).await
        });
        migrated.await
    }

    fn knows(&self) -> u32 {
        self.program.knows
    }

    fn clock(&self) -> DbClock {
        self.clock.heard(self.time.answer())
    }

    fn shared_clock(&self) -> &SharedClock {
        &self.clock
    }

    fn own_time(&self) -> Option<OwnTime> {
        self.time.own_time()
    }

    async fn kept_clock(&self) -> Result<Option<KeptClock>> {
        statements::kept_clock(&mut *self.reader().await?).await
    }

    async fn keep_clock(&self, kept: KeptClock) -> Result<()> {
        statements::keep_clock(&mut *self.reader().await?, &kept).await
    }

    async fn print_key(&self) -> Result<[u8; 32]> {
        statements::print_key(&mut *self.reader().await?).await
    }

    fn clock_moved(&self) -> impl Future<Output = ()> + Send {
        self.time.moved()
    }

    async fn ask_time(&self) -> Result<DbClock> {
        Ok(self.clock())
    }

    async fn record(&self, insert: Insert) -> Result<Recorded> {
        ask!(self.lanes, Task::Record(Box::new(insert)), Recorded)
    }

    async fn change(&self, change: Arc<Change<SqliteConnection>>) -> Result<Changed> {
        ask!(self.lanes, Task::Change(change), Changed)
    }

    async fn settle_scope(
        &self,
        _: &str,
        scope: Scope,
        follow: Option<Follow<SqliteConnection>>,
    ) -> Result<std::result::Result<ScopeSettled, NotSettled>> {
        ask!(self.lanes, Task::Scope { scope, follow }, Scope)
    }

    async fn evidence(&self, id: ActionId, attempt: Evidence) -> Result<()> {
        self.lanes.run(Task::Evidence { id, attempt: Box::new(attempt) }).await.map(|_| ())
    }

    async fn claim(
        &self,
        declared: &Declared,
        owner: Owner,
        most: u32,
        lease: Duration,
    ) -> Result<Vec<Action>> {
        let task = Task::Claim { declared: declared.clone(), owner, most, lease };
        ask!(self.lanes, task, Claimed)
    }

    async fn claim_which(
        &self,
        declared: &Declared,
        owner: Owner,
        most: u32,
        lease: Duration,
        which: Which,
    ) -> Result<Vec<Action>> {
        let task = Task::ClaimWhich { declared: declared.clone(), owner, most, lease, which };
        ask!(self.lanes, task, Claimed)
    }

    async fn claim_one(&self, id: ActionId, owner: Owner, lease: Duration) -> Result<Option<Action>> {
        let claimed: Result<Vec<Action>> = ask!(self.lanes, Task::ClaimOne { id, owner, lease }, Claimed);
        Ok(claimed?.into_iter().next())
    }

    async fn due(&self, declared: &[Declared], within: Duration) -> Result<Vec<Due>> {
        let (knows, now) = (self.program.knows, self.stamp());
        statements::due(&mut *self.reader().await?, declared, knows, within, now).await
    }

    async fn declare(&self, owner: Owner, declared: &[Declaration]) -> Result<()> {
        statements::declare(&mut *self.reader().await?, owner, declared, self.stamp()).await
    }

    async fn declared(&self) -> Result<Vec<Declared>> {
        statements::declared_now(&mut *self.reader().await?, self.stamp()).await
    }

    async fn undeclared(&self, declared: &[Declared]) -> Result<Vec<OperationCount>> {
        let text = declared::undeclared(Dialect::Sqlite, &self.now(), None, declared, COUNTED);
        statements::counted(&mut *self.reader().await?, text).await
    }

    async fn open_counts(&self) -> Result<Vec<OperationCount>> {
        statements::counted(&mut *self.reader().await?, declared::open(Dialect::Sqlite, COUNTED)).await
    }

    async fn overdue(
        &self,
        dependency: &str,
        operation: &str,
        before: Stamp,
        most: u32,
    ) -> Result<Vec<ActionId>> {
        let text = declared::overdue(Dialect::Sqlite, dependency, operation, before, self.knows(), most);
        statements::ids(&mut *self.reader().await?, text).await
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
        let text = declared::held(Dialect::Sqlite, &self.now(), declared, owner, within, most);
        statements::ids(&mut *self.reader().await?, text).await
    }

    async fn load(&self, id: ActionId) -> Result<Option<Action>> {
        statements::load(&mut *self.reader().await?, id).await
    }

    async fn find(&self, dependency: &str, key: &str) -> Result<Option<Action>> {
        statements::find(&mut *self.reader().await?, dependency, key).await
    }

    async fn members(&self, scope: &str) -> Result<Vec<Action>> {
        statements::members(&mut *self.reader().await?, scope).await
    }

    async fn story(&self, id: ActionId) -> Result<Option<Story>> {
        let mut reader = self.reader().await?;
        let Some(action) = statements::load(&mut reader, id).await? else { return Ok(None) };
        let attempts = statements::attempts(&mut reader, id).await?;
        let marks = statements::marks(&mut reader, id).await?;
        Ok(Some(Story { action, attempts, marks }))
    }

    async fn versions(&self, ids: &[ActionId]) -> Result<Vec<(ActionId, u64)>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        statements::versions(&mut *self.reader().await?, ids).await
    }

    async fn list(&self, filter: &Filter) -> Result<Vec<Action>> {
        let mut reader = self.reader().await?;
        let mut page = ActionPage::of(filter);
        while let Some(missing) = page.missing() {
            let rows = statements::list(&mut reader, missing).await?;
            page.add(rows);
        }
        Ok(page.into_actions())
    }

    async fn counts(&self, declared: &Declared) -> Result<Counts> {
        statements::counts(&mut *self.reader().await?, declared, COUNTED, self.stamp()).await
    }

    async fn sweep(&self, before: Stamp, after: Option<ActionId>, most: u32) -> Result<Swept> {
        ask!(self.lanes, Task::Sweep { before, after, most }, Swept)
    }

    async fn record_in(&self, conn: &mut SqliteConnection, insert: &Insert) -> Result<Recorded> {
        if statements::insert(conn, &[insert]).await?.contains(&insert.action.id) {
            return Ok(Recorded::New);
        }
        writer::existing(conn, insert).await
    }

    async fn load_in(&self, conn: &mut SqliteConnection, id: ActionId) -> Result<Option<(Action, Stamp)>> {
        Ok(statements::load(conn, id).await?.map(|action| (action, self.time.stamp())))
    }

    async fn change_in(
        &self,
        conn: &mut SqliteConnection,
        id: ActionId,
        write: &Write,
        mark: Option<&Mark>,
    ) -> Result<bool> {
        let taken = !statements::change(conn, &[(id, write)], self.time.stamp()).await?.is_empty();
        if let (true, Some(key)) = (taken, write.names())
            && !statements::name(conn, id, key).await?
        {
            return Err(StoreError::new(Trouble::Refused, "another action is sent under this key"));
        }
        if let (true, Some(mark)) = (taken, mark) {
            statements::mark(conn, id, mark).await?;
        }
        Ok(taken)
    }

    async fn members_in(&self, conn: &mut SqliteConnection, scope: &str) -> Result<Vec<Action>> {
        statements::members(conn, scope).await
    }
}

impl Sqlite {
    /// Returns the time that counts as the database's time.
    pub(crate) fn stamp(&self) -> Stamp {
        self.time.stamp()
    }

    /// Returns [`Sqlite::stamp`] as SQL.
    fn now(&self) -> String {
        self.stamp().as_micros().to_string()
    }

    /// Returns a connection of the readers' pool, which does not contain the writer's connection. It can also write,
    /// as [`Store::keep_clock`] does. Then it may have to wait for the writer, as another program would, since only
    /// one connection at a time can write into the file.
    pub(crate) async fn reader(&self) -> Result<sqlx::pool::PoolConnection<sqlx::Sqlite>> {
        self.readers.acquire().await.map_err(|e| locked::at(self.file(), &failed(e)))
    }

    /// Returns the path of the file.
    pub(crate) fn file(&self) -> &Path {
        self.options.get_filename()
    }
}
