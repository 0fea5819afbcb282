//! Simulates a world from its start to its horizon. Its events are handled one by one, in the order of their simulated
//! times.
//!
//! [`Play::happens`] shows the life of a call: the call arrives, its policy decides what to do, an attempt reaches a
//! station and is served or not, and the policy gets its answer or its timeout.

use std::time::Duration;

use seawall_policy::{Time, Witness};

use super::record::{Guarded, Record};
use super::slab::{Handle, Slab};
use super::station::Working;
use super::{Arrivals, World};
use crate::sim::agenda::{Agenda, Event};
use crate::sim::chance::{Stream, Whose, seconds};
use crate::sim::fleet::{Caller, Machine, Next, Policy};

mod attempts;
mod leaving;

#[derive(Clone, Copy)]
enum Happens {
    /// The next call of the stream arrives.
    Arrives,
    /// A caller of a closed loop makes its next call.
    Thinks { caller: u32 },
    /// An attempt reaches its station.
    Reaches(Handle),
    /// A worker has finished an attempt.
    Served(Handle, u16),
    /// A station's proxy has waited for its full patience, and answers in the station's place.
    FrontGivesUp(Handle),
    /// An answer reaches the caller. Status 0 means a refused connection.
    Answers(Handle, u16),
    /// The caller has waited for the attempt for the maximum time.
    TimesOut(Handle),
    /// A wait before a repeat is over.
    Waited(Handle),
    /// At a station, something starts or stops going wrong.
    Changes { station: u32 },
    /// The caller of the call gives up waiting for it.
    Leaves(Handle),
    /// A caller makes a call again, because an answer or a refusal said that the caller may come back at the time of
    /// this event.
    Returns(Return),
}

impl Event for Happens {
    #[inline]
    fn mark(&self) -> u64 {
        let (kind, place, more) = match *self {
            Happens::Arrives => (0, 0, 0),
            Happens::Thinks { caller } => (1, caller, 0),
            Happens::Reaches(attempt) => (2, attempt.place, 0),
            Happens::Served(attempt, status) => (3, attempt.place, status),
            Happens::FrontGivesUp(attempt) => (4, attempt.place, 0),
            Happens::Answers(attempt, status) => (5, attempt.place, status),
            Happens::TimesOut(attempt) => (6, attempt.place, 0),
            Happens::Waited(call) => (7, call.place, 0),
            Happens::Changes { station } => (8, station, 0),
            Happens::Leaves(call) => (9, call.place, 0),
            Happens::Returns(call) => (10, call.caller, u16::from(call.times)),
        };
        u64::from(place) | kind << 32 | u64::from(more) << 40
    }
}

/// The status that stands for a refused connection.
const REFUSED: u16 = 0;

/// A call that is made again.
#[derive(Clone, Copy)]
struct Return {
    caller: u32,
    key: u32,
    /// How often the call was made before.
    times: u8,
}

/// How a call ended.
struct Over {
    ok: bool,
    refused: bool,
    told: Option<Time>,
}

struct CallUnderWay {
    caller: u32,
    key: u32,
    /// The attempt for which a server of a middle tier makes this call; `None` if the call was made by a caller of the
    /// fleet.
    serves: Option<Handle>,
    began: Time,
    machine: Machine,
    /// The attempt that is under way; `None` during a wait.
    flight: Option<Handle>,
    /// Whether the caller would wait until the call has ended.
    patient: bool,
    /// Set if the caller has left and the guards follow the attempt to its real ending.
    witness: Option<Witness>,
    /// How often the call was made before.
    times: u8,
}

struct Attempt {
    call: Handle,
    caller: u32,
    station: u32,
    key: u32,
    /// The moment at which the caller stops waiting for the attempt. `total` says whether this moment is the total
    /// deadline of the call.
    until: Time,
    total: bool,
    /// Whether the caller still waits.
    awaited: bool,
    /// Whether the station still has the attempt, in its queue or at work.
    held: bool,
    /// The time after which the caller may come back, as the attempt's answer says; `None` if it does not say so.
    told: Option<Duration>,
}

struct Play {
    world: World,
    policies: Vec<Policy>,
    callers: Vec<Caller>,
    /// For each level, the index in `callers` of its first caller. Level 0 has the callers of the fleet, and each
    /// middle tier is a further level. The last entry is the length of `callers`.
    levels: Vec<u32>,
    stations: Vec<Working>,
    calls: Slab<CallUnderWay>,
    attempts: Slab<Attempt>,
    agenda: Agenda<Happens>,
    arrivals: Stream,
    network: Stream,
    leavers: Stream,
    record: Record,
    /// The keys that have troubles of their own.
    troubled_keys: Vec<u32>,
    in_flight: u32,
    sampled: usize,
}

