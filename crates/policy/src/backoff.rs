//! Computes how long to wait before a repeat.
//!
//! The wait is drawn uniformly from zero to a bound that doubles with each repeat ("full jitter"; M. Brooker,
//! *Exponential Backoff and Jitter*, AWS Architecture Blog, 2015). The obvious rule is an interval that grows in fixed
//! steps. By that rule, callers that failed together come back together, as one wave.
//!
//! If an answer names a time (`Retry-After`), the draw is added to that time. Without the draw, all callers that were
//! told the same time would come back at the same moment.

use std::time::Duration;

use crate::problem::{Problem, Wrong, show_time};

/// A random number with 64 bits. The driver draws it, because this crate has no randomness of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw(u64);

impl Draw {
    /// Makes a draw from 64 uniform random bits.
    #[must_use]
    pub const fn new(bits: u64) -> Draw {
        Draw(bits)
    }

    /// Returns the draw as a number in `[0, 1)`.
    #[must_use]
    pub fn unit(self) -> f64 {
        // An f64 holds only 53 bits without rounding, so the lowest 11 of the 64 bits are left out.
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Returns a uniform random time from zero to `bound`.
    #[must_use]
    pub fn share_of(self, bound: Duration) -> Duration {
        let nanos = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(((u128::from(nanos) * u128::from(self.0)) >> 64) as u64)
    }
}

/// The settings of the wait before a repeat. The wait is random, from zero to a bound. The bound is `base` for the
/// first repeat, doubles with each further repeat, and is at most `cap`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The bound of the first wait. Default 50 ms: longer than a short interruption by a network or a garbage
    /// collector, and too short for a person to notice.
    pub base: Duration,
    /// The maximum of the bound. Default 2 s.
    pub cap: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff { base: Duration::from_millis(50), cap: Duration::from_secs(2) }
    }
}

impl Backoff {
    /// Returns the settings that could never work, each with the reason. The list is empty if all can work.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let Backoff { base, cap } = *self;
        let what = || format!("base {} is longer than cap {}", show_time(base), show_time(cap));
        (base > cap).then(|| Problem::error("base", Wrong::new(what())).with(&["cap"])).into_iter().collect()
    }

    /// Returns the wait before repeat number `repeat` (1 is the first). `retry_after` is the time that the answer
    /// named, if any. The wait is this time plus a random draw. The bound of the draw is the usual bound of this repeat
    /// or a quarter of the named time, whichever is longer.
    #[must_use]
    pub fn wait(&self, repeat: u32, retry_after: Option<Duration>, draw: Draw) -> Duration {
        let doublings = repeat.saturating_sub(1).min(31);
        let bound = self.base.saturating_mul(1 << doublings).min(self.cap);
        let named = retry_after.unwrap_or(Duration::ZERO);
        named.saturating_add(draw.share_of(bound.max(named / 4)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Draw = Draw::new(u64::MAX);

    #[test]
    fn the_bound_doubles_up_to_the_cap() {
        let backoff = Backoff { base: Duration::from_millis(100), cap: Duration::from_millis(350) };
        let bounds: Vec<u128> =
            (1..=4).map(|n| backoff.wait(n, None, MAX).as_nanos().div_ceil(1_000_000)).collect();
        assert_eq!(bounds, [100, 200, 350, 350]);
        assert_eq!(backoff.wait(u32::MAX, None, MAX).as_millis(), 349, "no overflow far out");
    }

    #[test]
    fn the_draw_spreads_over_the_whole_interval() {
        let backoff = Backoff::default();
        assert_eq!(backoff.wait(1, None, Draw::new(0)), Duration::ZERO);
        assert_eq!(backoff.wait(1, None, Draw::new(1 << 63)), Duration::from_millis(25));
        assert!(MAX.unit() < 1.0);
    }

    #[test]
    fn the_draw_is_added_to_the_time_that_was_named() {
        let backoff = Backoff::default();
        let named = |millis| Some(Duration::from_millis(millis));
        let least_and_most = |named| [Draw::new(0), MAX].map(|draw| backoff.wait(1, named, draw).as_millis());
        assert_eq!(least_and_most(named(4_000)), [4_000, 4_999], "a quarter of it");
        assert_eq!(least_and_most(named(100)), [100, 149], "the bound");
        assert_eq!(least_and_most(named(0)), [0, 49]);
    }
}
