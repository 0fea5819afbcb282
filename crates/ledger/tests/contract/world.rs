//! What the suite needs from a store: a new one for each test, and connections of the application's own.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use seawall_ledger::store::postgres::{Postgres, Settings};
use seawall_ledger::store::sqlite::Sqlite;
use seawall_ledger::store::{Boxed, Store};
use seawall_ledger::{Declaration, Ledger, Lifetime, Operation, Owner, Rules, SqlTerms};
use seawall_policy::{Backoff, Idempotency};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection, Row, SqliteConnection};

use crate::pooler::Pooler;
use crate::provider::Provider;
use crate::scratch::Server;

/// A database without the ledger's tables, which programs of two versions can use.
pub(crate) trait TwoVersions: World {
    fn without_tables() -> impl Future<Output = Self> + Send;

    /// Opens the store as a program does that is one version ahead.
    fn open_ahead(&self) -> impl Future<Output = Self::Store> + Send;

    /// Executes the statements of a dump, which is a file of the folder `fixtures`.
    fn load_dump(&self) -> impl Future<Output = ()> + Send;
}

/// A new store with the application's table `orders (id, state)`.
pub(crate) trait World: Send + Sync + Sized {
    type Store: Store;

    /// Opens the store. Each call opens another one on the same database.
    fn open(&self) -> impl Future<Output = Self::Store> + Send;

    /// Opens a connection of the application's own.
    fn connect(&self) -> impl Future<Output = <Self::Store as Store>::Connection> + Send;

    /// Runs a statement, such as the begin, the commit or the rollback of the application's transaction.
    fn execute(conn: &mut <Self::Store as Store>::Connection, sql: &str) -> impl Future<Output = ()> + Send;

    /// Reads one value.
    fn number(conn: &mut <Self::Store as Store>::Connection, sql: &str) -> impl Future<Output = i64> + Send;

    /// Writes `state` into an order, in the transaction of the connection. There is at most one order with an id.
    fn write_order<'a>(
        conn: &'a mut <Self::Store as Store>::Connection,
        id: &'a str,
        state: &'a str,
    ) -> Boxed<'a, Result<(), Box<dyn std::error::Error + Send + Sync>>>;

    /// The statement with which the application begins its transactions.
    const BEGIN: &'static str;
    /// The name of the table of actions.
    const ACTIONS: &'static str;

    /// SQL for the microseconds of a time in a column; -1 if the column is empty.
    fn micros(column: &str) -> String {
        format!("coalesce((extract(epoch FROM {column}) * 1000000)::bigint, -1)::text")
    }
}

pub(crate) struct SqliteWorld {
    folder: tempfile::TempDir,
}

impl SqliteWorld {
    pub(crate) async fn new() -> SqliteWorld {
        let world = SqliteWorld { folder: tempfile::tempdir().unwrap() };
        world.open().await.migrate().await.unwrap();
        let mut conn = world.connect().await;
        Self::execute(&mut conn, "CREATE TABLE orders (id TEXT PRIMARY KEY, state TEXT NOT NULL)").await;
        world
    }

    fn file(&self) -> std::path::PathBuf {
        self.folder.path().join("ledger.db")
    }

    /// The size of the write-ahead log.
    pub(crate) fn log_bytes(&self) -> u64 {
        std::fs::metadata(self.folder.path().join("ledger.db-wal")).map_or(0, |file| file.len())
    }
}

impl TwoVersions for SqliteWorld {
    async fn without_tables() -> SqliteWorld {
        SqliteWorld { folder: tempfile::tempdir().unwrap() }
    }

    async fn open_ahead(&self) -> Sqlite {
        Sqlite::open_one_ahead(self.file()).await.unwrap()
    }

    async fn load_dump(&self) {
        let mut conn = self.connect().await;
        Self::execute(&mut conn, include_str!("../fixtures/release-1.sqlite.sql")).await;
    }
}

impl World for SqliteWorld {
    type Store = Sqlite;
    const BEGIN: &'static str = "BEGIN IMMEDIATE";
    const ACTIONS: &'static str = "seawall_action";

    async fn open(&self) -> Sqlite {
        Sqlite::open(self.file()).await.unwrap()
    }

    async fn connect(&self) -> SqliteConnection {
        self.open().await.options().connect().await.unwrap()
    }

    async fn execute(conn: &mut SqliteConnection, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(conn).await.unwrap();
    }

    fn write_order<'a>(
        conn: &'a mut SqliteConnection,
        id: &'a str,
        state: &'a str,
    ) -> Boxed<'a, Result<(), Box<dyn std::error::Error + Send + Sync>>> {
        Box::pin(async move {
            sqlx::query("INSERT INTO orders (id, state) VALUES (?, ?)")
                .bind(id.to_owned())
                .bind(state.to_owned())
                .execute(conn)
                .await?;
            Ok(())
        })
    }

    fn micros(column: &str) -> String {
        format!("coalesce({column}, -1)")
    }

    async fn number(conn: &mut SqliteConnection, sql: &str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(conn).await.unwrap()
    }
}

