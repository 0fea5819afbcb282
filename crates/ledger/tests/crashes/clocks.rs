//! Workers on machines with different clocks: only the database's time decides.
//!
//! On SQLite the clocks cannot differ, since all processes that use one file share the machine's clock.

use std::time::{Duration, Instant};

use seawall_ledger::End;
use seawall_ledger::store::{Filter, Store};

use crate::books::Books;
use crate::database::{OnPostgres, prepare};
use crate::scratch::Server;
use crate::{PATIENCE, command, process, signal, started};

const MANY: usize = 20;

/// By how much the second worker's clock is ahead.
const SKEW: Duration = Duration::from_secs(90);

/// Whether this process's own clock is ahead of the database's by more than half of [`SKEW`].
pub(crate) async fn is_skewed(store: &impl Store) -> bool {
    let there = store.ask_time().await.unwrap().now().as_micros();
    let here = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros();
    i64::try_from(here).unwrap() - there > i64::try_from((SKEW / 2).as_micros()).unwrap()
}

async fn until(what: &str, as_asked: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !as_asked() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_whose_clocks_differ_neither_steal_early_nor_hold_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let db = Server::shared().database();
    prepare::<OnPostgres>(&db).await;
    let books = Books::holding(false);
    let address = books.open().await;
    let in_flight = |many: usize| books.all().len() == many;

    process::record_many::<OnPostgres>(&db, "asked", "wide", 0..MANY).await;
    let skew = SKEW.as_secs().to_string();
    let ahead = command("work-skewed", &db, &address).preloaded(folder.path());
    let mut ahead = started(ahead.with("SEAWALL_SKEW", &skew));
    until("the one ahead has its calls in flight", || in_flight(MANY)).await;
    // The second worker is stopped, so the other worker takes the actions that come now.
    signal(&ahead, "-STOP").await;
    process::record_many::<OnPostgres>(&db, "asked", "wide", MANY..2 * MANY).await;
    let _right = started(command("work-wide", &db, &address));
    until("the other one, too", || in_flight(2 * MANY)).await;
    signal(&ahead, "-CONT").await;

    // By the second worker's clock, each lease of the other worker ended long ago. The second worker scans twenty times
    // a second.
    let ledger = process::look::<_, OnPostgres>(&db).await;
    let all = Filter::first(100);
    let watched = Instant::now();
    while watched.elapsed() < Duration::from_secs(1) {
        let rows = ledger.list(&all).await.unwrap();
        assert!(rows.iter().all(|row| row.state.fence() == 1), "a lease was taken before its end");
    }
    // By its own clock, the leases of the second worker would last until long after this test.
    ahead.kill().await.unwrap();
    let killed = Instant::now();
    books.let_go();
    loop {
        let rows = ledger.list(&all).await.unwrap();
        if rows.iter().all(|row| row.state.end() == Some(End::Done)) {
            break;
        }
        assert!(killed.elapsed() < SKEW - Duration::from_secs(20), "a lease outlives its worker");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for (key, entry) in books.all() {
        assert_eq!((entry.live, entry.performs, entry.blind), (1, 1, 0), "{key}: {entry:?}");
    }
}
