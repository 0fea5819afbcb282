//! Databases for tests: an SQLite file in a temporary folder, and a database on a PostgreSQL server that the tests
//! start.

#![allow(dead_code, reason = "each test file uses some of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

#[allow(dead_code, unreachable_pub, reason = "shared with the ledger's tests, which use all of it")]
#[path = "../../../ledger/tests/support/scratch.rs"]
mod scratch;

use std::time::Duration;

use sqlx::pool::PoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{PgPool, SqlitePool};

use scratch::Server;

const ORDERS: &str =
    "CREATE TABLE orders (id BIGINT NOT NULL PRIMARY KEY, state TEXT NOT NULL DEFAULT 'new')";

/// An SQLite file, which is deleted when this is dropped.
pub(crate) struct File(tempfile::TempDir);

impl File {
    pub(crate) fn new() -> File {
        File(tempfile::Builder::new().prefix("seawall-test-").tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> std::path::PathBuf {
        self.0.path().join("test.db")
    }

    /// A pool on it, with a table of orders.
    pub(crate) async fn pool(&self, connections: u32) -> SqlitePool {
        let options = SqliteConnectOptions::new()
            .filename(self.path())
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .busy_timeout(Duration::from_secs(60));
        let pool = PoolOptions::new().max_connections(connections);
        let pool = pool.acquire_timeout(Duration::from_secs(90)).connect_with(options).await.unwrap();
        sqlx::raw_sql(ORDERS).execute(&pool).await.unwrap();
        pool
    }
}

/// The URL of a new database on the shared server.
pub(crate) fn postgres() -> String {
    Server::shared().database()
}

/// A pool for such a database, which gets a table of orders.
pub(crate) async fn postgres_pool(url: &str, connections: u32) -> PgPool {
    let pool = PoolOptions::new().max_connections(connections);
    let pool = pool.acquire_timeout(Duration::from_secs(90)).connect(url).await.unwrap();
    sqlx::raw_sql(ORDERS).execute(&pool).await.unwrap();
    pool
}
