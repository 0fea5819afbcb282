//! Plays a world: events in virtual time, until the horizon.
//!
//! The order of a call is read off [`Play::happens`]: it arrives, its policy says what to do, an attempt reaches a
//! station, is served or not, and its answer or its timeout comes back to the policy.

use seawall_policy::{Answer, Ending, Lost, Time, Unsent, Witness};

use super::record::{Guarded, Record, Second};
use super::slab::{Handle, Slab};
use super::station::{Met, Working};
use super::{Arrivals, World};
use crate::sim::agenda::{Agenda, Event};
use crate::sim::chance::{Stream, Whose, seconds};
use crate::sim::fleet::{Caller, Machine, Next, Policy};

mod leaving;

#[derive(Clone, Copy)]
enum Happens {
    /// The stream of calls brings the next.
    Arrives,
    /// A caller of a closed loop calls again.
    Thinks { caller: u32 },
    /// An attempt reaches its station.
    Reaches(Handle),
    /// A worker is done with it.
    Served(Handle, u16),
    /// The front of a station has waited long enough.
    FrontGivesUp(Handle),
    /// An answer reaches the caller; status 0 is a refused connection.
    Answers(Handle, u16),
    /// The caller's patience is over.
    TimesOut(Handle),
    /// A wait before a repeat is over.
    Waited(Handle),
    /// Something at a station begins or ends to go wrong.
    Changes { station: u32 },
    /// Who made the call gives up waiting for it.
    Leaves(Handle),
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
        };
        u64::from(place) | kind << 32 | u64::from(more) << 40
    }
}

/// A connection that was refused, among statuses.
const REFUSED: u16 = 0;

struct CallUnderWay {
    caller: u32,
    key: u32,
    /// The attempt of the tier before that this call serves.
    serves: Option<Handle>,
    began: Time,
    machine: Machine,
    /// The attempt under way.
    flight: Option<Handle>,
    /// Whoever made it would wait until the end.
    patient: bool,
    /// Its caller left, and its attempt goes on for this.
    witness: Option<Witness>,
}

struct Attempt {
    call: Handle,
    caller: u32,
    station: u32,
    key: u32,
    /// When the caller stops waiting, and whether that is its total deadline.
    until: Time,
    total: bool,
    /// The caller still waits.
    awaited: bool,
    /// The station still has it.
    held: bool,
}

struct Play {
    world: World,
    policies: Vec<Policy>,
    callers: Vec<Caller>,
    /// Where the callers of each level begin, the edge first; one more for the end.
    levels: Vec<u32>,
    stations: Vec<Working>,
    calls: Slab<CallUnderWay>,
    attempts: Slab<Attempt>,
    agenda: Agenda<Happens>,
    arrivals: Stream,
    network: Stream,
    leavers: Stream,
    record: Record,
    /// Keys with troubles of their own.
    troubled_keys: Vec<u32>,
    in_flight: u32,
    sampled: usize,
}

