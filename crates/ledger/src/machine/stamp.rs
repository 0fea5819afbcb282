//! A point in time on the database's clock.
//!
//! Leases and quiet times are compared on several machines whose own clocks differ, so all of them use the database's
//! clock. The unit is the microsecond, since PostgreSQL keeps times in microseconds.

use std::time::Duration;

/// Microseconds since the Unix epoch, on the database's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp(i64);

impl Stamp {
    /// Makes the moment that is `micros` microseconds after the Unix epoch, or before it if `micros` is negative.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Stamp {
        Stamp(micros)
    }

    /// Returns the number of microseconds since the Unix epoch.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Returns this moment moved forward by `by`. If the sum is too large, the latest possible moment is returned.
    #[must_use]
    pub fn saturating_add(self, by: Duration) -> Stamp {
        Stamp(self.0.saturating_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)))
    }

    /// Returns this moment moved back by `by`. If the result is too early, the earliest possible moment is returned.
    #[must_use]
    pub fn saturating_sub(self, by: Duration) -> Stamp {
        Stamp(self.0.saturating_sub(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)))
    }

    /// Returns the time from `earlier` to this moment; zero if this moment is not later than `earlier`.
    #[must_use]
    pub fn since(self, earlier: Stamp) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}