/// Plays the world with one seed and returns the record.
#[must_use]
pub fn run(world: World, seed: u64) -> Record {
    let mut play = Play::new(world, seed);
    play.opens();
    let horizon = play.world.horizon;
    while let Some((now, event)) = play.agenda.next_before(horizon) {
        play.samples(now);
        play.happens(event, now);
    }
    play.samples(horizon);
    play.record.hash = play.agenda.hash();
    play.record.events = play.agenda.taken();
    play.record
}

impl Play {
    fn new(world: World, seed: u64) -> Play {
        let mut policies = Vec::new();
        let mut callers = Vec::new();
        let mut levels = vec![0];
        let mut join = |many: u32, policy: &Policy| {
            let index = policies.len();
            for _ in 0..many {
                let stream = Stream::of(seed, Whose::Caller, callers.len() as u64);
                callers.push(Caller::new(policy, index, world.keys, stream));
            }
            policies.push(policy.clone());
            callers.len() as u32
        };
        let mut end = 0;
        for group in &world.fleet {
            end = join(group.callers, &group.policy);
        }
        levels.push(end);
        for tier in &world.middle {
            levels.push(join(tier.instances, &tier.policy));
        }
        let places = world.middle.iter().map(|tier| &tier.station).chain(&world.providers);
        let stations =
            places.enumerate().map(|(at, place)| Working::new(place.clone(), seed, at as u64)).collect();
        let troubles = world.providers.iter().flat_map(|station| &station.troubles);
        let troubled_keys = troubles.filter_map(|trouble| trouble.key).collect();
        let seconds = world.horizon.as_nanos().div_ceil(1_000_000_000) as usize;
        let providers = world.providers.len();
        let record = Record::new(seconds.max(1), providers);
        Play {
            world,
            policies,
            callers,
            levels,
            stations,
            calls: Slab::new(),
            attempts: Slab::new(),
            agenda: Agenda::new(),
            arrivals: Stream::of(seed, Whose::Arrivals, 0),
            network: Stream::of(seed, Whose::Network, 0),
            leavers: Stream::of(seed, Whose::Leavers, 0),
            record,
            troubled_keys,
            in_flight: 0,
            sampled: 0,
        }
    }

    fn opens(&mut self) {
        match self.world.arrivals {
            Arrivals::Open(_) | Arrivals::Waves(..) => self.next_arrival(),
            Arrivals::Closed(think) => {
                for caller in 0..self.levels[1] {
                    let first = think.draw(&mut self.arrivals);
                    self.agenda.after(first, Happens::Thinks { caller });
                }
            }
        }
        for (at, station) in self.stations.iter().enumerate() {
            for change in station.changes() {
                self.agenda.at(change, Happens::Changes { station: at as u32 });
            }
        }
    }

    fn happens(&mut self, event: Happens, now: Time) {
        match event {
            Happens::Arrives => self.arrives(now),
            Happens::Thinks { caller } => self.begins(caller, None, now),
            Happens::Reaches(attempt) => self.reaches(attempt, now),
            Happens::Served(attempt, status) => self.served(attempt, status, now),
            Happens::FrontGivesUp(attempt) => self.front_gives_up(attempt, now),
            Happens::Answers(attempt, status) => self.answered(attempt, status, now),
            Happens::TimesOut(attempt) => self.times_out(attempt, now),
            Happens::Waited(call) => self.waited(call, now),
            Happens::Leaves(call) => self.leaves(call, now),
            Happens::Returns(call) => self.returns(call, now),
            Happens::Changes { station } => {
                self.stations[station as usize].change(now);
                self.serves_on(station, now);
            }
        }
    }

    fn next_arrival(&mut self) {
        let gap = match self.world.arrivals {
            Arrivals::Open(per_second) => self.arrivals.exponential() / per_second,
            Arrivals::Waves(per_second, size) => self.arrivals.exponential() * size / per_second,
            Arrivals::Closed(_) => return,
        };
        self.agenda.after(seconds(gap), Happens::Arrives);
    }

    fn arrives(&mut self, now: Time) {
        loop {
            let caller = self.arrivals.below(self.levels[1]);
            self.begins(caller, None, now);
            let another = match self.world.arrivals {
                Arrivals::Waves(_, size) => self.arrivals.chance(1.0 - 1.0 / size),
                Arrivals::Open(_) | Arrivals::Closed(_) => false,
            };
            if !another {
                break;
            }
        }
        self.next_arrival();
    }

    fn begins(&mut self, caller: u32, serves: Option<Handle>, now: Time) {
        let key = match serves.and_then(|attempt| self.attempts.get(attempt)) {
            Some(served) => served.key,
            None => self.arrivals.below(self.world.keys),
        };
        self.begins_for(caller, serves, key, 0, now);
    }

