//! The concurrency limit: bounds how many calls are in flight at the same time.
//!
//! The adaptive limit starts at its maximum. A fixed limit is a guess: if it is too high, it protects nobody; if it is
//! too low, it refuses healthy traffic. A bad ending is a timeout or an overload answer. While most endings are bad,
//! each bad ending lowers the adaptive limit by a tenth. A success raises the limit by one, if at least half of it is
//! in use. (TCP grows more slowly, by one for each round trip, and falls further, by half.) A simpler rule would lower
//! the limit at every bad ending. In a measurement, that rule refused 37 % of healthy traffic at 20 % random 503s. So
//! here the limit is lowered only while more than half of the last 16 endings were bad. The minimum of the limit is
//! one: with a minimum of ten for each caller, many callers together would still be a storm.
//!
//! ```
//! use seawall_policy::{AttemptEnd, Limit, LimitSettings};
//!
//! let mut limit = Limit::new(LimitSettings::fixed(1));
//! let slot = limit.admit(false).expect("nothing in flight");
//! assert!(limit.admit(false).is_err());
//! limit.release(slot, AttemptEnd::Success);
//! assert!(limit.admit(false).is_ok());
//! ```

use crate::problem::{Problem, Wrong};

/// The limit is counted in thousandths of a call, so that a reduction by a tenth is exact enough.
const CALL_MILLI: u64 = 1_000;
/// The limit is lowered only if at least this number of the last 16 endings were bad.
const MOST: u32 = 9;

/// The settings of one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitSettings {
    /// Whether the limit refuses attempts. With `false` all attempts are admitted, and only counted. Default `true`.
    pub enabled: bool,
    /// The maximum number of calls in flight; zero counts as one. Default 1000: far above what a program has in flight
    /// at one healthy dependency, so only a program that is out of control reaches it.
    pub max: u32,
    /// Whether the limit falls below `max` under overload. Default `true`.
    pub adaptive: bool,
}

impl Default for LimitSettings {
    fn default() -> Self {
        LimitSettings { enabled: true, max: 1000, adaptive: true }
    }
}

impl LimitSettings {
    /// Returns settings with which the limit refuses nothing and only counts attempts.
    #[must_use]
    pub fn off() -> LimitSettings {
        LimitSettings { enabled: false, ..LimitSettings::default() }
    }

    /// Returns the settings that could never work, each with the reason. The list is empty if all can work.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let zero = self.enabled && self.max == 0;
        let what = "`max` is 0, which refuses every call";
        let wrong = || Wrong::new(what).help("use at least 1, or turn the limit off");
        zero.then(|| Problem::error("max", wrong())).into_iter().collect()
    }

    /// Returns the settings of a limit that is always `max`.
    #[must_use]
    pub fn fixed(max: u32) -> LimitSettings {
        LimitSettings { max, adaptive: false, ..LimitSettings::default() }
    }

    /// Returns the settings of a limit that adapts between `max` and one.
    #[must_use]
    pub fn adaptive(max: u32) -> LimitSettings {
        LimitSettings { max, ..LimitSettings::default() }
    }

    fn max_milli(&self) -> u64 {
        u64::from(self.max.max(1)) * CALL_MILLI
    }
}

/// The right to have one attempt in flight. It is given back with [`Limit::release`]. A slot that is never given back
/// counts as in flight for ever.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a slot is given back by releasing it"]
pub struct Slot {
    era: u32,
}

/// A refusal because the limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitRefusal {
    /// The number of calls in flight.
    pub in_flight: u32,
    /// The limit at that moment.
    pub limit: u32,
}

/// How an attempt ended, as far as the limit is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptEnd {
    /// The health of the attempt was success.
    Success,
    /// The attempt met overload. There are three cases:
    ///
    /// - It ended at a read timeout or a total timeout.
    /// - The status of its answer is in [`crate::Rules::overload`].
    /// - Its caller gave it up, and the breaker counts that as bad.
    Overload,
    /// Any other ending: 500, no connection, a reset.
    Other,
    /// The ending says nothing of the load: the attempt was not made, or its caller gave it up early.
    Nothing,
}

