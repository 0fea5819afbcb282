//! Measures the library durare, as an arm of the ledger's benchmark: each action is a durable workflow with one step,
//! which makes one HTTP call. durare records the workflow before the call and its outcome after it.

#[path = "../../../../crates/ledger/examples/load/drive.rs"]
mod drive;

use std::str::FromStr;
use std::sync::{Arc, OnceLock};

use drive::{Asked, Line, drive};
use durare::{DurableContext, DurableEngine, Result, SqliteProvider, WorkflowOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

const REQUEST: &[u8] = br#"{"amount":1200,"currency":"EUR","order":"0123456789"}"#;

static LINE: OnceLock<Line> = OnceLock::new();

#[durare::step]
async fn charge(ctx: &DurableContext, key: String) -> Result<String> {
    let line = LINE.get().expect("set at the start");
    line.post(&key, REQUEST).await.map_err(|error| durare::Error::app(error.to_string()))?;
    Ok(key)
}

#[durare::workflow]
async fn order(ctx: DurableContext, key: String) -> Result<String> {
    charge(&ctx, key).await
}

#[tokio::main]
async fn main() -> Result<()> {
    let asked = Asked::from_args();
    let _ = LINE.set(Line::new(asked.upstream));
    let engine = match asked.url.strip_prefix("sqlite:") {
        Some(file) => {
            // Without this setting, durare opens SQLite with `synchronous=NORMAL`, which can lose committed data when
            // the power fails. The ledger uses FULL, so this arm does as well.
            let options = SqliteConnectOptions::from_str(&format!("sqlite:{file}"))
                .expect("a file")
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full)
                .busy_timeout(std::time::Duration::from_secs(30));
            let pool = SqlitePoolOptions::new().max_connections(5).connect_with(options).await.expect("a pool");
            DurableEngine::builder(Arc::new(SqliteProvider::from_pool(pool))).build().await?
        }
        None => DurableEngine::connect(&asked.url).await?.build().await?,
    };
    let engine = Arc::new(engine);
    let run = std::process::id();
    drive(&asked, move |number| {
        let engine = engine.clone();
        async move {
            let key = format!("order-{run}-{number}");
            match engine.start_with(Order, key.clone(), WorkflowOptions::with_id(key)).await {
                Ok(handle) => handle.await.is_ok(),
                Err(_) => false,
            }
        }
    })
    .await;
    Ok(())
}
