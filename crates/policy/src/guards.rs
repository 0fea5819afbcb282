//! The guards of one dependency, joined: breaker, limit and budget, and what each ending says to each of them.
//!
//! One ending means different things to different guards. 503 is a failure to the breaker and overload to the limit;
//! 429 is neither good nor bad to the breaker and overload to the limit; a refused connection is a failure to the
//! breaker and nothing to the limit, since no load reached the other side. Breaker and limit are kept for each
//! endpoint, or there for each key that the calls carry ([`Keys`]); the budget for the dependency, since a repeat at a
//! second endpoint is a repeat all the same.
//!
//! A driver asks once to begin an attempt ([`DependencyGuards::admit`]) and tells once how it ended
//! ([`DependencyGuards::settle`]), so that whoever shares these guards behind a lock takes it twice a call.

use std::time::Duration;

use self::keyed::Place;
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
use crate::time::Time;

mod gate;
mod keyed;
mod permit;
mod settings;
mod view;
mod ward;
mod witness;

pub use permit::{Claim, HeldPass, LimitSlot, Permit, Remains, Ticket, Underway, Witness};
pub use settings::{GuardSettings, Keys};
pub use view::{EndpointGuards, LimitSeen};
pub use ward::RECENT_SUCCESS;

/// All guards of one dependency.
#[derive(Clone, Debug)]
pub struct DependencyGuards {
    endpoints: Vec<EndpointGuards>,
    budget: Budget,
    instances: u32,
    /// Attempts that are followed without their callers.
    witnesses: u32,
    /// Whose turn came, and who were not told yet.
    called: Vec<Ticket>,
}

/// Failures are rare while they are at most one in so many.
const BAD_SHARE: u64 = 5;
/// So many in the window are single failures, whatever their share.
const SINGLE: u64 = 2;
/// A fleet of more callers than this cannot afford repeats without evidence.
const LARGE_FLEET: u32 = 100;

impl DependencyGuards {
    /// Closed breakers and open limits for so many endpoints.
    #[must_use]
    pub fn new(settings: GuardSettings, endpoints: usize) -> DependencyGuards {
        DependencyGuards {
            endpoints: (0..endpoints.max(1)).map(|_| EndpointGuards::new(&settings)).collect(),
            budget: Budget::new(settings.budget),
            instances: settings.instances,
            witnesses: 0,
            called: Vec::new(),
        }
    }

    /// Cooling and breaker first, then the limit: what they refuse holds no place in the limit.
    ///
    /// # Errors
    /// The guard that said no, and until when where it knows.
    #[inline]
    pub fn admit(&mut self, endpoint: usize, keys: &Keys, now: Time) -> Result<Permit, Refusal> {
        let guards = &mut self.endpoints[endpoint];
        let breaker = guards.wards.place(keys.breaker.as_ref(), now);
        let pass = guards.wards.at(breaker).admit(now)?;
        let gate = guards.gates.place(keys.limit.as_ref(), now);
        let Some(slot) = guards.gates.at(gate).admit(pass.is_probe()) else {
            guards.unused(breaker, pass, now);
            return Err(Refusal::of(Reason::ConcurrencyLimit));
        };
        guards.wards.took_off(breaker);
        guards.gates.took_off(gate);
        Ok(Permit { at: At { endpoint: endpoint as u32, breaker, gate }, pass, slot })
    }

