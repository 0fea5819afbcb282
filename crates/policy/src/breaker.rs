//! The circuit breaker: decides whether an endpoint may be called.
//!
//! Closed means that calls flow, open that they are refused, half-open that single calls probe the endpoint. The
//! obvious breaker gets three things wrong:
//!
//! - It ignores a call that its caller gives up, so an endpoint that swallows every request looks healthy. Here some of
//!   these calls are followed to their real ending ([`crate::DependencyGuards::follow`]). The others count only if
//!   there are successes to compare them with ([`Evidence::Abandoned`]).
//! - It lets calls that began before its last change of state decide about the new state. Here each change of state
//!   begins a new era. A call that passes carries the number of its era, and its result is ignored if that era is over.
//! - When it is half-open, it lets all calls through at the same time. Here only one probe is in flight at a time. If a
//!   probe never returns, the next probe may follow after the time of the setting `open_for`.
//!
//! The rule of silence: the breaker also opens after two slow failures in a row, if the window holds no success. A
//! failure is slow if the attempt timed out, was answered 504, or took more than a tenth of the read timeout. A caller
//! with few calls needs this rule, because its window never holds the twenty calls that the failure rate needs.
//!
//! The rules and constants were found by simulating callers and server together. Two settings are off by default,
//! because in the simulations they made recovery slower and prevented nothing: `open_max` (an open time that doubles),
//! and `ramp` (after the breaker has closed, calls return gradually).
//!
//! Only a failure opens the breaker, never a success. For example, twelve failures are followed by eight successes.
//! With the eighth success the window holds the twenty calls that the failure rate needs, and 60 % of them failed. But
//! the endpoint has recovered, so the breaker stays closed.
//!
//! ```
//! use std::time::Duration;
//! use seawall_policy::{Breaker, BreakerSettings, BreakerState, Draw, Evidence, FailureKind, Time};
//!
//! let mut breaker = Breaker::new(BreakerSettings::default());
//! let timeout = Evidence::Failure { kind: FailureKind::Timeout, slow: true };
//! for _ in 0..2 {
//!     let pass = breaker.admit(Time::ZERO).expect("closed");
//!     let _ = breaker.settle(Time::from_millis(10_000), pass, timeout, || Draw::new(0));
//! }
//! let refusal = breaker.admit(Time::from_millis(10_001)).expect_err("silence opened it");
//! assert_eq!(refusal.state, BreakerState::Open);
//! assert_eq!(refusal.until, Some(Time::from_millis(12_400)), "3 s less 20 %, the lowest draw");
//! assert_eq!(breaker.why().expect("open").failures.to_string(), "2 timeouts");
//! ```

use std::time::Duration;

use crate::backoff::Draw;
use crate::failures::FailureKind;
use crate::ramp::{Ramp, Ramped};
use crate::time::Time;
use crate::window::{Counts, Window};

mod facts;
mod operator;
mod settings;
mod view;

pub use facts::{BreakerRefusal, BreakerState, Counted, Evidence, Force, OpenedBy, Opening, Settled};
pub use settings::BreakerSettings;

/// The whole (100 %), in parts per million.
const WHOLE_PPM: u64 = 1_000_000;

/// The right to make one call. It is given back with [`Breaker::settle`]. If the pass of a probe is never given back,
/// the next probe must wait for `open_for`. A pass of any other call may be lost without harm.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a pass is given back by settling it"]
pub struct Pass {
    era: u32,
    /// The number of this probe among the probes since the breaker last became half-open, from 1; zero if the call is
    /// no probe.
    probe: u32,
}

impl Pass {
    /// Returns whether this call is a probe: a call that a half-open breaker lets through to test the endpoint. The
    /// concurrency limit treats a probe in a special way: it admits the probe up to the configured maximum, even if the
    /// limit has adapted to a lower number.
    #[must_use]
    pub const fn is_probe(&self) -> bool {
        self.probe > 0
    }
}

/// The breaker of one endpoint, or of one key at an endpoint.
#[derive(Clone, Debug)]
pub struct Breaker {
    settings: BreakerSettings,
    window: Window,
    state: State,
    /// The number of changes of state so far.
    era: u32,
    since: Time,
    opening: Option<Opening>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed(Closed),
    Open { until: Time, health_at: Time },
    HalfOpen(HalfOpen),
    ForcedOpen,
    ForcedClosed,
}

