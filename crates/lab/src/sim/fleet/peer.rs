//! Small models of other products. Each has a maximum number of attempts for a call (`tries`), and a rule for the waits
//! between them. It may also have a budget, a breaker, a limit, a throttle or a controller.
//!
//! These models are for comparison only. The doc of each part names the product whose rule the part models. As in those
//! products, each attempt counts as a success or a failure by itself, and not the call as a whole. If the caller's own
//! guards refuse an attempt, the call ends.

use std::time::Duration;

use seawall_policy::{BreakerState, Ending, Lost, Time};

use super::peer_breakers::{PeerBreaker, PeerBreakerPolicy};
use super::peer_budgets::{PeerBudget, PeerBudgetPolicy};
use super::peer_shares::{Aimd, Pid, Throttle};
use super::step::{Next, Seen, told};
use crate::sim::chance::{Stream, seconds};

pub use super::peer_breakers::PeerBreakerPolicy as Breaker;
pub use super::peer_budgets::PeerBudgetPolicy as Budget;
pub use super::peer_shares::{AimdPolicy, PidPolicy, ThrottlePolicy};

/// The policy of a caller that runs a model of another product.
#[derive(Clone, Debug)]
pub struct PeerPolicy {
    /// The maximum number of attempts of a call.
    pub tries: u32,
    /// The waits between attempts.
    pub waits: Waits,
    /// The retry budget. With `None`, all repeats are allowed.
    pub budget: Option<PeerBudgetPolicy>,
    /// The breaker, which refuses attempts while it is open. With `None`, there is no breaker.
    pub breaker: Option<PeerBreakerPolicy>,
    /// Whether each key has a breaker of its own. Otherwise all keys share one breaker.
    pub by_key: bool,
    /// The limit on the number of the caller's attempts at the same time. With `None`, there is no limit.
    pub limit: Option<AimdPolicy>,
    /// A throttle, which refuses a share of the caller's own attempts. The share follows from a formula over the last
    /// results. With `None`, there is no throttle.
    pub throttle: Option<ThrottlePolicy>,
    /// A controller, which refuses a share of the caller's own attempts too, but raises or lowers the share step by
    /// step, once a second. With `None`, there is no controller.
    pub pid: Option<PidPolicy>,
    /// Whether the caller obeys an answer that says when to come back (`Retry-After`). If so, it sends nothing until
    /// exactly that time, and refuses its calls until then. Each refusal names that time.
    pub obeys: bool,
}

/// The rule for the waits before repeats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Waits {
    /// Repeats without a wait.
    Immediate,
    /// Doubles the wait each time, without randomness. The numbers are the first wait and the longest wait, in seconds.
    Doubling(f64, f64),
    /// Doubles the wait each time, and waits for half of it plus a random part of the other half. The numbers are the
    /// first wait and the longest wait, in seconds, before the random part is drawn.
    Equal(f64, f64),
    /// Doubles the wait each time, and waits for a random part of it. The numbers are the first wait and the longest
    /// wait, in seconds, before the random part is drawn.
    Full(f64, f64),
}

impl Waits {
    /// Returns the wait before a repeat, which is drawn at random. `repeat` is the number of the repeat within its
    /// call, beginning with 1.
    fn draw(self, repeat: u32, stream: &mut Stream) -> Duration {
        let bound = |base: f64, cap: f64| (base * f64::from(1_u32 << (repeat - 1).min(20))).min(cap);
        seconds(match self {
            Waits::Immediate => 0.0,
            Waits::Doubling(base, cap) => bound(base, cap),
            Waits::Equal(base, cap) => bound(base, cap) * (0.5 + stream.unit() / 2.0),
            Waits::Full(base, cap) => bound(base, cap) * stream.unit(),
        })
    }
}

impl PeerPolicy {
    /// Returns a policy whose calls make at most `tries` attempts, with these waits between them and without any guard.
    #[must_use]
    pub fn tries(tries: u32, waits: Waits) -> PeerPolicy {
        PeerPolicy {
            tries,
            waits,
            budget: None,
            breaker: None,
            by_key: false,
            limit: None,
            throttle: None,
            pid: None,
            obeys: false,
        }
    }

    /// Returns a policy whose calls make one attempt: no repeats and no guards.
    #[must_use]
    pub fn bare() -> PeerPolicy {
        PeerPolicy::tries(1, Waits::Immediate)
    }

    /// Sets the retry budget.
    #[must_use]
    pub fn budget(mut self, budget: PeerBudgetPolicy) -> PeerPolicy {
        self.budget = Some(budget);
        self
    }

    /// Sets the breaker.
    #[must_use]
    pub fn breaker(mut self, breaker: PeerBreakerPolicy) -> PeerPolicy {
        self.breaker = Some(breaker);
        self
    }

    /// Sets the concurrency limit.
    #[must_use]
    pub fn limit(mut self, limit: AimdPolicy) -> PeerPolicy {
        self.limit = Some(limit);
        self
    }
}

/// The state of one call of a peer.
pub(in crate::sim) struct PeerCall {
    tried: u32,
    /// The era of the breaker in which the attempt under way was admitted. A new era begins each time the breaker
    /// changes its state. If that has happened when the attempt ends, the breaker ignores how the attempt ended.
    era: u32,
    in_flight: bool,
}

