//! How long the database may take to answer, and what happens to a connection on which it does not answer.
//!
//! A database can go silent. For example, a server fails over and its old address answers nothing, not even with a
//! reset, or a pooler hangs. The kernel then keeps the connection for a quarter of an hour or longer. So the program
//! has a deadline of its own, [`Settings::answer_within`](super::Settings::answer_within). Every operation of the store
//! ends within it, and this includes the wait for a connection.
//!
//! - A connection whose deadline has passed is closed. Nothing more is sent on it. A ROLLBACK would get no answer
//!   either, and a cancel request would go to an address that may belong to another server by now.
//! - What was sent may still take effect, above all a COMMIT. The caller gets [`Trouble::Away`], which means that
//!   nobody knows whether the write was made. Then the caller writes the same change again. The version of the row
//!   shows whether the first write was made.
//! - BEGIN changes nothing, so it is tried again on another connection. BEGIN has half of the time that is left, and
//!   the other half is for a new connection.
//! - When one connection is lost or silent, the idle connections of the pool are closed as well. They go to the same
//!   server. Otherwise each of them would cost the next caller an error or the same wait.
//! - A connection whose transaction failed is asked whether its server still takes writes, and closed if not. If the
//!   URL names only a proxy or a changing DNS name, the pool may hold connections to the old primary after a fail-over.
//!   The old primary may be a standby by now, and would refuse the writes of all later transactions.
//! - A connection is given back to the pool by a task that has the same deadline. sqlx first asks the server for a sign
//!   of life, without a limit. On a silent connection, this would occupy a connection of the pool for as long as the
//!   kernel keeps it.
//!
//! The server has limits, too. Each transaction of the ledger's own sets them when it begins ([`Begins`]). Otherwise a
//! transaction of a program that has vanished would hold its rows until the server's kernel notices.

use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnection, PgPool, PgRow};
use sqlx::{AssertSqlSafe, Database, Postgres as Db, SqlSafeStr, SqlStr};
use sqlx_core::transaction::TransactionManager;
use tokio::time::{timeout, timeout_at};

use crate::error::{StoreError, Trouble};
use crate::store::Result;

use super::commit::Doubts;
use super::hosts::{Hosts, REFUSES_NOW, Turn, address, close_idle};
use super::statements::failed;

type Manager = <Db as Database>::TransactionManager;

/// The maximum number of times that BEGIN is sent, or that an operation which only reads is run. Each time another
/// connection is used.
const TRIES: u32 = 4;

/// By how much the server's limits are longer than the program's deadline, so that the program is the first to give up.
const MORE: Duration = Duration::from_secs(1);

/// How much later a whole operation ends than its wait for a connection. If both ended at the same time, either timer
/// could fire first. Then a caller that got no connection would sometimes be told that the database is silent.
const AFTER_THE_WAIT: Duration = Duration::from_millis(20);

/// Begins a transaction with the writes of a batch, or with a claim. The transaction waits at most 100 ms for a row
/// that another transaction holds.
///
/// Scans of whole tables are off. A batch sends its rows as arrays. The planner knows neither the length of an array
/// nor the size of a new or fast-growing table. So it would scan the whole table to join it with the array, and keep
/// that plan while the table grows.
pub(super) const BATCH: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = '100ms'; \
     SET LOCAL enable_seqscan = off";

/// Begins a transaction that lists actions. Scans of whole tables are off, as in [`BATCH`]. Just-in-time compilation is
/// off, too. The planner thinks that a list is expensive, since it does not know the number of dependencies. Compiling
/// the statement would then take longer than executing it.
pub(super) const LIST: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; SET LOCAL enable_seqscan = off; \
     SET LOCAL jit = off";

/// How a transaction begins.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Begin {
    /// The transaction only reads.
    Read,
    /// The transaction lists actions ([`LIST`]).
    List,
    /// The transaction has the writes of a batch, or a claim ([`BATCH`]).
    Batch,
    /// The transaction has a single change. It waits for a locked row for four fifths of the deadline only. So a locked
    /// row and a database that does not answer give different errors.
    Alone,
    /// The transaction runs a handler of the application. It has the database's default isolation level, and waits for
    /// a locked row as `Alone` does. The server does not limit the time of the handler's statements.
    Handler,
    /// The transaction creates or updates the tables, which may take long.
    Migrate,
}

