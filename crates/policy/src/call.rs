//! The call machine: told what happened, it says what to do next.
//!
//! Every driver (the client, the ledger's worker, a simulator) runs this one machine, so a rule is written once and
//! what a simulation shows is what production does. It never waits: it answers with a deadline, and the driver owns
//! the one sleep.
//!
//! The order in which a repeat is asked for matters. Whether it may be repeated at all, whether an attempt is left,
//! whether the body is still there, whether the deadline leaves room, and last the budget, which costs: all *before* any
//! wait. The obvious place, after the wait, makes a caller wait for a "no" and then hands out a stale reason.
//!
//! ```text
//! begin -> Send -> ended -> Wait -> waited -> Send -> ended -> Finish
//!      \-> Finish (refused)   \-> Send (next endpoint)  \-> Finish
//! ```

use std::time::Duration;

use crate::{
    Backoff, Draw, Effect, Ending, Health, Reason, Repeat, Rules, Stopped, Time, Verdict, may_repeat,
};

/// The three timeouts of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// DNS, TCP and TLS together. Default 3 s: a lost SYN is sent again after one second, and once more after three.
    pub connect: Duration,
    /// The longest time without progress in either direction. Default 10 s.
    pub read: Duration,
    /// From the first attempt to the last byte of the answer. Default 30 s; `None` for endless streams.
    pub total: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            connect: Duration::from_secs(3),
            read: Duration::from_secs(10),
            total: Some(Duration::from_secs(30)),
        }
    }
}

/// What is fixed for every call of an operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What endings mean, and what a second delivery does.
    pub rules: Rules,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// Attempts in all, the first included; at least 1. Default 2: measured, a third adds load and little success.
    pub attempts: u32,
    /// How long to wait before a repeat.
    pub backoff: Backoff,
    /// How many endpoints there are, in order of preference; at least 1.
    pub endpoints: usize,
}

impl Plan {
    /// The defaults, for rules and a number of endpoints.
    #[must_use]
    pub fn new(rules: Rules, endpoints: usize) -> Plan {
        Plan { rules, timeouts: Timeouts::default(), attempts: 2, backoff: Backoff::default(), endpoints }
    }
}

/// A "no" of a guard, before anything was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which guard.
    pub reason: Reason,
    /// Until when it will say so, where it knows.
    pub until: Option<Time>,
}

/// What is told to the guards when an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// How it ended, and what that means; `None` where the attempt was abandoned, and nobody knows.
    pub outcome: Option<(Ending, Verdict)>,
    /// A timeout, a 504, or any failure that took more than a tenth of the read timeout.
    pub slow: bool,
    /// From the first wait for a connection to the ending.
    pub took: Duration,
}

/// What the machine asks of state that calls share: breaker, limit and budget of each endpoint.
pub trait Guards {
    /// The right to make one attempt; given back exactly once, in [`Guards::settle`].
    type Permit;
    /// What is left of a settled permit whose evidence is still to be given.
    type Pass;

    /// Asks breaker and concurrency limit, in this order.
    ///
    /// # Errors
    /// The guard that said no.
    fn admit(&mut self, endpoint: usize, now: Time) -> Result<Self::Permit, Refusal>;

    /// Gives a permit back. With `last`, the report is evidence at once; otherwise the call repeats at the same
    /// endpoint, and the pass comes back in [`Guards::witness`] or not at all.
    fn settle(
        &mut self,
        endpoint: usize,
        permit: Self::Permit,
        report: Report,
        last: bool,
        now: Time,
    ) -> Self::Pass;

    /// Gives evidence that was held back while a repeat was planned that then never was sent.
    fn witness(&mut self, endpoint: usize, pass: Self::Pass, report: Report, now: Time);

    /// Asks whether one more repeat can be afforded after a failure at `endpoint`, and pays for it.
    ///
    /// # Errors
    /// [`Stopped::Budget`], [`Stopped::Slow`] or [`Stopped::Breaker`].
    fn pay(&mut self, endpoint: usize, slow: bool, now: Time) -> Result<(), Stopped>;

    /// A call succeeded.
    fn earn(&mut self);
}

/// One attempt to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// 1 for the first.
    pub number: u32,
    /// Where to.
    pub endpoint: usize,
    /// When a connection must be there.
    pub connect_by: Time,
    /// The longest time without progress.
    pub read: Duration,
    /// When all must be over, body included; [`Time::NEVER`] where there is no total timeout.
    pub end_by: Time,
    /// `end_by` is the caller's own deadline, and ours would be later: an ending at it is
    /// [`Ending::CallerDeadline`].
    pub callers_deadline: bool,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finish {
    /// The effect of the whole call.
    pub effect: Effect,
    /// Attempts made.
    pub attempts: u32,
    /// The endpoint of the last attempt, or that of the refusal.
    pub endpoint: usize,
    /// The call was refused here before anything was attempted. Without it the last ending is the call's outcome.
    pub refusal: Option<Refusal>,
    /// Why a wanted repeat did not happen.
    pub stopped: Option<Stopped>,
}

