//! Models of the retry budgets of other products.

use std::collections::VecDeque;

use seawall_policy::Time;

/// The rule of a product's retry budget.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PeerBudgetPolicy {
    /// A token bucket that earns `per` tokens with each success. A repeat costs one token.
    PerSuccess {
        /// The number of tokens that each success earns.
        per: f64,
        /// The maximum number of tokens.
        cap: f64,
        /// The number of tokens at the start.
        initial: f64,
    },
    /// A token bucket that earns `per` tokens with each call, whatever its result. A repeat costs one token. Finagle
    /// and Linkerd use this rule; the minimum of repeats per second that they also allow is not modelled.
    PerRequest {
        /// The number of tokens that each call earns.
        per: f64,
        /// The maximum number of tokens.
        cap: f64,
        /// The number of tokens at the start.
        initial: f64,
    },
    /// gRPC's rule (its design proposal A6): each failed attempt takes one token, each success gives `ratio` tokens,
    /// and repeats are allowed only while the bucket is more than half full.
    Grpc {
        /// gRPC's `maxTokens`: the number of tokens that the bucket holds at most. The bucket is full at the start.
        max: f64,
        /// gRPC's `tokenRatio`: the number of tokens that each success gives.
        ratio: f64,
    },
    /// The rule of the standard mode of the AWS SDKs, whose bucket has 500 tokens. There, a repeat costs 5 tokens, or
    /// 10 after a timeout. A repeat that succeeds gives its price back; any other success gives one token.
    Aws {
        /// The maximum number of tokens. The bucket is full at the start.
        tokens: f64,
        /// The price of a repeat after a timeout, in tokens.
        after_timeout: f64,
        /// The price of any other repeat, in tokens.
        other: f64,
    },
    /// Finagle's default rule: repeats may be a share of the calls of the last seconds, plus a fixed number of repeats
    /// per second.
    Finagle {
        /// The number of repeats as a share of the calls.
        ratio: f64,
        /// The number of repeats per second that are always allowed.
        per_second: f64,
        /// The number of seconds for which a call or a repeat is remembered.
        seconds: f64,
    },
}

/// A budget with a [`PeerBudgetPolicy`].
pub(super) struct PeerBudget {
    policy: PeerBudgetPolicy,
    tokens: f64,
    /// The price of the last repeat, in tokens.
    paid: f64,
    /// The last seconds, the oldest first. Each entry has a number for the second, the calls that began in it, and the
    /// repeats that were made in it. Only Finagle's rule uses this list.
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

    /// Records that a call begins. With [`PeerBudgetPolicy::PerRequest`] and [`PeerBudgetPolicy::Finagle`], this allows
    /// more repeats. With all other rules it changes nothing.
    pub(super) fn begun(&mut self, now: Time) {
        match self.policy {
            PeerBudgetPolicy::PerRequest { per, cap, .. } => self.tokens = (self.tokens + per).min(cap),
            PeerBudgetPolicy::Finagle { seconds, .. } => self.this_second(now, seconds).1 += 1.0,
            PeerBudgetPolicy::PerSuccess { .. }
            | PeerBudgetPolicy::Grpc { .. }
            | PeerBudgetPolicy::Aws { .. } => {}
        }
    }

    /// Records that an attempt succeeded, and adds the tokens that this earns. `repeat` says whether the attempt was a
    /// repeat.
    pub(super) fn succeeded(&mut self, repeat: bool) {
        let (more, cap) = match self.policy {
            PeerBudgetPolicy::PerSuccess { per, cap, .. } => (per, cap),
            PeerBudgetPolicy::Grpc { max, ratio } => (ratio, max),
            PeerBudgetPolicy::Aws { tokens, .. } => (if repeat { self.paid } else { 1.0 }, tokens),
            PeerBudgetPolicy::PerRequest { .. } | PeerBudgetPolicy::Finagle { .. } => return,
        };
        self.tokens = (self.tokens + more).min(cap);
    }

    /// Records that an attempt failed. Only gRPC's rule takes a token for it.
    pub(super) fn failed(&mut self) {
        if let PeerBudgetPolicy::Grpc { .. } = self.policy {
            self.tokens = (self.tokens - 1.0).max(0.0);
        }
    }

    /// Returns whether the budget allows a repeat. If it does, takes the price of the repeat. `timed_out` says whether
    /// the attempt before the repeat timed out.
    ///
    /// gRPC's rule takes nothing here: it allows a repeat while the bucket is more than half full.
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
        // A small amount is added because of rounding: the ratio 0.1 added ten times gives slightly less than one
        // token.
        let affordable = self.tokens + 1e-9 >= cost;
        if affordable {
            self.tokens -= cost;
            self.paid = cost;
        }
        affordable
    }
}