/// PostgreSQL. The tests run on several kinds of it, which have one type, so that each test is compiled for it only once.
pub(crate) struct PostgresWorld {
    pub(crate) url: String,
    settings: Settings,
    /// The pooler between the ledger and the database; `None` if they are connected directly.
    _pooler: Option<Pooler>,
}

impl PostgresWorld {
    /// Returns a database with the default settings of PostgreSQL.
    pub(crate) async fn new() -> PostgresWorld {
        PostgresWorld::without_tables().await.with_tables().await
    }

    /// Returns a database whose transactions are serializable by default.
    pub(crate) async fn serializable() -> PostgresWorld {
        let world = PostgresWorld::without_tables().await;
        Server::shared().make_serializable(&world.url);
        world.with_tables().await
    }

    /// Returns a database behind pgbouncer, which gives each transaction another server session.
    pub(crate) async fn pooled() -> PostgresWorld {
        let (pooler, url) = Pooler::before(&Server::shared().database());
        let mut settings = Settings::default();
        settings.prepared = false;
        PostgresWorld { url, settings, _pooler: Some(pooler) }.with_tables().await
    }

    /// Returns the same database for a program that logs in with this URL.
    pub(crate) fn as_role(&self, url: &str) -> PostgresWorld {
        PostgresWorld { url: url.to_owned(), settings: self.settings, _pooler: None }
    }

    /// Declares operations with these terms of plain SQL, as another process would.
    pub(crate) async fn declare(&self, owner: u128, all: &[(&str, &str, SqlTerms)]) {
        let all: Vec<Declaration> = all
            .iter()
            .map(|(dependency, operation, terms)| Declaration {
                terms: terms.clone(),
                ..Declaration::new(dependency, operation)
            })
            .collect();
        self.open().await.declare(Owner(owner), &all).await.unwrap();
    }

    /// Declares the operation `pay charge`, which each role may record with plain SQL.
    pub(crate) async fn declare_charge(&self) {
        self.declare(7, &[("pay", "charge", SqlTerms::default())]).await;
    }

    async fn with_tables(self) -> PostgresWorld {
        self.open().await.migrate().await.unwrap();
        let mut conn = self.connect().await;
        Self::execute(&mut conn, "CREATE TABLE orders (id TEXT PRIMARY KEY, state TEXT NOT NULL)").await;
        self
    }
}

impl TwoVersions for PostgresWorld {
    async fn without_tables() -> PostgresWorld {
        PostgresWorld { url: Server::shared().database(), settings: Settings::default(), _pooler: None }
    }

    async fn open_ahead(&self) -> Postgres {
        self.open().await.one_ahead()
    }

    async fn load_dump(&self) {
        let mut conn = self.connect().await;
        Self::execute(&mut conn, include_str!("../fixtures/release-1.postgres.sql")).await;
    }
}

impl World for PostgresWorld {
    type Store = Postgres;
    const BEGIN: &'static str = "BEGIN";
    const ACTIONS: &'static str = "seawall.action";

    async fn open(&self) -> Postgres {
        Postgres::connect(&self.url, self.settings).await.unwrap()
    }

    async fn connect(&self) -> PgConnection {
        let options: PgConnectOptions = self.url.parse().unwrap();
        options.extra_float_digits(None).connect().await.unwrap()
    }

    async fn execute(conn: &mut PgConnection, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(conn).await.unwrap();
    }

    fn write_order<'a>(
        conn: &'a mut PgConnection,
        id: &'a str,
        state: &'a str,
    ) -> Boxed<'a, Result<(), Box<dyn std::error::Error + Send + Sync>>> {
        Box::pin(async move {
            let query = sqlx::query("INSERT INTO orders (id, state) VALUES ($1, $2)").persistent(false);
            query.bind(id).bind(state).execute(conn).await?;
            Ok(())
        })
    }

    async fn number(conn: &mut PgConnection, sql: &str) -> i64 {
        sqlx::raw_sql(AssertSqlSafe(sql))
            .fetch_one(conn)
            .await
            .unwrap()
            .try_get_unchecked::<String, _>(0)
            .unwrap()
            .parse()
            .unwrap()
    }
}

/// Rules whose times are so short that a test can wait for them.
pub(crate) fn quick(idempotency: Idempotency) -> Rules {
    Rules {
        quiet: Duration::from_millis(300),
        attempt: Duration::from_secs(3),
        lease: Duration::from_secs(4),
        network: Duration::from_millis(50),
        pause: Duration::from_millis(50),
        backoff: Backoff { base: Duration::from_millis(20), cap: Duration::from_millis(200) },
        ..Rules::of(idempotency).remembered(Lifetime::For(Duration::from_secs(24 * 3600)))
    }
}

/// A ledger on a store, with one operation `pay charge`.
pub(crate) fn ledger<S: Store>(store: S, rules: Rules, provider: &Provider) -> Ledger<S> {
    let remote = Arc::new(provider.clone());
    Ledger::builder(store).operation(Operation::new("pay", "charge", rules, remote)).build().unwrap()
}
