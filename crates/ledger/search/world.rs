//! The small world: rows, their providers, two workers, requests on their way, one application, and time in ticks.
//!
//! A world is rewritten after each move, so that two worlds with the same future are equal (`normal.rs`). The present
//! is always the same number. Counters that only grow, such as a version, are lowered together. A time that is too far
//! in the past to matter is moved forward to the last one that behaves in the same way. So the search ends without a
//! bound on the length of runs.

use std::borrow::Cow;
use std::time::Duration;

use seawall_ledger_search::calendar::{Lifetime, Window};
use seawall_ledger_search::machine::{
    AttemptKind, AttemptRow, End, Event, Naming, Origin, Owner, Question, Row, Rules, SettleBy, Stamp, State,
    recorded, reserved, sent,
};

use crate::normal::{each_stamp, each_time, moved};
use crate::provider::{Provider, Traits};

/// The length of one tick.
pub(crate) const TICK: Duration = Duration::from_secs(1);
pub(crate) const TICK_MICROS: i64 = 1_000_000;
/// The present, in every world.
pub(crate) const NOW: Stamp = Stamp::from_micros(1000 * TICK_MICROS);
/// More ticks than any duration of the rules. A time of this age behaves like any older one.
pub(crate) const FAR: i64 = 14;
/// More ticks than any run. A rule with this time never takes effect.
pub(crate) const FOR_EVER: u32 = 1000;
/// The maximum number of ticks that may pass while a worker holds a time. After that, all comparisons with that time
/// have the same result.
const LAG: i64 = 6;
/// The value to which counters that only grow, such as a row's version, are set back after each move.
pub(crate) const BASE: u32 = 100;

/// The owner id of all processes that have crashed. Rows that they had claimed have this owner.
const DEAD: Owner = Owner(9);

/// How the application uses the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum AppKind {
    /// The provider's answer settles the action. The application may cancel.
    Reply,
    /// The application settles in its own transaction, which also writes the order's row. It may also never settle.
    Transaction,
    /// The application has its own database. It commits `confirming`, settles over HTTP, and then commits the result.
    Confirming,
    /// As `Confirming`, but it commits `paid` first and then settles.
    CommitsFirst,
    /// As `Confirming`, but it settles first and then commits `paid`.
    SettlesFirst,
}

/// What one search looks at: the declared rules, the provider's real behaviour, the application, and what may go wrong.
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
    /// The number of things that may go wrong in one run: losses, crashes, refusals, stale reads. Each is a piece of
    /// bad luck.
    pub(crate) faults: u8,
    /// The number of times that the application may cancel.
    pub(crate) cancels: u8,
    /// The number of times that a person may press "retry".
    pub(crate) retries: u8,
    pub(crate) also: Also,
}

/// Further things that can happen in a case. By default none of them can.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Also {
    /// Whether the two actions of the case do not settle together, and are sent under the same key if nobody prevents
    /// that.
    pub(crate) clash: bool,
    /// Whether the actions are recorded by plain SQL, which does not know the rules.
    pub(crate) sql: bool,
    /// Whether a caller waits for the answer, and is told when the action is not applied.
    pub(crate) caller: bool,
    /// The number of times that a failed action may be recorded again.
    pub(crate) anew: u8,
    /// The number of times that a handler of the application may fail.
    pub(crate) handlers: u8,
    /// The number of times that others may refund a part of the charge.
    pub(crate) parts: u8,
    /// The number of questions that a load balancer may answer with 404.
    pub(crate) balancer: u8,
    /// The number of ticks until the midnight at which the provider forgets its keys. `None` if it forgets none then.
    pub(crate) midnight: Option<i8>,
    /// Whether a worker may end its work on a row early or give the row back, and people may write notes.
    pub(crate) chores: bool,
    /// Whether the case is a strict one: no worker lags, and it is a mistake if an action becomes stuck. Such a case
    /// holds only if at most one thing goes wrong.
    pub(crate) prompt: bool,
    /// The quiet time that was declared when the attempts were recorded, if a reload of the configuration has declared
    /// a longer one since. `None` if the quiet time never changed.
    pub(crate) shorter_quiet: Option<Duration>,
}

impl Case {
    /// Returns for how long the provider remembers a key; `None` if that is longer than any run.
    pub(crate) fn key_lifetime(&self) -> Option<Duration> {
        let lifetime = self.rules.key_lifetime.as_ref().map(Lifetime::shortest);
        lifetime.filter(|lifetime| lifetime.as_secs() <= FAR as u64)
    }

    /// Returns whether the provider can be asked, or takes a cancel, only for a limited time.
    pub(crate) fn has_windows(&self) -> bool {
        let asks = self.rules.confirm.as_ref().is_some_and(|confirm| confirm.until.is_some());
        asks || self.rules.cancel.as_ref().is_some_and(|cancel| cancel.until.is_some())
    }