    /// Waits in the queue before the endpoint's limit, until the time that comes back at the latest. Then, and when its
    /// turn comes ([`DependencyGuards::take_called`]), it is asked for with [`DependencyGuards::claim`].
    ///
    /// # Errors
    /// There is no queue (`concurrency-limit`), or it is full.
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
        // A place may have come free since it was asked for.
        gate.call(now, |waiter| self.called.push(Ticket { waiter, ..ticket }));
        Ok((ticket, until))
    }

    /// Asks whether it is this one's turn. The breaker is asked now: it may have opened meanwhile.
    #[must_use]
    pub fn claim(&mut self, ticket: Ticket, keys: &Keys, now: Time) -> Claim {
        let guards = &mut self.endpoints[ticket.endpoint as usize];
        let slot = match guards.gates.at(ticket.gate).claim(ticket.waiter, now) {
            gate::Claim::Yours(slot) => slot,
            gate::Claim::Waits { until } => return Claim::Waits(ticket, until),
            gate::Claim::Over => {
                return Claim::Refused(Refusal::of(Reason::QueueTimeout));
            }
        };
        let breaker = guards.wards.place(keys.breaker.as_ref(), now);
        match guards.wards.at(breaker).admit(now) {
            Ok(pass) => {
                guards.wards.took_off(breaker);
                guards.gates.took_off(ticket.gate);
                Claim::Yours(Permit {
                    at: At { endpoint: ticket.endpoint, breaker, gate: ticket.gate },
                    pass,
                    slot,
                })
            }
            Err(no) => {
                let (endpoint, gate) = (ticket.endpoint, ticket.gate);
                self.free(LimitSlot { endpoint, gate, slot, end: AttemptEnd::Nothing }, false, || now);
                Claim::Refused(no)
            }
        }
    }

    /// Whether its turn has come, and nobody claimed it yet; for whoever waits and was woken for another cause.
    #[must_use]
    pub fn is_called(&mut self, ticket: &Ticket) -> bool {
        self.endpoints[ticket.endpoint as usize].gates.at(ticket.gate).is_called(ticket.waiter)
    }

    /// Gives up waiting, or the turn that came.
    pub fn leave(&mut self, ticket: Ticket, now: Time) {
        self.endpoints[ticket.endpoint as usize].gates.at(ticket.gate).leave(ticket.waiter);
        self.call(ticket.endpoint, ticket.gate, || now);
    }

    /// One whose turn came; ask until there is none, after each settling, release or leaving.
    #[inline]
    pub fn take_called(&mut self) -> Option<Ticket> {
        self.called.pop()
    }

    /// Takes an attempt's report: the load's share to the limit, the health's share to the breaker unless the call
    /// repeats here, and what a success earns to the budget. `draw` is asked only where this opens the breaker.
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

    /// Gives evidence that was held back, since the repeat was not sent or went elsewhere.
    pub fn witness(&mut self, held: HeldPass, report: &Report, now: Time, draw: impl FnOnce() -> Draw) {
        self.endpoints[held.at.endpoint as usize].weigh(held.at, held.pass, report, now, draw);
    }

    /// Gives a place in the limit back. `now` is asked only where somebody waits for it.
    #[inline]
    pub fn release(&mut self, slot: LimitSlot, now: impl FnOnce() -> Time) {
        self.free(slot, true, now);
    }

    /// Whether one more repeat can be afforded after a failure of this attempt; pays for it.
    ///
    /// A repeat that `doubles` work is made only while failures are rare, and the breaker closed: the first attempt may
    /// still burn capacity on the other side, and a budget alone does not see that successes are bought with it.
    ///
    /// # Errors
    /// Why not: `breaker`, `slow` or `budget`.
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

    /// An attempt was answered "come back later". When the first call passes there again, where its endpoint cools now.
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

    /// Why an endpoint would refuse a call now, without asking it: `breaker`, `cooling` or `limit`; `None` where it would not.
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

    /// Thousandths of a retry token that are left.
    #[must_use]
    pub fn tokens_milli(&self) -> u32 {
        self.budget.tokens_milli()
    }

    /// An operator's word on an endpoint's breaker, and on those of its keys.
    pub fn force(&mut self, endpoint: usize, force: Force, now: Time) {
        if let Some(guards) = self.endpoints.get_mut(endpoint) {
            guards.force(force, now);
        }
    }

    /// Whether an endpoint's health request is to be sent now; true once each time that it is due. It is the endpoint's
    /// own breaker that asks: what the endpoint says of itself tells nothing of one shard behind it.
    pub fn health_due(&mut self, endpoint: usize, now: Time) -> bool {
        let guards = self.endpoints.get_mut(endpoint);
        guards.is_some_and(|guards| guards.cooling(now).is_none() && guards.breaker().health_due(now))
    }

    /// The health request was answered well. Whether that began to probe an open breaker.
    pub fn health_answered(&mut self, endpoint: usize, now: Time) -> bool {
        let guards = self.endpoints.get_mut(endpoint);
        guards.is_some_and(|guards| guards.breaker().health_answered(now).is_some())
    }

    /// Takes new settings for the same endpoints and keeps what was learned, so that a reload neither opens nor closes
    /// anything.
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

    /// How many endpoints there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.endpoints.len()
    }

    /// Never: there is at least one endpoint.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.endpoints.is_empty()
    }

    /// One endpoint's guards; `None` where there is no such endpoint.
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

    fn call(&mut self, endpoint: u32, gate: Place, now: impl FnOnce() -> Time) {
        let called = &mut self.called;
        let tell = |waiter| called.push(Ticket { endpoint, gate, waiter });
        self.endpoints[endpoint as usize].gates.at(gate).call(now(), tell);
    }
}

impl EndpointGuards {
    /// Gives evidence to a breaker, and tells the limit of the same call where that closes. Whether the call was given
    /// up and counted as bad: then it is overload, too.
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
