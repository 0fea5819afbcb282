//! Clocks that jump. The store is SQLite, whose clock a test moves; `tests/clocks.rs` moves the clock of a real
//! PostgreSQL.

use std::time::Duration;

use seawall_ledger::store::Store;
use seawall_ledger::store::sqlite::Sqlite;
use seawall_ledger::testing::TestClock;
use seawall_ledger::{Ledger, Owner};
use seawall_policy::Idempotency;

use crate::provider::Provider;
use crate::suite::{SECOND, charge};
use crate::world::{ledger, quick};

/// A file with the ledger's tables, and the clock of the stores that are opened on it.
struct Moving {
    folder: tempfile::TempDir,
    clock: TestClock,
}

impl Moving {
    async fn new() -> Moving {
        let moving = Moving { folder: tempfile::tempdir().unwrap(), clock: TestClock::new() };
        moving.open().await.migrate().await.unwrap();
        moving
    }

    async fn open(&self) -> Sqlite {
        Sqlite::open_with(self.folder.path().join("ledger.db"), &self.clock).await.unwrap()
    }
}

#[tokio::test]
async fn a_store_takes_its_time_from_the_clock_that_it_was_opened_with() {
    let moving = Moving::new().await;
    let store = moving.open().await;
    let ledger: Ledger<Sqlite> = ledger(store.clone(), quick(Idempotency::Keyed), &Provider::new());
    let reserved = ledger.reserve(&charge("k")).await.unwrap();
    let claim = || store.claim_one(reserved.id, Owner(5), SECOND);
    assert!(claim().await.unwrap().is_none(), "its lease of 4 s has not ended");
    moving.clock.advance(SECOND * 3600);
    let claimed = claim().await.unwrap().expect("an hour has passed");
    let hour_later = reserved.state.begun_at().saturating_add(SECOND * 3600);
    assert!(claimed.state.leased_until().unwrap() >= hour_later);
    moving.clock.jump_back(SECOND * 7200);
    let shown = store.ask_time().await.unwrap().now();
    assert!(shown < reserved.state.begun_at(), "{shown:?}");
    assert!(store.clock().now().since(shown) < Duration::from_secs(60));
}
