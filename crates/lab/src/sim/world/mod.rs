//! The world of a run: who calls, how often, whom, and what goes wrong there.
//!
//! It is plain data. [`run::run`] plays it; [`record::Record`] is what was seen.

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
    /// Each call is for one of so many keys (tenants, shards), each equally often.
    pub keys: u32,
    /// The longest that an attempt waits for its answer.
    pub timeout: Duration,
    /// How long the network takes for each way; none where it takes no time.
    pub network: Option<Spread>,
    /// Callers that do not wait until the end; none where all do.
    pub leavers: Option<Leavers>,
    /// How often a call that was told a time to come back is made again at that time: one that was refused here, or that ended with
    /// an answer that names a time.
    pub returns: u8,
    /// Times to come back are told in whole seconds, rounded up, as `Retry-After` has them.
    pub whole_seconds: bool,
    /// Between the callers and the providers, the nearest to the callers first. A call that ends well at one of them is
    /// answered 200, any other 500.
    pub middle: Vec<Tier>,
    /// Whom the last tier calls, in order of preference.
    pub providers: Vec<Station>,
    /// When it ends.
    pub horizon: Time,
    /// Whether breakers, limits and latencies are watched; it costs time, and changes nothing.
    pub watch: bool,
}

/// Callers that run one policy.
#[derive(Clone, Debug)]
pub struct Group {
    /// How many.
    pub callers: u32,
    /// What each of them runs, for itself.
    pub policy: Policy,
}

/// When calls begin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arrivals {
    /// Whatever happens: so many a second in all, as a Poisson stream. Many callers that call seldom and do not know of
    /// each other make one.
    Open(f64),
    /// Whatever happens: so many a second in all, but together, in waves of a mean size (Poisson waves, geometric sizes).
    Waves(f64, f64),
    /// Each caller calls again only so long after its last call ended.
    Closed(Spread),
}

/// Calls whose callers give up waiting, whatever the timeouts are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Leavers {
    /// The share of calls that are impatient.
    pub share: f64,
    /// How long such a call is waited for, from its beginning.
    pub patience: Spread,
}

/// A tier of servers that serve calls by calling on.
#[derive(Clone, Debug)]
pub struct Tier {
    /// How many; each has guards of its own.
    pub instances: u32,
    /// What each of them runs.
    pub policy: Policy,
    /// What it does itself before it calls on.
    pub station: Station,
}

/// A place where attempts are served.
#[derive(Clone, Debug)]
pub struct Station {
    /// How many at once; none is no bound, and so no queue.
    pub workers: Option<u32>,
    /// How long one takes in health.
    pub takes: Spread,
    /// Who is next.
    pub order: Discipline,
    /// The most that wait; more are answered 503 at once.
    pub bound: Option<u32>,
    /// What has waited longer than the caller does is not begun.
    pub drops_expired: bool,
    /// What was given up by its caller, and that is known here, is not begun.
    pub hears_cancels: bool,
    /// The share of attempts that fail with 500 in health.
    pub fails: f64,
    /// Something in front answers for it when it takes longer.
    pub front: Option<Front>,
    /// `Retry-After` of a 503 of a full queue.
    pub retry_after: Option<Duration>,
    /// How many attempts a second it takes; it takes any number where this is none.
    pub quota: Option<Quota>,
    /// What goes wrong, and when.
    pub troubles: Vec<Trouble>,
}

/// A proxy in front of a station: it answers in its place after a while, and the work goes on behind it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Front {
    /// How long it waits.
    pub patience: Duration,
    /// What it then answers.
    pub status: u16,
}

/// A bucket of permissions: what comes while it is empty is answered 429 immediately, and nothing is done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quota {
    /// Permissions that come into it in a second.
    pub per_second: f64,
    /// The most that it holds; it begins full.
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
    /// Until this moment; the answer names what is left of it.
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

/// Who is served next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discipline {
    /// Who came first.
    Fifo,
    /// Who came last.
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
    /// It has this share of its capacity: whatever is begun takes so much longer. Zero: nothing is begun. Not for one key.
    Capacity(f64),
    /// It is swallowed: nothing is done, and no answer comes.
    Swallowed,
    /// A share fails with this status so many seconds after it came; nothing else is done.
    Fails {
        /// The share.
        share: f64,
        /// The status.
        status: u16,
        /// Seconds.
        after: f64,
    },
    /// A share is answered with this status immediately: there is too much to do. Nothing else is done.
    Busy {
        /// The share.
        share: f64,
        /// The status.
        status: u16,
        /// The time that it names.
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
    /// So many workers, an unbounded queue, first come, first served; nothing goes wrong.
    #[must_use]
    pub fn workers(workers: u32, takes: Spread) -> Station {
        Station { workers: Some(workers), ..Station::unbounded(takes) }
    }

    /// Serves any number at once.
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

    /// Attempts a second that it can serve in health.
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
    /// Callers that all run one policy, a steady stream of calls, one provider; attempts wait for a second.
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

/// The moment so many seconds after the origin.
#[must_use]
pub fn at_second(second: f64) -> Time {
    Time::from_nanos((second.max(0.0) * 1e9) as u64)
}
