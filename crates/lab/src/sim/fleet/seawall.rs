//! A caller that runs Seawall: the real call machine and the real guards, which get the virtual time.
//!
//! This file decides nothing. As the real client does, it tells the machine how attempts ended, and carries out the
//! steps that the machine returns.

use std::sync::Arc;
use std::time::Duration;

use seawall_policy::{
    After, AttemptEnd, Backoff, Breaker, BreakerState, BudgetSettings, Call, DependencyGuards, Draw, Ended,
    Ending, Evidence, FailureKind, Finish, GuardSettings, Guards, Health, HeldPass, Idempotency, Keys,
    Overload, Permit, Plan, QueueTurn, Refusal, Report, Rules, Step, Stopped, Ticket, Time, Wish, Witness,
};

use super::step::{Next, Seen, told};
use crate::sim::chance::Stream;

/// The part of Seawall's settings that a simulation needs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seawall {
    /// The settings of breaker, limit and budget, and how many instances of the program run.
    pub guards: GuardSettings,
    /// The maximum number of attempts of a call.
    pub attempts: u32,
    /// The waits between attempts.
    pub backoff: Backoff,
    /// The total deadline of a call, from its beginning. With `None`, a call has no total deadline.
    pub total: Option<Duration>,
}

impl Default for Seawall {
    fn default() -> Self {
        Seawall {
            guards: GuardSettings::default(),
            attempts: 2,
            backoff: Backoff::default(),
            total: Some(Duration::from_secs(30)),
        }
    }
}

/// Seawall's settings for one group of callers.
#[derive(Clone, Debug)]
pub struct SeawallPolicy {
    /// The plan, which is the same for every call.
    pub plan: Plan,
    /// The settings of the guards.
    pub guards: GuardSettings,
    /// Whether each key has a breaker and a limit of its own. The budget is always shared by all keys.
    pub by_key: bool,
    /// What the guards conclude when a caller leaves.
    pub leaving: Leaving,
}

/// What the guards conclude when a caller leaves before its call has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Leaving {
    /// The rule of Seawall's machines, and the default. The endpoint may work well although a caller has left. So the
    /// guards let some attempts go on after their callers have left, and judge the endpoint by the real ending of these
    /// attempts.
    #[default]
    Witnesses,
    /// The obvious rule, for comparison: if the breaker's window contains no success, an attempt whose caller gave up
    /// waiting counts as a slow failure. No attempt goes on without its caller. This rule works with one endpoint only.
    Obvious,
}

impl SeawallPolicy {
    /// Returns the policy with these settings for a dependency with this number of `endpoints`. Its calls may be
    /// repeated. Each attempt waits for its answer for `timeout` at most.
    ///
    /// With `full`, the budget's bucket is full at the start, as in a fleet that has run for a long time.
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
        SeawallPolicy { plan, guards, by_key: false, leaving: Leaving::default() }
    }

    /// Gives each key a breaker and a limit of its own.
    #[must_use]
    pub fn by_key(mut self) -> SeawallPolicy {
        self.by_key = true;
        self
    }
}

/// The guards of one caller.
pub(in crate::sim) struct SeawallGuards {
    guards: DependencyGuards,
    /// The keys that have a breaker and a limit of their own. The list is empty if breaker and limit are kept for each
    /// endpoint, and not for each key.
    keys: Vec<Keys>,
    /// The position of the current call's key in `keys`; `None` if all keys share breaker and limit.
    key: Option<usize>,
    leaving: Leaving,
    stream: Stream,
}

impl SeawallGuards {
    pub(super) fn new(policy: &SeawallPolicy, keys: u32, stream: Stream) -> SeawallGuards {
        let name = |key: u32| Some(Arc::from(key.to_string()));
        let keys = if policy.by_key { keys } else { 0 };
        SeawallGuards {
            guards: DependencyGuards::new(policy.guards, policy.plan.endpoints),
            keys: (0..keys).map(|key| Keys { breaker: name(key), limit: name(key) }).collect(),
            key: None,
            leaving: policy.leaving,
            stream,
        }
    }

    fn turns_to(&mut self, key: u32) {
        self.key = (!self.keys.is_empty()).then_some(key as usize);
    }

    /// Returns the guards, and the key of the current call.
    fn asked(&mut self) -> (&mut DependencyGuards, &Keys) {
        (&mut self.guards, self.key.map_or(&Keys::NONE, |key| &self.keys[key]))
    }

    pub(super) fn begin(&mut self, policy: &SeawallPolicy, key: u32, now: Time) -> (Call, Next) {
        self.turns_to(key);
        let (call, step) = Call::begin(&policy.plan, Wish::default(), self, now);
        let next = self.next(step, false, None, now);
        (call, next)
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
        let step = call.ended(&policy.plan, self, Ended::of(ending), || draw, now);
        self.next(step, ok, told(ending, now), now)
    }

    pub(super) fn waited(&mut self, policy: &SeawallPolicy, call: &mut Call, key: u32, now: Time) -> Next {
        self.turns_to(key);
        let step = call.turn(&policy.plan, self, now);
        self.next(step, false, None, now)
    }

