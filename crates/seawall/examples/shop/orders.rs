//! The shop's orders in its own database, and what differs between the two databases.
//!
//! The rest of the example is written once for both databases. SQLite understands `$1` as PostgreSQL does.

use std::future::Future;
use std::path::Path;

use seawall::ledger::{Postgres, PostgresSettings, Sqlite, Store};
use seawall::{GuardedPool, OnHeld};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::SqlitePoolOptions;

/// Any error, in words.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Which part of a story an earlier run of the example has played already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Never,
    InPart,
    Whole,
}

/// The shop's database: its own tables and the ledger's.
pub(crate) struct Shelves<E: Engine> {
    /// The shop's own connections. While a task holds one, its external calls are refused before a byte is sent.
    pub(crate) pool: GuardedPool<E>,
    /// The ledger's tables in the same database.
    pub(crate) store: E::Store,
}

/// A database that the shop runs on.
pub(crate) trait Engine: sqlx::Database {
    /// The ledger's store on it.
    type Store: Store<Connection = Self::Connection>;

    /// Begins a transaction that will write.
    const BEGIN: &'static str;

    /// Opens the database, and creates the tables that are missing. `socket`: a folder with the socket through which
    /// the database is reached (PostgreSQL only).
    fn open(url: &str, socket: Option<&Path>) -> impl Future<Output = Result<Shelves<Self>, Failure>> + Send;

