//! Cooling: remembers that an endpoint said "come back later", and refuses calls until then.
//!
//! An answer such as 429 with `Retry-After: 5` is meant for all calls of this program, not only for the call that got
//! it. So the endpoint cools: it refuses all calls until the named time. If the call has a breaker key, only calls with
//! the same key are refused. The endpoint cools only if nothing is lost by that: another endpoint takes the calls, or
//! all calls fail anyway. The calls return a random time after the named time, never before it, and gradually, on a
//! ramp. Three obvious rules are wrong:
//!
//! - Only the call that got the answer waits. In a trial, all of the next hundred calls went to the provider within
//!   those five seconds.
//! - No call passes until the named time, and from then on all calls pass. This makes a wave: of 1 000 simulated
//!   instances 378 calls came in the same tenth of a second, where 50 could be served.
//! - Every 429 stops all calls. Then one customer's limit stops all other customers.
//!
//! ```
//! use std::time::Duration;
//! use seawall_policy::{Cooling, CoolingSettings, Draw, Overload, Time};
//!
//! let mut cooling = Cooling::new(CoolingSettings::default());
//! let told = Overload { named: Some(Duration::from_secs(8)), too_many: true };
//! let now = Time::from_millis(1_000);
//! // No other endpoint, and nobody succeeds.
//! let back = cooling.overloaded(now, told, false, true, || Draw::new(0));
//! assert_eq!(back, Some(Time::from_millis(9_000)), "the lowest draw: as soon as the provider allows");
//! let refusal = cooling.admit(Time::from_millis(2_000)).expect_err("it cools");
//! assert_eq!((refusal.until, refusal.spread), (Time::from_millis(9_000), Duration::from_secs(2)));
//! assert!(cooling.admit(Time::from_millis(9_000)).is_ok());
//! ```

use std::time::Duration;

use crate::backoff::Draw;
use crate::ramp::{Ramp, Ramped};
use crate::time::Time;

/// The shortest cooling. If an answer names a shorter time, this time is used.
const LEAST: Duration = Duration::from_millis(100);
/// How long the first cooling lasts if the answer names no time.
const UNNAMED: Duration = Duration::from_secs(1);
/// The longest cooling after answers that name no time. Each such cooling lasts twice as long as the one before, up to
/// this time.
const UNNAMED_MOST: Duration = Duration::from_secs(30);
/// The shortest and the longest time over which calls return gradually after a cooling.
const BACK: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));
/// After this number of overload answers in a row, the provider counts as refusing all calls, so that an answer with a
/// named time makes the endpoint cool.
///
/// The rule "12 of the last 16" was simulated too, with a provider that refuses the calls of only one customer. With
/// two customers, that rule stopped the calls of both by chance: 66 % of the other customer's calls were refused. With
/// the rule "12 in a row", only 4 % were. Even with five customers, the rule "12 of the last 16" sometimes stopped all
/// calls.
const IN_A_ROW: u32 = 12;

/// The settings of an endpoint's cooling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoolingSettings {
    /// Whether an endpoint can cool. With `false`, a time that an answer names delays only the call that got the
    /// answer. Default `true`.
    pub enabled: bool,
    /// The longest time for which one answer makes an endpoint cool. A longer named time counts as this maximum.
    /// Default 60 s, since most providers count their limits by the minute.
    pub after_max: Duration,
}

impl Default for CoolingSettings {
    fn default() -> Self {
        CoolingSettings { enabled: true, after_max: Duration::from_secs(60) }
    }
}

impl CoolingSettings {
    /// Returns a named time, brought within the bounds `LEAST` and `after_max`.
    fn clamped(&self, named: Duration) -> Duration {
        named.clamp(LEAST, self.after_max.max(LEAST))
    }
}

/// An answer that says "come back later".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overload {
    /// For how long, counted from now, the provider wants no calls; `None` if the answer names no time.
    pub named: Option<Duration>,
    /// Whether the answer's status was 429.
    pub too_many: bool,
}

