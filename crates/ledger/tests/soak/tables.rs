//! The two databases, with the application's own tables beside those of the ledger.
//!
//! All columns are text, so that one method writes and one method reads on both databases.

use std::future::Future;
use std::time::Duration;

use seawall_ledger::store::postgres::{Postgres, Settings};
use seawall_ledger::store::sqlite::Sqlite;
use seawall_ledger::store::{Boxed, Store};
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection, Row, SqliteConnection};

/// Any error of the application.
pub(crate) type Trouble = Box<dyn std::error::Error + Send + Sync>;

/// Which database the run uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
}

impl Kind {
    pub(crate) fn of(url: &str) -> Kind {
        if url.starts_with("postgres") { Kind::Postgres } else { Kind::Sqlite }
    }
}

/// The tables of the application. `orders` has a row for each order that was placed or paid. A handler adds a row to
/// `outcomes` in the transaction that ends an action. No unique key hides a handler that runs twice.
const TABLES: &str = "CREATE TABLE orders (id TEXT PRIMARY KEY, flow TEXT NOT NULL, amount TEXT NOT NULL, \
     state TEXT NOT NULL); \
     CREATE TABLE outcomes (id TEXT NOT NULL, ended TEXT NOT NULL); \
     CREATE INDEX outcomes_id ON outcomes (id); \
     CREATE TABLE noise (text TEXT NOT NULL)";

pub(crate) const INSERT_ORDER: &str = "INSERT INTO orders (id, flow, amount, state) VALUES ($1, $2, $3, $4)";
pub(crate) const SET_STATE: &str = "UPDATE orders SET state = $2 WHERE id = $1";
pub(crate) const INSERT_OUTCOME: &str = "INSERT INTO outcomes (id, ended) VALUES ($1, $2)";
pub(crate) const OUTCOME_ONCE: &str = "INSERT INTO outcomes (id, ended) SELECT $1, $2 \
     WHERE NOT EXISTS (SELECT 1 FROM outcomes WHERE id = $1 AND ended = $2)";

/// One of the two databases.
pub(crate) trait Database: Send + Sync + 'static {
    type Store: Store;
    const BEGIN: &'static str;

    /// Opens the ledger's store.
    fn open(url: &str) -> impl Future<Output = Result<Self::Store, Trouble>> + Send;
    /// Opens a connection of the application's own.
    fn connect(url: &str)
    -> impl Future<Output = Result<<Self::Store as Store>::Connection, Trouble>> + Send;
    /// Executes statements without parameters.
    fn execute<'a>(
        conn: &'a mut <Self::Store as Store>::Connection,
        sql: &'a str,
    ) -> Boxed<'a, Result<(), Trouble>>;
    /// Executes one statement with text parameters. Returns the number of rows that it changed.
    fn put<'a>(
        conn: &'a mut <Self::Store as Store>::Connection,
        sql: &'static str,
        args: &'a [&'a str],
    ) -> Boxed<'a, Result<u64, Trouble>>;
    /// Returns all rows of a query whose first `columns` columns are text.
    fn rows<'a>(
        conn: &'a mut <Self::Store as Store>::Connection,
        sql: &'static str,
        columns: usize,
    ) -> Boxed<'a, Result<Vec<Vec<String>>, Trouble>>;
}

/// Makes the tables of the ledger and of the application.
pub(crate) async fn prepare<D: Database>(url: &str) -> Result<(), Trouble> {
    D::open(url).await?.migrate().await?;
    let mut conn = D::connect(url).await?;
    D::execute(&mut conn, TABLES).await
}

macro_rules! statements {
    ($connection:ty) => {
        fn execute<'a>(conn: &'a mut $connection, sql: &'a str) -> Boxed<'a, Result<(), Trouble>> {
            Box::pin(async move {
                sqlx::raw_sql(AssertSqlSafe(sql)).execute(conn).await?;
                Ok(())
            })
        }

        fn put<'a>(
            conn: &'a mut $connection,
            sql: &'static str,
            args: &'a [&'a str],
        ) -> Boxed<'a, Result<u64, Trouble>> {
            Box::pin(async move {
                let query = sqlx::query(sql);
                let query = args.iter().fold(query, |query, arg| query.bind((*arg).to_owned()));
                Ok(query.execute(conn).await?.rows_affected())
            })
        }

        fn rows<'a>(
            conn: &'a mut $connection,
            sql: &'static str,
            columns: usize,
        ) -> Boxed<'a, Result<Vec<Vec<String>>, Trouble>> {
            Box::pin(async move {
                let all = sqlx::query(sql).fetch_all(conn).await?;
                Ok(all.iter().map(|row| (0..columns).map(|column| row.get(column)).collect()).collect())
            })
        }
    };
}

pub(crate) struct OnSqlite;
pub(crate) struct OnPostgres;

impl Database for OnSqlite {
    type Store = Sqlite;
    const BEGIN: &'static str = "BEGIN IMMEDIATE";

    async fn open(url: &str) -> Result<Sqlite, Trouble> {
        Ok(Sqlite::connect(url).await?)
    }

    async fn connect(url: &str) -> Result<SqliteConnection, Trouble> {
        let options: SqliteConnectOptions = url.parse()?;
        // As the ledger's own connections, which have already put the file into WAL mode.
        let options = options.synchronous(sqlx::sqlite::SqliteSynchronous::Full);
        Ok(options.busy_timeout(Duration::from_secs(2)).connect().await?)
    }

    statements!(SqliteConnection);
}

impl Database for OnPostgres {
    type Store = Postgres;
    const BEGIN: &'static str = "BEGIN";

    async fn open(url: &str) -> Result<Postgres, Trouble> {
        Ok(Postgres::connect(url, Settings::default()).await?)
    }

    async fn connect(url: &str) -> Result<PgConnection, Trouble> {
        Ok(url.parse::<PgConnectOptions>()?.connect().await?)
    }

    statements!(PgConnection);
}
