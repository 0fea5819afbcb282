//! The small world: rows, their providers, two workers, requests on their way, one application, and time in ticks.
//!
//! A world is rewritten after each move, so that two worlds that will behave alike are equal. The present is always the
//! same number. Counters that only grow are counted back from the present. A time that is too far in the past to matter
//! is moved forward to the last one that behaves in the same way. So the search ends without a bound on the length of
//! runs.

use std::time::Duration;

use seawall_ledger::machine::{
    AttemptKind, AttemptRow, Effect, End, Event, Goal, Naming, Origin, Owner, Performed, Question, Row,
    Rules, SettleBy, Stamp, State, recorded, reserved, sent,
};
use seawall_ledger::{Lifetime, Window};

use crate::provider::{Provider, Traits};

/// The length of one tick.
pub(crate) const TICK: Duration = Duration::from_secs(1);
const TICK_MICROS: i64 = 1_000_000;
/// The present, in every world.
pub(crate) const NOW: Stamp = Stamp::from_micros(1000 * TICK_MICROS);
/// More ticks than any duration of the rules. A time of this age behaves like any older one.
const FAR: i64 = 14;
/// More ticks than any run. A rule with this time never takes effect.
pub(crate) const FOR_EVER: u32 = 1000;
/// The maximum number of ticks that may pass while a worker holds a time. After that, all comparisons with that time
/// have the same result.
const LAG: i64 = 6;
/// The value to which counters that only grow are moved.
const BASE: u32 = 100;

/// The name of an incarnation that is gone.
const DEAD: Owner = Owner(9);

/// How the application uses the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum AppKind {
    /// The provider's answer settles the action. The application may cancel.
    Reply,
    /// It settles in its own transaction, together with the order's row. It may also never settle.
    Transaction,
    /// It has its own database. It commits `confirming`, settles over HTTP, and then commits the result.
    Confirming,
    /// As `Confirming`, but it commits `paid` first and then settles.
    CommitsFirst,
    /// As `Confirming`, but it settles first and then commits `paid`.
    SettlesFirst,
}

/// One configuration of the search.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) rules: Rules,
    pub(crate) traits: Traits,
    pub(crate) app: AppKind,
    /// The number of actions that settle together.
    pub(crate) scope: u8,
    /// For how many ticks a request may really be on its way. A number above the declared one breaks an assumption.
    pub(crate) network: u8,
    /// The number of things that may go wrong: losses, crashes, refusals, stale reads.
    pub(crate) faults: u8,
    /// The number of times that the application may cancel.
    pub(crate) cancels: u8,
    /// The number of times that a person may press "retry".
    pub(crate) retries: u8,
}

impl Case {
    /// For how long the provider remembers a key, if this can matter in a run.
    fn key_lifetime(&self) -> Option<Duration> {
        let lifetime = self.rules.key_lifetime.as_ref().map(Lifetime::shortest);
        lifetime.filter(|lifetime| lifetime.as_secs() <= FAR as u64)
    }

    /// Whether the provider can be asked, or takes a cancel, only for some time.
    fn has_windows(&self) -> bool {
        let asks = self.rules.confirm.as_ref().is_some_and(|confirm| confirm.until.is_some());
        asks || self.rules.cancel.as_ref().is_some_and(|cancel| cancel.until.is_some())
    }

    /// The longest time that is counted from the first send. `None` if no such time can matter in a run.
    fn longest_from_first_send(&self) -> Option<Duration> {
        let asks = self.rules.confirm.as_ref().and_then(|confirm| confirm.until.as_ref());
        let cancels = self.rules.cancel.as_ref().and_then(|cancel| cancel.until.as_ref());
        let windows = [asks, cancels].into_iter().flatten().map(Window::shortest);
        windows.chain(self.key_lifetime()).max()
    }

    /// Whether the network is as fast as declared. If so, nothing wrong may be recorded even for a moment.
    pub(crate) fn is_strict(&self) -> bool {
        u128::from(self.network) <= self.rules.network.as_secs().into()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) row: Row,
    pub(crate) created: Stamp,
    pub(crate) there: Provider,
    /// Whether the order's row says that the order is paid. If the application shares the database, this is written
    /// together with `settled`.
    pub(crate) paid: bool,
}

