//! Changes a breaker without a call: by an operator's command, by the health request, or by a reload.

use std::time::Duration;

use super::{Breaker, BreakerSettings, BreakerState, Closed, Force, HalfOpen, State};
use crate::time::Time;
use crate::window::Window;

/// The time after which a breaker that waits for a probe is stale, so that it may be forgotten if it is the breaker of
/// a key. It is counted from the end of the open time if no call came to probe, and otherwise from the time when the
/// breaker became half-open.
const STALE: Duration = Duration::from_secs(60);

impl Breaker {
    /// Obeys an operator's command. Returns the new state; `None` if the state did not change. A breaker that is forced
    /// open keeps its window, but no call is added to it. A breaker that is forced closed goes on counting calls.
    pub fn force(&mut self, now: Time, force: Force) -> Option<BreakerState> {
        let state = match (force, self.state) {
            (Force::Open, State::ForcedOpen)
            | (Force::Closed, State::ForcedClosed)
            | (Force::Auto, State::Closed(_) | State::Open { .. } | State::HalfOpen(_)) => return None,
            (Force::Open, _) => State::ForcedOpen,
            (Force::Closed, _) => State::ForcedClosed,
            (Force::Auto, State::ForcedOpen) if self.settings.enabled => State::HalfOpen(HalfOpen::default()),
            (Force::Auto, State::ForcedOpen | State::ForcedClosed) => State::Closed(Closed::default()),
        };
        self.opening = None;
        self.enter(state, now);
        Some(self.told())
    }

    /// Returns whether the health request is to be sent now. This is `true` once each time that the request is due, and
    /// only while the breaker is open.
    pub fn health_due(&mut self, now: Time) -> bool {
        let (State::Open { until, health_at }, Some(every)) = (self.state, self.settings.health) else {
            return false;
        };
        if now < health_at || now >= until {
            return false;
        }
        self.state = State::Open { until, health_at: now.saturating_add(every) };
        true
    }

    /// Makes an open breaker half-open, because the health request was answered well. The health request itself is no
    /// probe. Returns the new state; `None` if the breaker was not open.
    pub fn health_answered(&mut self, now: Time) -> Option<BreakerState> {
        match self.state {
            State::Open { .. } => {
                self.enter(State::HalfOpen(HalfOpen::default()), now);
                Some(BreakerState::HalfOpen)
            }
            State::Closed(_) | State::HalfOpen(_) | State::ForcedOpen | State::ForcedClosed => None,
        }
    }

    /// Takes new settings and keeps the state, so that a reload does not open or close the breaker. The window begins
    /// anew if its span changed. If the new settings turn the breaker off, an open or half-open breaker closes, but a
    /// breaker that is forced open stays so.
    pub fn adopt(&mut self, now: Time, settings: BreakerSettings) {
        if settings.window != self.settings.window {
            self.window = Window::new(settings.window);
        }
        self.settings = settings;
        match self.state {
            State::Open { .. } | State::HalfOpen(_) if !settings.enabled => {
                self.opening = None;
                self.enter(State::Closed(Closed::default()), now);
            }
            State::Open { .. }
            | State::HalfOpen(_)
            | State::Closed(_)
            | State::ForcedOpen
            | State::ForcedClosed => {}
        }
    }

    /// Returns a new breaker with the settings of this one, and with an empty window. This is how the breaker of a new
    /// key is made from the endpoint's own breaker. If an operator forced this breaker open or closed, the new one is
    /// forced in the same way.
    #[must_use]
    pub(crate) fn alike(&self) -> Breaker {
        Breaker { state: self.unseen(), since: self.since, ..Breaker::new(self.settings) }
    }

    /// Resets this breaker, whose key was forgotten, for a new key. It takes the settings of the endpoint's own breaker
    /// (`model`), and its window is emptied. Its state becomes the state into which an operator forced `model`, or
    /// closed if `model` is not forced. A pass that was given before the reset changes nothing when it is settled.
    pub(crate) fn renew(&mut self, model: &Breaker, now: Time) {
        self.adopt(now, model.settings);
        self.window.clear();
        self.opening = None;
        self.enter(model.unseen(), now);
    }

    /// Returns whether the breaker can be forgotten without a loss. That is so in three cases:
    ///
    /// - It is closed.
    /// - An operator forced it. Then all breakers of the endpoint are forced, and a new one will be forced too.
    /// - It is stale: it has waited for a minute for a probe that would close it.
    #[must_use]
    pub(crate) fn is_at_rest(&self, now: Time) -> bool {
        match self.state {
            State::Closed(_) | State::ForcedOpen | State::ForcedClosed => true,
            State::Open { until, .. } => now >= until.saturating_add(STALE),
            State::HalfOpen(_) => now >= self.since.saturating_add(STALE),
        }
    }

    /// Returns the state of a new breaker like this one: the forced state if an operator forced this breaker, else
    /// closed.
    fn unseen(&self) -> State {
        match self.state {
            State::ForcedOpen => State::ForcedOpen,
            State::ForcedClosed => State::ForcedClosed,
            State::Closed(_) | State::Open { .. } | State::HalfOpen(_) => State::Closed(Closed::default()),
        }
    }
}
