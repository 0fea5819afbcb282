//! The guards of one dependency together (breaker, cooling, limit and budget), and what each ending means to each of
//! them.
//!
//! One ending means different things to different guards. A 503 is a failure to the breaker and overload to the limit.
//! A 429 is neither good nor bad to the breaker, and overload to the limit. A refused connection is a failure to the
//! breaker, but no overload to the limit, since no load reached the provider. Each endpoint has a breaker and a limit,
//! and so has each key that calls carry ([`Keys`]). The budget is kept for the whole dependency, since a repeat at a
//! second endpoint is a repeat, too.
//!
//! Most attempts need only two calls of these guards: [`DependencyGuards::admit`] before the attempt, and
//! [`DependencyGuards::settle`] after it. So if a driver shares the guards behind a lock, most attempts take this lock
//! only twice.

use std::time::Duration;

use self::keyed::KeyPlace;
use self::permit::At;
use crate::backoff::Draw;
use crate::breaker::{BreakerState, Counted, Evidence, Force, Pass};
use crate::budget::Budget;
use crate::cooling::Overload;
use crate::limit::AttemptEnd;
use crate::queue::QueueSettings;
use crate::reason::{Reason, Stopped};
use crate::refusal::Refusal;
use crate::report::{After, Report};
use crate::served::Served;
use crate::time::Time;

mod gate;
mod keyed;
mod permit;
mod settings;
mod view;
mod ward;
mod witness;

pub use permit::{HeldPass, LimitSlot, Permit, QueueTurn, Remains, Ticket, Underway, Witness};
pub use settings::{GuardSettings, Keys};
pub use view::{EndpointGuards, LimitSeen};
pub use ward::RECENT_SUCCESS;

/// All guards of one dependency.
#[derive(Clone, Debug)]
pub struct DependencyGuards {
    endpoints: Vec<EndpointGuards>,
    budget: Budget,
    served: Served,
    instances: u32,
    /// The number of attempts that are followed to their end although their callers have left.
    witnesses: u32,
    /// Tickets whose turn has come, but which [`DependencyGuards::take_called`] has not returned yet.
    called: Vec<Ticket>,
}

/// Failures count as rare if at most one call in five fails.
const BAD_SHARE: u64 = 5;
/// Up to this number of failures in the window, failures count as rare, even if more than one call in five failed. This
/// rule is not used if more than [`LARGE_FLEET`] instances of the program run, since one repeat by each instance is
/// much work then.
const SINGLE: u64 = 2;
/// More instances of the program than this number are a large fleet. In a large fleet, a repeat that may do the work
/// twice is made only if the window shows that failures are rare.
const LARGE_FLEET: u32 = 100;

impl DependencyGuards {
    /// Returns new guards for this number of endpoints. All breakers are closed, and all limits are at their maximum.
    #[must_use]
    pub fn new(settings: GuardSettings, endpoints: usize) -> DependencyGuards {
        DependencyGuards {
            endpoints: (0..endpoints.max(1)).map(|_| EndpointGuards::new(&settings)).collect(),
            budget: Budget::new(settings.budget),
            served: Served::default(),
            instances: settings.instances,
            witnesses: 0,
            called: Vec::new(),
        }
    }

    /// Returns a permit to make one attempt. Cooling and breaker are asked before the limit, so a call that they refuse
    /// holds no slot of the limit.
    ///
    /// # Errors
    /// The refusal of the guard that said no. It has the time until which the guard refuses, if that is known.
    #[inline]
    pub fn admit(&mut self, endpoint: usize, keys: &Keys, now: Time) -> Result<Permit, Refusal> {
        let guards = &mut self.endpoints[endpoint];
        let breaker = guards.wards.place(keys.breaker.as_ref(), now);
        let pass = guards.wards.at(breaker).admit(now).inspect_err(|_| self.served.ended(false, now))?;
        let gate = guards.gates.place(keys.limit.as_ref(), now);
        let Some(slot) = guards.gates.at(gate).admit(pass.is_probe()) else {
            guards.unused(breaker, pass, now);
            return Err(Refusal::of(Reason::ConcurrencyLimit));
        };
        guards.wards.took_off(breaker);
        guards.gates.took_off(gate);
        Ok(Permit { at: At { endpoint: endpoint as u32, breaker, gate }, pass, slot })
    }

