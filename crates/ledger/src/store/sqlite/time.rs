//! The one place from which a store of SQLite takes the time.

use crate::clock::machine_time;
use crate::machine::Stamp;
#[cfg(feature = "testing")]
use crate::testing::TestClock;

/// The clock that counts as the database's clock. SQLite has no server and so no clock of its own: all processes that use
/// the file run on one machine, and share its clock.
#[derive(Clone, Debug, Default)]
pub(crate) enum Source {
    /// The machine's clock.
    #[default]
    Machine,
    /// A clock that a test moves.
    #[cfg(feature = "testing")]
    Test(TestClock),
}

impl Source {
    /// Returns the time that the clock shows. SQLite's own time function is not used, since it rounds to milliseconds:
    /// a row that was written in the same millisecond could then seem to be later than now.
    pub(crate) fn stamp(&self) -> Stamp {
        match self {
            Source::Machine => machine_time(),
            #[cfg(feature = "testing")]
            Source::Test(clock) => clock.now(),
        }
    }
}
