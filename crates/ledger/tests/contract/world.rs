//! What the suite needs of a store: a fresh one, and connections of the application's own.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use seawall_ledger::store::Store;
use seawall_ledger::store::postgres::{Postgres, Settings};
use seawall_ledger::store::sqlite::Sqlite;
use seawall_ledger::{Ledger, Operation, Rules};
use seawall_policy::{Backoff, Idempotency};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection, Row, SqliteConnection};

use crate::provider::Provider;
use crate::scratch::Server;

/// A fresh store with the application's table `orders (id, state)`.
pub(crate) trait World: Send + Sync + Sized {
    type Store: Store;

    fn new() -> impl Future<Output = Self> + Send;

    /// The store; each call opens another one on the same database.
    fn open(&self) -> impl Future<Output = Self::Store> + Send;

    /// A connection of the application's own.
    fn connect(&self) -> impl Future<Output = <Self::Store as Store>::Connection> + Send;

    /// Begins, commits and rolls back the application's transaction; other statements, too.
    fn execute(
        conn: &mut <Self::Store as Store>::Connection,
        sql: &'static str,
    ) -> impl Future<Output = ()> + Send;

    /// One value.
    fn number(
        conn: &mut <Self::Store as Store>::Connection,
        sql: &'static str,
    ) -> impl Future<Output = i64> + Send;

    const BEGIN: &'static str;
}

pub(crate) struct SqliteWorld {
    folder: tempfile::TempDir,
}

impl World for SqliteWorld {
    type Store = Sqlite;
    const BEGIN: &'static str = "BEGIN IMMEDIATE";

    async fn new() -> SqliteWorld {
        let world = SqliteWorld { folder: tempfile::tempdir().unwrap() };
        world.open().await.migrate().await.unwrap();
        let mut conn = world.connect().await;
        Self::execute(&mut conn, "CREATE TABLE orders (id TEXT PRIMARY KEY, state TEXT NOT NULL)").await;
        world
    }

    async fn open(&self) -> Sqlite {
        Sqlite::open(self.folder.path().join("ledger.db")).await.unwrap()
    }

    async fn connect(&self) -> SqliteConnection {
        self.open().await.options().connect().await.unwrap()
    }

    async fn execute(conn: &mut SqliteConnection, sql: &'static str) {
        sqlx::raw_sql(sql).execute(conn).await.unwrap();
    }

    async fn number(conn: &mut SqliteConnection, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(conn).await.unwrap()
    }
}

/// PostgreSQL as it is.
pub(crate) struct PostgresWorld {
    url: String,
    settings: Settings,
}

impl PostgresWorld {
    async fn on(url: String, settings: Settings) -> PostgresWorld {
        let world = PostgresWorld { url, settings };
        world.open().await.migrate().await.unwrap();
        let mut conn = world.connect().await;
        Self::execute(&mut conn, "CREATE TABLE orders (id TEXT PRIMARY KEY, state TEXT NOT NULL)").await;
        world
    }
}

impl World for PostgresWorld {
    type Store = Postgres;
    const BEGIN: &'static str = "BEGIN";

    async fn new() -> PostgresWorld {
        PostgresWorld::on(Server::shared().database(), Settings::default()).await
    }

    async fn open(&self) -> Postgres {
        Postgres::connect(&self.url, self.settings).await.unwrap()
    }

    async fn connect(&self) -> PgConnection {
        let options: PgConnectOptions = self.url.parse().unwrap();
        options.extra_float_digits(None).connect().await.unwrap()
    }

    async fn execute(conn: &mut PgConnection, sql: &'static str) {
        sqlx::raw_sql(sql).execute(conn).await.unwrap();
    }

    async fn number(conn: &mut PgConnection, sql: &'static str) -> i64 {
        sqlx::raw_sql(sql)
            .fetch_one(conn)
            .await
            .unwrap()
            .try_get_unchecked::<String, _>(0)
            .unwrap()
            .parse()
            .unwrap()
    }
}

/// Rules with times that a test can wait for.
pub(crate) fn quick(idempotency: Idempotency) -> Rules {
    Rules {
        quiet: Duration::from_millis(300),
        attempt: Duration::from_secs(3),
        lease: Duration::from_secs(4),
        network: Duration::from_millis(50),
        pause: Duration::from_millis(50),
        backoff: Backoff { base: Duration::from_millis(20), cap: Duration::from_millis(200) },
        ..Rules::of(idempotency)
    }
}

/// A ledger on a store, with one operation `pay charge`.
pub(crate) fn ledger<S: Store>(store: S, rules: Rules, provider: &Provider) -> Ledger<S> {
    let remote = Arc::new(provider.clone());
    Ledger::builder(store).operation(Operation::new("pay", "charge", rules, remote)).build().unwrap()
}