/// One caller with a peer's policy.
pub(super) struct Peer {
    stream: Stream,
    budget: Option<PeerBudget>,
    breakers: Vec<PeerBreaker>,
    limit: Option<Aimd>,
    throttle: Option<Throttle>,
    pid: Option<Pid>,
    /// The time before which the caller sends nothing. It is the latest time that an answer named for coming back, if
    /// the caller obeys such answers.
    until: Time,
}

impl Peer {
    pub(super) fn new(policy: &PeerPolicy, keys: u32, stream: Stream) -> Peer {
        let breakers = if policy.by_key { keys.max(1) } else { 1 };
        Peer {
            stream,
            budget: policy.budget.map(PeerBudget::new),
            breakers: policy
                .breaker
                .map(|breaker| (0..breakers).map(|_| PeerBreaker::new(breaker)).collect())
                .unwrap_or_default(),
            limit: policy.limit.map(Aimd::new),
            throttle: policy.throttle.map(Throttle::new),
            pid: policy.pid.map(Pid::new),
            until: Time::ZERO,
        }
    }

    pub(super) fn begin(&mut self, policy: &PeerPolicy, key: u32, now: Time) -> (PeerCall, Next) {
        if let Some(budget) = &mut self.budget {
            budget.begun(now);
        }
        let mut call = PeerCall { tried: 0, era: 0, in_flight: false };
        let next = self.send(policy, &mut call, key, now);
        (call, next)
    }

    pub(super) fn waited(&mut self, policy: &PeerPolicy, call: &mut PeerCall, key: u32, now: Time) -> Next {
        self.send(policy, call, key, now)
    }

    fn breaker(&mut self, policy: &PeerPolicy, key: u32) -> Option<&mut PeerBreaker> {
        self.breakers.get_mut(if policy.by_key { key as usize } else { 0 })
    }

    fn send(&mut self, policy: &PeerPolicy, call: &mut PeerCall, key: u32, now: Time) -> Next {
        let first = call.tried == 0;
        if now < self.until {
            return Next::Over { ok: false, refused: first, told: Some(self.until) };
        }
        let refused = Next::Over { ok: false, refused: first, told: None };
        let unit = self.stream.unit();
        if self.throttle.as_mut().is_some_and(|throttle| !throttle.admits(now, unit))
            || self.pid.as_mut().is_some_and(|pid| !pid.admits(now, unit))
            || self.limit.as_ref().is_some_and(|limit| !limit.has_room())
        {
            return refused;
        }
        if let Some(breaker) = self.breaker(policy, key) {
            match breaker.admit(now) {
                Some(era) => call.era = era,
                None => return refused,
            }
        }
        if let Some(limit) = &mut self.limit {
            limit.enter();
        }
        call.tried += 1;
        call.in_flight = true;
        Next::Send { endpoint: 0, until: Time::NEVER, total: false }
    }

    pub(super) fn ended(
        &mut self,
        policy: &PeerPolicy,
        call: &mut PeerCall,
        key: u32,
        ending: Ending,
        now: Time,
    ) -> Next {
        let ok = matches!(ending, Ending::Answered(answer) if answer.status < 400);
        let timed_out = matches!(ending, Ending::Lost(Lost::ReadTimeout | Lost::TotalTimeout));
        let overload = timed_out || matches!(ending, Ending::Answered(a) if matches!(a.status, 429 | 503));
        let told = told(ending, now);
        if policy.obeys {
            self.until = self.until.max(told.unwrap_or(Time::ZERO));
        }
        let era = call.era;
        call.in_flight = false;
        if let Some(breaker) = self.breaker(policy, key) {
            breaker.record(ok, era, now);
        }
        if let Some(limit) = &mut self.limit {
            limit.leave(ok, overload);
        }
        if let Some(throttle) = &mut self.throttle {
            throttle.record(ok, now);
        }
        if let Some(pid) = &mut self.pid {
            pid.record(ok, now);
        }
        if let Some(budget) = &mut self.budget {
            if ok { budget.succeeded(call.tried > 1) } else { budget.failed() }
        }
        let pays = |budget: &mut Option<PeerBudget>| budget.as_mut().is_none_or(|b| b.spend(timed_out, now));
        if ok || call.tried >= policy.tries || !pays(&mut self.budget) {
            return Next::Over { ok, refused: false, told };
        }
        let wait = policy.waits.draw(call.tried, &mut self.stream);
        if wait.is_zero() { self.send(policy, call, key, now) } else { Next::Wait(now.saturating_add(wait)) }
    }

    /// Must be called when the caller of `call` gives up waiting. If an attempt is in flight, the limit counts it
    /// neither as a success nor as a failure.
    pub(super) fn leaves(&mut self, call: &PeerCall) {
        if let Some(limit) = &mut self.limit
            && call.in_flight
        {
            limit.leave(false, false);
        }
    }

    pub(super) fn seen(&mut self, now: Time) -> Seen {
        let open = self.breakers.iter().any(|breaker| !breaker.is_closed(now));
        let state = if open { BreakerState::Open } else { BreakerState::Closed };
        let limit = self.limit.as_ref().map(Aimd::limit);
        Seen { state: (!self.breakers.is_empty()).then_some(state), limit, least_limit: limit }
    }
}