#[derive(Clone, Copy, Debug, Default)]
struct Closed {
    /// The number of slow failures in a row.
    silent_run: u32,
    /// The number of failures in a row.
    bad_run: u32,
    ramp: Option<Ramp>,
}

#[derive(Clone, Copy, Debug, Default)]
struct HalfOpen {
    successes: u32,
    /// The number of probes that were admitted since the breaker became half-open. It is also the number of the newest
    /// probe.
    begun: u32,
    /// When the newest probe began; `None` if it has ended.
    out_since: Option<Time>,
}

/// What a piece of evidence counts as in this breaker.
enum Weighed {
    Ok { took: Duration },
    Bad { kind: FailureKind, slow: bool },
    Neutral,
    Nothing,
}

impl Breaker {
    /// Returns a closed breaker. Its window is allocated here, so that calls allocate nothing.
    #[must_use]
    pub fn new(settings: BreakerSettings) -> Breaker {
        Breaker {
            settings,
            window: Window::new(settings.window),
            state: State::Closed(Closed::default()),
            era: 0,
            since: Time::ZERO,
            opening: None,
        }
    }

    /// Admits a call and returns its pass, or refuses it. If the open time of an open breaker is over, the breaker
    /// becomes half-open and admits this call as a probe.
    ///
    /// # Errors
    /// The breaker refuses the call. The refusal has the time until which the breaker refuses, if that is known.
    #[inline]
    pub fn admit(&mut self, now: Time) -> Result<Pass, BreakerRefusal> {
        match self.state {
            State::Closed(Closed { ramp: None, .. }) | State::ForcedClosed => {
                Ok(Pass { era: self.era, probe: 0 })
            }
            _ => self.admit_unusual(now),
        }
    }

    /// Does what `admit` does, in every state of the breaker. It is a separate function, so that `admit` handles only
    /// the usual case and is small enough to be inlined.
    #[cold]
    fn admit_unusual(&mut self, now: Time) -> Result<Pass, BreakerRefusal> {
        match self.state {
            State::Closed(Closed { ramp: None, .. }) | State::ForcedClosed => {
                Ok(Pass { era: self.era, probe: 0 })
            }
            State::Closed(closed @ Closed { ramp: Some(ramp), .. }) => self.admit_ramping(closed, ramp, now),
            State::Open { until, .. } if now < until => Err(self.refusal(Some(until))),
            State::Open { until, .. } => {
                self.enter(State::HalfOpen(HalfOpen::default()), until);
                self.admit_probe(HalfOpen::default(), now)
            }
            State::HalfOpen(half) => self.admit_probe(half, now),
            State::ForcedOpen => Err(self.refusal(None)),
        }
    }

    /// Gives a pass back with the evidence of its call, which may open or close the breaker. Returns whether the call
    /// counted as good, as bad or as nothing, and the new state if it changed. A pass that was given before the last
    /// change of state changes nothing. `draw` is called only if the breaker opens, to choose how long it stays open.
    #[inline]
    pub fn settle(
        &mut self,
        now: Time,
        pass: Pass,
        evidence: Evidence,
        draw: impl FnOnce() -> Draw,
    ) -> Settled {
        self.settle_within(now, pass, evidence, self.settings.slow_call, draw)
    }

    /// Gives a pass back as [`Breaker::settle`] does, but uses the parameter `slow_call` and not the setting
    /// `slow_call`, because an operation may declare a value of its own. If the parameter is `None`, every success
    /// counts as good, however long it took.
    #[inline]
    pub fn settle_within(
        &mut self,
        now: Time,
        pass: Pass,
        evidence: Evidence,
        slow_call: Option<Duration>,
        draw: impl FnOnce() -> Draw,
    ) -> Settled {
        if pass.era != self.era {
            return Settled { counted: Counted::Nothing, change: None };
        }
        if let (State::Closed(Closed { silent_run: 0, bad_run: 0, .. }), Evidence::Success { took }) =
            (self.state, evidence)
            && slow_call.is_none_or(|bound| took <= bound)
        {
            // This is the usual case: a good call, a closed breaker, no run of failures. Only the window changes, and
            // the result is the same as that of `settle_unusual`.
            self.window.success(now, took);
            return Settled { counted: Counted::Ok, change: None };
        }
        self.settle_unusual(now, &pass, evidence, slow_call, draw)
    }