    /// Returns what the caller does next, according to the machine's step. Two arguments are used only if the call ends
    /// with this step:
    ///
    /// - `ok`: whether the last attempt ended well.
    /// - `told`: the time that the answer to the last attempt named for coming back. If the call ends with a refusal,
    ///   the refusal's own time is used instead.
    fn next(&mut self, step: Step, ok: bool, told: Option<Time>, now: Time) -> Next {
        match step {
            Step::Send(attempt) => {
                let read = now.saturating_add(attempt.read);
                let total = attempt.end_by < read;
                Next::Send { endpoint: attempt.endpoint, until: read.min(attempt.end_by), total }
            }
            // No scenario has a queue so far. In a scenario with a queue, the call would have to ask for its turn at
            // the end of this wait.
            Step::Wait(until) | Step::Queue(until) => Next::Wait(until),
            Step::Finish(Finish { refusal: Some(refusal), .. }) => {
                let draw = if refusal.spread.is_zero() { Draw::new(0) } else { self.stream.draw() };
                let rest = refusal.come_back(now, draw);
                Next::Over { ok, refused: true, told: rest.map(|rest| now.saturating_add(rest)) }
            }
            Step::Finish(Finish { refusal: None, .. }) => Next::Over { ok, refused: false, told },
        }
    }

    pub(super) fn leaves(
        &mut self,
        policy: &SeawallPolicy,
        call: &mut Call,
        key: u32,
        now: Time,
    ) -> Option<Witness> {
        self.turns_to(key);
        let followed = match self.leaving {
            Leaving::Witnesses => {
                call.underway().and_then(|attempt| self.guards.follow(&attempt, policy.plan.timeouts.read))
            }
            Leaving::Obvious => None,
        };
        match followed {
            Some(_) => call.caller_left(),
            None => call.abandon(&policy.plan, self, now),
        }
        followed
    }

    pub(super) fn followed(&mut self, witness: Witness) {
        self.guards.unfollow(witness);
    }

    /// Returns what the guards are told with [`Leaving::Obvious`]. If the caller gave up waiting and the breaker's
    /// window contains no success, the breaker is told of a slow failure, and the limit of an overload. In all other
    /// cases, the result is `report` without a change.
    fn obvious(&mut self, report: &Report, now: Time) -> Report {
        let breaker = self.guards.endpoint(0).expect("there is one").breaker();
        let gave_up = matches!(report.health, Evidence::Abandoned { .. });
        if !gave_up || breaker.counts(now).ok > 0 {
            return *report;
        }
        let health = Evidence::Failure { kind: FailureKind::Abandoned, slow: true };
        Report { health, load: AttemptEnd::Overload, ..*report }
    }

    pub(super) fn seen(&mut self, now: Time) -> Seen {
        let keyed = !self.keys.is_empty();
        let mut state = BreakerState::Closed;
        let (mut limit, mut least) = (0, u32::MAX);
        for at in 0..self.guards.len() {
            let guards = self.guards.endpoint(at).expect("below their number");
            let mut breaker = |breaker: &mut Breaker| {
                if !breaker.is_closed() {
                    state = breaker.state(now);
                }
            };
            let mut own = |own: u32| (limit, least) = (limit + own, least.min(own));
            if keyed {
                guards.each_breaker(now, |_, one, _| breaker(one));
                guards.each_limit(|_, one| own(one.limit));
            } else {
                breaker(guards.breaker());
                own(guards.limit().limit());
            }
        }
        Seen { state: Some(state), limit: Some(limit), least_limit: (least < u32::MAX).then_some(least) }
    }
}

impl Guards for SeawallGuards {
    fn admit(&mut self, endpoint: usize, now: Time) -> Result<Permit, Refusal> {
        let (guards, keys) = self.asked();
        guards.admit(endpoint, keys, now)
    }

    fn join(&mut self, endpoint: usize, now: Time) -> Result<(Ticket, Time), Refusal> {
        let (guards, keys) = self.asked();
        guards.join(endpoint, keys, now)
    }

    fn take_turn(&mut self, ticket: Ticket, now: Time) -> QueueTurn {
        let (guards, keys) = self.asked();
        guards.take_turn(ticket, keys, now)
    }

    fn leave(&mut self, ticket: Ticket, now: Time) {
        self.guards.leave(ticket, now);
    }

    fn overloaded(&mut self, permit: &Permit, told: Overload, now: Time) -> Option<Time> {
        let stream = &mut self.stream;
        self.guards.overloaded(permit, told, now, || stream.draw())
    }

    fn refuses(&mut self, endpoint: usize, now: Time) -> Option<Stopped> {
        let (guards, keys) = self.asked();
        guards.refuses(endpoint, keys, now)
    }

    fn settle(&mut self, permit: Permit, report: &Report, after: After, now: Time) -> Option<HeldPass> {
        let obvious = match self.leaving {
            Leaving::Witnesses => None,
            Leaving::Obvious => Some(self.obvious(report, now)),
        };
        let report = obvious.as_ref().unwrap_or(report);
        let stream = &mut self.stream;
        self.guards.settle(permit, report, after, now, || stream.draw()).pass
    }

    fn witness(&mut self, pass: HeldPass, report: &Report, now: Time) {
        let stream = &mut self.stream;
        self.guards.witness(pass, report, now, || stream.draw());
    }

    fn pay(&mut self, permit: &Permit, doubles: bool, now: Time) -> Result<(), Stopped> {
        self.guards.pay(permit, doubles, now)
    }
}
