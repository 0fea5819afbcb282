//! The storm that several scenarios share: many callers, one provider, and a while in which the provider has only a
//! part of its capacity.
//!
//! Ten workers that take 20 ms for each attempt serve 500 attempts a second, first come, first served. They never learn
//! that a caller gave up. For ten seconds they are five times slower, and nothing else goes wrong. If the outage lasts
//! longer than these ten seconds, the callers are the cause (N. Bronson et al., *Metastable Failures in Distributed
//! Systems*, HotOS 2021; L. Huang et al., *Metastable Failures in the Wild*, OSDI 2022).

use std::sync::Arc;
use std::time::Duration;

use crate::sim::chance::Spread;
use crate::sim::fleet::Seawall;
use crate::sim::fleet::peer::{AimdPolicy, Breaker, Budget, PeerPolicy, ThrottlePolicy, Waits};
use crate::sim::fleet::{Policy, SeawallPolicy};
use crate::sim::knobs::{Knob, Knobs, Takes};
use crate::sim::world::{Station, World, Wrong};

/// The numbers of a storm. All times are in seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Storm {
    pub(super) callers: u32,
    /// The load: the number of calls per second, as a share of the capacity.
    pub(super) load: f64,
    pub(super) workers: u32,
    /// The mean service time of an attempt, in seconds.
    pub(super) service: f64,
    /// The share of the capacity that is left while the provider is slow.
    pub(super) left: f64,
    pub(super) from: f64,
    pub(super) lasts: f64,
    pub(super) horizon: f64,
    /// How long an attempt waits for its answer, in seconds.
    pub(super) timeout: f64,
}

pub(super) const BASE: Storm = Storm {
    callers: 100,
    load: 0.7,
    workers: 10,
    service: 0.02,
    left: 0.2,
    from: 30.0,
    lasts: 10.0,
    horizon: 170.0,
    timeout: 1.0,
};

/// This setting and the four below can be changed by users, in some scenarios.
pub(super) const LOAD: Knob = Knob {
    name: "load",
    default: "0.7",
    takes: Takes::Number(0.01, 0.99),
    what: "calls offered, as a share of the provider's capacity",
};
pub(super) const TRIGGER: Knob = Knob {
    name: "trigger",
    default: "10",
    takes: Takes::Number(1.0, 120.0),
    what: "seconds for which the provider is slow",
};
pub(super) const LEFT: Knob = Knob {
    name: "left",
    default: "0.2",
    takes: Takes::Number(0.0, 1.0),
    what: "the share of its capacity that it has then",
};
pub(super) const TRIES: Knob = Knob {
    name: "tries",
    default: "3",
    takes: Takes::Number(1.0, 20.0),
    what: "attempts of the others' policies",
};
pub(super) const TIMEOUT: Knob = Knob {
    name: "timeout",
    default: "1",
    takes: Takes::Number(0.05, 60.0),
    what: "seconds that an attempt waits for its answer",
};

impl Storm {
    /// Returns the storm with the values that these settings have.
    pub(super) fn of(knobs: &Knobs, callers: u32) -> Storm {
        Storm {
            callers,
            load: knobs.number("load"),
            left: knobs.number("left"),
            lasts: knobs.number("trigger"),
            timeout: knobs.number("timeout"),
            ..BASE
        }
    }

    pub(super) fn capacity(&self) -> f64 {
        f64::from(self.workers) / self.service
    }

    pub(super) fn station(&self) -> Station {
        let over = self.from + self.lasts;
        Station::workers(self.workers, Spread::Exponential(self.service)).troubled(
            self.from,
            over,
            Wrong::Capacity(self.left),
        )
    }

    pub(super) fn timeout(&self) -> Duration {
        Duration::from_secs_f64(self.timeout)
    }

    pub(super) fn world(&self, policy: Policy) -> World {
        let per_second = self.load * self.capacity();
        let mut world = World::new(self.callers, policy, per_second, self.station(), self.horizon);
        world.timeout = self.timeout();
        world
    }

    /// Returns the second in which the provider has its full capacity again.
    pub(super) fn over(&self) -> usize {
        (self.from + self.lasts).ceil() as usize
    }

    /// Returns the policy of callers that run Seawall with these settings. Their budgets are full at the start, as in a
    /// fleet that has run for a long time.
    pub(super) fn seawall(&self, settings: &Seawall) -> Policy {
        Policy::Seawall(Arc::new(SeawallPolicy::new(settings, 1, self.timeout(), true)))
    }

    /// Returns the policy of callers that run Seawall with these settings, with budgets that are full at the start.
    /// Each caller is one copy of the program. So the setting `instances`, which tells Seawall the number of copies, is
    /// the storm's number of callers, unless the user has chosen another number.
    pub(super) fn seawall_fleet(&self, settings: &Seawall) -> Policy {
        let mut told = *settings;
        if told.guards.instances == Seawall::default().guards.instances {
            told.guards.instances = self.callers;
        }
        self.seawall(&told)
    }
}

/// The waits before repeats, in all simulations with jitter: full jitter, from 0 to a bound that begins at 100 ms and
/// doubles up to 2 s.
pub(super) const JITTER: Waits = Waits::Full(0.1, 2.0);

pub(super) fn peer(policy: PeerPolicy) -> Policy {
    Policy::Peer(Arc::new(policy))
}

pub(super) fn per_success(per: f64, initial: f64) -> Budget {
    Budget::PerSuccess { per, cap: 10.0, initial }
}

pub(super) fn per_request(per: f64) -> Budget {
    Budget::PerRequest { per, cap: 10.0, initial: 10.0 }
}

pub(super) const GRPC: Budget = Budget::Grpc { max: 10.0, ratio: 0.1 };
pub(super) const AWS: Budget = Budget::Aws { tokens: 500.0, after_timeout: 10.0, other: 5.0 };
pub(super) const FINAGLE: Budget = Budget::Finagle { ratio: 0.2, per_second: 10.0, seconds: 10.0 };
pub(super) const HYSTRIX: Breaker = Breaker::Rate { share: 0.5, min_calls: 20, window: 10.0, open_for: 5.0 };
pub(super) const AIMD: AimdPolicy = AimdPolicy { start: 20.0, min: 1.0, max: 200.0, factor: 0.9 };
pub(super) const THROTTLE: ThrottlePolicy = ThrottlePolicy { k: 2.0, window: 10.0 };