    fn settle_unusual(
        &mut self,
        now: Time,
        pass: &Pass,
        evidence: Evidence,
        slow_call: Option<Duration>,
        draw: impl FnOnce() -> Draw,
    ) -> Settled {
        let weighed = self.weigh(now, evidence, slow_call);
        let counted = match weighed {
            Weighed::Ok { took } => {
                self.window.success(now, took);
                Counted::Ok
            }
            Weighed::Bad { kind, .. } => {
                self.window.failure(now, kind);
                Counted::Bad
            }
            Weighed::Neutral | Weighed::Nothing => Counted::Nothing,
        };
        let change = match self.state {
            State::Closed(closed) => self.settle_closed(closed, now, &weighed, draw),
            State::HalfOpen(half) => self.settle_probe(half, now, pass, &weighed, draw),
            State::Open { .. } | State::ForcedOpen | State::ForcedClosed => None,
        };
        Settled { counted, change }
    }

    /// Returns what the evidence counts as.
    fn weigh(&mut self, now: Time, evidence: Evidence, slow_call: Option<Duration>) -> Weighed {
        match evidence {
            Evidence::Success { took } if slow_call.is_some_and(|bound| took > bound) => {
                Weighed::Bad { kind: FailureKind::Slow, slow: false }
            }
            Evidence::Success { took } => Weighed::Ok { took },
            Evidence::Failure { kind, slow } => Weighed::Bad { kind, slow },
            Evidence::Neutral => Weighed::Neutral,
            Evidence::Abandoned { waited, enough } => self.weigh_abandoned(now, waited, enough, slow_call),
            Evidence::Nothing => Weighed::Nothing,
        }
    }

    /// Weighs a call that was given up by its caller after the time `waited`. Returns whether the call counts as bad or
    /// as nothing. Most callers leave for reasons of their own, so most such calls count as nothing.
    ///
    /// The call counts as bad only if all of these hold: the breaker is not half-open, the window has a success, and
    /// `waited` is longer than a bound. The bound is `slow_call`. If that is `None`, the bound is twice the slowest
    /// success in the window, but at least `enough` (a tenth of the read timeout).
    fn weigh_abandoned(
        &mut self,
        now: Time,
        waited: Duration,
        enough: Duration,
        slow_call: Option<Duration>,
    ) -> Weighed {
        if matches!(self.state, State::HalfOpen(_)) {
            return Weighed::Nothing;
        }
        let Some(slowest) = self.window.slowest_success(now) else { return Weighed::Nothing };
        let bound = slow_call.unwrap_or_else(|| slowest.saturating_mul(2).max(enough));
        match waited > bound {
            true => Weighed::Bad { kind: FailureKind::Abandoned, slow: true },
            false => Weighed::Nothing,
        }
    }

    fn settle_closed(
        &mut self,
        mut closed: Closed,
        now: Time,
        weighed: &Weighed,
        draw: impl FnOnce() -> Draw,
    ) -> Option<BreakerState> {
        let opened_by = match *weighed {
            Weighed::Ok { .. } => {
                (closed.silent_run, closed.bad_run) = (0, 0);
                None
            }
            Weighed::Bad { slow, .. } => {
                closed.silent_run = if slow { closed.silent_run.saturating_add(1) } else { 0 };
                closed.bad_run = closed.bad_run.saturating_add(1);
                self.opens(closed, now)
            }
            Weighed::Neutral => {
                closed.silent_run = 0;
                None
            }
            Weighed::Nothing => None,
        };
        self.state = State::Closed(closed);
        let by = opened_by?;
        self.explain(by, now);
        Some(self.open(0, now, draw()))
    }

    fn opens(&mut self, closed: Closed, now: Time) -> Option<OpenedBy> {
        if !self.settings.enabled {
            return None;
        }
        let Counts { ok, bad } = self.window.counts(now);
        let total = u64::from(ok) + u64::from(bad);
        if total >= u64::from(self.settings.calls_for_a_rate())
            && u64::from(bad) * WHOLE_PPM >= total * u64::from(self.settings.failure_rate_ppm)
        {
            return Some(OpenedBy::Rate);
        }
        if closed.silent_run >= 2 && ok == 0 {
            return Some(OpenedBy::Silence);
        }
        let consecutive = self.settings.consecutive?;
        (closed.bad_run >= consecutive.max(1)).then_some(OpenedBy::Consecutive)
    }