    /// Returns the longest time that is counted from the first send. `None` if no such time can matter in a run.
    pub(crate) fn longest_from_first_send(&self) -> Option<Duration> {
        let asks = self.rules.confirm.as_ref().and_then(|confirm| confirm.until.as_ref());
        let cancels = self.rules.cancel.as_ref().and_then(|cancel| cancel.until.as_ref());
        let windows = [asks, cancels].into_iter().flatten().map(Window::shortest);
        windows.chain(self.key_lifetime()).max()
    }

    /// Returns whether the network and the status index are as fast as declared. If so, nothing wrong may be recorded
    /// even for a moment.
    pub(crate) fn is_strict(&self) -> bool {
        let is_fast = u128::from(self.network) <= self.rules.network.as_secs().into();
        is_fast && u64::from(self.traits.lag) <= self.rules.quiet.as_secs()
    }

    /// Returns whether the actions of the case settle together.
    pub(crate) fn is_scoped(&self) -> bool {
        self.scope > 1 && !self.also.clash
    }

    /// Returns the time after which an action that was not sent is given up; `None` if that is longer than any run.
    pub(crate) fn gives_up_after(&self) -> Option<Duration> {
        Some(self.rules.give_up).filter(|after| after.as_secs() <= FAR as u64)
    }

    /// Returns the time after which a row becomes stuck if its questions and cancels bring no result; `None` if that is
    /// longer than any run.
    pub(crate) fn stuck_after(&self) -> Option<Duration> {
        Some(self.rules.stuck_after).filter(|after| after.as_secs() <= FAR as u64)
    }

    /// Returns the time within which the application must settle; `None` if the provider's answer settles the action.
    pub(crate) fn settles_within(&self) -> Option<Duration> {
        match self.rules.settle {
            SettleBy::Explicit(within) => Some(within),
            SettleBy::Reply => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) row: Row,
    /// How the keys of the action are computed.
    pub(crate) naming: Naming,
    pub(crate) there: Provider,
    /// Whether the order's row says that the order is paid. If the application shares the database, this is written
    /// together with `settled`.
    pub(crate) paid: bool,
    /// Whether the caller was told that the action is not applied.
    pub(crate) told: bool,
}

/// What a worker is doing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Hand {
    Idle,
    /// The worker has claimed the row. Next it will plan.
    Owns,
    /// The worker has read the row and planned a step. Next it will write that step.
    Planned {
        version: u64,
        now: Stamp,
    },
    /// The worker has recorded an attempt. Next it will send that attempt.
    Sending(AttemptRow),
    /// The worker has sent the attempt, and waits for the answer.
    Waiting(AttemptRow),
    /// The worker will ask the provider next.
    Asking(Question),
    /// The worker knows how a request ended. Next it will tell the machine.
    Knows(Event),
    /// The worker knows how a request ended, and has told the machine. Next it will write what the machine returned.
    Telling {
        event: Event,
        version: u64,
        now: Stamp,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Worker {
    pub(crate) place: u8,
    pub(crate) hand: Hand,
    /// Whether a caller waits for the result of this worker's action.
    pub(crate) waited: bool,
}

impl Worker {
    pub(crate) fn idle() -> Worker {
        Worker { place: 0, hand: Hand::Idle, waited: false }
    }
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
    /// Whether a cancel names the amount that is left after a partial refund. Otherwise it names the original amount.
    pub(crate) rest: bool,
    /// The number of ticks within which the request arrives or is lost.
    pub(crate) left: u8,
}

/// The order of an application with its own database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Order {
    New,
    Confirming,
    /// The ledger has answered 200 to the application, which has not committed that yet.
    Heard,
    /// The ledger has answered 409 to the application, which has not committed that yet.
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
    /// The numbers of [`Also`] that are left in this run: how often each of these things can still happen.
    pub(crate) anew: u8,
    pub(crate) handlers: u8,
    pub(crate) parts: u8,
    pub(crate) balancer: u8,
    /// The number of ticks until midnight. It is negative after midnight.
    pub(crate) to_midnight: i8,
    /// Whether the application's handler fails in this move.
    pub(crate) breaks: bool,
}

impl Place {
    /// Returns the part of the action that never changes.
    pub(crate) fn origin(&self, case: &Case) -> Origin<'static> {
        Origin { scoped: case.is_scoped(), dependency: "provider", key: "order", naming: self.naming }
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.row.ended == Some(End::Done)
    }

