//! A point in time, as the driver counts it.
//!
//! Time is a plain count of nanoseconds since an origin that the driver chooses; the machines of this crate never read
//! a clock. `std::time::Instant` would tie them to a real clock. Only the operating system can make an `Instant`, so a
//! simulator that runs hours in milliseconds could not use it. The count takes eight bytes and can be compared. It ends
//! after 584 years, and all arithmetic saturates there: a moment beyond the end becomes [`Time::NEVER`].

use std::time::Duration;

/// Nanoseconds since the driver's origin (a process' start, or zero in a simulation).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// The driver's origin: the moment from which it counts time.
    pub const ZERO: Time = Time(0);
    /// A moment that no clock ever reaches. As a deadline it means that there is no deadline.
    pub const NEVER: Time = Time(u64::MAX);

    /// Returns the moment `nanos` nanoseconds after the origin.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Time {
        Time(nanos)
    }

    /// Returns the moment `millis` milliseconds after the origin.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Time {
        Time(millis.saturating_mul(1_000_000))
    }

    /// Returns the number of nanoseconds since the origin.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Returns this moment plus `by`. If the sum would overflow, it is [`Time::NEVER`]; `NEVER` plus any duration is
    /// `NEVER` again.
    #[must_use]
    #[inline]
    pub const fn saturating_add(self, by: Duration) -> Time {
        // The sum is computed with 64 bits, because `Duration::as_nanos` would take 128. If `whole` saturates, the sum
        // saturates too.
        let whole = by.as_secs().saturating_mul(1_000_000_000);
        Time(self.0.saturating_add(whole.saturating_add(by.subsec_nanos() as u64)))
    }

    /// Returns the time from `earlier` to this moment; zero if this moment is not after `earlier`.
    #[must_use]
    #[inline]
    pub const fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(Time::from_millis(3).saturating_add(Duration::from_millis(2)), Time::from_millis(5));
        assert_eq!(Time::from_millis(3).since(Time::from_millis(5)), Duration::ZERO);
        assert_eq!(Time::from_millis(5).since(Time::from_millis(3)), Duration::from_millis(2));
        assert_eq!(Time::from_millis(1).saturating_add(Duration::MAX), Time::NEVER);
        assert_eq!(Time::NEVER.saturating_add(Duration::from_secs(1)), Time::NEVER);
    }
}