    fn begins_for(&mut self, caller: u32, serves: Option<Handle>, key: u32, times: u8, now: Time) {
        let patience = if serves.is_none() { self.patience() } else { None };
        if serves.is_none() {
            let second = self.record.second(now);
            second.begun += 1;
            second.patient += u32::from(patience.is_none());
        }
        let own = &mut self.callers[caller as usize];
        let (machine, next) = own.begin(&self.policies[own.policy], key, now);
        let call = self.calls.insert(CallUnderWay {
            caller,
            key,
            serves,
            began: now,
            machine,
            flight: None,
            patient: patience.is_none(),
            witness: None,
            times,
        });
        if let Some(patience) = patience {
            self.agenda.after(patience, Happens::Leaves(call));
        }
        self.looks_at(caller, now);
        self.goes_on(call, next, now);
    }

    fn waited(&mut self, handle: Handle, now: Time) {
        let Some(call) = self.calls.get(handle) else { return };
        let own = &mut self.callers[call.caller as usize];
        let next = own.waited(&self.policies[own.policy], &mut call.machine, call.key, now);
        self.goes_on(handle, next, now);
    }

    fn goes_on(&mut self, call: Handle, next: Next, now: Time) {
        match next {
            Next::Send { endpoint, until, total } => self.sends(call, endpoint, until, total, now),
            Next::Wait(until) => self.agenda.at(until, Happens::Waited(call)),
            Next::Over { ok, refused, told } => self.over(call, Over { ok, refused, told }, now),
        }
    }

    /// Records the state of a caller's guards after something happened to them, if `World::watch` is set. Recording
    /// changes nothing in the world, so it is no [`Event`], and the record's hash is the same without it.
    fn looks_at(&mut self, caller: u32, now: Time) {
        if self.world.watch && caller < self.levels[1] {
            let seen = self.callers[caller as usize].seen(now);
            self.record.saw(seen, now);
        }
    }

    fn over(&mut self, handle: Handle, over: Over, now: Time) {
        let Over { ok, refused, told } = over;
        let call = self.calls.remove(handle).expect("it is over once");
        if let Some(served) = call.serves {
            self.answers(served, if ok { 200 } else { 500 }, now);
            return;
        }
        if let Some(witness) = call.witness {
            self.callers[call.caller as usize].followed(witness);
            return;
        }
        let took = now.since(call.began).as_secs_f64();
        let spared = !self.troubled_keys.contains(&call.key);
        let second = self.record.second(call.began);
        second.spared += u32::from(spared);
        second.spared_ok += u32::from(spared && ok);
        second.spared_refused += u32::from(spared && refused);
        second.ok += u32::from(ok);
        second.refused += u32::from(refused);
        second.patient_refused += u32::from(refused && call.patient);
        second.took += took;
        if self.world.watch {
            let began = call.began.as_nanos() as f64 / 1e9;
            self.record.calls.push((began as f32, took as f32, ok));
        }
        if let (Some(back), true) = (told, call.times < self.world.returns) {
            let again = Return { caller: call.caller, key: call.key, times: call.times + 1 };
            let back = if self.world.whole_seconds { in_whole_seconds(back, now) } else { back };
            self.agenda.at(back, Happens::Returns(again));
            return;
        }
        self.thinks(call.caller);
    }

    /// In a closed loop, plans the caller's next call. With other arrivals, does nothing.
    fn thinks(&mut self, caller: u32) {
        if let Arrivals::Closed(think) = self.world.arrivals {
            self.agenda.after(think.draw(&mut self.arrivals), Happens::Thinks { caller });
        }
    }

    /// Records, for each second that has ended by `now`, how the stations stood at its end and, if `World::watch` is
    /// set, how the callers' guards stood. Recording changes nothing in the world, so it is no [`Event`], and the
    /// record's hash is the same without it.
    fn samples(&mut self, now: Time) {
        let passed = ((now.as_nanos() / 1_000_000_000) as usize).min(self.record.seconds.len());
        while self.sampled < passed {
            let end = Time::from_millis((self.sampled as u64 + 1) * 1000);
            let providers = &self.stations[self.world.middle.len()..];
            let second = &mut self.record.seconds[self.sampled];
            second.waiting = providers.iter().map(|station| station.waiting() as u32).sum();
            second.in_flight = second.in_flight.max(self.in_flight);
            if self.world.watch {
                let mut guarded = Guarded::default();
                for caller in &mut self.callers[..self.levels[1] as usize] {
                    guarded.add(caller.seen(end));
                }
                second.open = guarded.open;
                second.limit = (guarded.limits / f64::from(guarded.limited.max(1))) as f32;
            }
            self.sampled += 1;
        }
    }
}

/// Returns the first moment at or after `back` that is a whole number of seconds after `now`.
fn in_whole_seconds(back: Time, now: Time) -> Time {
    let rest = back.since(now);
    now.saturating_add(Duration::from_secs(rest.as_secs() + u64::from(rest.subsec_nanos() > 0)))
}
