//! The world of a run: which callers call which providers, how often, and what goes wrong there.
//!
//! It is plain data. [`run::run`] plays it, and [`record::Record`] is what was seen.

pub mod record;
pub mod run;
mod slab;
mod station;

use std::time::Duration;

use seawall_policy::Time;

use super::chance::{Spread, seconds};
use super::fleet::Policy;

/// A world, before it is played.
#[derive(Clone, Debug)]
pub struct World {
    /// Callers, in groups that each run one policy. A call comes from each caller equally often.
    pub fleet: Vec<Group>,
    /// When calls begin.
    pub arrivals: Arrivals,
    /// The number of keys (tenants, shards). Each call is for one of them, each equally often.
    pub keys: u32,
    /// The longest that an attempt waits for its answer.
    pub timeout: Duration,
    /// How long the network takes for each way; `None` where it takes no time.
    pub network: Option<Spread>,
    /// Callers that do not wait until the end; `None` where all of them do.
    pub leavers: Option<Leavers>,
    /// How often a call that was told a time to come back is made again at that time. Such a call was refused by its
    /// caller, or ended with an answer that names a time.
    pub returns: u8,
    /// Whether times to come back are told in whole seconds, rounded up, as in `Retry-After`.
    pub whole_seconds: bool,
    /// Tiers between the callers and the providers, the nearest to the callers first. A call that ends well at one of
    /// them is answered 200, any other call 500.
    pub middle: Vec<Tier>,
    /// The providers that the last tier calls, in order of preference.
    pub providers: Vec<Station>,
    /// When the run ends.
    pub horizon: Time,
    /// Whether breakers, limits and latencies are watched. This costs time, and changes nothing.
    pub watch: bool,
}

/// Callers that run one policy.
#[derive(Clone, Debug)]
pub struct Group {
    /// The number of callers.
    pub callers: u32,
    /// The policy that each of them runs, for itself.
    pub policy: Policy,
}

/// When calls begin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arrivals {
    /// This number of calls a second in all, whatever happens, as a Poisson stream. Many callers that call seldom and
    /// do not know of each other make such a stream.
    Open(f64),
    /// This number of calls a second in all, whatever happens, but in waves of a mean size (Poisson waves, geometric
    /// sizes).
    Waves(f64, f64),
    /// Each caller calls again this time after its last call ended.
    Closed(Spread),
}

/// Calls whose callers give up waiting, whatever the timeouts are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Leavers {
    /// The share of calls that are impatient.
    pub share: f64,
    /// How long the caller waits for such a call, from its beginning.
    pub patience: Spread,
}

/// A tier of servers that serve a call by calling on.
#[derive(Clone, Debug)]
pub struct Tier {
    /// The number of servers. Each has its own guards.
    pub instances: u32,
    /// The policy that each of them runs.
    pub policy: Policy,
    /// What it does itself before it calls on.
    pub station: Station,
}

/// A place where attempts are served.
#[derive(Clone, Debug)]
pub struct Station {
    /// How many attempts it serves at the same time; `None` is no bound, and then there is no queue.
    pub workers: Option<u32>,
    /// How long one attempt takes in health.
    pub takes: Spread,
    /// Which attempt is served next.
    pub order: Discipline,
    /// The most attempts that wait. Further ones are answered 503 immediately.
    pub bound: Option<u32>,
    /// An attempt that has waited longer than the caller does is not begun.
    pub drops_expired: bool,
    /// An attempt that its caller has given up is not begun, if the station knows that.
    pub hears_cancels: bool,
    /// The share of attempts that fail with 500 in health.
    pub fails: f64,
    /// A proxy in front that answers in its place when it takes longer.
    pub front: Option<Front>,
    /// `Retry-After` of a 503 of a full queue.
    pub retry_after: Option<Duration>,
    /// The number of attempts that it takes in a second; `None` is no bound.
    pub quota: Option<Quota>,
    /// What goes wrong, and when.
    pub troubles: Vec<Trouble>,
}

/// A proxy in front of a station. It answers in the station's place after a while, and the work goes on behind it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Front {
    /// How long it waits.
    pub patience: Duration,
    /// What it then answers.
    pub status: u16,
}