/// A refusal because the endpoint cools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoolingRefusal {
    /// When a caller may come back:
    ///
    /// - Until the end of the time for which the provider wants no calls: at that end.
    /// - After that end, while no call passes yet: at the time when the first call passes.
    /// - If some calls pass already: now.
    pub until: Time,
    /// Refused callers are to come back within this time after `until`, each at a random moment of its own.
    pub spread: Duration,
    /// Whether the provider answered 429.
    pub too_many: bool,
}

/// The state of an endpoint that cools, for display.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoolingSeen {
    /// The end of the time for which the provider wants no calls.
    pub until: Time,
    /// When the first call passes again.
    pub back: Time,
    /// Whether the provider answered 429.
    pub too_many: bool,
}

/// The cooling of one endpoint, or of one key at an endpoint.
#[derive(Clone, Debug)]
pub struct Cooling {
    settings: CoolingSettings,
    state: CoolingState,
    /// The number of overload answers in a row.
    in_a_row: u32,
    /// Counts the coolings since the last success, but only those after an answer that named no time. It decides how
    /// long the next such cooling lasts: each lasts twice as long as the one before.
    unnamed: u32,
}

#[derive(Clone, Copy, Debug)]
enum CoolingState {
    /// All calls pass.
    Calm,
    /// No call passes.
    Cools(Cools),
    /// The cooling (the second field) is over, and a growing share of the calls passes, as the ramp (the first field)
    /// says.
    Returns(Ramp, Cools),
}

#[derive(Clone, Copy, Debug)]
struct Cools {
    until: Time,
    /// The time over which calls return gradually.
    over: Duration,
    /// The random draw that decides at which moment the first call passes. The moment lies within the time `over`,
    /// which begins at `until`.
    draw: Draw,
    back: Time,
    too_many: bool,
}

impl Cooling {
    /// Returns a cooling that lets all calls pass.
    #[must_use]
    pub fn new(settings: CoolingSettings) -> Cooling {
        Cooling { settings, state: CoolingState::Calm, in_a_row: 0, unnamed: 0 }
    }

    /// Lets a call pass, or refuses it.
    ///
    /// # Errors
    /// The endpoint cools, or its calls return gradually and this one may not pass yet.
    #[inline]
    pub fn admit(&mut self, now: Time) -> Result<(), CoolingRefusal> {
        match self.state {
            CoolingState::Calm => Ok(()),
            CoolingState::Cools(_) | CoolingState::Returns(..) => self.admit_few(now),
        }
    }

    #[cold]
    fn admit_few(&mut self, now: Time) -> Result<(), CoolingRefusal> {
        let (mut ramp, cools) = match self.state {
            CoolingState::Calm => return Ok(()),
            CoolingState::Cools(cools) if now < cools.back => return Err(cools.refusal(now)),
            CoolingState::Cools(cools) => (Ramp::new(cools.back, cools.over), cools),
            CoolingState::Returns(ramp, cools) => (ramp, cools),
        };
        let ramped = ramp.admit(now);
        self.state = CoolingState::Returns(ramp, cools);
        match ramped {
            Ramped::Passes => Ok(()),
            // The time of the ramp may be over already when the first call comes.
            Ramped::Over => {
                self.state = CoolingState::Calm;
                Ok(())
            }
            Ramped::Waits(_) => Err(cools.refusal(now)),
        }
    }

    /// Must be called when an answer came that does not say "come back later". Ends the run of overload answers. After
    /// a `success`, the next cooling without a named time is a short one again.
    #[inline]
    pub fn answered(&mut self, success: bool) {
        // The fields are written only if they change, so most calls that succeed write nothing.
        if self.in_a_row != 0 {
            self.in_a_row = 0;
        }
        if success && self.unnamed != 0 {
            self.unnamed = 0;
        }
    }

