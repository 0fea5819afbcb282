//! The call machine: a driver reports to it what happened, and it returns what the driver does next.
//!
//! Every driver (the client, the ledger's worker, a simulator) runs this one machine. So each rule is written once, and
//! what a simulation shows is what production does. The machine never waits: it returns the time until which the driver
//! is to wait.
//!
//! Before a repeat, these questions are asked in this order:
//!
//! 1. May the request be repeated at all?
//! 2. Is an attempt left?
//! 3. Was the body of the request kept, so that it can be sent again?
//! 4. Does the deadline leave time?
//! 5. Does the budget pay?
//!
//! The budget is asked last, because its "yes" costs a token. All questions are asked *before* any wait. The obvious
//! place is after the wait. But then the caller would wait for a "no", and the reason of the "no" would be out of date.
//!
//! ```text
//! begin -> Send -> ended -> Wait -> waited -> Send -> ended -> Finish
//!      \-> Finish (refused)   \-> Send (next endpoint)  \-> Finish
//! ```

use std::time::Duration;

use self::ended::{Facts, Goes};
use crate::backoff::Draw;
use crate::cooling::Overload;
use crate::effect::Effect;
use crate::ending::{Answer, Ending, Unsent};
use crate::guards::{HeldPass, Permit, QueueTurn, Ticket, Underway};
use crate::limit::AttemptEnd;
use crate::reason::{Reason, Stopped};
use crate::refusal::Refusal;
use crate::repeat::{Repeat, may_repeat};
use crate::report::{After, Report};
use crate::time::Time;

mod asked;
mod ended;
mod plan;

pub use asked::Guards;
pub use ended::Ended;
pub use plan::{Plan, Timeouts};

/// One attempt to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The number of the attempt within the call; 1 is the first.
    pub number: u32,
    /// The endpoint that the attempt goes to.
    pub endpoint: usize,
    /// When the connection must have been made.
    pub connect_by: Time,
    /// The longest time without progress in either direction.
    pub read: Duration,
    /// When the attempt must be over, including the answer's body; [`Time::NEVER`] if there is no total timeout.
    pub end_by: Time,
    /// Whether `end_by` is the caller's deadline, which is before the end of the total timeout. If so, an attempt that
    /// runs until then ends as [`Ending::CallerDeadline`].
    pub callers_deadline: bool,
    /// The value that `connect_by` would have if the caller had set no limit for the call's time ([`Wish::within`]).
    /// Until then a witness may connect: an attempt that goes on after the caller's deadline, to show whether the
    /// endpoint works.
    pub own_connect_by: Time,
    /// The value that `end_by` would have if the caller had set no limit for the call's time ([`Wish::within`]). A
    /// witness must be over by then. This time is never after [`Wish::by`], the time after which no byte is sent.
    pub own_end_by: Time,
}

const NO_TIME_LEFT: Refusal = Refusal::of(Reason::NoTimeLeft);

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finish {
    /// The effect of the whole call.
    pub effect: Effect,
    /// The number of attempts that were made.
    pub attempts: u32,
    /// The index of the endpoint of the last attempt. If no attempt was made, the index of the endpoint whose guard
    /// refused the call.
    pub endpoint: usize,
    /// The refusal, if the call was refused before any attempt. If it is `None`, the ending of the last attempt is the
    /// call's outcome.
    pub refusal: Option<Refusal>,
    /// Why a repeat that was wanted was not made; `None` if no repeat was wanted, or if no attempt was made.
    pub stopped: Option<Stopped>,
}

/// What the driver does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make this attempt, then call [`Call::ended`].
    Send(Attempt),
    /// Wait until this time, then call [`Call::waited`].
    Wait(Time),
    /// Wait in the endpoint's queue until the guards say that it is this call's turn, but at most until this time. Then
    /// call [`Call::turn`].
    Queue(Time),
    /// The call is over.
    Finish(Finish),
}

