//! Cooling: "come back later", remembered.
//!
//! An answer such as 429 with `Retry-After: 5` speaks to the whole caller. The obvious rule lets only the call that got
//! it wait: in a trial all of the next hundred calls went to the provider within those five seconds. The next obvious
//! rule, to let no call pass until exactly then, makes a wave: of 1 000 simulated instances 378 calls came in the same
//! tenth of a second, where 50 could be served. And if every 429 silences a provider, one customer's limit stops all
//! others. Here an endpoint (or a breaker's key) cools only where nothing is lost by it: where another endpoint takes
//! the calls, or where no call succeeds anyhow. Its calls return a random while after the time that was named, never
//! before, and on a ramp.
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

/// A shorter named time counts as this.
const LEAST: Duration = Duration::from_millis(100);
/// The first cooling for an answer that names no time.
const UNNAMED: Duration = Duration::from_secs(1);
/// Coolings for such answers double up to this.
const UNNAMED_MOST: Duration = Duration::from_secs(30);
/// The shortest and the longest time over which calls return.
const BACK: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));
/// This number of overload answers in a row shows that all calls are answered so. With 12 of the last 16, chance alone
/// silenced the provider for everybody while one tenant of two was answered so (in the simulator 66 % of the other
/// tenant's calls were refused; with 12 in a row 4 %), and now and then while one of five was.
const IN_A_ROW: u32 = 12;

/// How an endpoint cools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoolingSettings {
    /// `false`: a named time binds only the call that was told it. Default `true`.
    pub enabled: bool,
    /// The longest time that an answer may cool an endpoint for. Default 60 s: what most providers count their limits by. A
    /// longer time counts as this.
    pub after_max: Duration,
}

impl Default for CoolingSettings {
    fn default() -> Self {
        CoolingSettings { enabled: true, after_max: Duration::from_secs(60) }
    }
}

impl CoolingSettings {
    /// A named time, within the bounds.
    fn clamped(&self, named: Duration) -> Duration {
        named.clamp(LEAST, self.after_max.max(LEAST))
    }
}

/// An answer that says "come back later".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overload {
    /// How long to stay away, if the answer names a time.
    pub named: Option<Duration>,
    /// Its status was 429.
    pub too_many: bool,
}

/// "Not yet": the endpoint cools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoolingRefusal {
    /// When the provider's time is over. If it is over: when the first call passes, or now if some calls pass already.
    pub until: Time,
    /// The span after `until` over which refused callers are to come back, each at a moment of its own.
    pub spread: Duration,
    /// The provider answered 429.
    pub too_many: bool,
}

/// What can be seen of an endpoint that cools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoolingSeen {
    /// When the provider's time is over.
    pub until: Time,
    /// When the first call passes.
    pub back: Time,
    /// The provider answered 429.
    pub too_many: bool,
}

/// One endpoint's cooling (or one key's).
#[derive(Clone, Debug)]
pub struct Cooling {
    settings: CoolingSettings,
    state: CoolingState,
    /// The number of overload answers in a row.
    in_a_row: u32,
    /// The number of coolings without a named time since the last success.
    unnamed: u32,
}

#[derive(Clone, Copy, Debug)]
enum CoolingState {
    /// All calls pass.
    Calm,
    /// No call passes.
    Cools(Cools),
    /// A growing share of the calls passes, after this cooling.
    Returns(Ramp, Cools),
}

#[derive(Clone, Copy, Debug)]
struct Cools {
    until: Time,
    /// The time over which calls return.
    over: Duration,
    /// The draw that says when within that time the first may pass.
    draw: Draw,
    back: Time,
    too_many: bool,
}

impl Cooling {
    /// A value at which all calls pass.
    #[must_use]
    pub fn new(settings: CoolingSettings) -> Cooling {
        Cooling { settings, state: CoolingState::Calm, in_a_row: 0, unnamed: 0 }
    }

    /// Asks to call.
    ///
    /// # Errors
    /// The endpoint cools, or its calls return gradually and this one is not among the first.
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
            // This is also so where the first call comes after the end of the ramp.
            Ramped::Over => {
                self.state = CoolingState::Calm;
                Ok(())
            }
            Ramped::Waits(_) => Err(cools.refusal(now)),
        }
    }

    /// An answer came that was no overload. After a `success`, what was learned from answers without a time is
    /// forgotten.
    #[inline]
    pub fn answered(&mut self, success: bool) {
        // Calls that succeed write nothing here.
        if self.in_a_row != 0 {
            self.in_a_row = 0;
        }
        if success && self.unnamed != 0 {
            self.unnamed = 0;
        }
    }

    /// An overload answer came. Returns when the first call passes again, if this makes the endpoint cool or it cools
    /// already.
    ///
    /// `elsewhere`: another endpoint takes calls. `nobody`: no success ended here within the breaker's window. `draw`
    /// is called only where it begins to cool.
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

    /// An endpoint whose time is over lets calls return, even if no call has asked since.
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

    /// How long an answer without a time cools: twice as long each time.
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
            // It answers what was sent before the endpoint began to cool, so nothing is learned from it.
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

    /// Whether no call passes now.
    #[must_use]
    pub fn is_cooling(&self, now: Time) -> bool {
        matches!(self.state, CoolingState::Cools(cools) if now < cools.back)
    }

    /// What can be seen while it cools; `None` while it does not.
    #[must_use]
    pub fn seen(&self, now: Time) -> Option<CoolingSeen> {
        match self.state {
            CoolingState::Cools(Cools { until, back, too_many, .. }) if now < back => {
                Some(CoolingSeen { until, back, too_many })
            }
            CoolingState::Cools(_) | CoolingState::Calm | CoolingState::Returns(..) => None,
        }
    }

    /// Takes new settings. If they turn it off, all calls pass.
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
