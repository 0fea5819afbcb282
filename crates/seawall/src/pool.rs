//! The type [`GuardedPool`]: a pool of sqlx that knows which tasks hold its connections.
//!
//! [`GuardedPool`] is used like `sqlx::Pool`. Queries run on `&*pool`. `acquire` returns a connection and `begin` a
//! transaction, and both are used as `&mut *connection`. [`crate::held`] describes what happens when a task with such a
//! connection makes an external call.
//!
//! `GuardedPool` does not implement `Executor`, because that trait has one more method if any crate of the build turns
//! on sqlx's macros, and this crate cannot know whether one does. Use `&*pool` instead, which is sqlx's own pool. A
//! query that runs on sqlx's pool holds its connection only while the query is awaited.

use std::fmt;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::panic::Location;

use sqlx::pool::PoolConnection;
use sqlx::{Database, Error, Pool, SqlSafeStr, SqlStr, Transaction};

use crate::held::{Hold, OnHeld};

/// A pool whose connections are guarded, as [`crate::held`] describes.
///
/// ```
/// # async fn shown() -> Result<(), sqlx::Error> {
/// # #[cfg(feature = "ledger-sqlite")] {
/// use seawall::{GuardedPool, OnHeld};
///
/// let pool = sqlx::SqlitePool::connect("sqlite::memory:").await?;
/// let pool = GuardedPool::new(pool).on_held(OnHeld::Deny);
///
/// let mut tx = pool.begin().await?;
/// sqlx::query("CREATE TABLE orders (id INTEGER PRIMARY KEY)").execute(&mut *tx).await?;
/// // An external call here would be refused before a byte is sent.
/// tx.commit().await?;
/// # }
/// # Ok(())
/// # }
/// ```
pub struct GuardedPool<DB: Database> {
    pool: Pool<DB>,
    on: OnHeld,
}

impl<DB: Database> Clone for GuardedPool<DB> {
    fn clone(&self) -> Self {
        GuardedPool { pool: self.pool.clone(), on: self.on }
    }
}

impl<DB: Database> fmt::Debug for GuardedPool<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedPool").field("pool", &self.pool).field("on", &self.on).finish()
    }
}

impl<DB: Database> GuardedPool<DB> {
    /// Guards a pool. A call that is made while a connection is held gives a warning ([`OnHeld::Warn`]), until
    /// [`GuardedPool::on_held`] sets something else.
    #[must_use]
    pub fn new(pool: Pool<DB>) -> GuardedPool<DB> {
        GuardedPool { pool, on: OnHeld::default() }
    }

    /// Sets what happens when a task that holds a connection of this pool starts an external call.
    #[must_use]
    pub fn on_held(self, on: OnHeld) -> GuardedPool<DB> {
        GuardedPool { on, ..self }
    }