/// What a worker is doing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Hand {
    Idle,
    /// It has the row, and will plan next.
    Owns,
    /// It has read the row and planned, and will write next.
    Planned {
        version: u64,
        now: Stamp,
    },
    /// It has recorded an attempt, and will send it next.
    Sending(AttemptRow),
    /// It has sent, and waits for the answer.
    Waiting(AttemptRow),
    /// It is about to ask the provider.
    Asking(Question),
    /// It knows what happened, and will tell the machine next.
    Knows(Event),
    /// It knows what happened and has read the row, and will write next.
    Telling {
        event: Event,
        version: u64,
        now: Stamp,
    },
}

impl Hand {
    /// Moves the worker on to the state in which it will end up anyway. A worker that has lost the row can change
    /// nothing any more, but an attempt that it has recorded is still sent.
    fn shorten(&mut self, row: &Row, me: Owner, strict: bool) {
        let lost = |fence: u64| row.owner != Some(me) || row.fence != fence;
        let hand = match self {
            Hand::Idle => return,
            Hand::Owns | Hand::Planned { .. } if row.owner != Some(me) => Hand::Idle,
            Hand::Planned { version, .. } if *version != row.version => Hand::Owns,
            Hand::Waiting(line) if lost(line.fence) && (strict || line.kind != AttemptKind::Perform) => {
                Hand::Idle
            }
            Hand::Asking(question) if lost(question.fence) => Hand::Idle,
            Hand::Knows(event) | Hand::Telling { event, .. } => match event {
                // Only a late "yes" may matter, and only if an assumption is broken.
                Event::Performed(line, Performed::Yes(_), _) if lost(line.fence) && strict => Hand::Idle,
                Event::Performed(_, Performed::Yes(_), _) => return self.drop_stale(row),
                Event::Performed(line, _, _) | Event::Unsent(line, _) | Event::Cancelled(line, _, _)
                    if lost(line.fence) =>
                {
                    Hand::Idle
                }
                Event::Confirmed(question, _, _) if lost(question.fence) => Hand::Idle,
                Event::ScopeWaits | Event::ScopeBroken if row.owner != Some(me) => Hand::Idle,
                Event::Performed(..)
                | Event::Unsent(..)
                | Event::Cancelled(..)
                | Event::Confirmed(..)
                | Event::ScopeWaits
                | Event::ScopeBroken => return self.drop_stale(row),
            },
            Hand::Owns | Hand::Planned { .. } | Hand::Sending(_) | Hand::Waiting(_) | Hand::Asking(_) => {
                return;
            }
        };
        *self = hand;
    }

    /// Drops a planned write if the row has another version, since the store would not take the write.
    fn drop_stale(&mut self, row: &Row) {
        if let Hand::Telling { event, version, .. } = self
            && *version != row.version
        {
            *self = Hand::Knows(event.clone());
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Hand::Idle => 0,
            Hand::Owns => 1,
            Hand::Planned { .. } => 2,
            Hand::Sending(_) => 3,
            Hand::Waiting(_) => 4,
            Hand::Asking(_) => 5,
            Hand::Knows(_) => 6,
            Hand::Telling { .. } => 7,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Worker {
    pub(crate) place: u8,
    pub(crate) hand: Hand,
}

/// A request on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Request {
    pub(crate) place: u8,
    pub(crate) worker: u8,
    pub(crate) kind: AttemptKind,
    pub(crate) number: u32,
    pub(crate) generation: u32,
    /// Whether the request names our key. Otherwise it names the provider's id.
    pub(crate) by_key: bool,
    /// The number of ticks until it must have arrived or be lost.
    pub(crate) left: u8,
}

/// The order of an application with its own database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Order {
    New,
    Confirming,
    /// The application was answered 200, and has not committed yet.
    Heard,
    /// The application was answered 409, and has not committed yet.
    HeardNo,
    Paid,
    /// The application committed `paid`, and still has to settle.
    PaidEarly,
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) places: Vec<Place>,
    pub(crate) workers: [Worker; 2],
    pub(crate) net: Vec<Request>,
    pub(crate) order: Order,
    pub(crate) faults: u8,
    pub(crate) cancels: u8,
    pub(crate) retries: u8,
}

impl Place {
    /// The part of the action that never changes.
    pub(crate) fn origin(&self, case: &Case) -> Origin<'static> {
        let naming = Naming::FirstRelease;
        Origin { created: self.created, scoped: case.scope > 1, dependency: "provider", key: "order", naming }
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.row.ended == Some(End::Done)
    }

    /// When a worker should next work on the row. The invariants compare it with the machine's own answer.
    pub(crate) fn due_at(&self) -> Option<Stamp> {
        let from = |at: Stamp| self.row.leased_until.map_or(at, |until| at.max(until));
        match self.row.ended {
            None => Some(from(self.row.next_at)),
            Some(End::Failed | End::Cancelled) => self.row.audit_at.map(from),
            Some(End::Done | End::Stuck) => None,
        }
    }
}

