//! Measures how many calls a dependency serves per second in normal times.
//!
//! After an outage, the ledger's actions that have waited are sent at a share of the normal load. The obvious measure
//! of this load, an average over the last minutes, is wrong exactly then: in an outage of half an hour it falls to
//! nothing. So time is divided into slices. A slice in which more than a third of the calls failed or were refused does
//! not count. The slices without any call that follow it do not count either, since callers may have stopped because of
//! the outage.

use std::time::Duration;

use crate::time::Time;

/// The length of a slice.
const SLICE: Duration = Duration::from_secs(10);

/// After this number of slices, the average is good enough to be returned.
const FIRST: u32 = 6;

/// The average is taken over about this number of slices.
const SLICES: u32 = 18;

/// The calls that a dependency serves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Served {
    /// When the present slice began; `None` before the first call.
    began: Option<Time>,
    good: u32,
    bad: u32,
    /// The average over the slices of time, in thousandths of a call per second. A slice in which many calls failed is
    /// left out, and so are the empty slices directly after it.
    average_milli: u64,
    /// The number of slices that counted, at most [`SLICES`].
    counted: u32,
    /// Whether the last slice with calls did not count.
    is_in_trouble: bool,
}

impl Served {
    /// Counts a call that ended or was refused. `good` says whether it succeeded.
    #[inline]
    pub fn ended(&mut self, good: bool, now: Time) {
        let began = *self.began.get_or_insert(now);
        if now.since(began) >= SLICE {
            self.close(began, now);
        }
        let count = if good { &mut self.good } else { &mut self.bad };
        *count = count.saturating_add(1);
    }

    /// Returns how many calls are served per second in normal times, in thousandths of a call. Returns `None` during
    /// the first minute.
    #[must_use]
    pub fn per_second_milli(&self) -> Option<u64> {
        (self.counted >= FIRST).then_some(self.average_milli)
    }

    #[cold]
    fn close(&mut self, began: Time, now: Time) {
        if self.good + self.bad > 0 {
            self.is_in_trouble = u64::from(self.bad) * 2 > u64::from(self.good);
            if !self.is_in_trouble {
                self.count(self.good);
            }
        }
        let slices = now.since(began).as_nanos() / SLICE.as_nanos();
        let empty = u32::try_from(slices - 1).unwrap_or(u32::MAX);
        if !self.is_in_trouble {
            // After this number of slices without calls, the average is nearly zero, so no more of them are counted.
            (0..empty.min(20 * SLICES)).for_each(|_| self.count(0));
        }
        self.began = Some(began.saturating_add(SLICE.saturating_mul(empty.saturating_add(1))));
        (self.good, self.bad) = (0, 0);
    }

    fn count(&mut self, calls: u32) {
        self.counted = (self.counted + 1).min(SLICES);
        let milli = u64::from(calls) * 1000 / SLICE.as_secs();
        let share = u64::from(self.counted);
        self.average_milli = (self.average_milli * (share - 1) + milli) / share;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets calls end in each of `seconds` seconds, beginning with the second `from`: `good` calls that succeed and
    /// `bad` calls that fail. Returns the number of the first second after these.
    fn runs(served: &mut Served, from: u64, seconds: u64, good: u32, bad: u32) -> u64 {
        for second in from..from + seconds {
            (0..good).for_each(|_| served.ended(true, Time::from_millis(second * 1000)));
            (0..bad).for_each(|_| served.ended(false, Time::from_millis(second * 1000 + 1)));
        }
        from + seconds
    }

    #[test]
    fn nothing_is_known_in_the_first_minute() {
        let mut served = Served::default();
        let now = runs(&mut served, 0, 55, 20, 0);
        assert_eq!(served.per_second_milli(), None);
        runs(&mut served, now, 10, 20, 0);
        assert_eq!(served.per_second_milli(), Some(20_000));
    }

    #[test]
    fn an_outage_takes_nothing_away() {
        let mut served = Served::default();
        let mut now = runs(&mut served, 0, 300, 20, 0);
        // First all calls fail, then there are no calls for an hour, and then all calls fail again.
        now = runs(&mut served, now, 600, 0, 20);
        now = runs(&mut served, now + 3600, 600, 0, 1);
        assert_eq!(served.per_second_milli(), Some(20_000));
        // One call in twenty fails, for example because one operation of many fails. Such slices count.
        runs(&mut served, now, 1800, 19, 1);
        let normal = served.per_second_milli().unwrap();
        assert!((18_900..=19_100).contains(&normal), "{normal}");
    }

    #[test]
    fn a_quiet_night_counts() {
        let mut served = Served::default();
        let now = runs(&mut served, 0, 300, 20, 0);
        runs(&mut served, now + 8 * 3600, 1, 1, 0);
        assert_eq!(served.per_second_milli(), Some(0));
        // The average covers about the last three minutes. So after ten minutes it is nearly the number of these calls.
        runs(&mut served, now + 8 * 3600, 600, 40, 0);
        let normal = served.per_second_milli().unwrap();
        assert!((37_000..=40_000).contains(&normal), "{normal}");
    }
}
