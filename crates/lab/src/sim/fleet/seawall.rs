//! A caller that runs Seawall: the real call machine over the real guards, told of virtual time.
//!
//! Nothing is decided here. This file hands endings in and takes steps out, as the client does.

use std::time::Duration;

use seawall_policy::{
    After, BreakerState, BudgetSettings, Call, Claim, DependencyGuards, Ended, Ending, GuardSettings, Guards,
    Health, HeldPass, Idempotency, Keys, Overload, Permit, Plan, Refusal, Report, Rules, Step, Stopped,
    Ticket, Time, Wish,
};

use super::Next;
use crate::sim::chance::Stream;
use crate::sim::scenarios::Seawall;

/// Seawall's settings for one group of callers.
#[derive(Clone, Debug)]
pub struct SeawallPolicy {
    /// What is fixed for every call.
    pub plan: Plan,
    /// How the guards decide.
    pub guards: GuardSettings,
    /// Breaker and limit for each key, the budget for all.
    pub by_key: bool,
}

impl SeawallPolicy {
    /// These settings over so many endpoints, for calls that may be repeated, with this attempt timeout.
    ///
    /// With `full`, buckets are full at the start, as in a fleet that has run for long.
    #[must_use]
    pub fn new(settings: &Seawall, endpoints: usize, timeout: Duration, full: bool) -> SeawallPolicy {
        let mut plan = Plan::new(Rules::of(Idempotency::Keyed), endpoints);
        plan.timeouts.read = timeout;
        plan.timeouts.total = settings.total;
        plan.attempts = settings.attempts;
        plan.backoff = settings.backoff;
        let mut guards = settings.guards;
        if full {
            let budget = guards.budget;
            guards.budget = BudgetSettings { initial_milli: budget.burst_milli, ..budget };
        }
        SeawallPolicy { plan, guards, by_key: false }
    }

    /// The same with breaker and limit for each key.
    #[must_use]
    pub fn by_key(mut self) -> SeawallPolicy {
        self.by_key = true;
        self
    }
}

/// Guards of one caller. With keys, the guards of a key are those of an endpoint of its own.
pub(in crate::sim) struct SeawallGuards {
    guards: DependencyGuards,
    endpoints: usize,
    keys: usize,
    /// The first endpoint of the key that is being asked for.
    offset: usize,
    stream: Stream,
}

impl SeawallGuards {
    pub(super) fn new(policy: &SeawallPolicy, keys: u32, stream: Stream) -> SeawallGuards {
        let endpoints = policy.plan.endpoints.max(1);
        let keys = if policy.by_key { keys.max(1) as usize } else { 1 };
        SeawallGuards {
            guards: DependencyGuards::new(policy.guards, endpoints * keys),
            endpoints,
            keys,
            offset: 0,
            stream,
        }
    }

    fn turns_to(&mut self, key: u32) {
        self.offset = if self.keys > 1 { key as usize * self.endpoints } else { 0 };
    }

    pub(super) fn begin(&mut self, policy: &SeawallPolicy, key: u32, now: Time) -> (Call, Next) {
        self.turns_to(key);
        let (call, step) = Call::begin(&policy.plan, Wish::default(), self, now);
        (call, next(step, false, now))
    }

    pub(super) fn ended(
        &mut self,
        policy: &SeawallPolicy,
        call: &mut Call,
        key: u32,
        ending: Ending,
        now: Time,
    ) -> Next {
        self.turns_to(key);
        let ok = policy.plan.rules.judge(&ending).health == Health::Success;
        let draw = self.stream.draw();
        next(call.ended(&policy.plan, self, Ended::of(ending), || draw, now), ok, now)
    }

    pub(super) fn waited(&mut self, policy: &SeawallPolicy, call: &mut Call, key: u32, now: Time) -> Next {
        self.turns_to(key);
        next(call.turn(&policy.plan, self, now), false, now)
    }

    pub(super) fn seen(&mut self, now: Time) -> (Option<BreakerState>, Option<u32>) {
        let mut state = BreakerState::Closed;
        let mut limit = 0;
        for at in 0..self.guards.len() {
            let guards = self.guards.endpoint(at).expect("below their number");
            if !guards.breaker().is_closed() {
                state = guards.breaker().state(now);
            }
            limit += guards.limit().limit();
        }
        (Some(state), Some(limit))
    }
}

fn next(step: Step, ok: bool, now: Time) -> Next {
    match step {
        Step::Send(attempt) => {
            let read = now.saturating_add(attempt.read);
            let total = attempt.end_by < read;
            Next::Send { endpoint: attempt.endpoint, until: read.min(attempt.end_by), total }
        }
        // No scenario has a queue yet; in one, a turn would be taken when the wait is over.
        Step::Wait(until) | Step::Queue(until) => Next::Wait(until),
        Step::Finish(finish) => Next::Over { ok, refused: finish.refusal.is_some() },
    }
}

impl Guards for SeawallGuards {
    type Permit = Permit;
    type Pass = HeldPass;
    type Ticket = Ticket;

    fn admit(&mut self, endpoint: usize, now: Time) -> Result<Permit, Refusal> {
        self.guards.admit(self.offset + endpoint, &Keys::NONE, now)
    }

    fn join(&mut self, endpoint: usize, now: Time) -> Result<(Ticket, Time), Refusal> {
        self.guards.join(self.offset + endpoint, &Keys::NONE, now)
    }

    fn claim(&mut self, ticket: Ticket, now: Time) -> Claim<Permit, Ticket> {
        self.guards.claim(ticket, &Keys::NONE, now)
    }

    fn leave(&mut self, ticket: Ticket, now: Time) {
        self.guards.leave(ticket, now);
    }

    fn overloaded(&mut self, permit: &Permit, told: Overload, now: Time) -> Option<Time> {
        let stream = &mut self.stream;
        self.guards.overloaded(permit, told, now, || stream.draw())
    }

    fn refuses(&mut self, endpoint: usize, now: Time) -> Option<Stopped> {
        self.guards.refuses(self.offset + endpoint, &Keys::NONE, now)
    }

    fn settle(&mut self, permit: Permit, report: &Report, after: After, now: Time) -> Option<HeldPass> {
        let stream = &mut self.stream;
        self.guards.settle(permit, report, after, now, || stream.draw()).pass
    }

    fn witness(&mut self, pass: HeldPass, report: &Report, now: Time) {
        let stream = &mut self.stream;
        self.guards.witness(pass, report, now, || stream.draw());
    }

    fn pay(&mut self, permit: &Permit, slow: bool, now: Time) -> Result<(), Stopped> {
        self.guards.pay(permit, slow, now)
    }
}
