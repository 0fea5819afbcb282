//! The types [`Database`] and [`Clock`]: an SQLite file of one test, and the clock that its ledger uses.

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use seawall_ledger::store::Store;
use seawall_ledger::store::sqlite::Sqlite;
use seawall_ledger::testing::TestClock;
use tempfile::TempDir;

/// An SQLite file in a temporary folder, with the tables of the ledger. The folder is removed when this value is
/// dropped, so keep it until the end of the test.
#[derive(Debug)]
pub struct Database {
    store: Sqlite,
    clock: Clock,
    folder: TempDir,
}

impl Database {
    /// Makes the file and the tables.
    ///
    /// # Panics
    /// If there is no folder for temporary files, or if the file cannot be made in it.
    pub async fn new() -> Database {
        let folder = tempfile::Builder::new().prefix("seawall-test-").tempdir();
        let folder = folder.expect("a temporary folder can be made");
        let clock = TestClock::new();
        let store = Sqlite::open_with(folder.path().join(FILE), &clock).await;
        let store = store.expect("a file in the temporary folder can be opened");
        store.migrate().await.expect("the tables can be made in a new file");
        Database { store, clock: Clock(clock), folder }
    }

    /// Returns the store for [`Ledger::builder`](crate::ledger::Ledger::builder). All clones are the same store. To
    /// open connections of your own to the same file, use the store's `options`.
    #[must_use]
    pub fn store(&self) -> Sqlite {
        self.store.clone()
    }

    /// Returns the clock of the store.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Returns the path of the file.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.path().join(FILE)
    }
}

const FILE: &str = "test.db";

/// The number of steps in which [`Clock::pass_until`] lets the time pass.
const STEPS: u32 = 50;

/// The real time that the ledger gets for its work after each step of [`Clock::pass_until`].
const STEP: Duration = Duration::from_millis(5);

/// The real time for which [`Clock::pass_until`] still waits for its condition after the last step. A test fails when
/// this time is over. In a test that passes, the condition holds much earlier.
const PATIENCE: Duration = Duration::from_secs(20);

/// The clock that the ledger of a [`Database`] uses. It begins with the machine's time and goes on by itself. A test
/// moves it on further, so that the test need not wait. All clones are the same clock.
#[derive(Clone)]
pub struct Clock(TestClock);

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").finish_non_exhaustive()
    }
}

impl Clock {
    /// Moves the clock on by this time, immediately. Workers that wait for a time look again, and do what has become
    /// due.
    pub fn advance(&self, time: Duration) {
        self.0.advance(time);
    }

    /// Moves the clock on in steps, until `done` returns `true`. After each step, the ledger gets a few milliseconds of
    /// real time for its work. Use it where the ledger has to do several things one after the other, and each of them
    /// becomes due only some time after the one before. Returns the time by which this call has moved the clock.
    ///
    /// # Panics
    /// If the time `most` has passed and, for 20 s of real time after it, `done` still returns `false`.
    pub async fn pass_until(&self, most: Duration, mut done: impl AsyncFnMut() -> bool) -> Duration {
        let mut passed = Duration::ZERO;
        let mut last = None;
        while !done().await {
            if passed < most {
                let step = (most / STEPS).min(most - passed).max(Duration::from_micros(1));
                self.advance(step);
                passed += step;
            } else {
                let since: &Instant = last.get_or_insert_with(Instant::now);
                assert!(since.elapsed() < PATIENCE, "{passed:?} have passed, and it is still not so");
            }
            tokio::time::sleep(STEP).await;
        }
        passed
    }
}