    /// Puts a call into the queue before the endpoint's limit. Returns the ticket, and the time until which the call
    /// waits at most. At that time, or when the turn comes ([`DependencyGuards::take_called`]), call
    /// [`DependencyGuards::take_turn`].
    ///
    /// # Errors
    /// The endpoint has no queue (`concurrency-limit`), or its queue is full (`queue-full`).
    pub fn join(&mut self, endpoint: usize, keys: &Keys, now: Time) -> Result<(Ticket, Time), Refusal> {
        let guards = &mut self.endpoints[endpoint];
        let place = guards.gates.place(keys.limit.as_ref(), now);
        let gate = guards.gates.at(place);
        let QueueSettings { length, wait } = *gate.queue();
        if length == 0 || wait == Duration::ZERO {
            return Err(Refusal::of(Reason::ConcurrencyLimit));
        }
        let joined = gate.join(now);
        let (waiter, until) = joined.map_err(|_| Refusal::of(Reason::QueueFull))?;
        let ticket = Ticket { endpoint: endpoint as u32, gate: place, waiter };
        // A slot may have come free since the call asked for one.
        gate.call(now, |waiter| self.called.push(Ticket { waiter, ..ticket }));
        Ok((ticket, until))
    }

    /// Takes the turn of this ticket, if it has come. Returns the permit, or says that the call still waits, or returns
    /// a refusal. The cooling and the breaker are asked again when the turn comes, since they may have begun to refuse
    /// during the wait.
    #[must_use]
    pub fn take_turn(&mut self, ticket: Ticket, keys: &Keys, now: Time) -> QueueTurn {
        let guards = &mut self.endpoints[ticket.endpoint as usize];
        let slot = match guards.gates.at(ticket.gate).take_turn(ticket.waiter, now) {
            gate::LimitTurn::Yours(slot) => slot,
            gate::LimitTurn::Waits { until } => return QueueTurn::Waits(ticket, until),
            gate::LimitTurn::Over => {
                return QueueTurn::Refused(Refusal::of(Reason::QueueTimeout));
            }
        };
        let breaker = guards.wards.place(keys.breaker.as_ref(), now);
        match guards.wards.at(breaker).admit(now) {
            Ok(pass) => {
                guards.wards.took_off(breaker);
                guards.gates.took_off(ticket.gate);
                QueueTurn::Yours(Permit {
                    at: At { endpoint: ticket.endpoint, breaker, gate: ticket.gate },
                    pass,
                    slot,
                })
            }
            Err(no) => {
                let (endpoint, gate) = (ticket.endpoint, ticket.gate);
                self.free(LimitSlot { endpoint, gate, slot, end: AttemptEnd::Nothing }, false, || now);
                QueueTurn::Refused(no)
            }
        }
    }

    /// Returns whether this ticket's turn has come and the caller has not yet taken it. A caller that was woken asks
    /// this, because it may have been woken for another reason. This function changes nothing.
    #[must_use]
    pub fn is_called(&mut self, ticket: &Ticket) -> bool {
        self.endpoints[ticket.endpoint as usize].gates.at(ticket.gate).is_called(ticket.waiter)
    }

    /// Leaves the queue. If the turn has come already, the slot that was taken for this ticket is given back.
    pub fn leave(&mut self, ticket: Ticket, now: Time) {
        self.endpoints[ticket.endpoint as usize].gates.at(ticket.gate).leave(ticket.waiter);
        self.call(ticket.endpoint, ticket.gate, || now);
    }

    /// Returns a ticket whose turn has come; `None` if there is none. After a permit was settled, a slot was released
    /// or a ticket left the queue, this function must be called again and again until it returns `None`.
    #[inline]
    pub fn take_called(&mut self) -> Option<Ticket> {
        self.called.pop()
    }

    /// Settles the permit of an attempt with its report. The limit is told whether the attempt met overload. If the
    /// call ends with a success, the budget earns tokens. `draw` is called only if the breaker opens.
    ///
    /// The breaker is told whether the endpoint works, unless the call repeats at this endpoint: a call counts only
    /// once for each endpoint.
    ///
    /// Returns what must still be given back: the breaker's pass if the call repeats at this endpoint, and the limit's
    /// slot if the answer's body is under way.
    #[inline]
    pub fn settle(
        &mut self,
        permit: Permit,
        report: &Report,
        after: After,
        now: Time,
        draw: impl FnOnce() -> Draw,
    ) -> Remains {
        let Permit { at, pass, slot } = permit;
        match report.health {
            Evidence::Success { .. } => self.served.ended(true, now),
            Evidence::Failure { .. } | Evidence::Neutral => self.served.ended(false, now),
            Evidence::Abandoned { .. } | Evidence::Nothing => {}
        }
        let guards = &mut self.endpoints[at.endpoint as usize];
        let mut end = report.load;
        let held = match after {
            After::RepeatsHere => Some(HeldPass { at, pass }),
            After::MovesOn | After::Ends => {
                if guards.weigh(at, pass, report, now, draw) {
                    end = AttemptEnd::Overload;
                }
                None
            }
        };
        guards.wards.landed(at.breaker);
        if after == After::Ends && report.is_success() {
            self.budget.earn();
        }
        let slot = LimitSlot { endpoint: at.endpoint, gate: at.gate, slot, end };
        if report.flowing {
            return Remains { pass: held, slot: Some(slot) };
        }
        self.release(slot, || now);
        Remains { pass: held, slot: None }
    }

