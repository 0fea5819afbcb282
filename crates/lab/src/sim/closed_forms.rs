//! Retry storms in closed form: at which load a dependency survives its callers' repeats, and how long it takes to
//! recover.
//!
//! Let `a` be the number of attempts that a call makes when all of them fail. Above a load of `1/a`, an overload never
//! ends once it has begun, because the repeats keep it alive. Below that load the time of its end can be computed. So
//! these formulas say how much harm repeats do at which load: below `1/a` they make an overload longer, and above it
//! they keep it alive.
//!
//! The formulas treat attempts as a steady flow, and not as single events (a fluid limit). They assume many callers, a
//! queue that is first come, first served, and work that continues after its caller has given up. A test compares them
//! with the simulator, for several loads, several troubles (how long they last, how much capacity they leave) and
//! several budgets.
//!
//! In all formulas, the load is the number of calls as a share of the capacity (without repeats), and times are in
//! seconds.
//!
//! ```
//! use seawall_lab::sim::closed_forms::{Overload, critical_load};
//!
//! // With three attempts for each call, an overload never ends if the load is above a third of the capacity.
//! assert!((critical_load(3.0) - 1.0 / 3.0).abs() < 1e-9);
//! // For ten seconds the provider has a fifth of its capacity. The load is 70 %, and there are no repeats. Calls are
//! // answered in time again 13 s later. With three attempts for each call, that never happens.
//! let overload = Overload { load: 0.7, lasts: 10.0, left: 0.2, attempts: 1.0, stored: 0.0, timeout: 1.0 };
//! assert_eq!(overload.recovery().map(f64::round), Some(13.0));
//! assert_eq!(Overload { attempts: 3.0, ..overload }.recovery(), None);
//! ```

/// Returns the load above which an overload never ends: `1/a`. Here `a` stands for `attempts`, the number of attempts
/// that each call makes while all attempts fail.
///
/// For three attempts the load is 1/3. If a budget allows `b` repeats for each call, it is `1/(1 + b)`: with `b` = 0.1,
/// one repeat for every ten calls. If a budget earns its tokens from *successes* only, or if calls are not repeated, it
/// is 1.
#[must_use]
pub fn critical_load(attempts: f64) -> f64 {
    1.0 / attempts.max(1.0)
}

/// An overload: a provider that loses a part of its capacity for a while, and its callers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Overload {
    /// The number of calls per second, as a share of the capacity. The formulas call it ρ.
    pub load: f64,
    /// How long a part of the capacity is missing, in seconds. The formulas call it T.
    pub lasts: f64,
    /// The share of the capacity that is left during this time. The formulas call it d.
    pub left: f64,
    /// The number of attempts for each call while all attempts fail. It is 1 if repeats have a budget that only
    /// successes pay for. The formulas call it a.
    pub attempts: f64,
    /// The tokens that all callers together have saved for repeats, as a time in seconds: how long the provider would
    /// need for those repeats at full capacity. It is `callers · tokens / capacity`. The formulas call it B.
    pub stored: f64,
    /// How long an attempt waits for its answer, in seconds. The formulas call it τ.
    pub timeout: f64,
}

impl Overload {
    /// Returns the number of seconds from the end of the slow time (in which a part of the capacity is missing) until
    /// calls are answered in time again: `[T(aρ − d) + B − τ] / (1 − aρ)`. The docs of the fields say what the letters
    /// mean.
    ///
    /// - Returns zero if the slow time is so short that no attempt waits longer than the timeout.
    /// - Otherwise returns `None` if `aρ ≥ 1`, because then calls are never answered in time again.
    ///
    /// During the slow time a backlog of attempts builds up. Afterwards the backlog is worked off with the capacity
    /// that new attempts do not need. Calls are answered in time again when an attempt waits in the backlog for less
    /// than the timeout. So the backlog need not be worked off whole, which is why τ is subtracted.
    #[must_use]
    pub fn recovery(&self) -> Option<f64> {
        let sent = self.attempts.max(1.0) * self.load;
        // If every attempt in the backlog is served before its timeout, nothing fails, so nothing is repeated.
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

/// Returns the number of attempts that reach the last of `tiers` tiers for one call at the first tier, if all attempts
/// fail and each tier makes `tries` attempts. The number is `r^t`, where `r` stands for `tries` and `t` for `tiers`.
///
/// If only the first tier has a budget, the number is still `r^(t − 1)`. If every tier has a budget that only successes
/// pay for, the number is 1.
#[must_use]
pub fn amplification(tries: f64, tiers: u32) -> f64 {
    tries.max(1.0).powi(i32::try_from(tiers).unwrap_or(i32::MAX))
}

/// The concurrency limit of each caller has a minimum, below which it does not fall. Returns the largest minimum with
/// which the limits still protect a provider: `capacity · timeout / callers`. The capacity is in attempts per second,
/// the timeout in seconds.
///
/// If `callers` callers each keep at least this number of attempts under way, they fill a queue that takes the whole
/// timeout to work off. Every attempt then times out, even if all limits are at their minimum.
#[must_use]
pub fn largest_minimum_limit(callers: f64, capacity: f64, timeout: f64) -> f64 {
    capacity * timeout / callers.max(1.0)
}

/// All callers of a fleet save tokens for repeats. In an overload these repeats are made, and the recovery takes
/// longer. Returns how many repeats all callers together may save, if the recovery is to take at most `seconds` longer:
/// `(1 − load) · capacity · seconds`. The load is a share of the capacity, and the capacity is in attempts per second.
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
