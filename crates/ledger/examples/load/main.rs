//! What one action costs: intent, one call, outcome. `cargo xtask bench ledger` runs it beside others.

mod drive;

use std::sync::Arc;
use std::time::Duration;

use drive::{Asked, Line, drive};
use seawall_ledger::store::postgres::{Postgres, Settings};
use seawall_ledger::store::sqlite::Sqlite;
use seawall_ledger::store::{Boxed, Store};
use seawall_ledger::{
    Delivery, End, Found, Ledger, NewAction, Operation, Performed, Remote, Report, Rules, Undone,
};
use seawall_policy::Idempotency;
use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use tokio::sync::Mutex;

const REQUEST: &[u8] = br#"{"amount":1200,"currency":"EUR","order":"0123456789"}"#;

struct Provider(Line);

impl Remote for Provider {
    fn perform<'a>(&'a self, delivery: Delivery<'a>) -> Boxed<'a, (Performed, Report)> {
        Box::pin(async move {
            if !delivery.may_send() {
                return (Performed::NotSent, Report::default());
            }
            match self.0.post(&delivery.action.key, &delivery.action.request).await {
                Ok(()) => (Performed::Yes(None), Report::default()),
                Err(error) => {
                    (Performed::Unknown, Report { detail: Some(error.to_string()), ..Report::default() })
                }
            }
        })
    }

    fn confirm<'a>(&'a self, _: Delivery<'a>) -> Boxed<'a, (Found, Report)> {
        Box::pin(async { (Found::NotSent, Report::default()) })
    }

    fn cancel<'a>(&'a self, _: Delivery<'a>) -> Boxed<'a, (Undone, Report)> {
        Box::pin(async { (Undone::Unknown, Report::default()) })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let asked = Asked::from_args();
    if std::env::args().any(|arg| arg == "--raw") {
        return raw(&asked).await;
    }
    match asked.url.strip_prefix("sqlite:") {
        Some(file) => run(Sqlite::open(file).await?, &asked).await,
        None => run(Postgres::connect(&asked.url, Settings::default()).await?, &asked).await,
    }
}

/// What SQLite itself costs, without the ledger and without a call: the intent is inserted and the outcome is updated,
/// each in a commit of its own. The tasks share one connection.
async fn raw(asked: &Asked) -> Result<(), Box<dyn std::error::Error>> {
    let options: SqliteConnectOptions = asked.url.parse()?;
    let options = options
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    let mut conn = options.connect().await?;
    sqlx::query(
        "CREATE TABLE intents (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, state TEXT NOT NULL, \
         request BLOB NOT NULL, answer BLOB, created INTEGER NOT NULL DEFAULT (unixepoch()), ended INTEGER)",
    )
    .execute(&mut conn)
    .await?;
    let conn = Arc::new(Mutex::new(conn));
    drive(asked, move |number| {
        let conn = conn.clone();
        async move {
            let insert =
                "INSERT INTO intents (id, key, state, request) VALUES (?1, 'order-' || ?1, 'sent', ?2)";
            let id = i64::try_from(number).unwrap_or(i64::MAX);
            let inserted = sqlx::query(insert).bind(id).bind(REQUEST).execute(&mut *conn.lock().await).await;
            let update = "UPDATE intents SET state = 'done', ended = unixepoch() WHERE id = ?";
            let updated = sqlx::query(update).bind(id).execute(&mut *conn.lock().await).await;
            inserted.and(updated).is_ok()
        }
    })
    .await;
    Ok(())
}

async fn run<S: Store>(store: S, asked: &Asked) -> Result<(), Box<dyn std::error::Error>> {
    store.migrate().await?;
    let rules = Rules { attempt: Duration::from_secs(10), ..Rules::of(Idempotency::Keyed) };
    let remote = Arc::new(Provider(Line::new(asked.upstream)));
    let operation = Operation::new("pay", "charge", rules, remote);
    let ledger = Ledger::builder(store).operation(operation).build()?;
    let run = std::process::id();
    drive(asked, move |number| {
        let ledger = ledger.clone();
        async move {
            let new = NewAction::new("pay", "charge", format!("order-{run}-{number}"), REQUEST);
            ledger.perform(&new).await.is_ok_and(|action| action.state.end() == Some(End::Done))
        }
    })
    .await;
    Ok(())
}