/// The statements that begin transactions. Each also sets the server's limits for this transaction, in the same round
/// trip: `statement_timeout` (except for handlers and migrations), `idle_in_transaction_session_timeout`, and
/// `tcp_user_timeout` if the server can set it for this connection. The last one ends a transaction if the client's
/// machine no longer confirms what the server sends.
#[derive(Debug)]
struct Begins {
    read: SqlStr,
    list: SqlStr,
    batch: SqlStr,
    /// Commits a batch, and begins the next one.
    next: SqlStr,
    alone: SqlStr,
    handler: SqlStr,
    migrate: SqlStr,
}

impl Begins {
    fn new(within: Duration, handler: Duration, tcp: bool) -> Begins {
        let millis = |span: Duration| span.as_millis().min(i32::MAX as u128);
        let committed = "BEGIN ISOLATION LEVEL READ COMMITTED";
        let lock = format!("SET LOCAL lock_timeout = {}", millis(within.mul_f64(0.8)));
        let statement = format!("SET LOCAL statement_timeout = {}", millis(within + MORE));
        let idle = |span: Duration| {
            let sent =
                if tcp { format!("; SET LOCAL tcp_user_timeout = {}", millis(span)) } else { String::new() };
            format!("SET LOCAL idle_in_transaction_session_timeout = {}{sent}", millis(span))
        };
        let ours = format!("{statement}; {}", idle(within + MORE));
        let text = |text: String| AssertSqlSafe(Arc::<str>::from(text)).into_sql_str();
        Begins {
            read: text(format!("{committed} READ ONLY; {ours}")),
            list: text(format!("{LIST}; {ours}")),
            batch: text(format!("{BATCH}; {ours}")),
            next: text(format!("COMMIT; {BATCH}; {ours}")),
            alone: text(format!("{committed}; {lock}; {ours}")),
            handler: text(format!("BEGIN; {lock}; {}", idle(within + handler + MORE))),
            migrate: text(format!("{committed}; {}", idle(within + MORE))),
        }
    }

    fn of(&self, begin: Begin) -> SqlStr {
        match begin {
            Begin::Read => &self.read,
            Begin::List => &self.list,
            Begin::Batch => &self.batch,
            Begin::Alone => &self.alone,
            Begin::Handler => &self.handler,
            Begin::Migrate => &self.migrate,
        }
        .clone()
    }
}

/// The pool, and the deadline for everything that uses its connections.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pool: PgPool,
    /// The servers among which the pool's server is chosen; `None` if the pool is the application's.
    hosts: Option<Arc<Hosts>>,
    within: Duration,
    begins: Arc<Begins>,
    doubts: Arc<Doubts>,
    /// Whether the database was silent or could not be reached at its last use.
    is_away: Arc<AtomicBool>,
}

impl Link {
    /// Makes a link to the database of a pool. `hosts` are the servers among which the pool's server is chosen.
    /// `within` is the time that the database has for an answer, and `handler` is the time that a handler of the
    /// application may take.
    ///
    /// # Errors
    ///
    /// The error of the database if it cannot be reached or does not answer.
    pub(super) async fn new(
        pool: PgPool,
        hosts: Option<Arc<Hosts>>,
        within: Duration,
        handler: Duration,
    ) -> Result<Link> {
        let plain = |tcp| Arc::new(Begins::new(within, handler, tcp));
        let link = Link {
            pool,
            hosts,
            within,
            begins: plain(false),
            doubts: Arc::default(),
            is_away: Arc::default(),
        };
        let tcp = link.reads(|until| link.can_limit_tcp(until)).await?;
        Ok(Link { begins: plain(tcp), ..link })
    }

    /// Returns whether the server can set `tcp_user_timeout` for this connection. It cannot do so on a Unix socket and
    /// on some systems. There, it would write a line into its log each time that it is asked to.
    async fn can_limit_tcp(&self, until: Instant) -> Result<bool> {
        let mut tx = self.begin(Begin::Read, until).await?;
        let set = "SET LOCAL tcp_user_timeout = 1000; SELECT current_setting('tcp_user_timeout') <> '0'";
        let row = sqlx::raw_sql(set).fetch_one(&mut *tx).await.map_err(failed)?;
        tx.commit().await?;
        sqlx::Row::try_get(&row, 0).map_err(failed)
    }

    /// Returns the deadline of an operation that begins now.
    pub(crate) fn until(&self) -> Instant {
        Instant::now() + self.within
    }

    /// Returns the time that the database has for an answer.
    pub(super) fn within(&self) -> Duration {
        self.within
    }

