//! What can be seen of a breaker.

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

    /// The state now. An open breaker is half-open as soon as its open time is over, even if no call has asked.
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

    /// When the state began.
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

    /// While open: when the next probe may go. While a probe is in flight: when the next may go at the latest.
    /// Otherwise `None`.
    #[must_use]
    pub fn state_until(&self, now: Time) -> Option<Time> {
        match self.state {
            State::Open { until, .. } => (now < until).then_some(until),
            State::HalfOpen(half) => half.out_since.map(|since| since.saturating_add(self.settings.open_for)),
            State::Closed(_) | State::ForcedOpen | State::ForcedClosed => None,
        }
    }

    /// Whether calls flow: the breaker is closed or forced closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        match self.state {
            State::Closed(_) | State::ForcedClosed => true,
            State::Open { .. } | State::HalfOpen(_) | State::ForcedOpen => false,
        }
    }

    /// Why it is open or half-open; `None` while it is closed or forced.
    #[must_use]
    pub fn why(&self) -> Option<&Opening> {
        self.opening.as_ref()
    }

    /// The numbers of good and bad calls in the window.
    #[inline]
    pub fn counts(&mut self, now: Time) -> Counts {
        self.window.counts(now)
    }

    /// The bad calls in the window by kind.
    pub fn failures(&mut self, now: Time) -> Failures {
        self.window.failures(now)
    }

    /// The slowest success in the window.
    pub fn slowest_success(&mut self, now: Time) -> Option<Duration> {
        self.window.slowest_success(now)
    }
}