/// One call, from its start to its finish. It holds the permit or the queue ticket that the guards gave it.
#[derive(Debug)]
pub struct Call {
    end_by: Time,
    own_end_by: Time,
    callers_deadline: bool,
    caller_repeats: bool,
    repeat_by: Time,
    attempts: u32,
    endpoint: usize,
    began: Time,
    effect: Effect,
    permit: Option<Permit>,
    held_back: Option<(HeldPass, Report)>,
    /// The endpoint and the ticket of the queue in which the call waits; `None` if the call waits in no queue.
    ticket: Option<(usize, Ticket)>,
}

/// What the caller wants for its own call: how much time the call may take, and whether it may be repeated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// The time that the caller has left, counted from the start of the call; `None` if the caller named none.
    pub within: Option<Duration>,
    /// The caller's own deadline as a point in time; `None` if the caller has none. No byte is sent after this time.
    /// `within` counts only from the start of the call. If the program was suspended before it started the call,
    /// `within` ends too late, and this deadline does not.
    pub by: Option<Time>,
    /// Whether the caller, or the program for which it calls, repeats failed calls itself. If so, only one attempt is
    /// made. Default `false`.
    pub no_repeats: bool,
    /// The time from which the provider may have forgotten the call's key; `None` (the default) if no such time is
    /// known. An attempt that may have taken effect is repeated only if the call's deadline is before this time.
    pub repeat_by: Option<Time>,
}

impl Call {
    /// Starts a call. Returns its machine and the first step.
    pub fn begin(plan: &Plan, wish: Wish, guards: &mut impl Guards, now: Time) -> (Call, Step) {
        let mut call = Call::new(plan, wish, now);
        let step = call.start(plan, guards, now);
        (call, step)
    }

    /// Returns a call that has not started; [`Call::start`] returns its first step. A driver can put this machine at
    /// its final place in memory and start it there, so that it need not be moved after its start.
    #[must_use]
    #[inline]
    pub fn new(plan: &Plan, wish: Wish, now: Time) -> Call {
        let ours = plan.timeouts.total.map_or(Time::NEVER, |total| now.saturating_add(total));
        let callers = wish.within.map_or(Time::NEVER, |within| now.saturating_add(within));
        let by = wish.by.unwrap_or(Time::NEVER);
        let callers = callers.min(by);
        Call {
            end_by: ours.min(callers),
            own_end_by: ours.min(by),
            callers_deadline: callers < ours,
            caller_repeats: wish.no_repeats,
            repeat_by: wish.repeat_by.unwrap_or(Time::NEVER),
            attempts: 0,
            endpoint: 0,
            began: now,
            effect: Effect::NotApplied,
            permit: None,
            held_back: None,
            ticket: None,
        }
    }

    /// Starts the call and returns the first step.
    #[inline(always)]
    pub fn start(&mut self, plan: &Plan, guards: &mut impl Guards, now: Time) -> Step {
        self.send(plan, guards, 0, now)
    }

    /// If it took time to get the request ready, this must be called after [`Step::Send`], before anything of the
    /// attempt is sent. Returns the step that replaces the earlier one: the attempt with deadlines that count from
    /// `now`, or the finish with the refusal `no-time-left` if the call had to be over by `now`.
    pub fn prepared(&mut self, plan: &Plan, guards: &mut impl Guards, now: Time) -> Step {
        if now >= self.end_by {
            self.unused(guards, now);
            return self.refused(guards, self.endpoint, NO_TIME_LEFT, now);
        }
        Step::Send(self.attempt(plan, now))
    }

    /// Gives the permit of an attempt back. Nothing of this attempt was sent, and nothing will be. The attempt counts
    /// neither as a success nor as a failure, and not as an attempt of this call. Must be called between [`Step::Send`]
    /// and [`Call::ended`].
    pub fn unused(&mut self, guards: &mut impl Guards, now: Time) {
        if let Some(permit) = self.permit.take() {
            self.attempts -= 1;
            let _none = guards.settle(permit, &Report::UNUSED, After::Ends, now);
        }
    }

