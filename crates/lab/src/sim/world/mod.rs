//! The world of a run: which callers call which providers, how often, and what goes wrong there.
//!
//! A world is plain data. [`run::run`] simulates it, and [`record::Record`] is the result.

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
    /// The callers, in groups. All callers of a group run the same policy. Each caller is equally likely to make the
    /// next call.
    pub fleet: Vec<Group>,
    /// When calls begin.
    pub arrivals: Arrivals,
    /// The number of keys (tenants, shards). Each call is for one key, and all keys are equally likely.
    pub keys: u32,
    /// The longest that an attempt waits for its answer.
    pub timeout: Duration,
    /// How long the network takes in each direction; `None` if it takes no time.
    pub network: Option<Spread>,
    /// Callers that do not wait until the end of their calls; `None` if all callers wait.
    pub leavers: Option<Leavers>,
    /// How many times a call that was told to come back is made again at the named time. Such a call was refused by its
    /// caller's guards, or ended with an answer that names a time.
    pub returns: u8,
    /// Whether answers name the time to come back in whole seconds, rounded up, as in `Retry-After`.
    pub whole_seconds: bool,
    /// The tiers between the callers and the providers, beginning with the one nearest to the callers. If a call ends
    /// well at a tier, the tier answers 200, otherwise 500.
    pub middle: Vec<Tier>,
    /// The providers that the last tier calls, in order of preference.
    pub providers: Vec<Station>,
    /// When the run ends.
    pub horizon: Time,
    /// Whether breakers, limits and latencies are recorded. Recording takes time, but changes no result.
    pub watch: bool,
}

/// Callers that run one policy.
#[derive(Clone, Debug)]
pub struct Group {
    /// The number of callers.
    pub callers: u32,
    /// The policy that each of these callers runs by itself.
    pub policy: Policy,
}

/// When calls begin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arrivals {
    /// A Poisson stream with this number of calls a second in all. It does not depend on how calls end. Many
    /// independent callers that call rarely make such a stream.
    Open(f64),
    /// This number of calls a second in all, in waves of this mean size (Poisson waves, geometric sizes). It does not
    /// depend on how calls end.
    Waves(f64, f64),
    /// Each caller makes its next call this time after its last call ended.
    Closed(Spread),
}

/// The calls whose callers give up waiting, independently of the timeouts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Leavers {
    /// The share of calls that are impatient.
    pub share: f64,
    /// How long the caller waits for such a call, from its beginning.
    pub patience: Spread,
}

/// A tier of servers that serve a call by making a call to the next tier.
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
    /// How many attempts are served at the same time. `None` means no bound; then there is no queue.
    pub workers: Option<u32>,
    /// How long one attempt takes in health.
    pub takes: Spread,
    /// Which attempt is served next.
    pub order: Discipline,
    /// The most attempts that may wait. Further attempts are answered 503 immediately.
    pub bound: Option<u32>,
    /// Whether an attempt that has waited longer than its caller does is dropped instead of begun.
    pub drops_expired: bool,
    /// Whether the station learns that a caller has given an attempt up. If it does, it does not begin such an attempt.
    pub hears_cancels: bool,
    /// The share of attempts that fail with 500 while nothing is wrong.
    pub fails: f64,
    /// A proxy in front of the station, if any. It answers in the station's place if the station takes longer than the
    /// proxy waits.
    pub front: Option<Front>,
    /// `Retry-After` of a 503 of a full queue.
    pub retry_after: Option<Duration>,
    /// The number of attempts that the station accepts in a second; `None` means no bound.
    pub quota: Option<Quota>,
    /// What goes wrong, and when.
    pub troubles: Vec<Trouble>,
}

/// A proxy in front of a station. After a while it answers in the station's place, and the station continues its work.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Front {
    /// How long it waits.
    pub patience: Duration,
    /// What it then answers.
    pub status: u16,
}

/// A token bucket of permissions. An attempt that comes while the bucket is empty is answered 429 immediately, without
/// any work.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quota {
    /// The number of permissions that are added in a second.
    pub per_second: f64,
    /// The most permissions that the bucket holds. It is full at the start.
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
    /// Until this moment: the answer names the time that is left until then.
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
    /// The only key that is affected; `None` means all keys.
    pub key: Option<u32>,
    /// What it is.
    pub what: Wrong,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Wrong {
    /// The station has this share of its capacity: attempts that begin take longer in proportion. At zero none begins.
    /// This cannot be set for a single key.
    Capacity(f64),
    /// Attempts are not answered, and no work is done.
    Swallowed,
    /// A share of the attempts fails with this status, a number of seconds after it arrived. No work is done for it.
    Fails {
        /// The share.
        share: f64,
        /// The status.
        status: u16,
        /// The number of seconds.
        after: f64,
    },
    /// A share of the attempts is answered with this status immediately, as by an overloaded provider. No work is done
    /// for it.
    Busy {
        /// The share.
        share: f64,
        /// The status.
        status: u16,
        /// The time that the answer names.
        names: Named,
    },
    /// For a share of the attempts, the whole work is done, and then they fail with this status.
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
    /// A station with a number of workers and an unbounded queue, first come, first served. Nothing goes wrong.
    #[must_use]
    pub fn workers(workers: u32, takes: Spread) -> Station {
        Station { workers: Some(workers), ..Station::unbounded(takes) }
    }

    /// A station that serves any number of attempts at the same time.
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

    /// The number of attempts that the station can serve in a second while nothing is wrong.
    #[must_use]
    pub fn capacity(&self) -> f64 {
        self.workers.map_or(f64::INFINITY, |workers| f64::from(workers) / self.takes.mean())
    }

    /// Adds something that goes wrong between two seconds of the run.
    #[must_use]
    pub fn troubled(mut self, from: f64, to: f64, what: Wrong) -> Station {
        self.troubles.push(Trouble { from: at_second(from), to: at_second(to), key: None, what });
        self
    }
}

impl World {
    /// A world of callers that all run one policy, a steady stream of calls, and one provider. The attempt timeout is
    /// one second.
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
