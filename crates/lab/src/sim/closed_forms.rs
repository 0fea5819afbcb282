//! What a storm does, in closed form: how much repetition a dependency survives, and how long it takes to recover.
//!
//! The obvious question is whether the callers' repeats "help". These formulas say when repeats do harm. Above a load
//! of `1/a`, where `a` is the number of attempts that a call makes when all fail, an overload that has begun feeds
//! itself for ever. Below that load its end can be computed. The formulas are fluid limits: many callers, first come
//! first served, and work that goes on after its caller has given up. The simulator checks them over a grid of loads,
//! triggers and budgets.
//!
//! In all of them the load is the calls offered as a share of capacity, and times are in seconds.
//!
//! ```
//! use seawall_lab::sim::closed_forms::{Overload, critical_load};
//!
//! // Three tries: never again whole above a third of the capacity.
//! assert!((critical_load(3.0) - 1.0 / 3.0).abs() < 1e-9);
//! // Ten seconds at a fifth of the capacity, at 70 % load, without repeats: whole again 13 s later.
//! let overload = Overload { load: 0.7, lasts: 10.0, left: 0.2, attempts: 1.0, stored: 0.0, timeout: 1.0 };
//! assert_eq!(overload.recovery().map(f64::round), Some(13.0));
//! assert_eq!(Overload { attempts: 3.0, ..overload }.recovery(), None);
//! ```

/// The load above which an overload never ends, for callers that make `attempts` attempts of a call while all fail: `1/a`.
///
/// For three tries it is 1/3. For a budget of `b` repeats for each *request* it is `1/(1 + b)`. For a budget that only
/// *successes* pay for, and without repeats, it is 1.
#[must_use]
pub fn critical_load(attempts: f64) -> f64 {
    1.0 / attempts.max(1.0)
}

/// A provider that has lost a part of its capacity for a while, and its callers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Overload {
    /// Calls offered, as a share of capacity; ρ.
    pub load: f64,
    /// Seconds for which capacity is missing; T.
    pub lasts: f64,
    /// The share of capacity that is left meanwhile; d.
    pub left: f64,
    /// Attempts for each call while all fail; a. With a budget paid for by successes it is 1.
    pub attempts: f64,
    /// Repeats that the fleet has saved up, in seconds of capacity; B. `callers · tokens / capacity`.
    pub stored: f64,
    /// Seconds that an attempt waits for its answer; τ.
    pub timeout: f64,
}

impl Overload {
    /// Seconds from the end of the trouble until calls are answered in time again: `[T(aρ − d) + B − τ] / (1 − aρ)`. It
    /// is `None`, which means never, where `aρ ≥ 1`.
    ///
    /// Attempts that came in and were not served wait in front of those that come now. They are worked off with the
    /// capacity that is left over. An attempt that waits for less than the timeout is answered in time.
    #[must_use]
    pub fn recovery(&self) -> Option<f64> {
        let sent = self.attempts.max(1.0) * self.load;
        // Without a backlog of a timeout's length nothing fails, and nothing is repeated.
        let begins = self.lasts * (self.load - self.left) > self.timeout;
        if !begins {
            return Some(0.0);
        }
        if sent >= 1.0 {
            return None;
        }
        let backlog = self.lasts * (sent - self.left) + self.stored - self.timeout;
        Some((backlog / (1.0 - sent)).max(0.0))
    }
}

/// The number of attempts at the last of several tiers for one call at the first, when all fail and each tier makes
/// `tries` attempts: `r^t`.
///
/// A budget at the top tier alone still leaves `r^(t − 1)`. A budget at every tier that successes pay for leaves 1.
#[must_use]
pub fn amplification(tries: f64, tiers: u32) -> f64 {
    tries.max(1.0).powi(i32::try_from(tiers).unwrap_or(i32::MAX))
}

/// The largest minimum of a caller's own concurrency limit that still protects a provider: `µτ/N`.
///
/// Where `callers` each keep at least this number of attempts under way, they fill a queue that takes the whole timeout
/// to work off. Then every attempt times out, whatever the limit does.
#[must_use]
pub fn largest_minimum_limit(callers: f64, capacity: f64, timeout: f64) -> f64 {
    capacity * timeout / callers.max(1.0)
}

/// How many repeats all callers of a fleet together may have saved up, if the repeats may prolong recovery by
/// `seconds`: `(1 − ρ) · µ · seconds`.
#[must_use]
pub fn affordable_credit(load: f64, capacity: f64, seconds: f64) -> f64 {
    (1.0 - load).max(0.0) * capacity * seconds
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Overload =
        Overload { load: 0.7, lasts: 10.0, left: 0.2, attempts: 1.0, stored: 0.0, timeout: 1.0 };

    fn near(found: Option<f64>, known: f64) -> bool {
        found.is_some_and(|found| (found - known).abs() < 0.05)
    }

    #[test]
    fn recovery_grows_with_load_savings_and_attempts() {
        assert!(near(BASE.recovery(), 13.33));
        assert!(near(Overload { load: 0.9, ..BASE }.recovery(), 60.0));
        assert!(near(Overload { stored: 2.0, ..BASE }.recovery(), 20.0), "a hundred full buckets of ten");
        assert!(near(Overload { stored: 10.0, ..BASE }.recovery(), 46.67), "the AWS SDKs' five hundred");
        assert!(near(Overload { stored: 2.0, attempts: 1.1, ..BASE }.recovery(), 29.13));
        assert!(near(Overload { stored: 2.0, attempts: 1.2, ..BASE }.recovery(), 46.25));
        assert_eq!(Overload { attempts: 3.0, ..BASE }.recovery(), None);
    }

    #[test]
    fn a_trouble_too_short_to_fill_a_timeout_leaves_nothing_behind() {
        assert_eq!(Overload { lasts: 1.0, attempts: 3.0, ..BASE }.recovery(), Some(0.0));
    }

    #[test]
    fn tiers_multiply_and_fleets_divide() {
        assert_eq!(amplification(3.0, 3), 27.0);
        assert_eq!(amplification(0.0, 3), 1.0);
        assert_eq!(largest_minimum_limit(100.0, 500.0, 1.0), 5.0);
        assert!((affordable_credit(0.7, 500.0, 10.0) - 1500.0).abs() < 1e-6);
        assert_eq!(affordable_credit(1.5, 500.0, 10.0), 0.0);
    }
}