    /// Must be called when the attempt has ended. Returns the next step. `draw` is called only to choose the wait
    /// before a repeat.
    #[inline(always)]
    pub fn ended(
        &mut self,
        plan: &Plan,
        guards: &mut impl Guards,
        ended: Ended,
        draw: impl FnOnce() -> Draw,
        now: Time,
    ) -> Step {
        if self.held_back.is_some() {
            self.repeated(guards, &ended.ending, now);
        }
        let verdict = plan.rules.judge(&ended.ending);
        self.effect = self.effect.and(verdict.effect);
        let repeat = may_repeat(plan.rules.idempotency, &verdict);
        let took = now.since(self.began);
        let report = Report {
            slow_call: plan.slow_call,
            flowing: ended.flowing,
            ..Report::of(&ended.ending, &verdict, took, plan.timeouts.read / 10)
        };
        let back = match ended.ending {
            Ending::Answered(answer) if verdict.load == AttemptEnd::Overload => {
                self.overloaded(guards, answer, now)
            }
            Ending::Answered(_)
            | Ending::Unsent(_)
            | Ending::Unprocessed
            | Ending::Lost(_)
            | Ending::CallerDeadline
            | Ending::CallerStalled { .. }
            | Ending::CallerLeft { .. } => None,
        };
        if repeat == Repeat::NotWanted {
            if let Some(permit) = self.permit.take() {
                let _none = guards.settle(permit, &report, After::Ends, now);
            }
            return Step::Finish(self.finish(None, None));
        }
        self.ended_short(plan, guards, &Facts { ended, verdict, repeat, report, back }, draw, now)
    }

    /// Tells the guards that the answer said "come back later". If the endpoint cools, returns the time from which it
    /// takes calls again; otherwise `None`.
    #[cold]
    fn overloaded(&mut self, guards: &mut impl Guards, answer: Answer, now: Time) -> Option<Time> {
        let told = Overload { named: answer.retry_after, too_many: answer.status == 429 };
        self.permit.as_ref().and_then(|permit| guards.overloaded(permit, told, now))
    }

    /// Settles an attempt that ended without the wanted result. Returns the next step: a wait, the repeat, or the
    /// finish if no repeat is made.
    #[cold]
    fn ended_short(
        &mut self,
        plan: &Plan,
        guards: &mut impl Guards,
        facts: &Facts,
        draw: impl FnOnce() -> Draw,
        now: Time,
    ) -> Step {
        let asked = self.may_go_on(plan, guards, facts, draw, now);
        let next = match asked {
            Ok((_, Goes::Here)) => self.endpoint,
            Ok((_, Goes::On)) | Err(_) => self.next_endpoint(plan),
        };
        let after = match asked {
            Ok(_) if next == self.endpoint => After::RepeatsHere,
            Ok(_) => After::MovesOn,
            Err(_) => After::Ends,
        };
        if let Some(permit) = self.permit.take() {
            let pass = guards.settle(permit, &facts.report, after, now);
            self.held_back = pass.map(|pass| (pass, facts.report));
        }
        match asked {
            Ok((at, _)) if at > now => Step::Wait(at),
            Ok(_) => self.send_again(plan, guards, next, now),
            Err(stopped) => Step::Finish(self.finish(None, Some(stopped))),
        }
    }

    /// Must be called when the wait that [`Step::Wait`] asked for is over. Returns the next step.
    pub fn waited(&mut self, plan: &Plan, guards: &mut impl Guards, now: Time) -> Step {
        let next = self.next_endpoint(plan);
        self.send_again(plan, guards, next, now)
    }

    /// Must be called when the call's turn in its queue has come, or when the time that [`Step::Queue`] named is over.
    /// Returns the next step.
    pub fn turn(&mut self, plan: &Plan, guards: &mut impl Guards, now: Time) -> Step {
        let Some((endpoint, ticket)) = self.ticket.take() else { return self.waited(plan, guards, now) };
        if now >= self.end_by {
            guards.leave(ticket, now);
            return self.refused(guards, endpoint, NO_TIME_LEFT, now);
        }
        match guards.take_turn(ticket, now) {
            QueueTurn::Yours(permit) => self.sends(plan, guards, endpoint, permit, now),
            QueueTurn::Waits(ticket, until) => {
                self.ticket = Some((endpoint, ticket));
                Step::Queue(until.min(self.end_by))
            }
            QueueTurn::Refused(no) => self.refused(guards, endpoint, no, now),
        }
    }