    /// Runs an operation until its deadline, and returns its result. If it has not ended by then, it is dropped, which
    /// closes its connection, and the error is [`Trouble::Away`]. What was sent may then take effect or not.
    pub(crate) fn bounded<T>(
        &self,
        until: Instant,
        operation: impl Future<Output = Result<T>> + Send,
    ) -> impl Future<Output = Result<T>> + Send {
        // The operation is boxed. Otherwise the future of each caller of the store would have to hold the operation's
        // whole state.
        let bounded = timeout_at((until + AFTER_THE_WAIT).into(), Box::pin(operation));
        async move {
            let ended = bounded.await.unwrap_or_else(|_| Err(self.silent()));
            if ended.as_ref().is_err_and(|e| e.trouble() == Trouble::Away) {
                self.lost();
            }
            ended
        }
    }

    /// Runs an operation that only reads, and returns its result. `reading` gets the operation's deadline. If the
    /// connection is lost, the operation is run again on another one, at most [`TRIES`] times in all.
    pub(crate) async fn reads<T, F>(&self, reading: impl Fn(Instant) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send,
    {
        let until = self.until();
        let mut tries = 1;
        loop {
            match self.bounded(until, reading(until)).await {
                Err(e) if e.trouble() == Trouble::Away && tries < TRIES && Instant::now() < until => {
                    self.close_idle();
                    tries += 1;
                }
                ended => return ended,
            }
        }
    }

    /// Begins a transaction, and returns it.
    ///
    /// # Errors
    ///
    /// [`Trouble::Away`] if the database does not answer before the deadline, or if it cannot be reached.
    /// [`Trouble::Busy`] if all connections of the pool are in use until the deadline.
    pub(crate) async fn begin(&self, begin: Begin, until: Instant) -> Result<Tx> {
        self.begin_on(None, begin, until).await
    }

    /// Begins a transaction on the connection `kept`, if there is one and it still answers. Otherwise begins it on a
    /// connection of the pool. The errors are those of [`Link::begin`].
    pub(super) async fn begin_on(&self, mut kept: Option<Kept>, begin: Begin, until: Instant) -> Result<Tx> {
        self.make_sure(until).await?;
        let mut tries = 1;
        loop {
            let kept = match kept.take().and_then(Kept::unless_over) {
                Some(kept) => kept,
                None => self.acquire(until).await?,
            };
            let half = until.saturating_duration_since(Instant::now()) / 2;
            let mut tx = self.tx(kept, until);
            tx.writes = !matches!(begin, Begin::Read | Begin::List);
            let error = match timeout(half, Manager::begin(&mut tx, Some(self.begins.of(begin)))).await {
                Ok(Ok(())) => {
                    tx.begun = true;
                    self.is_away.store(false, Ordering::Relaxed);
                    return Ok(tx);
                }
                Ok(Err(e)) => failed(e),
                Err(_) => self.silent(),
            };
            tx.close();
            self.close_idle();
            if error.trouble() != Trouble::Away {
                return Err(error);
            }
            self.is_away.store(true, Ordering::Relaxed);
            self.lost();
            if tries == TRIES {
                return Err(error);
            }
            tries += 1;
        }
    }

    /// Executes a statement that only reads, without parameters and outside of a transaction: one message and one
    /// round trip. Returns its rows, and the moment before it was sent. The server gets only half of the time that is
    /// left. If it does not answer, the other half is left to try again on another connection.
    pub(super) async fn plain(&self, text: String) -> Result<(Vec<PgRow>, Instant)> {
        let text = AssertSqlSafe(Arc::<str>::from(text)).into_sql_str();
        let reading = |until| {
            let text = text.clone();
            async move {
                self.make_sure(until).await?;
                let mut single = self.tx(self.acquire(until).await?, until);
                single.begun = true;
                let asked = Instant::now();
                let half = until.saturating_duration_since(asked) / 2;
                match timeout(half, sqlx::raw_sql(text).fetch_all(&mut *single)).await {
                    Ok(rows) => {
                        let rows = rows.map_err(failed)?;
                        single.end();
                        Ok((rows, asked))
                    }
                    Err(_) => {
                        single.close();
                        Err(self.silent())
                    }
                }
            }
        };
        self.reads(reading).await
    }

    fn tx(&self, Kept { conn, turn }: Kept, until: Instant) -> Tx {
        let doubts = Arc::clone(&self.doubts);
        Tx { conn: Some(conn), turn, doubts, writes: false, begun: false, until, within: self.within }
    }

    /// If it is in doubt whether an earlier commit has reached the standby (`commit`), waits until all earlier commits
    /// have. One caller at a time does this, on a connection that is not in a transaction. The other callers wait for
    /// that caller, without a connection.
    async fn make_sure(&self, until: Instant) -> Result<()> {
        if self.doubts.are_settled() {
            return Ok(());
        }
        let making_sure = async {
            let _one = self.doubts.one_at_a_time().await;
            let mut tries = 1;
            while !self.doubts.are_settled() {
                let mut single = self.tx(self.acquire(until).await?, until);
                let half = until.saturating_duration_since(Instant::now()) / 2;
                let error = match timeout(half, self.doubts.settle(&mut single)).await {
                    Ok(Ok(())) => {
                        single.end();
                        return Ok(());
                    }
                    Ok(Err(e)) => e,
                    Err(_) => self.silent(),
                };
                single.close();
                if error.trouble() != Trouble::Away || tries == TRIES {
                    return Err(error);
                }
                self.close_idle();
                self.lost();
                tries += 1;
            }
            Ok(())
        };
        timeout_at(until.into(), Box::pin(making_sure)).await.unwrap_or_else(|_| Err(self.no("answer")))
    }

    /// Takes a connection from the pool. If the URL names several servers, waits until one is chosen. If the pool
    /// cannot connect to the chosen one, the server that takes writes is searched for again.
    async fn acquire(&self, until: Instant) -> Result<Kept> {
        let mut tries = 1;
        loop {
            let turn = match &self.hosts {
                Some(hosts) => hosts.found(until).await?,
                None => Turn::default(),
            };
            // The pool does not say that it cannot connect: it tries again until its time is over. So it gets only half
            // of the time, and the other half is left to try another server.
            let searches = self.hosts.is_some() && tries < TRIES && !self.all_in_use();
            let end = if searches { until.min(Instant::now() + self.within / 2) } else { until };
            let error = match timeout_at(end.into(), self.pool.acquire()).await {
                Ok(Ok(conn)) => return Ok(Kept { conn, turn }),
                Ok(Err(sqlx::Error::PoolTimedOut)) | Err(_) => self.none_free(),
                Ok(Err(e)) => failed(e),
            };
            if !searches || error.trouble() != Trouble::Away || Instant::now() >= until {
                return Err(error);
            }
            self.lost();
            tries += 1;
        }
    }

    fn all_in_use(&self) -> bool {
        self.pool.size() >= self.pool.options().get_max_connections() && self.pool.num_idle() == 0
    }

    /// Returns the error for a caller that got no connection. The pool does not say why there is none. The error is
    /// [`Trouble::Busy`] if the database could be reached at its last use and all connections that the pool may have
    /// are in use. Otherwise it is [`Trouble::Away`].
    fn none_free(&self) -> StoreError {
        if !self.all_in_use() || self.is_away.load(Ordering::Relaxed) {
            return self.no("connection");
        }
        let most = self.pool.options().get_max_connections();
        let said = format!("all {most} connections of the pool are in use, and none became free in time");
        StoreError::new(Trouble::Busy, said)
    }

    pub(super) fn close_idle(&self) {
        close_idle(&self.pool);
    }

    /// Notes that the server was lost. If the URL names several, the one that takes writes is searched for again.
    fn lost(&self) {
        if let Some(hosts) = &self.hosts {
            hosts.lost(&self.pool);
        }
    }

    /// Returns the error for a database that has not answered.
    pub(super) fn silent(&self) -> StoreError {
        self.is_away.store(true, Ordering::Relaxed);
        self.no("answer")
    }

    fn no(&self, what: &str) -> StoreError {
        let at = address(&self.pool.connect_options());
        StoreError::new(Trouble::Away, format!("{at}: no {what} within {:?}", self.within))
    }
}

/// A connection of the pool, and its turn: the time in which the connection's server is the one that is used.
#[derive(Debug)]
pub(super) struct Kept {
    conn: PoolConnection<Db>,
    turn: Turn,
}

impl Kept {
    pub(super) fn close(self) {
        drop(self.conn.detach());
    }

