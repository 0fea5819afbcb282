//! The retry budget: repeats are paid for by successes.
//!
//! A success earns a share of a token and a repeat costs a whole one, so a dependency without successes soon gets no
//! repeats at all. The obvious rule, "at most three attempts for each call", multiplies the load exactly when the
//! provider can serve the least. If each call fails, that rule makes three attempts of it. So once the calls are more
//! than a third of what the provider can serve, an overloaded provider never recovers. Another rule lets every request
//! earn for the budget, even a failed one, so that repeats may add 10 % to the load. That is still enough to keep an
//! overloaded provider from recovering.
//!
//! Two other rules are left out: a minimum of repeats per second, and a full budget at the start. In a large fleet, the
//! repeats that they allow to each instance add up to a storm. A maximum bounds the tokens that a long healthy time can
//! save.

use crate::problem::{Problem, Wrong};

/// How tokens are earned and saved. All fields are in thousandths of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetSettings {
    /// Thousandths of a token that one successful call earns. Default 200: if 10 % of the calls fail, there is always a
    /// token for a repeat, and repeats add at most a fifth to the load.
    pub per_success_milli: u32,
    /// The maximum number of tokens that can be saved, in thousandths. Default 10 000, which pays for ten repeats.
    pub burst_milli: u32,
    /// The tokens at the start, in thousandths. Default 1 000, which pays for one repeat before any success.
    pub initial_milli: u32,
}

impl Default for BudgetSettings {
    fn default() -> Self {
        BudgetSettings { per_success_milli: 200, burst_milli: 10_000, initial_milli: 1_000 }
    }
}

impl BudgetSettings {
    /// Returns the settings that could never work, each with the reason. The list is empty if all can work.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut found = Vec::new();
        if self.per_success_milli > COST_MILLI {
            found.push(Problem::error(
                "per_success",
                Wrong::new("`per_success` is more than 1, the price of a repeat"),
            ));
        }
        if self.initial_milli > self.burst_milli {
            found.push(
                Problem::error("initial", Wrong::new("`initial` is more than `burst` can hold"))
                    .with(&["burst"]),
            );
        }
        found
    }
}

/// What a repeat costs, in thousandths of a token.
const COST_MILLI: u32 = 1_000;

/// The retry budget of one dependency: a bucket of tokens.
#[derive(Clone, Debug)]
pub struct Budget {
    settings: BudgetSettings,
    milli: u32,
}

impl Budget {
    /// Returns a budget with the tokens of `initial_milli`, but at most `burst_milli`.
    #[must_use]
    pub fn new(settings: BudgetSettings) -> Budget {
        Budget { settings, milli: settings.initial_milli.min(settings.burst_milli) }
    }

    /// Earns `per_success_milli` for a call that succeeded. The tokens never exceed `burst_milli`.
    #[inline]
    pub fn earn(&mut self) {
        let more = self.milli.saturating_add(self.settings.per_success_milli);
        self.milli = more.min(self.settings.burst_milli);
    }

    /// Pays one token for one repeat. Returns `false` and takes nothing if less than one token is left.
    #[must_use]
    pub fn spend(&mut self) -> bool {
        match self.milli.checked_sub(COST_MILLI) {
            Some(rest) => {
                self.milli = rest;
                true
            }
            None => false,
        }
    }

    /// Takes new settings. Saved tokens are kept, up to the new maximum.
    pub fn adopt(&mut self, settings: BudgetSettings) {
        self.settings = settings;
        self.milli = self.milli.min(settings.burst_milli);
    }

    /// Returns the number of tokens that are left, in thousandths.
    #[must_use]
    pub fn tokens_milli(&self) -> u32 {
        self.milli
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_repeat_at_the_start_then_five_successes_for_each() {
        let mut budget = Budget::new(BudgetSettings::default());
        assert!(budget.spend());
        assert!(!budget.spend());
        for _ in 0..4 {
            budget.earn();
            assert!(!budget.spend());
        }
        budget.earn();
        assert!(budget.spend());
        assert_eq!(budget.tokens_milli(), 0);
    }

    #[test]
    fn savings_are_capped() {
        let mut budget = Budget::new(BudgetSettings::default());
        (0..100_000).for_each(|_| budget.earn());
        assert_eq!((0..100).filter(|_| budget.spend()).count(), 10);
    }

    #[test]
    fn nothing_is_earned_by_failing() {
        let mut budget = Budget::new(BudgetSettings { initial_milli: 0, ..BudgetSettings::default() });
        assert_eq!((0..1000).filter(|_| budget.spend()).count(), 0);
    }
}