    /// Must be called when an overload answer came. Returns the time from which the first call passes again; `None` if
    /// the endpoint does not cool.
    ///
    /// - `elsewhere`: whether another endpoint takes calls.
    /// - `nobody`: whether no call to this endpoint has succeeded within the breaker's window.
    /// - `draw` is called only if the endpoint begins to cool.
    pub fn overloaded(
        &mut self,
        now: Time,
        told: Overload,
        elsewhere: bool,
        nobody: bool,
        draw: impl FnOnce() -> Draw,
    ) -> Option<Time> {
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.passes(now);
        if !self.settings.enabled {
            return None;
        }
        let returns = matches!(self.state, CoolingState::Returns(..));
        let hopeless = nobody || returns || self.in_a_row >= IN_A_ROW;
        let cools = elsewhere || (told.named.is_some() && hopeless);
        if !cools && !matches!(self.state, CoolingState::Cools(_)) {
            return None;
        }
        if cools {
            self.cool(now, told, draw);
        }
        match self.state {
            CoolingState::Cools(cools) => Some(cools.back),
            CoolingState::Calm | CoolingState::Returns(..) => None,
        }
    }

    /// Ends a cooling whose time is over, even if no call has come since. From then on calls return gradually. If the
    /// time for that is over too, all calls pass.
    fn passes(&mut self, now: Time) {
        if let CoolingState::Cools(cools) = self.state
            && now >= cools.back
        {
            self.state = match now >= cools.back.saturating_add(cools.over) {
                true => CoolingState::Calm,
                false => CoolingState::Returns(Ramp::new(cools.back, cools.over), cools),
            };
        }
    }

    /// Returns how long the endpoint cools if an answer names no time: `UNNAMED` at first, and twice as long after each
    /// further such answer, up to `UNNAMED_MOST`. After a success, it is `UNNAMED` again.
    fn unnamed(&mut self) -> Duration {
        let time = UNNAMED.saturating_mul(1 << self.unnamed.min(5)).min(UNNAMED_MOST);
        self.unnamed = self.unnamed.saturating_add(1);
        time
    }

    fn cool(&mut self, now: Time, told: Overload, draw: impl FnOnce() -> Draw) {
        let before = match self.state {
            CoolingState::Cools(cools) => Some(cools),
            CoolingState::Calm | CoolingState::Returns(..) => None,
        };
        let time = match (told.named, before) {
            (Some(named), _) => self.settings.clamped(named),
            (None, None) => self.unnamed(),
            // The answer names no time, and the endpoint cools already. So the request was sent before the cooling
            // began, and its answer tells nothing new.
            (None, Some(_)) => return,
        };
        let (until, over) = (now.saturating_add(time), (time / 4).clamp(BACK.0, BACK.1));
        let draw = before.map_or_else(draw, |before| before.draw);
        let back = until.saturating_add(draw.share_of(over));
        let longest = before.filter(|before| before.back >= back);
        self.state = CoolingState::Cools(longest.unwrap_or(Cools {
            until,
            over,
            draw,
            back,
            too_many: told.too_many,
        }));
    }

    /// Returns whether the endpoint cools, so that no call passes now.
    #[must_use]
    pub fn is_cooling(&self, now: Time) -> bool {
        matches!(self.state, CoolingState::Cools(cools) if now < cools.back)
    }

    /// Returns the time until which the provider wants no calls, the time from which the first call passes again, and
    /// whether the provider answered 429. Returns `None` if the endpoint does not cool.
    #[must_use]
    pub fn seen(&self, now: Time) -> Option<CoolingSeen> {
        match self.state {
            CoolingState::Cools(Cools { until, back, too_many, .. }) if now < back => {
                Some(CoolingSeen { until, back, too_many })
            }
            CoolingState::Cools(_) | CoolingState::Calm | CoolingState::Returns(..) => None,
        }
    }

    /// Takes new settings. If they turn cooling off, all calls pass.
    pub fn adopt(&mut self, settings: CoolingSettings) {
        self.settings = settings;
        if !settings.enabled {
            self.state = CoolingState::Calm;
        }
    }

    /// The settings in force.
    #[must_use]
    pub fn settings(&self) -> &CoolingSettings {
        &self.settings
    }
}

impl Cools {
    fn refusal(&self, now: Time) -> CoolingRefusal {
        let until = if now < self.until { self.until } else { self.back.max(now) };
        CoolingRefusal { until, spread: self.over, too_many: self.too_many }
    }
}

#[cfg(test)]
#[path = "cooling_tests.rs"]
mod tests;