pub(crate) fn owner(worker: usize) -> Owner {
    Owner(worker as u128 + 1)
}

impl World {
    /// The ways in which an action can begin: recorded for a worker, reserved by a caller, or recorded with its first
    /// attempt.
    pub(crate) fn beginnings(case: &Case) -> Vec<World> {
        let place =
            |row: State| Place { row: row.row(), created: NOW, there: Provider::default(), paid: false };
        let plain = World {
            places: (0..case.scope).map(|_| place(recorded(&case.rules, NOW))).collect(),
            workers: [Worker { place: 0, hand: Hand::Idle }, Worker { place: 0, hand: Hand::Idle }],
            net: Vec::new(),
            order: Order::New,
            faults: case.faults,
            cancels: case.cancels,
            retries: case.retries,
        };
        let mut all = vec![plain.clone()];
        if case.scope == 1 {
            let mut held = plain.clone();
            held.places[0].row = reserved(&case.rules, owner(0), NOW).row();
            held.workers[0].hand = Hand::Owns;
            all.push(held);
            if let Some((row, line)) = sent(&case.rules, owner(0), NOW) {
                let mut under_way = plain;
                under_way.places[0].row = row.row();
                under_way.workers[0].hand = Hand::Sending(line);
                all.push(under_way);
            }
        }
        for world in &mut all {
            world.normalise(case);
        }
        all
    }

    /// A worker's process ends, and another one starts in its place.
    pub(crate) fn crash(&mut self, worker: usize) {
        for place in &mut self.places {
            if place.row.owner == Some(owner(worker)) {
                place.row.owner = Some(DEAD);
            }
        }
        self.workers[worker] = Worker { place: 0, hand: Hand::Idle };
    }

    /// Whether a tick may pass: everything that must have happened by now has happened.
    pub(crate) fn can_tick(&self) -> bool {
        let mut oldest = NOW;
        for worker in &self.workers {
            each_time(&mut worker.hand.clone(), &mut |stamp| oldest = oldest.min(*stamp));
        }
        oldest > moved(NOW, -LAG)
            && self.net.iter().all(|request| request.left > 0)
            && self.places.iter().all(|p| !p.there.index_is_due())
    }

    pub(crate) fn tick(&mut self) {
        for request in &mut self.net {
            request.left -= 1;
        }
        for place in &mut self.places {
            place.there.tick();
            each_stamp(place, &mut |stamp| *stamp = moved(*stamp, -1));
        }
        for worker in &mut self.workers {
            each_time(&mut worker.hand, &mut |stamp| *stamp = moved(*stamp, -1));
        }
    }

    /// Rewrites the world, so that only what decides its future is left.
    pub(crate) fn normalise(&mut self, case: &Case) {
        for (at, worker) in self.workers.iter_mut().enumerate() {
            let place = &self.places[usize::from(worker.place)];
            worker.hand.shorten(&place.row, owner(at), case.is_strict());
            if worker.hand == Hand::Idle {
                worker.place = 0;
            }
        }
        self.order_workers();
        for index in 0..self.places.len() {
            self.normalise_place(index, case);
        }
        self.net.sort_by_key(|r| (r.place, r.worker, r.number, r.kind as u8, r.generation, r.by_key, r.left));
    }

    /// Puts the two workers into a fixed order, since they differ only in their names.
    fn order_workers(&mut self) {
        let rank = |at: usize| {
            let worker = &self.workers[at];
            let owns = self.places[usize::from(worker.place)].row.owner == Some(owner(at));
            (worker.hand == Hand::Idle, worker.place, !owns, worker.hand.rank())
        };
        if rank(1) >= rank(0) {
            return;
        }
        self.workers.swap(0, 1);
        for place in &mut self.places {
            place.row.owner = match place.row.owner {
                Some(Owner(1)) => Some(Owner(2)),
                Some(Owner(2)) => Some(Owner(1)),
                other => other,
            };
        }
        for request in &mut self.net {
            request.worker = 1 - request.worker;
        }
    }