/// Plays it with one seed.
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
        let record = Record { seconds: vec![Second::default(); seconds.max(1)], ..Record::default() };
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
            Next::Over { ok, refused } => self.over(call, ok, refused, now),
        }
    }

    fn sends(&mut self, handle: Handle, endpoint: usize, until: Time, total: bool, now: Time) {
        let call = self.calls.get(handle).expect("it goes on");
        let (caller, key) = (call.caller, call.key);
        let patience = now.saturating_add(self.world.timeout);
        let (until, total) = if until < patience { (until, total) } else { (patience, false) };
        let level = self.level(caller);
        if level == 0 {
            self.in_flight += 1;
            let in_flight = self.in_flight;
            let second = self.record.second(now);
            second.attempts += 1;
            second.in_flight = second.in_flight.max(in_flight);
        }
        let station = (level + endpoint).min(self.stations.len() - 1) as u32;
        let attempt = self.attempts.insert(Attempt {
            call: handle,
            caller,
            station,
            key,
            until,
            total,
            awaited: true,
            held: true,
        });
        if let Some(call) = self.calls.get(handle) {
            call.flight = Some(attempt);
        }
        self.agenda.timer(until, Happens::TimesOut(attempt));
        match self.world.network {
            Some(delay) => self.agenda.after(delay.draw(&mut self.network), Happens::Reaches(attempt)),
            None => self.reaches(attempt, now),
        }
    }

    fn level(&self, caller: u32) -> usize {
        // Few levels: a scan beats a search.
        self.levels[1..].iter().position(|end| caller < *end).expect("each caller has a level")
    }

    fn reaches(&mut self, handle: Handle, now: Time) {
        let Some(attempt) = self.attempts.get(handle) else { return };
        let (key, at) = (attempt.key, attempt.station);
        let station = &mut self.stations[at as usize];
        let front = station.setup.front;
        let is_provider = at as usize >= self.world.middle.len();
        let met = station.arrives(handle, key, now);
        if is_provider {
            self.record.second(now).load += 1;
        }
        if let (Some(front), Met::Begun(..) | Met::Queued) = (front, &met) {
            self.agenda.after(front.patience, Happens::FrontGivesUp(handle));
        }
        match met {
            Met::Begun(time, status) => self.agenda.after(time, Happens::Served(handle, status)),
            Met::Queued => {}
            Met::Answered(later, status) => {
                self.let_go(handle);
                self.agenda.after(later, Happens::Answers(handle, status));
            }
            Met::Refused => {
                self.let_go(handle);
                self.agenda.at(now, Happens::Answers(handle, REFUSED));
            }
            Met::Swallowed => self.let_go(handle),
        }
    }

    /// The station has no more to do with it.
    fn let_go(&mut self, handle: Handle) {
        if let Some(attempt) = self.attempts.get(handle) {
            attempt.held = false;
            if !attempt.awaited {
                self.attempts.remove(handle);
            }
        }
    }

    fn served(&mut self, handle: Handle, status: u16, now: Time) {
        let attempt = self.attempts.get(handle).expect("held until it is served");
        let at = attempt.station;
        self.stations[at as usize].done();
        let is_provider = at as usize >= self.world.middle.len();
        if is_provider || status != 200 {
            self.answers(handle, status, now);
        } else {
            let (first, end) = (self.levels[at as usize + 1], self.levels[at as usize + 2]);
            let instance = first + self.network.below(end - first);
            self.begins(instance, Some(handle), now);
        }
        self.serves_on(at, now);
    }

    /// Idle workers take what waits.
    fn serves_on(&mut self, at: u32, now: Time) {
        while let Some(handle) = self.stations[at as usize].next() {
            let attempt = self.attempts.get(handle).expect("held while it waits");
            let key = attempt.key;
            let station = &mut self.stations[at as usize];
            let expired = station.setup.drops_expired && now >= attempt.until;
            if expired || (station.setup.hears_cancels && !attempt.awaited) {
                self.let_go(handle);
                continue;
            }
            let (time, status) = station.begin_waiting(key, now);
            self.agenda.after(time, Happens::Served(handle, status));
        }
    }

    /// An answer leaves a station.
    fn answers(&mut self, handle: Handle, status: u16, now: Time) {
        match self.world.network {
            Some(delay) => {
                self.agenda.after(delay.draw(&mut self.network), Happens::Answers(handle, status));
                self.let_go(handle);
            }
            None => {
                self.let_go(handle);
                self.answered(handle, status, now);
            }
        }
    }

    fn front_gives_up(&mut self, handle: Handle, now: Time) {
        let Some(attempt) = self.attempts.get(handle) else { return };
        let front = self.stations[attempt.station as usize].setup.front;
        if let Some(front) = front {
            self.answered(handle, front.status, now);
        }
    }

    fn answered(&mut self, handle: Handle, status: u16, now: Time) {
        let Some(attempt) = self.attempts.get(handle) else { return };
        let station = &self.stations[attempt.station as usize];
        let ending = match status {
            REFUSED => Ending::Unsent(Unsent::Refused),
            503 => {
                Ending::Answered(Answer { retry_after: station.setup.retry_after, ..Answer::of_status(503) })
            }
            status => Ending::Answered(Answer::of_status(status)),
        };
        self.ended(handle, ending, now);
    }

    fn times_out(&mut self, handle: Handle, now: Time) {
        let Some(attempt) = self.attempts.get(handle) else { return };
        let lost = if attempt.total { Lost::TotalTimeout } else { Lost::ReadTimeout };
        self.ended(handle, Ending::Lost(lost), now);
    }

    /// The caller learns how its attempt ended, if it still waits.
    fn ended(&mut self, handle: Handle, ending: Ending, now: Time) {
        let Some((call, caller)) = self.not_awaited(handle) else { return };
        let Some(under_way) = self.calls.get(call) else { return };
        under_way.flight = None;
        let own = &mut self.callers[caller as usize];
        let next = own.ended(&self.policies[own.policy], &mut under_way.machine, under_way.key, ending, now);
        self.looks_at(caller, now);
        self.goes_on(call, next, now);
    }

    /// Nobody waits for an attempt any more: its call and caller, if somebody did until now.
    fn not_awaited(&mut self, handle: Handle) -> Option<(Handle, u32)> {
        let attempt = self.attempts.get(handle).filter(|attempt| attempt.awaited)?;
        attempt.awaited = false;
        let (call, caller, held) = (attempt.call, attempt.caller, attempt.held);
        if !held {
            self.attempts.remove(handle);
        }
        if caller < self.levels[1] {
            self.in_flight -= 1;
        }
        Some((call, caller))
    }

    /// Looks at a caller's guards after something happened to them. It is no event: looking changes nothing.
    fn looks_at(&mut self, caller: u32, now: Time) {
        if self.world.watch && caller < self.levels[1] {
            let seen = self.callers[caller as usize].seen(now);
            self.record.saw(seen, now);
        }
    }

    fn over(&mut self, handle: Handle, ok: bool, refused: bool, now: Time) {
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
        second.ok += u32::from(ok);
        second.refused += u32::from(refused);
        second.patient_refused += u32::from(refused && call.patient);
        second.took += took;
        if self.world.watch {
            let began = call.began.as_nanos() as f64 / 1e9;
            self.record.calls.push((began as f32, took as f32, ok));
        }
        self.thinks(call.caller);
    }

    /// In a closed loop, the caller calls again after a while.
    fn thinks(&mut self, caller: u32) {
        if let Arrivals::Closed(think) = self.world.arrivals {
            self.agenda.after(think.draw(&mut self.arrivals), Happens::Thinks { caller });
        }
    }

    /// Looks around at the end of each second. It is no event: looking changes nothing.
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