    /// Inserts an order if it does not exist yet.
    fn insert(
        conn: &mut Self::Connection,
        id: &str,
        amount: i64,
        state: &str,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// Changes the state of an order.
    fn set_state(
        conn: &mut Self::Connection,
        id: &str,
        state: &str,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// The state of an order.
    fn state(
        conn: &mut Self::Connection,
        id: &str,
    ) -> impl Future<Output = Result<Option<String>, sqlx::Error>> + Send;

    /// Returns the id of a story's order, which is decided by the first call, and how far the story was told.
    fn begin_story(
        conn: &mut Self::Connection,
        story: &str,
        order: &str,
        id: &str,
    ) -> impl Future<Output = Result<(String, Told), sqlx::Error>> + Send;

    /// Notes that the story was told to its end.
    fn end_story(
        conn: &mut Self::Connection,
        id: &str,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// Makes the database refuse from now on to record that an order is paid, as a full disk would. Or ends that.
    fn refuse_payments(
        conn: &mut Self::Connection,
        refuses: bool,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;
}

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, amount BIGINT NOT NULL, state TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS stories (
        story TEXT NOT NULL, called TEXT NOT NULL, id TEXT NOT NULL, ended BIGINT NOT NULL, PRIMARY KEY (story, called));
";

macro_rules! engine {
    ($database:ty, $store:ty, begin: $begin:literal, open: $open:path, refuse: $refuse:literal, allow: $allow:literal) => {
        impl Engine for $database {
            type Store = $store;
            const BEGIN: &'static str = $begin;

            async fn open(url: &str, socket: Option<&Path>) -> Result<Shelves<Self>, Failure> {
                let shelves = $open(url, socket).await?;
                shelves.store.migrate().await?;
                let mut tx = shelves.pool.begin_with(Self::BEGIN).await?;
                sqlx::raw_sql(TABLES).execute(&mut *tx).await?;
                tx.commit().await?;
                Ok(shelves)
            }

            async fn insert(
                conn: &mut Self::Connection,
                id: &str,
                amount: i64,
                state: &str,
            ) -> Result<(), sqlx::Error> {
                let text =
                    "INSERT INTO orders (id, amount, state) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING";
                sqlx::query(text).bind(id).bind(amount).bind(state).execute(conn).await.map(|_| ())
            }

            async fn set_state(
                conn: &mut Self::Connection,
                id: &str,
                state: &str,
            ) -> Result<(), sqlx::Error> {
                let text = "UPDATE orders SET state = $2 WHERE id = $1";
                sqlx::query(text).bind(id).bind(state).execute(conn).await.map(|_| ())
            }

            async fn state(conn: &mut Self::Connection, id: &str) -> Result<Option<String>, sqlx::Error> {
                let text = "SELECT state FROM orders WHERE id = $1";
                sqlx::query_scalar(text).bind(id).fetch_optional(conn).await
            }

            async fn begin_story(
                conn: &mut Self::Connection,
                story: &str,
                order: &str,
                id: &str,
            ) -> Result<(String, Told), sqlx::Error> {
                let text = "INSERT INTO stories (story, called, id, ended) VALUES ($1, $2, $3, 0)
                    ON CONFLICT (story, called) DO NOTHING";
                let made = sqlx::query(text).bind(story).bind(order).bind(id).execute(&mut *conn).await?;
                let text = "SELECT id, ended FROM stories WHERE story = $1 AND called = $2";
                let (id, ended): (String, i64) =
                    sqlx::query_as(text).bind(story).bind(order).fetch_one(conn).await?;
                let told = match (made.rows_affected(), ended) {
                    (0, 0) => Told::InPart,
                    (0, _) => Told::Whole,
                    _ => Told::Never,
                };
                Ok((id, told))
            }

            async fn end_story(conn: &mut Self::Connection, id: &str) -> Result<(), sqlx::Error> {
                let text = "UPDATE stories SET ended = 1 WHERE id = $1";
                sqlx::query(text).bind(id).execute(conn).await.map(|_| ())
            }

            async fn refuse_payments(conn: &mut Self::Connection, refuses: bool) -> Result<(), sqlx::Error> {
                let text = if refuses { $refuse } else { $allow };
                sqlx::raw_sql(text).execute(conn).await.map(|_| ())
            }
        }
    };
}

engine! { sqlx::Sqlite, Sqlite,
    begin: "BEGIN IMMEDIATE",
    open: open_sqlite,
    refuse: "
        CREATE TRIGGER IF NOT EXISTS no_insert BEFORE INSERT ON orders WHEN NEW.state = 'paid'
            BEGIN SELECT RAISE(ABORT, 'the disk is full'); END;
        CREATE TRIGGER IF NOT EXISTS no_update BEFORE UPDATE ON orders WHEN NEW.state = 'paid'
            BEGIN SELECT RAISE(ABORT, 'the disk is full'); END;",
    allow: "DROP TRIGGER IF EXISTS no_insert; DROP TRIGGER IF EXISTS no_update;"
}

engine! { sqlx::Postgres, Postgres,
    begin: "BEGIN",
    open: open_postgres,
    refuse: "
        CREATE OR REPLACE FUNCTION no_payment() RETURNS trigger LANGUAGE plpgsql
            AS $$ BEGIN RAISE EXCEPTION 'the disk is full'; END $$;
        DROP TRIGGER IF EXISTS no_payment ON orders;
        CREATE TRIGGER no_payment BEFORE INSERT OR UPDATE ON orders FOR EACH ROW
            WHEN (NEW.state = 'paid') EXECUTE FUNCTION no_payment();",
    allow: "DROP TRIGGER IF EXISTS no_payment ON orders;"
}

async fn open_sqlite(url: &str, _: Option<&Path>) -> Result<Shelves<sqlx::Sqlite>, Failure> {
    let store = Sqlite::connect(url).await?;
    let pool = SqlitePoolOptions::new().max_connections(4).connect_with(store.options()).await?;
    Ok(Shelves { pool: GuardedPool::new(pool).on_held(OnHeld::Deny), store })
}

async fn open_postgres(url: &str, socket: Option<&Path>) -> Result<Shelves<sqlx::Postgres>, Failure> {
    let mut options: PgConnectOptions = url.parse()?;
    if let Some(folder) = socket {
        options = options.socket(folder).port(super::outage::PORT);
    }
    let at = format!("{}:{}", options.get_host(), options.get_port());
    // One pool is enough for both, because neither the shop nor the ledger holds a connection during a call.
    let pool = PgPoolOptions::new()
        .max_connections(8)
        .acquire_timeout(seawall::secs(15))
        .connect_with(options)
        .await
        .map_err(|error| format!("no connection to PostgreSQL at {at} within 15 s: {error}"))?;
    let store = Postgres::on(pool.clone(), PostgresSettings::default()).await?;
    Ok(Shelves { pool: GuardedPool::new(pool).on_held(OnHeld::Deny), store })
}
