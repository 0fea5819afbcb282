//! What only SQLite has: one lock for all writers of the file, which another process may hold while this one starts.

use std::io::{BufRead, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use seawall_ledger::store::Store;
use seawall_ledger::store::sqlite::Sqlite;
use seawall_ledger::{End, Error, NewAction, Report, Trouble};
use seawall_policy::Idempotency;

use crate::on_postgres::python;
use crate::provider::Provider;
use crate::starts::{started, yes};
use crate::suite::{asking, charge, ended, pay};
use crate::world::{ledger, quick};

/// A process that writes: it is in a transaction until it is released.
struct Writing {
    process: Child,
    input: Option<ChildStdin>,
}

impl Writing {
    /// Starts the process, and waits until it has the lock. `journal` is the file's journal mode.
    fn into(file: &Path, journal: &str) -> Writing {
        const SCRIPT: &str = "import sqlite3, sys\n\
            conn = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
            conn.execute(f'PRAGMA journal_mode = {sys.argv[2]}')\n\
            conn.execute('BEGIN IMMEDIATE')\n\
            conn.execute('CREATE TABLE IF NOT EXISTS orders (id TEXT)')\n\
            print('writing', flush=True)\n\
            sys.stdin.read()\n\
            conn.execute('COMMIT')\n";
        let mut command = Command::new(python());
        command.args(["-c", SCRIPT]).arg(file).arg(journal);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "writing\n");
        let input = process.stdin.take();
        Writing { process, input }
    }

    /// Lets the process commit and end.
    fn release(mut self) {
        drop(self.input.take());
        let mut rest = String::new();
        self.process.stdout.as_mut().unwrap().read_to_string(&mut rest).unwrap();
        assert!(self.process.wait().unwrap().success());
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts the ledger while another process writes for 3 s, which is longer than one statement waits for a lock.
async fn starts_beside_a_writer(journal: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ledger.db");
    let writing = Writing::into(&file, journal);
    let starting = tokio::spawn(async move {
        let store = Sqlite::open(&file).await?;
        store.migrate().await.map(|()| store)
    });
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(!starting.is_finished(), "it cannot write yet: {:?}", starting.await);
    writing.release();
    let store = starting.await.unwrap().unwrap();
    assert_eq!(store.counts(&pay()).await.unwrap().open, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_starts_waits_for_another_one_that_writes() {
    starts_beside_a_writer("wal").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_starts_waits_until_the_file_can_use_the_log() {
    starts_beside_a_writer("delete").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_stays_locked_is_named_with_the_process_that_holds_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ledger.db");
    let writing = Writing::into(&file, "wal");
    let store = Sqlite::open(&file).await.unwrap().waiting_at_most(Duration::from_millis(10));
    let locked = store.migrate().await.unwrap_err();
    let said = locked.to_string();
    assert_eq!(locked.trouble(), Trouble::Busy, "{said}");
    assert!(said.contains(file.to_str().unwrap()) && said.contains("database is locked"), "{said}");
    // Some systems do not list the locks of a file, or list them under another device.
    let pid = writing.process.id();
    let listed = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    let listed = listed.split_ascii_whitespace().any(|word| word == pid.to_string());
    assert_eq!(said.contains(&format!("by process {pid} (python3")), listed, "{said}");
    writing.release();
    store.migrate().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_whose_tables_are_there_is_opened_while_another_process_writes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ledger.db");
    Sqlite::open(&file).await.unwrap().migrate().await.unwrap();
    let writing = Writing::into(&file, "wal");
    let begun = Instant::now();
    let store = Sqlite::open(&file).await.unwrap().waiting_at_most(Duration::ZERO);
    store.migrate().await.unwrap();
    assert_eq!(store.counts(&pay()).await.unwrap().open, 0);
    assert!(begun.elapsed() < Duration::from_secs(2), "it waited for {:?}", begun.elapsed());
    writing.release();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outcome_is_written_when_another_process_has_ended_its_transaction() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ledger.db");
    let store = Sqlite::open(&file).await.unwrap();
    store.migrate().await.unwrap();
    let ledger = ledger(store, asking(Idempotency::Keyed), &Provider::new());
    let started = started(&ledger, &charge("k")).await;
    let id = started.action().id;
    let writing = Writing::into(&file, "wal");
    let begun = Instant::now();
    let away = started.ended(yes(), Report::default()).await.unwrap_err();
    let took = begun.elapsed();
    assert!(matches!(away.trouble(), Some(Trouble::Away | Trouble::Busy)), "{away}");
    assert!(took < Duration::from_secs(8), "its caller waited for {took:?}");
    assert_eq!(ledger.load(id).await.unwrap().state.in_flight(), Some(1));
    writing.release();
    assert_eq!(ended(&ledger, id).await.state.end(), Some(End::Done));
}

/// Names the file for the part of the next test that runs in a process of its own.
const ON_A_SMALL_DISK: &str = "SEAWALL_TEST_ON_A_SMALL_DISK";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_the_disk_fails_is_in_doubt() {
    const NAME: &str = "on_sqlite::a_commit_that_the_disk_fails_is_in_doubt";
    if let Ok(file) = std::env::var(ON_A_SMALL_DISK) {
        let ledger = ledger(Sqlite::open(file).await.unwrap(), quick(Idempotency::Keyed), &Provider::new());
        ledger.record(&charge("small")).await.unwrap();
        let large = NewAction { request: vec![b' '; 60_000], ..charge("large") };
        match ledger.record(&large).await.unwrap_err() {
            Error::Store(e) => assert!(e.trouble() == Trouble::Away && e.in_doubt(), "{e:?}"),
            other => panic!("{other:?}"),
        }
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ledger.db");
    Sqlite::open(&file).await.unwrap().migrate().await.unwrap();
    // The process may write no file beyond 40 KiB, so the log of the changes cannot take the large request.
    let script = "trap '' XFSZ; ulimit -f 80; exec \"$0\" --exact \"$1\" --nocapture";
    let mut command = Command::new("dash");
    command.args(["-c", script]).arg(std::env::current_exe().unwrap()).arg(NAME);
    let run = command.env(ON_A_SMALL_DISK, &file).output().unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success() && said.contains("1 passed"), "{run:?}");
}
