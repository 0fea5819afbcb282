//! Cooling: "come back later", remembered.
//!
//! An answer such as 429 with `Retry-After: 5` speaks to the whole caller. The obvious rule lets only the call that got it
//! wait: in a trial all of the next hundred calls went to the provider within those five seconds. The next obvious rule,
//! to let nobody pass until exactly then, makes a wave: of 1 000 simulated instances 378 calls came in the same tenth of a
//! second, where 50 could be served. And to silence a provider for every 429 lets one customer's limit stop all others. Here
//! an endpoint (or a breaker's key) cools where nothing is lost by it: where another endpoint takes the calls, or where
//! nobody succeeds anyhow. It comes back a random while after the time that was named, never before, and on a ramp.
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

/// A named time is never taken for less.
const LEAST: Duration = Duration::from_millis(100);
/// The first cooling for an answer that names no time.
const UNNAMED: Duration = Duration::from_secs(1);
/// Such coolings double up to this.
const UNNAMED_MOST: Duration = Duration::from_secs(30);
/// The shortest and the longest while over which calls come back.
const BACK: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));
/// This many answers in a row say that it is so for all. With 12 of the last 16, chance alone silenced the provider for all while
/// one tenant of two was answered so (in the simulator 66 % of the other's calls were refused; with 12 in a row 4 %), and now and
/// then for one of five.
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
    /// A named time, as it counts here.
    fn clamped(&self, named: Duration) -> Duration {
        named.clamp(LEAST, self.after_max.max(LEAST))
    }
}

/// An answer that says "come back later".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overload {
    /// After this time, where it names one.
    pub named: Option<Duration>,
    /// Its status was 429.
    pub too_many: bool,
}

/// "Not yet."
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoolingRefusal {
    /// When the provider's time is over; once it is, when the first call passes, or now where some pass already.
    pub until: Time,
    /// Those who were refused are to come back over this while after it, each at a moment of its own.
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
    state: State,
    /// Overload answers in a row.
    in_a_row: u32,
    /// Coolings without a named time since the last success.
    unnamed: u32,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// All pass.
    Calm,
    /// Nobody passes.
    Cools(Cools),
    /// A growing share passes, after this.
    Returns(Ramp, Cools),
}

#[derive(Clone, Copy, Debug)]
struct Cools {
    until: Time,
    /// The while over which calls come back.
    over: Duration,
    /// Where in it the first may pass: drawn once.
    draw: Draw,
    back: Time,
    too_many: bool,
}

impl Cooling {
    /// One at which all pass.
    #[must_use]
    pub fn new(settings: CoolingSettings) -> Cooling {
        Cooling { settings, state: State::Calm, in_a_row: 0, unnamed: 0 }
    }

    /// Asks to call.
    ///
    /// # Errors
    /// It cools, or comes back and this call is not among the first.
    #[inline]
    pub fn admit(&mut self, now: Time) -> Result<(), CoolingRefusal> {
        match self.state {
            State::Calm => Ok(()),
            State::Cools(_) | State::Returns(..) => self.admit_few(now),
        }
    }

    #[cold]
    fn admit_few(&mut self, now: Time) -> Result<(), CoolingRefusal> {
        let (mut ramp, cools) = match self.state {
            State::Calm => return Ok(()),
            State::Cools(cools) if now < cools.back => return Err(cools.refusal(now)),
            State::Cools(cools) => (Ramp::new(cools.back, cools.over), cools),
            State::Returns(ramp, cools) => (ramp, cools),
        };
        let ramped = ramp.admit(now);
        self.state = State::Returns(ramp, cools);
        match ramped {
            Ramped::Passes => Ok(()),
            // So it is with the first call, too, where that comes late.
            Ramped::Over => {
                self.state = State::Calm;
                Ok(())
            }
            Ramped::Waits(_) => Err(cools.refusal(now)),
        }
    }

    /// An answer came that was no overload. `success`: what was learnt of answers without a time is forgotten.
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

    /// An overload answer came. When the first call passes again, where this makes the endpoint cool or it cools already.
    ///
    /// `elsewhere`: another endpoint takes calls. `nobody`: no success ended here within the breaker's window. `draw` is asked
    /// where it begins to cool.
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
        let returns = matches!(self.state, State::Returns(..));
        let hopeless = nobody || returns || self.in_a_row >= IN_A_ROW;
        let cools = elsewhere || (told.named.is_some() && hopeless);
        if !cools && !matches!(self.state, State::Cools(_)) {
            return None;
        }
        if cools {
            self.cool(now, told, draw);
        }
        match self.state {
            State::Cools(cools) => Some(cools.back),
            State::Calm | State::Returns(..) => None,
        }
    }

    /// What cools no longer comes back, though nobody has asked since.
    fn passes(&mut self, now: Time) {
        if let State::Cools(cools) = self.state
            && now >= cools.back
        {
            self.state = match now >= cools.back.saturating_add(cools.over) {
                true => State::Calm,
                false => State::Returns(Ramp::new(cools.back, cools.over), cools),
            };
        }
    }

    /// For how long an answer without a time cools: doubled each time.
    fn unnamed(&mut self) -> Duration {
        let time = UNNAMED.saturating_mul(1 << self.unnamed.min(5)).min(UNNAMED_MOST);
        self.unnamed = self.unnamed.saturating_add(1);
        time
    }

    fn cool(&mut self, now: Time, told: Overload, draw: impl FnOnce() -> Draw) {
        let before = match self.state {
            State::Cools(cools) => Some(cools),
            State::Calm | State::Returns(..) => None,
        };
        let time = match (told.named, before) {
            (Some(named), _) => self.settings.clamped(named),
            (None, None) => self.unnamed(),
            // It answers what was sent before it began to cool: nothing is learnt of it.
            (None, Some(_)) => return,
        };
        let (until, over) = (now.saturating_add(time), (time / 4).clamp(BACK.0, BACK.1));
        let draw = before.map_or_else(draw, |before| before.draw);
        let back = until.saturating_add(draw.share_of(over));
        let longest = before.filter(|before| before.back >= back);
        self.state =
            State::Cools(longest.unwrap_or(Cools { until, over, draw, back, too_many: told.too_many }));
    }

    /// Whether nobody passes now.
    #[must_use]
    pub fn is_cooling(&self, now: Time) -> bool {
        matches!(self.state, State::Cools(cools) if now < cools.back)
    }

    /// What can be seen while it cools; `None` while it does not.
    #[must_use]
    pub fn seen(&self, now: Time) -> Option<CoolingSeen> {
        match self.state {
            State::Cools(Cools { until, back, too_many, .. }) if now < back => {
                Some(CoolingSeen { until, back, too_many })
            }
            State::Cools(_) | State::Calm | State::Returns(..) => None,
        }
    }

    /// Takes new settings. Turned off, it lets all pass.
    pub fn adopt(&mut self, settings: CoolingSettings) {
        self.settings = settings;
        if !settings.enabled {
            self.state = State::Calm;
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