    fn settle_probe(
        &mut self,
        mut half: HalfOpen,
        now: Time,
        pass: &Pass,
        weighed: &Weighed,
        draw: impl FnOnce() -> Draw,
    ) -> Option<BreakerState> {
        let newest = pass.probe == half.begun;
        if newest {
            half.out_since = None;
        }
        match weighed {
            Weighed::Ok { .. } => {
                half.successes += 1;
                if half.successes >= self.settings.probes.max(1) {
                    return Some(self.close(now));
                }
            }
            Weighed::Bad { .. } if newest => return Some(self.reopen(now, draw())),
            // The probe that failed began before the newest probe. Its failure says nothing about the time since the
            // newest probe began, so it changes nothing. Neutral evidence and no evidence change nothing either.
            Weighed::Bad { .. } | Weighed::Neutral | Weighed::Nothing => {}
        }
        self.state = State::HalfOpen(half);
        None
    }

    fn admit_probe(&mut self, mut half: HalfOpen, now: Time) -> Result<Pass, BreakerRefusal> {
        if let Some(since) = half.out_since {
            let over = since.saturating_add(self.settings.open_for);
            if now < over {
                return Err(self.refusal(Some(over)));
            }
        }
        half.begun = half.begun.saturating_add(1);
        half.out_since = Some(now);
        self.state = State::HalfOpen(half);
        Ok(Pass { era: self.era, probe: half.begun })
    }

    fn admit_ramping(
        &mut self,
        mut closed: Closed,
        mut ramp: Ramp,
        now: Time,
    ) -> Result<Pass, BreakerRefusal> {
        let ramped = ramp.admit(now);
        closed.ramp = (ramped != Ramped::Over).then_some(ramp);
        self.state = State::Closed(closed);
        match ramped {
            Ramped::Over | Ramped::Passes => Ok(Pass { era: self.era, probe: 0 }),
            Ramped::Waits(until) => Err(self.refusal(Some(until))),
        }
    }

    #[cold]
    fn refusal(&self, until: Option<Time>) -> BreakerRefusal {
        BreakerRefusal { state: self.told(), until }
    }

    #[cold]
    fn explain(&mut self, by: OpenedBy, now: Time) {
        let (counts, failures) = (self.window.counts(now), self.window.failures(now));
        self.opening = Some(Opening { at: now, by, counts, failures, reopened: 0 });
    }

    #[cold]
    fn open(&mut self, reopened: u32, now: Time, draw: Draw) -> BreakerState {
        let until = now.saturating_add(self.settings.open_time(reopened, draw));
        let health_at = self.settings.health.map_or(Time::NEVER, |every| now.saturating_add(every));
        self.enter(State::Open { until, health_at }, now);
        BreakerState::Open
    }

    #[cold]
    fn reopen(&mut self, now: Time, draw: Draw) -> BreakerState {
        let reopened = match &mut self.opening {
            Some(opening) => {
                opening.reopened = opening.reopened.saturating_add(1);
                opening.reopened
            }
            None => {
                self.explain(OpenedBy::Probe, now);
                0
            }
        };
        self.open(reopened, now, draw)
    }

    #[cold]
    fn close(&mut self, now: Time) -> BreakerState {
        self.window.clear();
        self.opening = None;
        let ramp = self.settings.ramp.map(|length| Ramp::new(now, length));
        self.enter(State::Closed(Closed { ramp, ..Closed::default() }), now);
        BreakerState::Closed
    }

    /// Changes the state; all changes of the state are made here. A pass that was given before a change is ignored
    /// after it, because the change begins a new era.
    fn enter(&mut self, state: State, now: Time) {
        self.state = state;
        self.since = now;
        self.era = self.era.wrapping_add(1);
    }

    fn told(&self) -> BreakerState {
        match self.state {
            State::Closed(_) => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::HalfOpen(_) => BreakerState::HalfOpen,
            State::ForcedOpen => BreakerState::ForcedOpen,
            State::ForcedClosed => BreakerState::ForcedClosed,
        }
    }
}

#[cfg(test)]
#[path = "breaker_tests.rs"]
mod tests;
