//! The guards of one endpoint: shows their state, lets an operator force all breakers, and gives all guards new
//! settings.

use std::sync::Arc;

use super::gate::LimitGate;
use super::keyed::{KeyPlace, Keyed};
use super::settings::GuardSettings;
use super::ward::Ward;
use crate::backoff::Draw;
use crate::breaker::{Breaker, BreakerState, Evidence, Force, Pass};
use crate::cooling::CoolingSeen;
use crate::limit::Limit;
use crate::queue::QueueSettings;
use crate::time::Time;

/// The breakers and limits of one endpoint: the endpoint's own, and those of its keys.
#[derive(Clone, Debug)]
pub struct EndpointGuards {
    pub(super) wards: Keyed<Ward>,
    pub(super) gates: Keyed<LimitGate>,
}

/// The state of a limit and its queue at one moment, for display.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitSeen {
    /// Whether the limit may refuse attempts. With `false`, it only counts them.
    pub enabled: bool,
    /// The current limit, in attempts in flight.
    pub limit: u32,
    /// The greatest value of the limit.
    pub max: u32,
    /// The number of attempts in flight.
    pub in_flight: u32,
    /// The number of calls that wait for a slot.
    pub waiting: u32,
    /// The maximum number of calls that may wait.
    pub queue: u32,
}

impl EndpointGuards {
    pub(super) fn new(settings: &GuardSettings) -> EndpointGuards {
        let ward = Ward::new(settings.breaker, settings.cooling);
        let gate = LimitGate::new(settings.limit, settings.queue);
        EndpointGuards {
            wards: Keyed::new(ward, settings.breaker_keys),
            gates: Keyed::new(gate, settings.limit_keys),
        }
    }

    /// Returns the breaker of calls without a key.
    pub fn breaker(&mut self) -> &mut Breaker {
        &mut self.wards.plain().breaker
    }

    /// Returns the state of the cooling for calls without a key; `None` if the cooling does not hold back such calls
    /// now.
    pub fn cooling(&mut self, now: Time) -> Option<CoolingSeen> {
        self.wards.plain().cooling.seen(now)
    }

    /// Returns the limit of calls without a key.
    pub fn limit(&mut self) -> &mut Limit {
        &mut self.gates.plain().limit
    }

    /// Returns the limit and the queue of calls without a key, as they are now.
    pub fn limit_seen(&mut self) -> LimitSeen {
        seen(self.gates.plain())
    }

    /// Passes each key's breaker and cooling to `tell`, the most recently used first. The number of keys is bounded,
    /// and the keys above the bound share one more breaker. If there is such a breaker, it comes last, with `None` as
    /// its key.
    pub fn each_breaker(
        &mut self,
        now: Time,
        mut tell: impl FnMut(Option<&Arc<str>>, &mut Breaker, Option<CoolingSeen>),
    ) {
        self.wards.each_key(|key, ward| tell(Some(key), &mut ward.breaker, ward.cooling.seen(now)));
        if let Some(shared) = self.wards.overflow() {
            tell(None, &mut shared.breaker, shared.cooling.seen(now));
        }
    }

    /// Passes each key's limit to `tell`, the most recently used first. The number of keys is bounded, and the keys
    /// above the bound share one more limit. If there is such a limit, it comes last, with `None` as its key.
    pub fn each_limit(&mut self, mut tell: impl FnMut(Option<&Arc<str>>, LimitSeen)) {
        self.gates.each_key(|key, gate| tell(Some(key), seen(gate)));
        if let Some(shared) = self.gates.overflow() {
            tell(None, seen(shared));
        }
    }

    /// Returns the number of keys with a breaker of their own, and the number of keys with a limit of their own.
    #[must_use]
    pub fn keys(&self) -> (usize, usize) {
        (self.wards.keys(), self.gates.keys())
    }

    /// Gives back a breaker's pass. The pass was not used, because another guard refused the attempt.
    pub(super) fn unused(&mut self, breaker: KeyPlace, pass: Pass, now: Time) {
        // No attempt was made, so the breaker is told that the call says nothing of the endpoint. The random draw is
        // needed only if the breaker opens, and this cannot open it.
        let _unused = self.wards.at(breaker).breaker.settle(now, pass, Evidence::Nothing, || Draw::new(0));
    }

    pub(super) fn force(&mut self, force: Force, now: Time) {
        let mut closed = false;
        self.wards.each(|_, ward| match ward.breaker.force(now, force) {
            Some(BreakerState::Closed | BreakerState::ForcedClosed) => closed = true,
            Some(BreakerState::Open | BreakerState::HalfOpen | BreakerState::ForcedOpen) | None => {}
        });
        if closed {
            // The limits forget how the last attempts ended, because these attempts are from the time before the
            // breaker closed.
            self.gates.each(|_, gate| gate.limit.breaker_closed());
        }
    }

    pub(super) fn adopt(&mut self, settings: &GuardSettings, now: Time) {
        self.wards.bound(settings.breaker_keys);
        self.gates.bound(settings.limit_keys);
        self.wards.each(|_, ward| {
            ward.breaker.adopt(now, settings.breaker);
            ward.cooling.adopt(settings.cooling);
        });
        self.gates.each(|_, gate| gate.adopt(settings.limit, settings.queue));
    }
}

fn seen(gate: &LimitGate) -> LimitSeen {
    let settings = gate.limit.settings();
    let QueueSettings { length, .. } = *gate.queue();
    LimitSeen {
        enabled: settings.enabled,
        limit: gate.limit.limit(),
        max: settings.max.max(1),
        in_flight: gate.limit.in_flight(),
        waiting: gate.waiting(),
        queue: length,
    }
}