    /// Returns when a worker should next work on the row. The checks compare it with what the machine returns.
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
    /// Returns the first worlds, one for each way in which the actions can begin: recorded for a worker, reserved by a
    /// caller, or recorded with its first attempt.
    pub(crate) fn beginnings(case: &Case) -> Vec<World> {
        let naming = if case.also.sql { Naming::Open } else { Naming::FirstRelease };
        let mut plain = World {
            places: Vec::new(),
            workers: [Worker::idle(), Worker::idle()],
            net: Vec::new(),
            order: Order::New,
            faults: case.faults,
            cancels: case.cancels,
            retries: case.retries,
            anew: case.also.anew,
            handlers: case.also.handlers,
            parts: case.also.parts,
            balancer: case.also.balancer,
            to_midnight: case.also.midnight.unwrap_or_default(),
            breaks: false,
        };
        let rules = plain.rules(case, None, NOW);
        let place = |row: &State| {
            let row = row.row();
            let settle_by = row.settle_by.filter(|_| !case.also.sql);
            let there = Provider::default();
            Place { row: Row { settle_by, ..row }, naming, there, paid: false, told: false }
        };
        plain.places = (0..case.scope).map(|_| place(&recorded(&rules, NOW))).collect();
        let mut all = vec![plain.clone()];
        if case.scope == 1 && !case.also.sql {
            let mut held = plain.clone();
            held.places[0] = place(&reserved(&rules, owner(0), NOW));
            held.workers[0] = Worker { place: 0, hand: Hand::Owns, waited: case.also.caller };
            all.push(held);
            let quiet = case.also.shorter_quiet.unwrap_or(rules.quiet);
            let first = Rules { quiet, ..rules.clone().into_owned() };
            if let Some((row, line)) = sent(&first, owner(0), NOW) {
                let mut under_way = plain.clone();
                under_way.places[0] = place(&row);
                under_way.workers[0] =
                    Worker { place: 0, hand: Hand::Sending(line), waited: case.also.caller };
                all.push(under_way);
            }
        }
        for world in &mut all {
            world.normalise(case);
        }
        all
    }

    /// Returns the rules of the case. If keys end at a midnight, the lifetime in these rules is the number of ticks
    /// from the first send to that midnight.
    pub(crate) fn rules<'a>(&self, case: &'a Case, row: Option<&Row>, now: Stamp) -> Cow<'a, Rules> {
        if case.also.midnight.is_none() {
            return Cow::Borrowed(&case.rules);
        }
        let first = row.and_then(|row| row.cancel_first_at.or(row.first_sent_at)).unwrap_or(now);
        let midnight = moved(NOW, self.to_midnight.into());
        let day = TICK * FOR_EVER;
        let left = if first < midnight { midnight.since(first) } else { day };
        Cow::Owned(Rules { key_lifetime: Some(Lifetime::For(left)), ..case.rules.clone() })
    }

    /// Ends a worker's process, and starts another one in its place.
    pub(crate) fn crash(&mut self, worker: usize) {
        for place in &mut self.places {
            if place.row.owner == Some(owner(worker)) {
                place.row.owner = Some(DEAD);
            }
        }
        self.workers[worker] = Worker::idle();
    }

    /// Returns whether a tick may pass: nothing is left that must happen before that.
    pub(crate) fn can_tick(&self, case: &Case) -> bool {
        let is_waiting = |worker: &Worker| matches!(worker.hand, Hand::Idle | Hand::Waiting(_));
        if case.also.prompt && !self.workers.iter().all(is_waiting) {
            return false;
        }
        let mut oldest = NOW;
        for worker in &self.workers {
            each_time(&mut worker.hand.clone(), &mut |stamp| oldest = oldest.min(*stamp));
        }
        oldest > moved(NOW, -LAG)
            && self.net.iter().all(|request| request.left > 0)
            && self.places.iter().all(|p| !p.there.index_is_due())
    }

    pub(crate) fn tick(&mut self, case: &Case) {
        let is_midnight = case.also.midnight.is_some() && self.to_midnight == 1;
        if case.also.midnight.is_some() {
            self.to_midnight = (self.to_midnight - 1).max(-1);
        }
        for request in &mut self.net {
            request.left -= 1;
        }
        for place in &mut self.places {
            place.there.tick(&case.traits);
            if is_midnight {
                place.there.forget_all();
            }
            each_stamp(place, &mut |stamp| *stamp = moved(*stamp, -1));
        }
        for worker in &mut self.workers {
            each_time(&mut worker.hand, &mut |stamp| *stamp = moved(*stamp, -1));
        }
    }
}

/// Returns the rules with all times in ticks. The numbers are as small as possible, so that runs are short. But where
/// two times must differ, their numbers differ, too.
pub(crate) fn in_ticks(mut rules: Rules) -> Rules {
    let ticks = |n: u32| TICK * n;
    rules.attempt = ticks(2);
    rules.lease = ticks(3);
    rules.network = ticks(1);
    rules.pause = ticks(0);
    rules.quiet = ticks(2);
    rules.key_lifetime = Some(Lifetime::For(ticks(FOR_EVER)));
    rules.give_up = ticks(FOR_EVER);
    rules.stuck_after = ticks(FOR_EVER);
    rules.audit_after = ticks(3);
    rules.backoff = seawall_policy::Backoff { base: TICK, cap: TICK };
    rules.limits = seawall_ledger_search::machine::Limits { perform: 2, cancel: Some(2), confirm: Some(3) };
    if let SettleBy::Explicit(_) = rules.settle {
        rules.settle = SettleBy::Explicit(ticks(5));
    }
    if let Some(confirm) = &mut rules.confirm {
        confirm.after = Duration::ZERO;
    }
    rules
}