/// A bucket of permissions. An attempt that comes while it is empty is answered 429 immediately, and nothing is done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quota {
    /// The number of permissions that come into it in a second.
    pub per_second: f64,
    /// The most permissions that it holds. It begins full.
    pub burst: f64,
    /// The time that the answer names.
    pub names: Named,
}

/// The time to come back that an answer names.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Named {
    /// None.
    Nothing,
    /// This number of seconds from the answer.
    After(f64),
    /// Until this moment: the answer names what is left of the time.
    Until(Time),
}

impl Named {
    fn rest(self, now: Time) -> Option<Duration> {
        match self {
            Named::Nothing => None,
            Named::After(rest) => Some(seconds(rest)),
            Named::Until(end) => Some(end.since(now)),
        }
    }
}

/// Which attempt is served next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discipline {
    /// The one that came first.
    Fifo,
    /// The one that came last.
    Lifo,
}

/// Something that goes wrong for a while.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trouble {
    /// When it begins.
    pub from: Time,
    /// When it is over.
    pub to: Time,
    /// Only for this key.
    pub key: Option<u32>,
    /// What it is.
    pub what: Wrong,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Wrong {
    /// It has this share of its capacity: whatever is begun takes longer in proportion. At zero nothing is begun. Not
    /// possible for one key.
    Capacity(f64),
    /// Attempts go unanswered: nothing is done.
    Swallowed,
    /// A share fails with this status, a number of seconds after it came. Nothing else is done.
    Fails {
        /// The share.
        share: f64,
        /// The status.
        status: u16,
        /// The number of seconds.
        after: f64,
    },
    /// A share is answered with this status immediately, as by an overloaded provider. Nothing else is done.
    Busy {
        /// The share.
        share: f64,
        /// The status.
        status: u16,
        /// The time that the answer names.
        names: Named,
    },
    /// A share does its whole work, and then fails with this status.
    FailsLate {
        /// The share.
        share: f64,
        /// The status.
        status: u16,
    },
    /// Connections are refused.
    Refused,
}

impl Station {
    /// A number of workers, an unbounded queue, first come, first served. Nothing goes wrong.
    #[must_use]
    pub fn workers(workers: u32, takes: Spread) -> Station {
        Station { workers: Some(workers), ..Station::unbounded(takes) }
    }

    /// Serves any number at the same time.
    #[must_use]
    pub fn unbounded(takes: Spread) -> Station {
        Station {
            workers: None,
            takes,
            order: Discipline::Fifo,
            bound: None,
            drops_expired: false,
            hears_cancels: false,
            fails: 0.0,
            front: None,
            retry_after: None,
            quota: None,
            troubles: Vec::new(),
        }
    }

    /// The number of attempts that it can serve in a second, in health.
    #[must_use]
    pub fn capacity(&self) -> f64 {
        self.workers.map_or(f64::INFINITY, |workers| f64::from(workers) / self.takes.mean())
    }

    /// With something that goes wrong between two seconds.
    #[must_use]
    pub fn troubled(mut self, from: f64, to: f64, what: Wrong) -> Station {
        self.troubles.push(Trouble { from: at_second(from), to: at_second(to), key: None, what });
        self
    }
}

impl World {
    /// Callers that all run one policy, a steady stream of calls, and one provider. Attempts wait for a second.
    #[must_use]
    pub fn new(callers: u32, policy: Policy, per_second: f64, provider: Station, horizon: f64) -> World {
        World {
            fleet: vec![Group { callers, policy }],
            arrivals: Arrivals::Open(per_second),
            keys: 1,
            timeout: Duration::from_secs(1),
            network: None,
            leavers: None,
            returns: 0,
            whole_seconds: false,
            middle: Vec::new(),
            providers: vec![provider],
            horizon: at_second(horizon),
            watch: false,
        }
    }
}

/// The moment this number of seconds after the origin.
#[must_use]
pub fn at_second(second: f64) -> Time {
    Time::from_nanos((second.max(0.0) * 1e9) as u64)
}
