//! A primary whose standby confirms each commit. A commit that the standby may not have is not told as recorded.

use std::time::{Duration, Instant};

use seawall_ledger::store::Store;
use seawall_ledger::store::postgres::{Postgres, Settings};
use seawall_ledger::{Ledger, Trouble};
use seawall_policy::Idempotency;

use crate::provider::Provider;
use crate::scratch::Server;
use crate::suite::{asking, charge};
use crate::world::ledger;

/// The standby stands still until this is dropped.
struct Paused<'s>(&'s Server);

impl<'s> Paused<'s> {
    fn new(standby: &'s Server) -> Paused<'s> {
        standby.signal("STOP");
        Paused(standby)
    }
}

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        self.0.signal("CONT");
    }
}

fn pair() -> (Server, Server) {
    let primary = Server::alone();
    let standby = primary.standby();
    primary.sql("postgres", "ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 (*)'");
    primary.sql("postgres", "SELECT pg_reload_conf()");
    let end = Instant::now() + Duration::from_secs(20);
    while primary.sql("postgres", "SELECT sync_state FROM pg_stat_replication").trim() != "sync" {
        assert!(Instant::now() < end, "the standby does not follow");
        std::thread::sleep(Duration::from_millis(20));
    }
    (primary, standby)
}

/// Ends the wait of the first backend that waits for the standby, with this function of PostgreSQL.
async fn end_wait(primary: &Server, how: &str) {
    let waits = format!("SELECT count({how}(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'");
    let end = Instant::now() + Duration::from_secs(20);
    while primary.sql("postgres", &waits).trim() == "0" {
        assert!(Instant::now() < end, "no commit waits for the standby");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn is_told_only_when_the_standby_has_it(
    primary: &Server,
    standby: &Server,
    ledger: &Ledger<Postgres>,
    how: &str,
) {
    let paused = Paused::new(standby);
    let new = charge(how);
    let (recorded, ()) = tokio::join!(ledger.record(&new), end_wait(primary, how));
    let refused = recorded.expect_err("the standby does not have it");
    assert_eq!(refused.trouble(), Some(Trouble::Away), "{refused}");
    println!("{how}: {refused}");
    let rows = format!("SELECT count(*) FROM seawall.action WHERE key = '{how}'");
    assert_eq!(primary.sql("postgres", &rows).trim(), "1", "the primary shows it to everybody");
    let unread = ledger.find("pay", how).await.expect_err("it would be told as recorded");
    assert_eq!(unread.trouble(), Some(Trouble::Away), "{unread}");
    drop(paused);
    let end = Instant::now() + Duration::from_secs(20);
    while let Err(e) = ledger.find("pay", how).await {
        assert!(Instant::now() < end, "{e}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(standby.sql("postgres", &rows).trim(), "1", "the standby has what was told");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_wait_for_the_standby_was_ended_is_told_only_when_the_standby_has_it() {
    let (primary, standby) = pair();
    let mut settings = Settings::default();
    settings.answer_within = Duration::from_secs(1);
    let store = Postgres::connect(&primary.url("postgres"), settings).await.unwrap();
    store.migrate().await.unwrap();
    let provider = Provider::new();
    let ledger = ledger(store, asking(Idempotency::Keyed), &provider);
    for how in ["pg_cancel_backend", "pg_terminate_backend"] {
        is_told_only_when_the_standby_has_it(&primary, &standby, &ledger, how).await;
    }
}