    /// Returns the connection, unless another server is used by now. Then the connection is closed.
    fn unless_over(self) -> Option<Kept> {
        if self.turn.is_over() {
            self.close();
            return None;
        }
        Some(self)
    }
}

/// A transaction of the ledger's own. If it is dropped before it has ended, it is rolled back. If its deadline has
/// already passed, its connection is closed instead.
#[derive(Debug)]
pub(crate) struct Tx {
    /// The connection; `None` after the transaction has ended.
    conn: Option<PoolConnection<Db>>,
    turn: Turn,
    doubts: Arc<Doubts>,
    /// Whether its COMMIT may leave a doubt: it may stay unknown whether the standby has it.
    writes: bool,
    /// Whether the server has answered BEGIN.
    begun: bool,
    until: Instant,
    within: Duration,
}

impl Tx {
    pub(crate) async fn commit(mut self) -> Result<()> {
        self.commit_only().await?;
        self.end();
        Ok(())
    }

    pub(crate) async fn rollback(mut self) -> Result<()> {
        Manager::rollback(&mut self).await.map_err(failed)?;
        self.end();
        Ok(())
    }

    /// Commits a batch and begins the next transaction of this kind, in one message. Both have happened when this
    /// function returns without an error.
    pub(super) async fn commit_and_begin(&mut self, link: &Link) -> Result<()> {
        let doubts = self.doubts.clone();
        let next = sqlx::raw_sql(link.begins.next.clone());
        doubts.commit(async { next.execute(&mut **self).await.map(drop) }).await
    }