    /// Returns the ticket of the queue in which the call waits after [`Step::Queue`]; `None` if it waits in no queue.
    pub fn ticket(&self) -> Option<Ticket> {
        self.ticket.map(|(_, ticket)| ticket)
    }

    /// Gives the call up. Its permit is settled as abandoned, since nobody knows how the attempt would have ended. If
    /// the call waits in a queue, it leaves the queue.
    pub fn abandon(&mut self, plan: &Plan, guards: &mut impl Guards, now: Time) {
        if let Some(permit) = self.permit.take() {
            // If the attempt in flight is a repeat at the same endpoint, `held_back` is the result of the earlier
            // attempt there, of which the breaker has not been told. It is dropped: only the last result of a call at
            // an endpoint counts.
            self.held_back = None;
            let waited = now.since(self.began);
            let report =
                Report { slow_call: plan.slow_call, ..Report::abandoned(waited, plan.timeouts.read / 10) };
            let _none = guards.settle(permit, &report, After::Ends, now);
        }
        if let Some((_, ticket)) = self.ticket.take() {
            guards.leave(ticket, now);
        }
        self.give_evidence(guards, now);
    }

    /// Must be called when the caller has left. The attempt in flight may still go on to its end, but no repeat follows
    /// it.
    pub fn caller_left(&mut self) {
        self.caller_repeats = true;
    }

    /// Returns a description of the attempt in flight, by which the guards decide whether it goes on if its caller
    /// leaves; `None` if no attempt is in flight.
    #[must_use]
    pub fn underway(&self) -> Option<Underway> {
        self.permit.as_ref().map(|permit| permit.underway(self.began))
    }

    /// Returns what is known of the effect of the attempts that have ended. If none has ended, the effect is "not
    /// applied".
    #[must_use]
    pub fn effect(&self) -> Effect {
        self.effect
    }

    /// Returns the time when the whole call must be over.
    #[must_use]
    pub fn end_by(&self) -> Time {
        self.end_by
    }

    /// Returns whether an attempt may have taken effect, and a repeat could arrive after the provider has forgotten the
    /// key.
    fn outlives_key(&self) -> bool {
        self.repeat_by < Time::NEVER && self.end_by >= self.repeat_by && self.effect != Effect::NotApplied
    }

    /// Decides whether another attempt is made. Returns the time from which it may begin, and where it goes, or the
    /// reason why none is made. If the attempt costs a token, the token is paid here.
    fn may_go_on(
        &self,
        plan: &Plan,
        guards: &mut impl Guards,
        facts: &Facts,
        draw: impl FnOnce() -> Draw,
        now: Time,
    ) -> Result<(Time, Goes), Stopped> {
        if facts.repeat == Repeat::Forbidden || self.outlives_key() {
            return Err(Stopped::NotRepeatable);
        }
        if self.caller_repeats {
            return Err(Stopped::Caller);
        }
        if self.attempts >= plan.attempts {
            return Err(Stopped::Attempts);
        }
        if !facts.ended.body_kept {
            return Err(Stopped::Body);
        }
        if facts.ended.stale && now < self.end_by {
            return Ok((now, Goes::Here));
        }
        let untried = self.attempts < plan.endpoints as u32;
        // If none of the other endpoints would take the call, it is repeated at the same endpoint. Such a repeat waits
        // and costs a token.
        let hindered = if untried { self.hindered(plan, guards, now) } else { None };
        let moves_on = untried && hindered.is_none();
        if moves_on && now < self.end_by && facts.moves_free() {
            return Ok((now, Goes::On));
        }
        let at = if moves_on { now } else { self.repeats_at(plan, facts, draw(), now)? };
        if at >= self.end_by {
            return Err(Stopped::Deadline);
        }
        let permit = self.permit.as_ref().expect("an attempt that ends has its permit still");
        let paid = guards.pay(permit, facts.doubles(moves_on), now).map_err(|no| match no {
            Stopped::Slow if !facts.report.is_slow_failure() => Stopped::Budget,
            no => no,
        });
        // If the call cannot pay for the repeat, it ends. The returned reason is that of `hindered`: why none of the
        // other endpoints takes the call. If there is no such reason, it is the reason why the call cannot pay.
        paid.map_err(|no| hindered.unwrap_or(no))?;
        Ok((at, if hindered.is_some() { Goes::Here } else { Goes::On }))
    }