/// What the driver does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make this attempt, then call [`Call::ended`].
    Send(Attempt),
    /// Wait until then, then call [`Call::waited`].
    Wait(Time),
    /// The call is over.
    Finish(Finish),
}

/// What the driver knows of an ended attempt beside its ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// How it ended.
    pub ending: Ending,
    /// Whether the same bytes can be sent again.
    pub body_kept: bool,
    /// It was lost with a connection that an earlier call had left, before a byte of its answer, or was left out by that
    /// connection's GOAWAY: the connection was stale. That says nothing of the load, so a repeat that the table allows
    /// goes at once, to the same endpoint on a fresh connection, and costs nothing. It cannot multiply: each such
    /// connection has carried an answer before.
    pub stale: bool,
}

/// One call, from its start to its verdict.
#[derive(Debug)]
pub struct Call<G: Guards> {
    end_by: Time,
    callers_deadline: bool,
    caller_repeats: bool,
    attempts: u32,
    endpoint: usize,
    began: Time,
    effect: Effect,
    last: Option<Repeat>,
    permit: Option<G::Permit>,
    held_back: Option<(G::Pass, Report)>,
}

/// What the caller said of its call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// The caller's own remaining time.
    pub within: Option<Duration>,
    /// The caller's own deadline, where it is a point in time: no byte leaves after it, however long the program stood
    /// still between the promise and the call.
    pub by: Option<Time>,
    /// Somebody above repeats already: make one attempt.
    pub no_repeats: bool,
}

impl<G: Guards> Call<G> {
    /// Starts a call: its machine, and the first step.
    pub fn begin(plan: &Plan, wish: Wish, guards: &mut G, now: Time) -> (Call<G>, Step) {
        let ours = plan.timeouts.total.map_or(Time::NEVER, |total| now.saturating_add(total));
        let callers = wish.within.map_or(Time::NEVER, |within| now.saturating_add(within));
        let callers = callers.min(wish.by.unwrap_or(Time::NEVER));
        let mut call = Call {
            end_by: ours.min(callers),
            callers_deadline: callers < ours,
            caller_repeats: wish.no_repeats,
            attempts: 0,
            endpoint: 0,
            began: now,
            effect: Effect::NotApplied,
            last: None,
            permit: None,
            held_back: None,
        };
        let step = call.send(plan, guards, 0, now);
        (call, step)
    }

    /// The attempt ended.
    pub fn ended(&mut self, plan: &Plan, guards: &mut G, ended: Ended, draw: Draw, now: Time) -> Step {
        let verdict = plan.rules.judge(&ended.ending);
        self.effect = self.effect.and(verdict.effect);
        let repeat = may_repeat(plan.rules.idempotency, &verdict);
        self.last = Some(repeat);
        let report = self.report(plan, Some((ended.ending, verdict)), now);
        let asked = self.may_go_on(plan, guards, repeat, &verdict, &report, ended, draw, now);
        let next = if ended.stale { self.endpoint } else { self.next_endpoint(plan) };
        let stays = asked.is_ok() && next == self.endpoint;
        if let Some(permit) = self.permit.take() {
            let pass = guards.settle(self.endpoint, permit, report, !stays, now);
            self.held_back = stays.then_some((pass, report));
        }
        match asked {
            Ok(at) if at > now => Step::Wait(at),
            Ok(_) => self.send(plan, guards, next, now),
            Err(stopped) => {
                if verdict.health == Health::Success {
                    guards.earn();
                }
                Step::Finish(self.finish(None, stopped))
            }
        }
    }

    /// The wait that [`Step::Wait`] asked for is over.
    pub fn waited(&mut self, plan: &Plan, guards: &mut G, now: Time) -> Step {
        let next = self.next_endpoint(plan);
        self.send(plan, guards, next, now)
    }

    /// Nobody drives the call any more: the permit goes back, as "we don't know".
    pub fn abandon(&mut self, plan: &Plan, guards: &mut G, now: Time) {
        let report = self.report(plan, None, now);
        if let Some(permit) = self.permit.take() {
            guards.settle(self.endpoint, permit, report, true, now);
        }
        self.give_evidence(guards, now);
    }

    /// The caller went away: the attempt in flight may end, and nothing is sent after it.
    pub fn caller_left(&mut self) {
        self.caller_repeats = true;
    }

    /// When all of it must be over.
    #[must_use]
    pub fn end_by(&self) -> Time {
        self.end_by
    }