    /// Returns whether this transaction, which was begun ahead, may still be used. It may if no other server was chosen
    /// since, and if no commit has left a doubt (`commit`).
    pub(super) fn is_usable(&self) -> bool {
        !self.turn.is_over() && self.doubts.are_settled()
    }

    /// Commits, and returns the connection, so that the next transaction can use it. The result is `None` only if the
    /// transaction has ended before.
    pub(super) async fn commit_and_keep(mut self) -> Result<Option<Kept>> {
        self.commit_only().await?;
        Ok(self.keep())
    }

    async fn commit_only(&mut self) -> Result<()> {
        if !self.writes {
            return Manager::commit(self).await.map_err(failed);
        }
        self.doubts.clone().commit(Manager::commit(self)).await
    }

    /// Rolls back, and returns the connection, so that the next transaction can use it. The result is `None` only if
    /// the transaction has ended before.
    pub(super) async fn rollback_and_keep(mut self) -> Result<Option<Kept>> {
        Manager::rollback(&mut self).await.map_err(failed)?;
        Ok(self.keep())
    }

    fn keep(&mut self) -> Option<Kept> {
        self.conn.take().map(|conn| Kept { conn, turn: self.turn.clone() })
    }

    /// Checks that the server has not given the transaction up. The server does so when a statement fails. If the
    /// application ignored that error, COMMIT would roll back, and report no error.
    ///
    /// # Errors
    ///
    /// [`Trouble::Refused`] if the transaction was given up; [`Trouble::Away`] if the server does not answer.
    pub(super) async fn check(&mut self) -> Result<()> {
        sqlx::raw_sql("SELECT 1").execute(&mut **self).await.map(drop).map_err(failed)
    }

    /// Sets a new deadline, for the next part of the transaction.
    pub(super) fn has_until(&mut self, until: Instant) {
        self.until = until;
    }

    fn end(&mut self) {
        let Some(kept) = self.keep().and_then(Kept::unless_over) else { return };
        let within = self.within;
        in_background(kept.conn, move |mut conn| async move {
            // If this future is dropped, the connection is closed and its place in the pool is free.
            let _ = timeout(within, conn.return_to_pool()).await;
        });
    }

    pub(super) fn close(&mut self) {
        if let Some(conn) = self.conn.take() {
            drop(conn.detach());
        }
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        let Some(mut conn) = self.conn.take() else { return };
        if Instant::now() >= self.until || self.turn.is_over() {
            drop(conn.detach());
            return;
        }
        // This only queues the ROLLBACK. It is sent with the next statement.
        while Manager::get_transaction_depth(&conn) > 0 {
            Manager::start_rollback(&mut conn);
        }
        // If the server has not answered BEGIN, the transaction may still begin.
        let rollback = if self.begun { "" } else { "ROLLBACK; " };
        let (asking, within) = (format!("{rollback}{REFUSES_NOW}"), self.within);
        in_background(conn, move |mut conn| async move {
            let asked = sqlx::raw_sql(AssertSqlSafe(asking)).fetch_one(&mut *conn);
            let refuses = match timeout(within, asked).await {
                Ok(Ok(row)) => sqlx::Row::try_get(&row, 0).unwrap_or(true),
                Ok(Err(_)) | Err(_) => true,
            };
            if refuses {
                drop(conn.detach());
            } else {
                let _ = timeout(within, conn.return_to_pool()).await;
            }
        });
    }
}

/// Gives a connection back to its pool, or closes it, in a task of its own.
fn in_background<F: Future<Output = ()> + Send + 'static>(
    conn: PoolConnection<Db>,
    ending: impl FnOnce(PoolConnection<Db>) -> F,
) {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else {
        // The runtime has ended, so the pool is not used any more either.
        drop(conn.detach());
        return;
    };
    runtime.spawn(ending(conn));
}

impl Deref for Tx {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        self.conn.as_ref().expect("a transaction has its connection until it ends")
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.conn.as_mut().expect("a transaction has its connection until it ends")
    }
}