/// The limit of one endpoint, or of one key at an endpoint.
#[derive(Clone, Debug)]
pub struct Limit {
    settings: LimitSettings,
    in_flight: u32,
    /// The current limit in thousandths of a call, from one call to `max`.
    limit_milli: u64,
    /// The last 16 endings, one bit each. A set bit is an overload.
    recent: u16,
    /// The number of times that the breaker has closed.
    era: u32,
}

impl Limit {
    /// Returns a limit at its maximum, with nothing in flight.
    #[must_use]
    pub fn new(settings: LimitSettings) -> Limit {
        Limit { settings, in_flight: 0, limit_milli: settings.max_milli(), recent: 0, era: 0 }
    }

    /// Returns a slot, if fewer attempts are in flight than the limit allows. For a breaker's probe, the configured
    /// maximum counts and not the adapted limit. Otherwise, after the limit has fallen to one, the probe would have to
    /// wait for the end of a call that hangs.
    ///
    /// # Errors
    /// The limit is reached.
    #[inline]
    pub fn admit(&mut self, probe: bool) -> Result<Slot, LimitRefusal> {
        let limit_milli = if probe { self.settings.max_milli() } else { self.limit_milli };
        if (u64::from(self.in_flight) + 1) * CALL_MILLI > limit_milli && self.settings.enabled {
            let limit = (limit_milli / CALL_MILLI) as u32;
            return Err(LimitRefusal { in_flight: self.in_flight, limit });
        }
        self.in_flight = self.in_flight.saturating_add(1);
        Ok(Slot { era: self.era })
    }

    /// Frees the slot of an attempt that is over, and adapts the limit to how the attempt ended. The limit does not
    /// change if the attempt was admitted before the breaker last closed, since its ending says nothing of the time
    /// after that.
    #[inline]
    pub fn release(&mut self, slot: Slot, end: AttemptEnd) {
        if self.settings.adaptive && slot.era == self.era {
            self.learn(end);
        }
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// Adapts the limit to how an attempt ended. Must be called while this attempt still counts as in flight. The limit
    /// grows only if at least half of it is in use. If the only attempt under a limit of one did not count any more,
    /// that limit could never grow.
    #[inline]
    fn learn(&mut self, end: AttemptEnd) {
        match end {
            AttemptEnd::Success => {
                self.recent <<= 1;
                let most = self.settings.max_milli();
                if self.limit_milli < most && 2 * CALL_MILLI * u64::from(self.in_flight) >= self.limit_milli {
                    self.limit_milli = (self.limit_milli + CALL_MILLI).min(most);
                }
            }
            AttemptEnd::Overload => {
                self.recent = self.recent << 1 | 1;
                if self.recent.count_ones() >= MOST {
                    self.limit_milli = (self.limit_milli * 9 / 10).max(CALL_MILLI);
                }
            }
            AttemptEnd::Other => self.recent <<= 1,
            AttemptEnd::Nothing => {}
        }
    }

    /// Must be called when the breaker closes. Forgets the last 16 endings, because they are from the time before the
    /// breaker closed. The limit keeps its value.
    pub fn breaker_closed(&mut self) {
        self.recent = 0;
        self.era = self.era.wrapping_add(1);
    }

    /// Takes new settings, and changes the present limit in this way:
    ///
    /// - It becomes the new maximum if it was at the old maximum, or if it does not adapt under the new settings.
    /// - Otherwise it stays as it is. But if it is above the new maximum, it becomes the new maximum.
    pub fn adopt(&mut self, settings: LimitSettings) {
        let at_most = self.limit_milli == self.settings.max_milli();
        self.settings = settings;
        if at_most || !settings.adaptive {
            self.limit_milli = settings.max_milli();
        }
        self.limit_milli = self.limit_milli.min(settings.max_milli());
    }

    /// Returns the number of calls that may be in flight now, at least one. It has a value even if the limit is turned
    /// off.
    #[must_use]
    #[inline]
    pub fn limit(&self) -> u32 {
        // Never above `max`, which is a u32.
        (self.limit_milli / CALL_MILLI) as u32
    }

    /// Returns whether [`Limit::admit`] would admit a call that is no probe.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.in_flight < self.limit() || !self.settings.enabled
    }