    /// Forgets what can no longer matter.
    fn forget(&mut self, index: usize, case: &Case) {
        let performs = self.performs_ahead(index);
        let (people, cancels) = (self.retries > 0, self.cancels > 0);
        let place = &mut self.places[index];
        let row = &mut place.row;
        if row.ended.is_some() {
            row.next_at = NOW;
        }
        // Nothing is performed any more if the effect is known.
        if !performs && matches!(row.effect, Effect::Applied | Effect::NotApplied) {
            place.there.forget_key();
            row.attempts = 0;
            row.give_up_at = row.give_up_at.map(|_| moved(NOW, FOR_EVER.into()));
            if !case.has_windows() {
                row.first_sent_at = row.first_sent_at.map(|_| NOW);
                row.key_ends_at = row.key_ends_at.map(|_| NOW);
            }
        }
        let is_over = row.ended == Some(End::Stuck) && case.scope == 1;
        if is_over && !people && (!cancels || row.goal == Goal::Cancel) {
            if row.maybe_sent > 0 {
                row.maybe_sent = row.open_attempts.max(1);
                (row.first_sent_at, row.quiet_until, row.key_ends_at) = (Some(NOW), Some(NOW), None);
            }
            (row.cancel_open, row.cancel_gen_early) = (0, false);
            (row.cancel_first_at, row.cancel_quiet_until, row.cancel_key) = (None, None, None);
            (row.settle_by, row.audit_at, row.give_up_at) = (None, None, None);
            (row.attempts, row.asks, row.cancel_tries, row.absences) = (0, 0, 0, 0);
            if !performs {
                place.there.forget_key();
            }
        }
    }

    fn normalise_place(&mut self, index: usize, case: &Case) {
        self.forget(index, case);
        // The earliest time with which any party may still compare the row's own times.
        let mut oldest = NOW;
        for worker in self.workers.iter_mut().filter(|w| usize::from(w.place) == index) {
            each_time(&mut worker.hand, &mut |stamp| {
                oldest = oldest.min(*stamp);
            });
        }
        let place = &mut self.places[index];
        let row = &mut place.row;
        let (fence, logged, version) = (row.fence, row.logged, row.version);
        normalise_row(row, oldest, case);
        place.created = place.created.max(ago(oldest, case.rules.give_up));
        if row.give_up_at.is_some() || row.ended.is_some() {
            place.created = NOW;
        }
        for worker in self.workers.iter_mut().filter(|w| usize::from(w.place) == index) {
            let renumber = |old: &mut u64, line: &mut u32| {
                *old = if *old == fence { u64::from(BASE) } else { 0 };
                *line = counted_back(*line, logged);
            };
            match &mut worker.hand {
                Hand::Idle | Hand::Owns => {}
                Hand::Planned { version: seen, .. } => *seen = rebased(*seen, version),
                Hand::Sending(line) | Hand::Waiting(line) => renumber(&mut line.fence, &mut line.number),
                Hand::Asking(question) => renumber(&mut question.fence, &mut question.number),
                Hand::Knows(event) => renumber_event(event, renumber),
                Hand::Telling { event, version: seen, .. } => {
                    *seen = rebased(*seen, version);
                    renumber_event(event, renumber);
                }
            }
        }
        for request in self.net.iter_mut().filter(|r| usize::from(r.place) == index) {
            request.number = counted_back(request.number, logged);
            let worker = &self.workers[usize::from(request.worker)];
            let heard = matches!(&worker.hand, Hand::Waiting(line)
                if worker.place == request.place && line.number == request.number);
            if !heard {
                (request.worker, request.number) = (0, 0);
            }
        }
    }
}

/// Rewrites the columns of a row. `oldest` is the earliest time with which any party may still compare them.
fn normalise_row(row: &mut Row, oldest: Stamp, case: &Case) {
    (row.why, row.due_at) = (None, None);
    row.in_flight = row.in_flight.map(|number| counted_back(number, row.logged));
    row.fence = u64::from(BASE);
    row.logged = BASE;
    row.version = u64::from(BASE);
    for stamp in [
        &mut row.leased_until,
        &mut row.quiet_until,
        &mut row.cancel_quiet_until,
        &mut row.audit_at,
        &mut row.settle_by,
        &mut row.key_ends_at,
        &mut row.give_up_at,
    ] {
        stamp.iter_mut().for_each(|stamp| *stamp = (*stamp).max(oldest));
    }
    row.next_at = row.next_at.max(oldest);
    // A key that lives longer than any run never ends.
    if case.key_lifetime().is_none() {
        row.key_ends_at = row.key_ends_at.map(|_| moved(NOW, FOR_EVER.into()));
    }
    if case.rules.give_up.as_secs() > FAR as u64 {
        row.give_up_at = row.give_up_at.map(|_| moved(NOW, FOR_EVER.into()));
    }
    let longest = case.longest_from_first_send().map(|longest| ago(oldest, longest));
    row.first_sent_at.iter_mut().for_each(|stamp| *stamp = longest.map_or(NOW, |l| l.max(*stamp)));
    let keyed_cancel = case.rules.cancel.as_ref().is_some_and(|cancel| cancel.keyed);
    let longest = case.key_lifetime().filter(|_| keyed_cancel).map(|longest| ago(oldest, longest));
    row.cancel_first_at.iter_mut().for_each(|stamp| *stamp = longest.map_or(NOW, |l| l.max(*stamp)));
}

