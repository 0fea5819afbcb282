//! What acts on a breaker beside its calls: an operator's word, the health request, a reload.

use std::time::Duration;

use super::{Breaker, BreakerSettings, BreakerState, Closed, Force, HalfOpen, State};
use crate::time::Time;
use crate::window::Window;

/// A breaker that could probe for so long, and that nobody asked, has nothing more to say.
const STALE: Duration = Duration::from_secs(60);

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

    /// A breaker that has seen nothing, with the same settings and the same operator's word.
    #[must_use]
    pub(crate) fn alike(&self) -> Breaker {
        Breaker { state: self.unseen(), since: self.since, ..Breaker::new(self.settings) }
    }

    /// Becomes as [`Breaker::alike`] of `model`; what began before is no evidence.
    pub(crate) fn renew(&mut self, model: &Breaker, now: Time) {
        self.adopt(now, model.settings);
        self.window.clear();
        self.opening = None;
        self.enter(model.unseen(), now);
    }

    /// Whether nothing is lost by forgetting it: it lets calls pass, obeys a word that was said of all, or could have
    /// probed for a minute and nobody asked.
    #[must_use]
    pub(crate) fn is_at_rest(&self, now: Time) -> bool {
        match self.state {
            State::Closed(_) | State::ForcedOpen | State::ForcedClosed => true,
            State::Open { until, .. } => now >= until.saturating_add(STALE),
            State::HalfOpen(_) => now >= self.since.saturating_add(STALE),
        }
    }

    /// The state of one that has seen nothing.
    fn unseen(&self) -> State {
        match self.state {
            State::ForcedOpen => State::ForcedOpen,
            State::ForcedClosed => State::ForcedClosed,
            State::Closed(_) | State::Open { .. } | State::HalfOpen(_) => State::Closed(Closed::default()),
        }
    }
}
