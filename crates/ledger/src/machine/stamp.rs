//! A point in time on the database's clock.
//!
//! Leases and quiet times are compared by several machines whose own clocks differ. The clock that they share is the
//! database's. Its unit is the microsecond, because that is what PostgreSQL keeps.

use std::time::Duration;

/// Microseconds since the Unix epoch, on the database's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp(i64);

impl Stamp {
    /// The moment `micros` microseconds after the epoch.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Stamp {
        Stamp(micros)
    }

    /// Microseconds since the epoch.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// This moment moved forward. The result saturates.
    #[must_use]
    pub fn saturating_add(self, by: Duration) -> Stamp {
        Stamp(self.0.saturating_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)))
    }

    /// How long after `earlier` this is; zero if it is not after it.
    #[must_use]
    pub fn since(self, earlier: Stamp) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}
