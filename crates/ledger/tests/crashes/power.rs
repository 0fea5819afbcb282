//! The power fails directly after an intent was committed: what was written to the log after its last sync is lost.
//!
//! The process notes the length of the log at each sync (`preload.c`). It is killed, the log is cut to that length, and
//! the file is opened as after a restart of the machine.

use std::fs::{self, OpenOptions};
use std::path::Path;

use seawall_ledger::{AttemptOutcome, End, NewAction, Refusal};
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteSynchronous;

use crate::books::Books;
use crate::database::{Database, OnSqlite, prepare};
use crate::{command, process, started, until_sent, wait};

const KEY: &str = "order";

/// Plays the roles of these tests.
pub(crate) async fn play(role: &str, db: &str, books: &str) {
    if role == "power-prepare" {
        prepare::<OnSqlite>(db).await;
        let mut conn = OnSqlite::connect(db).await;
        return OnSqlite::execute(&mut conn, "PRAGMA wal_checkpoint(TRUNCATE)").await;
    }
    let synchronous = match role {
        "power-careful" => SqliteSynchronous::Full,
        _ => SqliteSynchronous::Normal,
    };
    let store = OnSqlite::open(db).await;
    let mut conn = store.options().synchronous(synchronous).connect().await.unwrap();
    let ledger = process::ledger::<OnSqlite>(store, books);
    OnSqlite::execute(&mut conn, OnSqlite::BEGIN).await;
    OnSqlite::set_order(&mut conn, KEY, "new").await.unwrap();
    let new = NewAction::new("pay", "after", KEY, "{}");
    let action = ledger.reserve_in(&mut conn, &new).await.unwrap();
    OnSqlite::execute(&mut conn, "COMMIT").await;
    if role == "power-careless-run" {
        ledger.run(action.id).await.unwrap();
    }
    // The process ends here: no destructor runs, and nothing is closed.
    std::process::abort();
}

/// Makes a database with an empty log, whose file is on the disk.
async fn fresh(folder: &Path) -> String {
    let db = format!("sqlite:{}", folder.join("orders.db").display());
    assert!(wait(started(command("power-prepare", &db, ""))).await);
    let _ = fs::remove_file(folder.join("orders.db-wal.synced"));
    db
}

/// Cuts the log to the part that was on the disk. Returns its length before and after.
fn cut(folder: &Path) -> (u64, u64) {
    let log = OpenOptions::new().write(true).open(folder.join("orders.db-wal")).unwrap();
    let written = log.metadata().unwrap().len();
    let synced = fs::read_to_string(folder.join("orders.db-wal.synced")).unwrap().parse().unwrap();
    assert!(synced <= written);
    log.set_len(synced).unwrap();
    // The shared memory is lost when the machine restarts.
    fs::remove_file(folder.join("orders.db-shm")).unwrap();
    (written, synced)
}

/// Whether the intent and its order are still there if the power fails directly after the commit.
async fn survives(role: &str) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let db = fresh(folder.path()).await;
    let books = Books::default();
    let address = books.open().await;
    assert!(!wait(started(command(role, &db, &address).preloaded(folder.path()))).await, "it is aborted");
    let (written, synced) = cut(folder.path());
    println!("{role}: {synced} of {written} bytes were on the disk");
    let found = process::look::<_, OnSqlite>(&db).await.find("pay", KEY).await;
    let order = OnSqlite::order(&db, KEY).await;
    assert_eq!(found.is_ok(), order.is_some(), "both or neither");
    assert_eq!(books.of(KEY).performs, 0);
    match found {
        Ok(_) => true,
        Err(e) => {
            assert_eq!(e.refusal(), Some(Refusal::NotFound));
            false
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn intent_survives_the_power_with_full_and_would_be_lost_with_normal() {
    assert!(survives("power-careful").await);
    assert!(!survives("power-careless").await, "then this test cuts nothing");
}

/// This holds even if the application commits without a sync: the ledger's own writer wrote what is sent, and its sync
/// includes everything that was in the log before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_effect_is_without_its_row_after_the_power_was_cut() {
    let folder = tempfile::tempdir().unwrap();
    let db = fresh(folder.path()).await;
    let books = Books::holding(false);
    let address = books.open().await;
    let mut child = started(command("power-careless-run", &db, &address).preloaded(folder.path()));
    until_sent(&books, KEY).await;
    child.kill().await.unwrap();
    cut(folder.path());
    books.let_go();

    let ledger = process::look::<_, OnSqlite>(&db).await;
    let action = ledger.find("pay", KEY).await.unwrap();
    let attempts = ledger.story(action.id).await.unwrap().attempts;
    assert_eq!((attempts.len(), attempts[0].outcome), (1, AttemptOutcome::Open));
    assert!(wait(started(command("recover", &db, &address))).await);
    let done = ledger.load(action.id).await.unwrap();
    let there = books.of(KEY);
    assert_eq!((done.state.end(), there.live, there.performs), (Some(End::Done), 1, 1));
    assert_eq!(OnSqlite::order(&db, KEY).await.as_deref(), Some("paid"));
}