    /// Returns why none of the other endpoints would take the call now; `None` if one of them would.
    fn hindered(&self, plan: &Plan, guards: &mut impl Guards, now: Time) -> Option<Stopped> {
        let mut first = None;
        for offset in 1..plan.endpoints.max(1) {
            let why = guards.refuses((self.endpoint + offset) % plan.endpoints.max(1), now)?;
            first.get_or_insert(why);
        }
        first
    }

    /// Returns the time at which a repeat at the same endpoint may begin: after the time that the answer named, plus a
    /// drawn wait. If the endpoint cools, the repeat begins only when the endpoint takes calls again. Fails with
    /// [`Stopped::Cooling`] if the call would have to wait too long.
    fn repeats_at(&self, plan: &Plan, facts: &Facts, draw: Draw, now: Time) -> Result<Time, Stopped> {
        let (named, back) = (facts.verdict.retry_after, facts.back);
        if self.end_by == Time::NEVER && named.is_some_and(|named| named > plan.after_max) {
            // The call has no total timeout, so only `after_max` bounds its wait. The answer names a longer time.
            return Err(Stopped::Cooling);
        }
        let wait = plan.backoff.wait(self.attempts, named, draw);
        let jitter = wait.saturating_sub(named.unwrap_or(Duration::ZERO));
        Ok(now.saturating_add(wait).max(back.map_or(now, |back| back.saturating_add(jitter))))
    }

    /// Returns the endpoint of the next attempt: the one after the current one in the order of preference. After the
    /// last endpoint comes the first again.
    fn next_endpoint(&self, plan: &Plan) -> usize {
        if self.attempts == 0 { 0 } else { (self.endpoint + 1) % plan.endpoints.max(1) }
    }

    /// Begins an attempt at the endpoint `first`, or at the first endpoint after it that admits the call. At each
    /// endpoint, the cooling is asked first, then the breaker, then the limit.
    ///
    /// If all endpoints refuse, the call waits in the queue of the first endpoint whose limit refused. The call is
    /// refused if there is no such queue, if the queue is full, or if no time is left.
    #[inline(always)]
    fn send(&mut self, plan: &Plan, guards: &mut impl Guards, first: usize, now: Time) -> Step {
        if now >= self.end_by {
            return self.refused(guards, first, NO_TIME_LEFT, now);
        }
        match guards.admit(first, now) {
            Ok(permit) => self.sends(plan, guards, first, permit, now),
            Err(no) => self.send_elsewhere(plan, guards, first, no, now),
        }
    }

    /// Does the same as `send`, but for a repeat. It is a separate function, so that the compiler keeps the rare case
    /// out of the code of the first attempt.
    #[cold]
    fn send_again(&mut self, plan: &Plan, guards: &mut impl Guards, first: usize, now: Time) -> Step {
        self.send(plan, guards, first, now)
    }