    /// Tells the breaker how an attempt ended. [`DependencyGuards::settle`] did not do so, because the call was to be
    /// repeated at the same endpoint. Must be called if that repeat was not sent, or went to another endpoint.
    pub fn witness(&mut self, held: HeldPass, report: &Report, now: Time, draw: impl FnOnce() -> Draw) {
        self.endpoints[held.at.endpoint as usize].weigh(held.at, held.pass, report, now, draw);
    }

    /// Gives back a slot of the limit. `now` is called only if a call waits in the queue for a slot.
    #[inline]
    pub fn release(&mut self, slot: LimitSlot, now: impl FnOnce() -> Time) {
        self.free(slot, true, now);
    }

    /// Pays for one more repeat after a failure of this attempt.
    ///
    /// A repeat that may do the work twice (`doubles`) is made only if failures are rare and the breaker is closed.
    /// When such a repeat arrives, the provider may still be working on the first attempt. The budget does not notice
    /// this double work, because it counts only successes.
    ///
    /// # Errors
    /// The reason why the repeat must not be made: `breaker`, `slow` or `budget`.
    pub fn pay(&mut self, permit: &Permit, doubles: bool, now: Time) -> Result<(), Stopped> {
        if doubles {
            let breaker =
                &mut self.endpoints[permit.at.endpoint as usize].wards.at(permit.at.breaker).breaker;
            if !breaker.is_closed() {
                return Err(Stopped::Breaker);
            }
            let counts = breaker.counts(now);
            let bad = u64::from(counts.bad) + 1;
            let total = u64::from(counts.ok) + bad;
            let single = bad <= SINGLE && self.instances <= LARGE_FLEET;
            if bad * BAD_SHARE > total && !single {
                return Err(Stopped::Slow);
            }
        }
        if self.budget.spend() { Ok(()) } else { Err(Stopped::Budget) }
    }

    /// Must be called when an attempt was answered "come back later". If the attempt's endpoint cools now, returns the
    /// time from which the first call passes again at this endpoint; otherwise `None`.
    pub fn overloaded(
        &mut self,
        permit: &Permit,
        told: Overload,
        now: Time,
        draw: impl FnOnce() -> Draw,
    ) -> Option<Time> {
        let At { endpoint, breaker, .. } = permit.at;
        let here = endpoint as usize;
        let key = self.endpoints[here].wards.key(breaker);
        let elsewhere = self.endpoints.iter_mut().enumerate().any(|(at, other)| {
            at != here && other.wards.found(key.as_ref()).is_none_or(|ward| ward.flows(now))
        });
        self.endpoints[here].wards.at(breaker).overloaded(now, told, elsewhere, draw)
    }

    /// Returns why an endpoint would refuse a call now: `breaker`, `cooling` or `limit`; `None` if it would not. No
    /// permit is taken.
    pub fn refuses(&mut self, endpoint: usize, keys: &Keys, now: Time) -> Option<Stopped> {
        let guards = self.endpoints.get_mut(endpoint)?;
        let ward = guards.wards.found(keys.breaker.as_ref())?;
        match () {
            () if ward.cooling.is_cooling(now) => Some(Stopped::Cooling),
            () if !ward.breaker.is_closed() => Some(Stopped::Breaker),
            () => guards
                .gates
                .found(keys.limit.as_ref())
                .filter(|gate| !gate.limit.has_room())
                .map(|_| Stopped::Limit),
        }
    }

    /// Returns how many attempts succeed per second in normal times, in thousandths of an attempt. An outage does not
    /// lower this number. Returns `None` during the first minute.
    #[must_use]
    pub fn served_milli(&self) -> Option<u64> {
        self.served.per_second_milli()
    }

