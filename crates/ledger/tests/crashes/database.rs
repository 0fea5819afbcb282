//! The two stores, with a table of the application besides those of the ledger.

use std::future::Future;

use seawall_ledger::store::postgres::{Postgres, Settings};
use seawall_ledger::store::sqlite::Sqlite;
use seawall_ledger::store::{Boxed, Store};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection, Row, SqliteConnection};

type Done = Result<(), Box<dyn std::error::Error + Send + Sync>>;

pub(crate) enum Db {
    Sqlite,
    Postgres,
}

impl Db {
    pub(crate) fn of(url: &str) -> Db {
        if url.starts_with("postgres") { Db::Postgres } else { Db::Sqlite }
    }
}

pub(crate) trait Database: Send + Sync + 'static {
    type Store: Store;
    const BEGIN: &'static str;

    fn open(url: &str) -> impl Future<Output = Self::Store> + Send;
    fn connect(url: &str) -> impl Future<Output = <Self::Store as Store>::Connection> + Send;
    fn execute(conn: &mut <Self::Store as Store>::Connection, sql: &str) -> impl Future<Output = ()> + Send;
    /// Writes the state of an order.
    fn set_order<'a>(
        conn: &'a mut <Self::Store as Store>::Connection,
        id: &'a str,
        state: &'a str,
    ) -> Boxed<'a, Done>;
    fn order(url: &str, id: &str) -> impl Future<Output = Option<String>> + Send;
}

pub(crate) struct OnSqlite;
pub(crate) struct OnPostgres;

const SET: &str =
    "INSERT INTO orders (id, state) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET state = excluded.state";
const CREATE: &str = "CREATE TABLE orders (id TEXT PRIMARY KEY, state TEXT NOT NULL)";

/// Makes the tables of the ledger and of the application.
pub(crate) async fn prepare<D: Database>(url: &str) {
    D::open(url).await.migrate().await.unwrap();
    let mut conn = D::connect(url).await;
    D::execute(&mut conn, CREATE).await;
}

impl Database for OnSqlite {
    type Store = Sqlite;
    const BEGIN: &'static str = "BEGIN IMMEDIATE";

    async fn open(url: &str) -> Sqlite {
        Sqlite::connect(url).await.unwrap()
    }

    async fn connect(url: &str) -> SqliteConnection {
        Self::open(url).await.options().connect().await.unwrap()
    }

    async fn execute(conn: &mut SqliteConnection, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(conn).await.unwrap();
    }

    fn set_order<'a>(conn: &'a mut SqliteConnection, id: &'a str, state: &'a str) -> Boxed<'a, Done> {
        Box::pin(async move {
            sqlx::query(SET).bind(id.to_owned()).bind(state.to_owned()).execute(conn).await?;
            Ok(())
        })
    }

    async fn order(url: &str, id: &str) -> Option<String> {
        let mut conn = Self::connect(url).await;
        let query = sqlx::query("SELECT state FROM orders WHERE id = $1").bind(id.to_owned());
        query.fetch_optional(&mut conn).await.unwrap().map(|row| row.get(0))
    }
}

impl Database for OnPostgres {
    type Store = Postgres;
    const BEGIN: &'static str = "BEGIN";

    async fn open(url: &str) -> Postgres {
        Postgres::connect(url, Settings::default()).await.unwrap()
    }

    async fn connect(url: &str) -> PgConnection {
        url.parse::<PgConnectOptions>().unwrap().connect().await.unwrap()
    }

    async fn execute(conn: &mut PgConnection, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(conn).await.unwrap();
    }

    fn set_order<'a>(conn: &'a mut PgConnection, id: &'a str, state: &'a str) -> Boxed<'a, Done> {
        Box::pin(async move {
            sqlx::query(SET).bind(id).bind(state).execute(conn).await?;
            Ok(())
        })
    }

    async fn order(url: &str, id: &str) -> Option<String> {
        let mut conn = Self::connect(url).await;
        let query = sqlx::query("SELECT state FROM orders WHERE id = $1").bind(id.to_owned());
        query.fetch_optional(&mut conn).await.unwrap().map(|row| row.get(0))
    }
}