    /// Asks the other endpoints, because the endpoint `first` refused with `no`. Returns one of three steps: send the
    /// attempt, wait in a queue, or finish with a refusal.
    #[cold]
    fn send_elsewhere(
        &mut self,
        plan: &Plan,
        guards: &mut impl Guards,
        first: usize,
        no: Refusal,
        now: Time,
    ) -> Step {
        let mut refusal = no;
        let mut full = (no.reason == Reason::ConcurrencyLimit).then_some(first);
        for offset in 1..plan.endpoints.max(1) {
            let endpoint = (first + offset) % plan.endpoints.max(1);
            match guards.admit(endpoint, now) {
                Ok(permit) => return self.sends(plan, guards, endpoint, permit, now),
                Err(no) => {
                    if no.reason == Reason::ConcurrencyLimit {
                        full.get_or_insert(endpoint);
                    }
                    if no.until.is_some_and(|until| refusal.until.is_none_or(|first| until < first)) {
                        (refusal.until, refusal.spread) = (no.until, no.spread);
                    }
                }
            }
        }
        match full.map(|at| (at, guards.join(at, now))) {
            Some((at, Ok((ticket, until)))) => {
                self.ticket = Some((at, ticket));
                return Step::Queue(until.min(self.end_by));
            }
            Some((at, Err(queue))) if at == first => refusal.reason = queue.reason,
            Some((_, Err(_))) | None => {}
        }
        self.refused(guards, first, refusal, now)
    }

    #[inline(always)]
    fn sends(
        &mut self,
        plan: &Plan,
        guards: &mut impl Guards,
        endpoint: usize,
        permit: Permit,
        now: Time,
    ) -> Step {
        if self.held_back.is_some() && endpoint != self.endpoint {
            self.give_evidence(guards, now);
        }
        self.permit = Some(permit);
        self.endpoint = endpoint;
        self.attempts += 1;
        Step::Send(self.attempt(plan, now))
    }

    /// Returns the attempt that begins at `now`.
    #[inline(always)]
    fn attempt(&mut self, plan: &Plan, now: Time) -> Attempt {
        self.began = now;
        let connect_by = now.saturating_add(plan.timeouts.connect);
        Attempt {
            number: self.attempts,
            endpoint: self.endpoint,
            connect_by: connect_by.min(self.end_by),
            read: plan.timeouts.read,
            end_by: self.end_by,
            callers_deadline: self.callers_deadline,
            own_connect_by: connect_by.min(self.own_end_by),
            own_end_by: self.own_end_by,
        }
    }

    #[cold]
    fn refused(&mut self, guards: &mut impl Guards, endpoint: usize, refusal: Refusal, now: Time) -> Step {
        self.give_evidence(guards, now);
        if self.attempts == 0 {
            self.endpoint = endpoint;
            return Step::Finish(self.finish(Some(refusal), None));
        }
        let stopped = match refusal.reason {
            Reason::NoTimeLeft => Stopped::Deadline,
            Reason::BreakerOpen => Stopped::Breaker,
            Reason::CoolingDown => Stopped::Cooling,
            _ => Stopped::Limit,
        };
        Step::Finish(self.finish(None, Some(stopped)))
    }

    /// Must be called when a repeat at the same endpoint has ended. The guards have not been told the result of the
    /// earlier attempt there. If this process had no file descriptor for the repeat, the endpoint was not asked again,
    /// so the guards are told the earlier result here. In all other cases the result of the repeat replaces it.
    #[cold]
    fn repeated(&mut self, guards: &mut impl Guards, ending: &Ending, now: Time) {
        if *ending == Ending::Unsent(Unsent::OutOfDescriptors) {
            self.give_evidence(guards, now);
        }
        self.held_back = None;
    }

    fn give_evidence(&mut self, guards: &mut impl Guards, now: Time) {
        if let Some((pass, report)) = self.held_back.take() {
            guards.witness(pass, &report, now);
        }
    }

    fn finish(&self, refusal: Option<Refusal>, stopped: Option<Stopped>) -> Finish {
        Finish { effect: self.effect, attempts: self.attempts, endpoint: self.endpoint, refusal, stopped }
    }
}

#[cfg(test)]
#[path = "call_overload_tests.rs"]
mod overload_tests;
#[cfg(test)]
#[path = "call_prepared_tests.rs"]
mod prepared_tests;
#[cfg(test)]
#[path = "call_tests.rs"]
mod tests;