    /// Returns what is left in the retry budget, in thousandths of a token.
    #[must_use]
    pub fn tokens_milli(&self) -> u32 {
        self.budget.tokens_milli()
    }

    /// Gives an operator's command to an endpoint's breaker and to the breakers of its keys. If there is no such
    /// endpoint, nothing changes.
    pub fn force(&mut self, endpoint: usize, force: Force, now: Time) {
        if let Some(guards) = self.endpoints.get_mut(endpoint) {
            guards.force(force, now);
        }
    }

    /// Returns whether an endpoint's health request is to be sent now. This is `true` once each time that the request
    /// is due. Only the endpoint's own breaker asks for the request. A key's breaker does not: although the endpoint
    /// answers the health request, the part of the provider that serves the key (for example a shard) may be dead.
    pub fn health_due(&mut self, endpoint: usize, now: Time) -> bool {
        let guards = self.endpoints.get_mut(endpoint);
        guards.is_some_and(|guards| guards.cooling(now).is_none() && guards.breaker().health_due(now))
    }

    /// Makes an open breaker half-open, because the health request was answered well. Returns whether the breaker was
    /// open.
    pub fn health_answered(&mut self, endpoint: usize, now: Time) -> bool {
        let guards = self.endpoints.get_mut(endpoint);
        guards.is_some_and(|guards| guards.breaker().health_answered(now).is_some())
    }

    /// Takes new settings for the same endpoints. The states of breakers, limits and budget are kept, so that a reload
    /// does not open or close a breaker.
    pub fn adopt(&mut self, settings: GuardSettings, now: Time) {
        for (endpoint, guards) in self.endpoints.iter_mut().enumerate() {
            guards.adopt(&settings, now);
            let called = &mut self.called;
            guards.gates.each(|place, gate| {
                gate.call(now, |waiter| {
                    called.push(Ticket { endpoint: endpoint as u32, gate: place, waiter })
                });
            });
        }
        self.budget.adopt(settings.budget);
        self.instances = settings.instances;
    }

    /// Returns the number of endpoints.
    #[must_use]
    pub fn len(&self) -> usize {
        self.endpoints.len()
    }

    /// Always returns `false`, because there is at least one endpoint.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.endpoints.is_empty()
    }

    /// Returns one endpoint's guards; `None` if there is no such endpoint.
    pub fn endpoint(&mut self, endpoint: usize) -> Option<&mut EndpointGuards> {
        self.endpoints.get_mut(endpoint)
    }

    #[inline]
    fn free(&mut self, slot: LimitSlot, landed: bool, now: impl FnOnce() -> Time) {
        let gates = &mut self.endpoints[slot.endpoint as usize].gates;
        if landed {
            gates.landed(slot.gate);
        }
        let gate = gates.at(slot.gate);
        gate.limit.release(slot.slot, slot.end);
        if gate.waiting() > 0 {
            self.call(slot.endpoint, slot.gate, now);
        }
    }

    fn call(&mut self, endpoint: u32, gate: KeyPlace, now: impl FnOnce() -> Time) {
        let called = &mut self.called;
        let tell = |waiter| called.push(Ticket { endpoint, gate, waiter });
        self.endpoints[endpoint as usize].gates.at(gate).call(now(), tell);
    }
}

impl EndpointGuards {
    /// Tells a breaker how an attempt ended. If this closes the breaker, the limit that admitted the same attempt
    /// forgets how the last attempts ended.
    ///
    /// Returns `true` if the caller gave the attempt up and the breaker counts that as bad. The code that calls this
    /// function must then tell the limit that the attempt ended with an overload.
    #[inline]
    fn weigh(&mut self, at: At, pass: Pass, report: &Report, now: Time, draw: impl FnOnce() -> Draw) -> bool {
        let ward = self.wards.at(at.breaker);
        if let Evidence::Success { took } = report.health {
            ward.succeeded(took, now);
        }
        if report.answered {
            ward.cooling.answered(report.is_success());
        }
        let breaker = &mut ward.breaker;
        let slow_call = report.slow_call.or(breaker.settings().slow_call);
        let settled = breaker.settle_within(now, pass, report.health, slow_call, draw);
        if settled.change == Some(BreakerState::Closed) {
            self.gates.at(at.gate).limit.breaker_closed();
        }
        settled.counted == Counted::Bad && matches!(report.health, Evidence::Abandoned { .. })
    }
}

#[cfg(test)]
#[path = "guards_tests.rs"]
mod tests;
