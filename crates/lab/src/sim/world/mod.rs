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

/// What a run simulates: callers, providers, calls and troubles.
#[derive(Clone, Debug)]
pub struct World {
    /// The callers, in groups. All callers of a group run one policy. With [`Arrivals::Closed`], each caller makes its
    /// own calls. With the other kinds of arrivals, each caller is equally likely to make the next call.
    pub fleet: Vec<Group>,
    /// When calls begin.
    pub arrivals: Arrivals,
    /// The number of keys (tenants, shards). Each call is for one key, and all keys are equally likely.
    pub keys: u32,
    /// The maximum time that an attempt waits for its answer.
    pub timeout: Duration,
    /// How long the network takes in each direction; `None` if it takes no time.
    pub network: Option<Spread>,
    /// The calls that their callers may give up before they have ended; `None` if every caller waits until its call has
    /// ended.
    pub leavers: Option<Leavers>,
    /// The maximum number of times that a caller makes the same call again. A caller does so if an answer or a refusal
    /// said when to come back (as with `Retry-After`), and only at that time. Zero means that no call is made again.
    pub returns: u8,
    /// Whether answers say in whole seconds when to come back, rounded up, as in `Retry-After`.
    pub whole_seconds: bool,
    /// The tiers between the callers and the providers, beginning with the tier nearest to the callers. A tier answers
    /// 200 if its own call to the next tier ends well, and 500 otherwise.
    pub middle: Vec<Tier>,
    /// The providers, in order of preference. The last tier calls them or, if there is no tier, the callers do.
    pub providers: Vec<Station>,
    /// When the run ends.
    pub horizon: Time,
    /// Whether breakers, limits and latencies are recorded. Recording them takes computing time, but changes no other
    /// result.
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

/// The times at which calls begin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arrivals {
    /// A Poisson stream: calls that come at random, with this mean number per second for all callers together, whatever
    /// becomes of earlier calls. Many independent callers that call rarely make such a stream.
    Open(f64),
    /// Waves of calls. The times of the waves are random (Poisson), and so are their sizes (geometric). A wave comes
    /// whether or not earlier calls have ended. The first number is the number of calls per second for all callers
    /// together; the second is the mean number of calls in a wave.
    Waves(f64, f64),
    /// A closed loop: when a call has ended, its caller waits for this time and then makes its next call.
    Closed(Spread),
}

/// Which calls are given up by their callers, and when. A caller may give its call up before any timeout has passed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Leavers {
    /// The share of impatient calls, from 0 to 1. The caller of an impatient call leaves when its patience is over.
    pub share: f64,
    /// How long a caller waits for an impatient call, counted from the beginning of the call.
    pub patience: Spread,
}

/// A tier of servers. Each server serves a call by making a call of its own to the next tier.
#[derive(Clone, Debug)]
pub struct Tier {
    /// The number of servers. Each has its own guards.
    pub instances: u32,
    /// The policy with which each server of the tier makes its calls to the next tier.
    pub policy: Policy,
    /// The work that the tier does before it calls the next tier.
    pub station: Station,
}

/// A place where attempts are served.
#[derive(Clone, Debug)]
pub struct Station {
    /// The number of workers, each of which serves one attempt at a time. `None` means that their number has no bound,
    /// so no attempt waits for one.
    pub workers: Option<u32>,
    /// How long one attempt takes while nothing is wrong.
    pub takes: Spread,
    /// The order in which waiting attempts are served.
    pub order: Discipline,
    /// The maximum number of attempts that wait in the queue. Further attempts are answered 503 immediately. `None`
    /// means no bound.
    pub bound: Option<u32>,
    /// Whether the station drops an attempt that has waited too long: when its turn in the queue comes, its caller no
    /// longer waits, since the time for the attempt is over.
    pub drops_expired: bool,
    /// Whether the station learns that a caller has given an attempt up. If so, the station drops such an attempt when
    /// its turn comes.
    pub hears_cancels: bool,
    /// The share of attempts that fail with 500 while nothing is wrong.
    pub fails: f64,
    /// A proxy in front of the station. If the station takes longer than the proxy waits, the proxy answers in the
    /// station's place. `None` if there is no proxy.
    pub front: Option<Front>,
    /// The time in the `Retry-After` of the 503 that the station answers while its queue is full. `None` means that the
    /// 503 has no `Retry-After`.
    pub retry_after: Option<Duration>,
    /// The number of attempts that the station accepts in a second; `None` means no bound.
    pub quota: Option<Quota>,
    /// What goes wrong, and when.
    pub troubles: Vec<Trouble>,
}

