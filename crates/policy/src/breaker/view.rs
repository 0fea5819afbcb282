//! Shows a breaker's settings, its state, and the calls in its window.

use std::time::Duration;

use super::{Breaker, BreakerSettings, BreakerState, Opening, State};
use crate::failures::Failures;
use crate::time::Time;
use crate::window::Counts;

impl Breaker {
    /// The settings in force.
    #[must_use]
    pub fn settings(&self) -> &BreakerSettings {
        &self.settings
    }

    /// Returns the present state. An open breaker counts as half-open from the end of its open time, even if no call
    /// has come since.
    #[must_use]
    pub fn state(&self, now: Time) -> BreakerState {
        match self.state {
            State::Open { until, .. } if now >= until => BreakerState::HalfOpen,
            State::Open { .. }
            | State::Closed(_)
            | State::HalfOpen(_)
            | State::ForcedOpen
            | State::ForcedClosed => self.told(),
        }
    }

    /// Returns the time at which the current state began.
    #[must_use]
    pub fn state_since(&self, now: Time) -> Time {
        match self.state {
            State::Open { until, .. } if now >= until => until,
            State::Open { .. }
            | State::Closed(_)
            | State::HalfOpen(_)
            | State::ForcedOpen
            | State::ForcedClosed => self.since,
        }
    }

    /// Returns the time from which the next probe may be sent:
    ///
    /// - If the breaker is open: the end of the open time.
    /// - If a probe is in flight: the time from which a second probe may be sent although the first has not ended.
    /// - In all other cases: `None`.
    #[must_use]
    pub fn state_until(&self, now: Time) -> Option<Time> {
        match self.state {
            State::Open { until, .. } => (now < until).then_some(until),
            State::HalfOpen(half) => half.out_since.map(|since| since.saturating_add(self.settings.open_for)),
            State::Closed(_) | State::ForcedOpen | State::ForcedClosed => None,
        }
    }

    /// Returns whether calls flow: the breaker is closed or forced closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        match self.state {
            State::Closed(_) | State::ForcedClosed => true,
            State::Open { .. } | State::HalfOpen(_) | State::ForcedOpen => false,
        }
    }

    /// Returns why the breaker is open or half-open. Returns `None` if it is closed or forced, or if it is half-open
    /// only because an operator ended `Force::Open`.
    #[must_use]
    pub fn why(&self) -> Option<&Opening> {
        self.opening.as_ref()
    }

    /// Returns the numbers of good and bad calls in the window.
    #[inline]
    pub fn counts(&mut self, now: Time) -> Counts {
        self.window.counts(now)
    }

    /// Returns the bad calls in the window by kind.
    pub fn failures(&mut self, now: Time) -> Failures {
        self.window.failures(now)
    }

    /// Returns how long the slowest success in the window took; `None` if the window holds no success.
    pub fn slowest_success(&mut self, now: Time) -> Option<Duration> {
        self.window.slowest_success(now)
    }
}
