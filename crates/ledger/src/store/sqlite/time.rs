//! The one place from which a store of SQLite takes the time.

use std::time::{Duration, Instant};

use crate::clock::{DbClock, machine_time};
use crate::machine::Stamp;
use crate::store::OwnTime;
#[cfg(feature = "test-clock")]
use crate::testing::TestClock;

/// The clock that counts as the database's clock. SQLite has no server, so it has no clock of its own. All processes
/// that use the file run on one machine, and share that machine's clock.
#[derive(Clone, Debug, Default)]
pub(crate) enum Source {
    /// The machine's clock.
    #[default]
    Machine,
    /// A clock that a test moves.
    #[cfg(feature = "test-clock")]
    Test(TestClock),
}

impl Source {
    /// Returns a future that is ready when a test has moved the clock. The machine's clock is never moved by a test, so
    /// its future is never ready. A move after the call of this function is not missed, even if the future is polled
    /// later.
    pub(crate) fn moved(&self) -> impl Future<Output = ()> + Send + use<> {
        #[cfg(feature = "test-clock")]
        let moved = match self {
            Source::Machine => None,
            Source::Test(clock) => Some(clock.moved()),
        };
        async move {
            #[cfg(feature = "test-clock")]
            if let Some(moved) = moved {
                return moved.await;
            }
            std::future::pending().await
        }
    }

    /// Returns the time that the clock shows. SQLite's own time function is not used, since it cuts off the
    /// microseconds. The other times of the ledger have microseconds. So a time that was stored a moment ago could be
    /// later than SQLite's present time.
    pub(crate) fn stamp(&self) -> Stamp {
        match self {
            Source::Machine => machine_time(),
            #[cfg(feature = "test-clock")]
            Source::Test(clock) => clock.now(),
        }
    }

    /// Returns the time that the clock shows, in the form in which other stores return an answer of their database.
    /// There is no question to a server, so the answer comes immediately.
    pub(super) fn answer(&self) -> DbClock {
        let asked = Instant::now();
        match self {
            Source::Machine => DbClock::heard(machine_time(), asked),
            #[cfg(feature = "test-clock")]
            Source::Test(clock) => {
                let (shown, passed) = clock.shown();
                DbClock::heard(shown, asked).passed(passed)
            }
        }
    }

    /// Returns how long the machine has been running, including the time for which it slept. Returns `None` if this
    /// system does not tell. This time shows whether the database's clock has jumped. The wall clock cannot show that,
    /// since it is the database's clock itself.
    pub(super) fn own_time(&self) -> Option<OwnTime> {
        match self {
            Source::Machine => uptime(),
            #[cfg(feature = "test-clock")]
            Source::Test(clock) => Some(clock.uptime()),
        }
    }
}

/// Reads from the files of Linux how long the machine has been running; `None` if they cannot be read.
fn uptime() -> Option<OwnTime> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned();
    let text = std::fs::read_to_string("/proc/uptime").ok()?;
    let seconds: f64 = text.split_whitespace().next()?.parse().ok()?;
    let micros = Duration::try_from_secs_f64(seconds).ok()?.as_micros();
    Some(OwnTime { micros: i64::try_from(micros).ok()?, boot: Some(boot) })
}