/// A proxy in front of a station. After its `patience` it answers in the station's place, and the station continues its
/// work.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Front {
    /// How long the proxy waits for the station.
    pub patience: Duration,
    /// The status that the proxy answers after this time.
    pub status: u16,
}

/// A bound on attempts per second, kept as a token bucket. Each attempt takes one permission from the bucket. If the
/// bucket is empty, the attempt is answered 429 immediately, without any work.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quota {
    /// The number of permissions that are added in a second.
    pub per_second: f64,
    /// The maximum number of permissions that the bucket holds. The bucket is full at the start.
    pub burst: f64,
    /// What the 429 says about the time at which callers may come back.
    pub names: Named,
}

/// What an answer says in `Retry-After` about the time at which its caller may come back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Named {
    /// The answer names no time.
    Nothing,
    /// The answer names the number of seconds after which the caller may come back, counted from the answer.
    After(f64),
    /// The caller may come back at this moment. The answer names the number of seconds that are left until then.
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

/// The order in which the attempts in a queue are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discipline {
    /// The attempt that came first is served first.
    Fifo,
    /// The attempt that came last is served first.
    Lifo,
}

/// Something that goes wrong for a while.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trouble {
    /// The moment at which the trouble begins.
    pub from: Time,
    /// The moment at which the trouble is over.
    pub to: Time,
    /// The only key that is affected; `None` means all keys.
    pub key: Option<u32>,
    /// The kind of trouble.
    pub what: Wrong,
}

/// The kinds of trouble that a station can have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Wrong {
    /// The station has this share of its capacity: at 0.5, an attempt that begins now takes twice as long. At zero no
    /// attempt begins. All keys are affected, even if the trouble names one.
    Capacity(f64),
    /// Attempts are not answered, and no work is done.
    Swallowed,
    /// Some attempts get an answer with an error status, some seconds after they arrived. No work is done for them.
    Fails {
        /// The share of the attempts that fail, from 0 to 1.
        share: f64,
        /// The status of their answers.
        status: u16,
        /// The number of seconds from an attempt's arrival to its answer.
        after: f64,
    },
    /// A share of the attempts is answered with a status immediately, as by an overloaded provider. No work is done for
    /// them.
    Busy {
        /// The share of the attempts that get such an immediate answer, from 0 to 1.
        share: f64,
        /// The status of their answers.
        status: u16,
        /// What the answers say about the time at which callers may come back.
        names: Named,
    },
    /// A share of the attempts fails with a status, but only after the station has done the whole work for them.
    FailsLate {
        /// The share of the attempts that fail, from 0 to 1.
        share: f64,
        /// The status of their answers.
        status: u16,
    },
    /// All connections are refused.
    Refused,
}

impl Station {
    /// Returns a station with a number of workers and an unbounded queue, first come, first served. Nothing goes wrong
    /// at it.
    #[must_use]
    pub fn workers(workers: u32, takes: Spread) -> Station {
        Station { workers: Some(workers), ..Station::unbounded(takes) }
    }

    /// Returns a station that serves any number of attempts at the same time. Nothing goes wrong at it.
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

    /// Returns the number of attempts that the station can serve in a second while nothing is wrong. It is infinite
    /// without a bound on workers.
    #[must_use]
    pub fn capacity(&self) -> f64 {
        self.workers.map_or(f64::INFINITY, |workers| f64::from(workers) / self.takes.mean())
    }

    /// Adds a trouble for all keys, from the second `from` to the second `to` of the run.
    #[must_use]
    pub fn troubled(mut self, from: f64, to: f64, what: Wrong) -> Station {
        self.troubles.push(Trouble { from: at_second(from), to: at_second(to), key: None, what });
        self
    }
}

impl World {
    /// Returns a world of callers that all run one policy, with a Poisson stream of calls and one provider. The attempt
    /// timeout is one second.
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

/// Returns the moment that lies this number of seconds after the start of the run. A negative number gives the start.
#[must_use]
pub fn at_second(second: f64) -> Time {
    Time::from_nanos((second.max(0.0) * 1e9) as u64)
}
