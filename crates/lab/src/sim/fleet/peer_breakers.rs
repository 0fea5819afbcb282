//! Models of the circuit breakers of other products.

use std::collections::VecDeque;

use seawall_policy::Time;

/// The rule of a product's breaker.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PeerBreakerPolicy {
    /// Opens if at least a share of the attempts in a window of time failed (Hystrix, Polly, resilience4j). When the
    /// open time is over, one trial call passes: its success closes the breaker, and its failure opens it again.
    Rate {
        /// The share of failures at which the breaker opens.
        share: f64,
        /// The minimum number of attempts in the window at which the breaker can open.
        min_calls: u32,
        /// The length of the window, in seconds.
        window: f64,
        /// The open time, in seconds.
        open_for: f64,
    },
    /// Opens after a number of failures in a row (Go's breakers, Envoy's outlier detection).
    Count {
        /// The number of failures in a row at which the breaker opens.
        failures: u32,
        /// The open time, in seconds.
        open_for: f64,
    },
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Closed,
    Open {
        until: f64,
    },
    /// The trial call is under way; no other call passes.
    HalfOpen,
}

/// A breaker with a [`PeerBreakerPolicy`].
pub(super) struct PeerBreaker {
    policy: PeerBreakerPolicy,
    state: State,
    era: u32,
    in_row: u32,
    /// The slots of the window, each a tenth of its length. The three numbers of a slot are its number (counted from
    /// time zero), the number of attempts that ended well, and the number that ended badly.
    window: VecDeque<(u64, u32, u32)>,
}

/// The number of slots into which a window is divided.
const PARTS: f64 = 10.0;

impl PeerBreaker {
    pub(super) fn new(policy: PeerBreakerPolicy) -> PeerBreaker {
        PeerBreaker { policy, state: State::Closed, era: 0, in_row: 0, window: VecDeque::new() }
    }

    pub(super) fn is_closed(&self, now: Time) -> bool {
        match self.state {
            State::Closed => true,
            State::Open { until } => now.as_nanos() as f64 / 1e9 >= until,
            State::HalfOpen => false,
        }
    }

    /// Returns the era of the breaker if the breaker admits an attempt, and `None` if it refuses the attempt. A new era
    /// begins each time the breaker changes its state. When the attempt ends, its era must be passed to `record`, which
    /// ignores attempts of earlier eras.
    pub(super) fn admit(&mut self, now: Time) -> Option<u32> {
        match self.state {
            State::Closed => Some(self.era),
            State::Open { until } if now.as_nanos() as f64 / 1e9 >= until => {
                self.enters(State::HalfOpen);
                Some(self.era)
            }
            State::Open { .. } | State::HalfOpen => None,
        }
    }

    fn enters(&mut self, state: State) {
        self.state = state;
        self.era += 1;
        self.in_row = 0;
        self.window.clear();
    }

    pub(super) fn record(&mut self, ok: bool, era: u32, now: Time) {
        if era != self.era {
            return;
        }
        let now = now.as_nanos() as f64 / 1e9;
        let open_for = match self.policy {
            PeerBreakerPolicy::Rate { open_for, .. } | PeerBreakerPolicy::Count { open_for, .. } => open_for,
        };
        match self.state {
            State::HalfOpen if ok => self.enters(State::Closed),
            State::HalfOpen => self.enters(State::Open { until: now + open_for }),
            State::Closed => {
                if self.opens(ok, now) {
                    self.enters(State::Open { until: now + open_for });
                }
            }
            State::Open { .. } => {}
        }
    }

    fn opens(&mut self, ok: bool, now: f64) -> bool {
        match self.policy {
            PeerBreakerPolicy::Count { failures, .. } => {
                self.in_row = if ok { 0 } else { self.in_row + 1 };
                self.in_row >= failures
            }
            PeerBreakerPolicy::Rate { share, min_calls, window, .. } => {
                let slot = (now * PARTS / window) as u64;
                while self.window.front().is_some_and(|(old, ..)| slot - old >= PARTS as u64) {
                    self.window.pop_front();
                }
                if self.window.back().is_none_or(|(last, ..)| *last != slot) {
                    self.window.push_back((slot, 0, 0));
                }
                let last = self.window.back_mut().expect("just put in");
                if ok {
                    last.1 += 1
                } else {
                    last.2 += 1
                }
                let (good, bad) = self.window.iter().fold((0, 0), |(g, b), (_, ok, no)| (g + ok, b + no));
                good + bad >= min_calls && f64::from(bad) >= share * f64::from(good + bad)
            }
        }
    }
}