    /// Takes a connection, as [`Pool::acquire`] does. The task that awaits the returned future is the holder until the
    /// connection is dropped.
    ///
    /// # Errors
    /// The errors of the pool, unchanged.
    #[track_caller]
    pub fn acquire(&self) -> impl Future<Output = Result<GuardedConnection<DB>, Error>> + Send + 'static {
        let (place, on, acquired) = (Location::caller(), self.on, self.pool.acquire());
        async move {
            let connection = acquired.await?;
            Ok(GuardedConnection { hold: Hold::take(on, place), connection })
        }
    }

    /// Takes a connection if one is idle, as [`Pool::try_acquire`] does; `None` if no connection is idle.
    #[track_caller]
    #[must_use]
    pub fn try_acquire(&self) -> Option<GuardedConnection<DB>> {
        let connection = self.pool.try_acquire()?;
        Some(GuardedConnection { hold: Hold::take(self.on, Location::caller()), connection })
    }

    /// Begins a transaction if a connection is idle, as [`Pool::try_begin`] does; `None` if no connection is idle.
    ///
    /// # Errors
    /// The errors of the database, unchanged.
    #[track_caller]
    pub fn try_begin(&self) -> impl Future<Output = Result<Option<GuardedTransaction<DB>>, Error>> + Send {
        let taken = self.try_acquire();
        async move {
            let Some(GuardedConnection { connection, hold }) = taken else { return Ok(None) };
            let transaction = Transaction::begin(connection, None).await?;
            Ok(Some(GuardedTransaction { transaction, hold }))
        }
    }

    /// Takes a connection and begins a transaction on it, as [`Pool::begin`] does.
    ///
    /// # Errors
    /// The errors of the pool and of the database, unchanged.
    #[track_caller]
    pub fn begin(&self) -> impl Future<Output = Result<GuardedTransaction<DB>, Error>> + Send {
        self.transaction(Location::caller(), None)
    }

    /// Takes a connection and begins a transaction with this statement, as [`Pool::begin_with`] does. On SQLite, pass
    /// `BEGIN IMMEDIATE` if the transaction reads before it writes: after a plain `BEGIN`, its first write can fail
    /// because another connection has written since the read.
    ///
    /// # Errors
    /// The errors of the pool and of the database, unchanged.
    #[track_caller]
    pub fn begin_with(
        &self,
        statement: impl SqlSafeStr,
    ) -> impl Future<Output = Result<GuardedTransaction<DB>, Error>> + Send {
        self.transaction(Location::caller(), Some(statement.into_sql_str()))
    }

    fn transaction(
        &self,
        place: &'static Location<'static>,
        statement: Option<SqlStr>,
    ) -> impl Future<Output = Result<GuardedTransaction<DB>, Error>> + Send {
        let (on, acquired) = (self.on, self.pool.acquire());
        async move {
            let connection = acquired.await?;
            let hold = Hold::take(on, place);
            let transaction = Transaction::begin(connection, statement).await?;
            Ok(GuardedTransaction { transaction, hold })
        }
    }
}

impl<DB: Database> Deref for GuardedPool<DB> {
    type Target = Pool<DB>;

    fn deref(&self) -> &Pool<DB> {
        &self.pool
    }
}

/// A connection of a [`GuardedPool`], used as `&mut *connection`. Dropping it gives the connection back to the pool.
pub struct GuardedConnection<DB: Database> {
    // The connection is dropped before `hold`. In the other order, there would be a moment at which the connection is
    // not yet back in the pool, and no task counts as its holder.
    connection: PoolConnection<DB>,
    hold: Hold,
}

impl<DB: Database> fmt::Debug for GuardedConnection<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedConnection").finish_non_exhaustive()
    }
}

impl<DB: Database> Deref for GuardedConnection<DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        &self.connection
    }
}

impl<DB: Database> DerefMut for GuardedConnection<DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        &mut self.connection
    }
}

impl<DB: Database> AsMut<PoolConnection<DB>> for GuardedConnection<DB> {
    fn as_mut(&mut self) -> &mut PoolConnection<DB> {
        &mut self.connection
    }
}

/// A transaction of a [`GuardedPool`], used as `&mut *transaction`. Dropping it without a commit rolls it back.
///
/// For a function that takes `&mut sqlx::Transaction`, pass `transaction.as_mut()`.
pub struct GuardedTransaction<DB: Database> {
    transaction: Transaction<'static, DB>,
    hold: Hold,
}

impl<DB: Database> fmt::Debug for GuardedTransaction<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedTransaction").finish_non_exhaustive()
    }
}

impl<DB: Database> GuardedTransaction<DB> {
    /// Commits the transaction. The connection is given back to the pool, even if the commit fails.
    ///
    /// # Errors
    /// The errors of the database, unchanged.
    pub async fn commit(self) -> Result<(), Error> {
        let GuardedTransaction { transaction, hold } = self;
        let committed = transaction.commit().await;
        drop(hold);
        committed
    }

    /// Rolls the transaction back. The connection is given back to the pool, even if the rollback fails.
    ///
    /// # Errors
    /// The errors of the database, unchanged.
    pub async fn rollback(self) -> Result<(), Error> {
        let GuardedTransaction { transaction, hold } = self;
        let rolled_back = transaction.rollback().await;
        drop(hold);
        rolled_back
    }
}

impl<DB: Database> Deref for GuardedTransaction<DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        &self.transaction
    }
}

impl<DB: Database> DerefMut for GuardedTransaction<DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        &mut self.transaction
    }
}

impl<DB: Database> AsMut<Transaction<'static, DB>> for GuardedTransaction<DB> {
    fn as_mut(&mut self) -> &mut Transaction<'static, DB> {
        &mut self.transaction
    }
}
