//! What acts on a breaker beside its calls: an operator's word, the health request, a reload.

use super::{Breaker, BreakerSettings, BreakerState, Closed, Force, HalfOpen, State};
use crate::{Time, Window};

impl Breaker {
    /// An operator's word; the new state where it changed. Forcing it open forgets nothing, but the window goes on
    /// without calls. Forcing it closed keeps counting.
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

    /// Whether the health request is to be sent now; true once each time that it is due, and only while open.
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

    /// When [`Breaker::health_due`] will next say yes; `None` where it will not.
    #[must_use]
    pub fn next_health(&self) -> Option<Time> {
        match self.state {
            State::Open { until, health_at } if health_at < until => Some(health_at),
            State::Open { .. }
            | State::Closed(_)
            | State::HalfOpen(_)
            | State::ForcedOpen
            | State::ForcedClosed => None,
        }
    }

    /// The health request was answered well: probing starts now. It is no probe itself. The new state, where it
    /// was open.
    pub fn health_answered(&mut self, now: Time) -> Option<BreakerState> {
        match self.state {
            State::Open { .. } => {
                self.enter(State::HalfOpen(HalfOpen::default()), now);
                Some(BreakerState::HalfOpen)
            }
            State::Closed(_) | State::HalfOpen(_) | State::ForcedOpen | State::ForcedClosed => None,
        }
    }

    /// Takes new settings and keeps the state, so that a reload neither opens nor closes anything; the window
    /// begins anew if its span changed. Turned off, an open breaker closes.
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
}