fn ago(oldest: Stamp, by: Duration) -> Stamp {
    moved(oldest, -i64::try_from(by.as_secs()).unwrap_or(FAR).min(FAR))
}

fn rebased(seen: u64, version: u64) -> u64 {
    if seen == version { u64::from(BASE) } else { 0 }
}

fn counted_back(number: u32, logged: u32) -> u32 {
    (BASE + number).saturating_sub(logged)
}

fn moved(stamp: Stamp, ticks: i64) -> Stamp {
    Stamp::from_micros(stamp.as_micros() + ticks * TICK_MICROS)
}

fn renumber_event(event: &mut Event, mut renumber: impl FnMut(&mut u64, &mut u32)) {
    match event {
        Event::Performed(line, _, _) | Event::Unsent(line, _) | Event::Cancelled(line, _, _) => {
            renumber(&mut line.fence, &mut line.number)
        }
        Event::Confirmed(question, _, _) => renumber(&mut question.fence, &mut question.number),
        Event::ScopeWaits | Event::ScopeBroken => {}
    }
}

fn each_stamp(place: &mut Place, with: &mut impl FnMut(&mut Stamp)) {
    let row = &mut place.row;
    with(&mut row.next_at);
    with(&mut place.created);
    for stamp in [
        &mut row.leased_until,
        &mut row.quiet_until,
        &mut row.first_sent_at,
        &mut row.key_ends_at,
        &mut row.give_up_at,
        &mut row.settle_by,
        &mut row.cancel_first_at,
        &mut row.cancel_quiet_until,
        &mut row.audit_at,
    ] {
        stamp.iter_mut().for_each(&mut *with);
    }
}

/// Calls `with` for the times that a worker holds and that will be compared.
fn each_time(hand: &mut Hand, with: &mut impl FnMut(&mut Stamp)) {
    let of_event = |event: &mut Event, with: &mut dyn FnMut(&mut Stamp)| match event {
        Event::Confirmed(question, _, _) => with(&mut question.asked_at),
        Event::Performed(line, _, _) | Event::Unsent(line, _) | Event::Cancelled(line, _, _) => still(line),
        Event::ScopeWaits | Event::ScopeBroken => {}
    };
    match hand {
        Hand::Idle | Hand::Owns => {}
        Hand::Planned { now, .. } => with(now),
        Hand::Sending(line) => {
            line.recorded_at = NOW;
            with(&mut line.send_by);
        }
        Hand::Waiting(line) => still(line),
        Hand::Asking(question) => with(&mut question.asked_at),
        Hand::Knows(event) => of_event(event, with),
        Hand::Telling { event, now, .. } => {
            of_event(event, with);
            with(now);
        }
    }
}

/// Resets the times of an attempt that is sent: after that, they are only for people.
fn still(line: &mut AttemptRow) {
    line.recorded_at = NOW;
    line.send_by = NOW;
}

/// The rules in ticks. The numbers are the smallest ones that still differ from each other where that matters.
pub(crate) fn in_ticks(mut rules: Rules) -> Rules {
    let ticks = |n: u32| TICK * n;
    rules.attempt = ticks(2);
    rules.lease = ticks(3);
    rules.network = ticks(1);
    rules.pause = ticks(0);
    rules.quiet = ticks(2);
    rules.key_lifetime = Some(Lifetime::For(ticks(FOR_EVER)));
    rules.give_up = ticks(FOR_EVER);
    rules.audit_after = ticks(3);
    rules.backoff = seawall_policy::Backoff { base: TICK, cap: TICK };
    rules.limits = seawall_ledger::Limits { perform: 2, cancel: 2, confirm: 3 };
    if let SettleBy::Explicit(_) = rules.settle {
        rules.settle = SettleBy::Explicit(ticks(5));
    }
    if let Some(confirm) = &mut rules.confirm {
        confirm.after = Duration::ZERO;
    }
    rules
}