    /// Returns the number of calls in flight.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// The settings in force.
    #[must_use]
    pub fn settings(&self) -> &LimitSettings {
        &self.settings
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Fills the limit, then ends one attempt with `end`.
    fn end_one(limit: &mut Limit, end: AttemptEnd) {
        let slot = limit.admit(false).expect("free");
        limit.release(slot, end);
    }

    #[test]
    fn a_limit_of_ten_admits_ten_of_a_thousand() {
        let mut limit = Limit::new(LimitSettings::fixed(10));
        let slots: Vec<Slot> = (0..1000).filter_map(|_| limit.admit(false).ok()).collect();
        assert_eq!(slots.len(), 10);
        assert_eq!(limit.admit(false), Err(LimitRefusal { in_flight: 10, limit: 10 }));
        for slot in slots {
            limit.release(slot, AttemptEnd::Nothing);
        }
        assert_eq!(limit.in_flight(), 0);
    }

    #[test]
    fn a_fixed_limit_never_moves() {
        let mut limit = Limit::new(LimitSettings::fixed(10));
        for _ in 0..100 {
            end_one(&mut limit, AttemptEnd::Overload);
        }
        assert_eq!(limit.limit(), 10);
    }

    #[test]
    fn turned_off_it_only_counts() {
        let mut limit = Limit::new(LimitSettings { enabled: false, ..LimitSettings::fixed(1) });
        let slots: Vec<Slot> = (0..50).map(|_| limit.admit(false).expect("off")).collect();
        assert_eq!(limit.in_flight(), 50);
        drop(slots);
    }

    #[test]
    fn it_is_cut_from_the_ninth_bad_of_sixteen_on() {
        let mut limit = Limit::new(LimitSettings::adaptive(1000));
        for _ in 0..8 {
            end_one(&mut limit, AttemptEnd::Overload);
        }
        assert_eq!(limit.limit(), 1000);
        end_one(&mut limit, AttemptEnd::Overload);
        assert_eq!(limit.limit(), 900);
        end_one(&mut limit, AttemptEnd::Overload);
        assert_eq!(limit.limit(), 810);
    }

    #[test]
    fn older_endings_than_sixteen_are_forgotten() {
        let mut limit = Limit::new(LimitSettings::adaptive(1000));
        for _ in 0..8 {
            end_one(&mut limit, AttemptEnd::Overload);
        }
        for _ in 0..16 {
            end_one(&mut limit, AttemptEnd::Other);
        }
        for _ in 0..8 {
            end_one(&mut limit, AttemptEnd::Overload);
        }
        assert_eq!(limit.limit(), 1000, "8 of 16");
    }

    #[test]
    fn other_failures_never_cut_it() {
        let mut limit = Limit::new(LimitSettings::adaptive(1000));
        for _ in 0..100 {
            end_one(&mut limit, AttemptEnd::Other);
        }
        assert_eq!(limit.limit(), 1000);
    }

    #[test]
    fn it_falls_to_one_and_returns() {
        let mut limit = Limit::new(LimitSettings::adaptive(64));
        for _ in 0..500 {
            end_one(&mut limit, AttemptEnd::Overload);
        }
        assert_eq!(limit.limit(), 1);
        let mut calls = 0;
        while limit.limit() < 64 {
            let slots: Vec<Slot> = std::iter::from_fn(|| limit.admit(false).ok()).collect();
            for slot in slots {
                limit.release(slot, AttemptEnd::Success);
                calls += 1;
            }
            assert!(calls < 500, "stuck at {}", limit.limit());
        }
    }

    #[test]
    fn an_idle_limit_does_not_grow() {
        let mut limit = Limit::new(LimitSettings::adaptive(64));
        for _ in 0..200 {
            end_one(&mut limit, AttemptEnd::Overload);
        }
        for _ in 0..1000 {
            end_one(&mut limit, AttemptEnd::Success);
        }
        assert_eq!(limit.limit(), 3, "one in flight justifies two, and the step after it");
    }

    #[test]
    fn random_503s_at_a_fifth_refuse_nobody() {
        let mut limit = Limit::new(LimitSettings::adaptive(1000));
        let mut bits: u64 = 0x5ea_u64;
        let mut slots = std::collections::VecDeque::new();
        for call in 0..100_000 {
            slots.push_back(limit.admit(false).unwrap_or_else(|no| panic!("call {call}: {no:?}")));
            if slots.len() == 64 {
                bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let end =
                    if (bits >> 33).is_multiple_of(5) { AttemptEnd::Overload } else { AttemptEnd::Success };
                limit.release(slots.pop_front().expect("64 in flight"), end);
            }
        }
    }

    #[test]
    fn a_probe_is_held_back_by_the_maximum_only() {
        let mut limit = Limit::new(LimitSettings::adaptive(3));
        for _ in 0..100 {
            end_one(&mut limit, AttemptEnd::Overload);
        }
        let _hung = limit.admit(false).expect("the first");
        assert!(limit.admit(false).is_err());
        let _probes = [limit.admit(true).expect("two of three"), limit.admit(true).expect("three of three")];
        assert_eq!(limit.admit(true), Err(LimitRefusal { in_flight: 3, limit: 3 }));
    }

    #[test]
    fn the_closing_of_the_breaker_clears_what_was_recent_and_keeps_the_limit() {
        let mut limit = Limit::new(LimitSettings::adaptive(1000));
        let late: Vec<Slot> = (0..20).map(|_| limit.admit(false).expect("free")).collect();
        for _ in 0..10 {
            end_one(&mut limit, AttemptEnd::Overload);
        }
        assert_eq!(limit.limit(), 810);
        limit.breaker_closed();
        for slot in late {
            limit.release(slot, AttemptEnd::Overload);
        }
        assert_eq!((limit.limit(), limit.in_flight()), (810, 0), "from before the closing");
        for _ in 0..8 {
            end_one(&mut limit, AttemptEnd::Overload);
        }
        assert_eq!(limit.limit(), 810);
    }

    #[test]
    fn new_settings_keep_what_was_learnt() {
        let mut limit = Limit::new(LimitSettings::adaptive(100));
        limit.adopt(LimitSettings::adaptive(200));
        assert_eq!(limit.limit(), 200);
        for _ in 0..10 {
            end_one(&mut limit, AttemptEnd::Overload);
        }
        assert_eq!(limit.limit(), 162);
        limit.adopt(LimitSettings::adaptive(500));
        assert_eq!(limit.limit(), 162);
        limit.adopt(LimitSettings::adaptive(50));
        assert_eq!(limit.limit(), 50);
        limit.adopt(LimitSettings::fixed(0));
        assert_eq!(limit.limit(), 1);
    }

    proptest! {
        /// Compares the limit with a model, which follows the rule in the module's documentation and keeps every
        /// ending.
        #[test]
        fn agrees_with_a_naive_model(
            max in 1_u32..40,
            steps in prop::collection::vec((0_u8..10, 0_usize..64), 1..600),
        ) {
            let mut limit = Limit::new(LimitSettings::adaptive(max));
            let (mut milli, mut recent, mut era) = (max * 1000, Vec::new(), 0);
            let mut out: Vec<(Slot, u32)> = Vec::new();
            for (what, which) in steps {
                match what {
                    0..=3 => match limit.admit(what == 3) {
                        Ok(slot) => {
                            out.push((slot, era));
                            let most = if what == 3 { max } else { limit.limit() };
                            prop_assert!(out.len() as u32 <= most);
                        }
                        Err(no) => prop_assert_eq!(no.in_flight, out.len() as u32),
                    },
                    4 if which == 0 => {
                        limit.breaker_closed();
                        recent.clear();
                        era += 1;
                    }
                    _ if out.is_empty() => {}
                    _ => {
                        let (slot, of_era) = out.swap_remove(which % out.len());
                        let end = match what {
                            4 => AttemptEnd::Nothing,
                            5 => AttemptEnd::Other,
                            6 | 7 => AttemptEnd::Success,
                            _ => AttemptEnd::Overload,
                        };
                        if of_era == era && end != AttemptEnd::Nothing {
                            recent.push(end == AttemptEnd::Overload);
                            let bad = recent.iter().rev().take(16).filter(|bad| **bad).count();
                            if end == AttemptEnd::Overload && bad > 8 {
                                milli = (milli * 9 / 10).max(1000);
                            }
                            if end == AttemptEnd::Success && 2000 * (out.len() as u32 + 1) >= milli {
                                milli = (milli + 1000).min(max * 1000);
                            }
                        }
                        limit.release(slot, end);
                    }
                }
                prop_assert!(limit.limit() >= 1 && limit.limit() <= max);
                prop_assert_eq!(limit.limit(), milli / 1000);
                prop_assert_eq!(limit.in_flight(), out.len() as u32);
            }
        }
    }
}
