//! Computes the database's current time without a question to the database each time.
//!
//! All workers use the database's clock, since their own clocks differ. Asking the database before each decision would
//! cost a round trip. The obvious short cut is the machine's own wall clock. But a worker whose clock is ahead would
//! then believe that a quiet time is over while it still runs. So each answer that carries the database's time is kept
//! together with two moments of the monotonic clock: before the question and after the answer. These moments give two
//! bounds, and both are on the safe side:
//!
//! - [`DbClock::now`] counts from the moment at which the answer had *arrived*. It is never later than the database's
//!   own clock, so deadlines that are computed from it come out earlier.
//! - [`DbClock::instant_of`] counts from the moment *before the question*. The moment that it returns is never later
//!   than the one at which the database's clock shows the given time. So a byte that is sent before the returned moment
//!   is sent before the deadline.

use std::time::{Duration, Instant};
#[cfg(feature = "sqlite")]
use std::time::{SystemTime, UNIX_EPOCH};

use crate::machine::Stamp;

/// An answer of the database that carried its time, with the moments before the question and after the answer.
#[derive(Clone, Copy, Debug)]
pub struct DbClock {
    stamp: Stamp,
    asked: Instant,
    heard: Instant,
}

impl DbClock {
    /// Makes the value from an answer of the database that has just arrived. The database's clock showed `stamp` at
    /// some moment between `asked`, when the question was sent, and now.
    #[must_use]
    pub fn heard(stamp: Stamp, asked: Instant) -> DbClock {
        DbClock { stamp, asked, heard: Instant::now() }
    }

    /// Returns the database's time at this moment, or an earlier time, but never a later one.
    #[must_use]
    pub fn now(&self) -> Stamp {
        self.now_at(Instant::now())
    }

    fn now_at(&self, instant: Instant) -> Stamp {
        self.stamp.saturating_add(instant.saturating_duration_since(self.heard))
    }

    /// Returns the moment, on this machine's monotonic clock, at which the database's clock will show `stamp`. The
    /// returned moment may be too early, but never too late.
    #[must_use]
    pub fn instant_of(&self, stamp: Stamp) -> Instant {
        let ahead = stamp.since(self.stamp);
        let moved = if ahead.is_zero() {
            self.asked.checked_sub(self.stamp.since(stamp))
        } else {
            self.asked.checked_add(ahead)
        };
        moved.unwrap_or(self.asked)
    }

    /// Returns the time since the answer came. The longer that time is, the less exact the computed times are, since
    /// the two clocks drift apart.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.heard.elapsed()
    }
}

/// Returns the time that this machine's wall clock shows.
#[cfg(feature = "sqlite")]
pub(crate) fn machine_time() -> Stamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Stamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_err_on_the_safe_side() {
        let asked = Instant::now();
        let clock =
            DbClock { stamp: Stamp::from_micros(1_000_000), asked, heard: asked + Duration::from_millis(40) };
        // The database read its clock at some moment between the question and the answer, 40 ms later. So one second
        // after the answer, the database's clock shows at least this time.
        let later = asked + Duration::from_millis(1040);
        assert_eq!(clock.now_at(later), Stamp::from_micros(2_000_000));
        // The database's clock shows two seconds no earlier than one second after the question.
        assert_eq!(clock.instant_of(Stamp::from_micros(2_000_000)), asked + Duration::from_secs(1));
        assert!(
            clock.now_at(clock.instant_of(Stamp::from_micros(2_000_000))) <= Stamp::from_micros(2_000_000)
        );
        let before = clock.instant_of(Stamp::from_micros(500_000));
        assert_eq!(asked.duration_since(before), Duration::from_millis(500));
    }
}