    fn report(&self, plan: &Plan, outcome: Option<(Ending, Verdict)>, now: Time) -> Report {
        let took = now.since(self.began);
        let slow = outcome.is_some_and(|(_, v)| {
            v.timed_out || (v.health == Health::Failure && took > plan.timeouts.read / 10)
        });
        Report { outcome, slow, took }
    }

    /// When the next attempt may begin, or why there is none (`Err(None)`: none is wanted).
    #[expect(clippy::too_many_arguments, reason = "the facts of one decision, asked in one place")]
    fn may_go_on(
        &self,
        plan: &Plan,
        guards: &mut G,
        repeat: Repeat,
        verdict: &Verdict,
        report: &Report,
        ended: Ended,
        draw: Draw,
        now: Time,
    ) -> Result<Time, Option<Stopped>> {
        match repeat {
            Repeat::NotWanted => return Err(None),
            Repeat::Forbidden => return Err(Some(Stopped::NotRepeatable)),
            Repeat::Allowed => {}
        }
        if self.caller_repeats {
            return Err(Some(Stopped::Caller));
        }
        if self.attempts >= plan.attempts {
            return Err(Some(Stopped::Attempts));
        }
        if !ended.body_kept {
            return Err(Some(Stopped::Body));
        }
        if ended.stale && now < self.end_by {
            return Ok(now);
        }
        let moves_on = self.attempts < plan.endpoints as u32;
        let wait = if moves_on {
            Duration::ZERO
        } else {
            plan.backoff.wait(self.attempts, verdict.retry_after, draw)
        };
        let at = now.saturating_add(wait);
        if at >= self.end_by {
            return Err(Some(Stopped::Deadline));
        }
        guards.pay(self.endpoint, report.slow, now).map_err(Some)?;
        Ok(at)
    }

    /// The endpoint of the next attempt: the next in order of preference, round and round.
    fn next_endpoint(&self, plan: &Plan) -> usize {
        if self.attempts == 0 { 0 } else { (self.endpoint + 1) % plan.endpoints.max(1) }
    }

    /// Asks in this order: time left, breaker, concurrency limit; over the endpoints, beginning with `first`.
    fn send(&mut self, plan: &Plan, guards: &mut G, first: usize, now: Time) -> Step {
        if now >= self.end_by {
            return self.refused(guards, first, Refusal { reason: Reason::NoTimeLeft, until: None }, now);
        }
        let mut refusal: Option<(usize, Refusal)> = None;
        for offset in 0..plan.endpoints.max(1) {
            let endpoint = (first + offset) % plan.endpoints.max(1);
            match guards.admit(endpoint, now) {
                Ok(permit) => return self.sends(plan, guards, endpoint, permit, now),
                Err(no) => {
                    let (_, kept) = refusal.get_or_insert((endpoint, no));
                    kept.until = kept.until.into_iter().chain(no.until).min();
                }
            }
        }
        let (endpoint, no) = refusal.expect("at least one endpoint was asked");
        self.refused(guards, endpoint, no, now)
    }

    fn sends(&mut self, plan: &Plan, guards: &mut G, endpoint: usize, permit: G::Permit, now: Time) -> Step {
        if endpoint == self.endpoint {
            self.held_back = None;
        } else {
            self.give_evidence(guards, now);
        }
        self.permit = Some(permit);
        self.endpoint = endpoint;
        self.attempts += 1;
        self.began = now;
        Step::Send(Attempt {
            number: self.attempts,
            endpoint,
            connect_by: now.saturating_add(plan.timeouts.connect).min(self.end_by),
            read: plan.timeouts.read,
            end_by: self.end_by,
            callers_deadline: self.callers_deadline,
        })
    }

    fn refused(&mut self, guards: &mut G, endpoint: usize, refusal: Refusal, now: Time) -> Step {
        self.give_evidence(guards, now);
        if self.last.is_none() {
            self.endpoint = endpoint;
            return Step::Finish(self.finish(Some(refusal), None));
        }
        let stopped = match refusal.reason {
            Reason::NoTimeLeft => Stopped::Deadline,
            Reason::BreakerOpen => Stopped::Breaker,
            _ => Stopped::Limit,
        };
        Step::Finish(self.finish(None, Some(stopped)))
    }

    fn give_evidence(&mut self, guards: &mut G, now: Time) {
        if let Some((pass, report)) = self.held_back.take() {
            guards.witness(self.endpoint, pass, report, now);
        }
    }

    fn finish(&self, refusal: Option<Refusal>, stopped: Option<Stopped>) -> Finish {
        Finish { effect: self.effect, attempts: self.attempts, endpoint: self.endpoint, refusal, stopped }
    }
}

#[cfg(test)]
#[path = "call_tests.rs"]
mod tests;
