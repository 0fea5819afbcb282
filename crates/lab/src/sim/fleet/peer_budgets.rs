//! Models of the retry budgets of other products.

use std::collections::VecDeque;

use seawall_policy::Time;

/// Which product's budget it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PeerBudgetPolicy {
    /// A token bucket that earns a part of a token with each success. A repeat costs one token.
    PerSuccess {
        /// Earned.
        per: f64,
        /// The most.
        cap: f64,
        /// At the start.
        initial: f64,
    },
    /// The same, but each call earns, whatever its result (the ratio of Finagle and Linkerd, without their minimum of
    /// repeats per second).
    PerRequest {
        /// Earned.
        per: f64,
        /// The most.
        cap: f64,
        /// At the start.
        initial: f64,
    },
    /// gRPC's rule (A6): each failed attempt takes a token, each success gives `ratio` tokens, and repeats are allowed
    /// only while the bucket is more than half full.
    Grpc {
        /// `maxTokens`.
        max: f64,
        /// `tokenRatio`.
        ratio: f64,
    },
    /// The standard mode of the AWS SDKs: 500 tokens. A repeat costs 5, after a timeout 10. A repeat that succeeds
    /// gives its price back; any other success gives one token.
    Aws {
        /// The tokens.
        tokens: f64,
        /// The price of a repeat after a timeout.
        after_timeout: f64,
        /// The price of any other repeat.
        other: f64,
    },
    /// Finagle's default: a share of the calls of the last seconds, plus a fixed number of repeats per second.
    Finagle {
        /// The share.
        ratio: f64,
        /// The number of repeats per second that are always allowed.
        per_second: f64,
        /// How long a call counts.
        seconds: f64,
    },
}

/// A budget.
pub(super) struct PeerBudget {
    policy: PeerBudgetPolicy,
    tokens: f64,
    /// The price of the last repeat.
    paid: f64,
    /// For Finagle: each second with its number of calls and repeats.
    recent: VecDeque<(u64, f64, f64)>,
}

impl PeerBudget {
    pub(super) fn new(policy: PeerBudgetPolicy) -> PeerBudget {
        let tokens = match policy {
            PeerBudgetPolicy::PerSuccess { initial, .. } | PeerBudgetPolicy::PerRequest { initial, .. } => {
                initial
            }
            PeerBudgetPolicy::Grpc { max, .. } => max,
            PeerBudgetPolicy::Aws { tokens, .. } => tokens,
            PeerBudgetPolicy::Finagle { .. } => 0.0,
        };
        PeerBudget { policy, tokens, paid: 0.0, recent: VecDeque::new() }
    }

    fn this_second(&mut self, now: Time, window: f64) -> &mut (u64, f64, f64) {
        let second = now.as_nanos() / 1_000_000_000;
        while self.recent.front().is_some_and(|(old, ..)| (second - old) as f64 >= window) {
            self.recent.pop_front();
        }
        if self.recent.back().is_none_or(|(last, ..)| *last != second) {
            self.recent.push_back((second, 0.0, 0.0));
        }
        self.recent.back_mut().expect("just put in")
    }

    /// A call begins.
    pub(super) fn begun(&mut self, now: Time) {
        match self.policy {
            PeerBudgetPolicy::PerRequest { per, cap, .. } => self.tokens = (self.tokens + per).min(cap),
            PeerBudgetPolicy::Finagle { seconds, .. } => self.this_second(now, seconds).1 += 1.0,
            PeerBudgetPolicy::PerSuccess { .. }
            | PeerBudgetPolicy::Grpc { .. }
            | PeerBudgetPolicy::Aws { .. } => {}
        }
    }

    /// An attempt succeeded. `repeat` says whether it was a repeat.
    pub(super) fn succeeded(&mut self, repeat: bool) {
        let (more, cap) = match self.policy {
            PeerBudgetPolicy::PerSuccess { per, cap, .. } => (per, cap),
            PeerBudgetPolicy::Grpc { max, ratio } => (ratio, max),
            PeerBudgetPolicy::Aws { tokens, .. } => (if repeat { self.paid } else { 1.0 }, tokens),
            PeerBudgetPolicy::PerRequest { .. } | PeerBudgetPolicy::Finagle { .. } => return,
        };
        self.tokens = (self.tokens + more).min(cap);
    }

    /// An attempt failed.
    pub(super) fn failed(&mut self) {
        if let PeerBudgetPolicy::Grpc { .. } = self.policy {
            self.tokens = (self.tokens - 1.0).max(0.0);
        }
    }

    /// Whether the budget can pay for a repeat. If it can, it pays.
    pub(super) fn spend(&mut self, timed_out: bool, now: Time) -> bool {
        let cost = match self.policy {
            PeerBudgetPolicy::PerSuccess { .. } | PeerBudgetPolicy::PerRequest { .. } => 1.0,
            PeerBudgetPolicy::Grpc { max, .. } => return self.tokens > max / 2.0,
            PeerBudgetPolicy::Aws { after_timeout, other, .. } => {
                if timed_out {
                    after_timeout
                } else {
                    other
                }
            }
            PeerBudgetPolicy::Finagle { ratio, per_second, seconds } => {
                self.this_second(now, seconds);
                let (calls, repeats) = self
                    .recent
                    .iter()
                    .fold((0.0, 0.0), |(calls, repeats), (_, c, r)| (calls + c, repeats + r));
                let affordable = repeats + 1.0 <= ratio * calls + per_second * seconds;
                if affordable {
                    self.this_second(now, seconds).2 += 1.0;
                }
                return affordable;
            }
        };
        // Because of rounding, a ratio of 0.1 added ten times is slightly less than one.
        let affordable = self.tokens + 1e-9 >= cost;
        if affordable {
            self.tokens -= cost;
            self.paid = cost;
        }
        affordable
    }
}
