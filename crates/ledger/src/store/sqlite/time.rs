//! The one place from which a store of SQLite takes the time.

use crate::clock::machine_time;
use crate::machine::Stamp;
#[cfg(feature = "test-clock")]
use crate::testing::TestClock;

/// The clock that counts as the database's clock. SQLite has no server and so no clock of its own: all processes that use
/// the file run on one machine, and share its clock.
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
    /// Waits until a test moves the clock; the machine's clock is never moved. A move after the call of this function
    /// is not missed, even if the future is polled later.
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

    /// Returns the time that the clock shows. SQLite's own time function is not used, since it rounds to milliseconds:
    /// a row that was written in the same millisecond could then seem to be later than now.
    pub(crate) fn stamp(&self) -> Stamp {
        match self {
            Source::Machine => machine_time(),
            #[cfg(feature = "test-clock")]
            Source::Test(clock) => clock.now(),
        }
    }
}
