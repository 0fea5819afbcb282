//! Rewrites a world after each move, so that two worlds with the same future become equal. Everything that can no
//! longer change the future is set to a fixed value.

use std::time::Duration;

use seawall_ledger_search::machine::{
    AttemptKind, AttemptRow, Effect, End, Event, Goal, Owner, Performed, Row, Stamp,
};

use crate::world::{BASE, Case, FAR, FOR_EVER, Hand, NOW, Place, TICK_MICROS, World, owner};

impl Hand {
    /// If the next moves of the worker can change nothing, puts it immediately into the state after them. A worker that
    /// has lost the row can change nothing any more, but an attempt that it has recorded is still sent.
    pub(crate) fn shorten(&mut self, row: &Row, me: Owner, strict: bool) {
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
                // Of the answers that come after the worker has lost the row, only a "yes" may matter, and only if the
                // network or the status index is slower than declared.
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

impl World {
    /// Rewrites the world as this module's documentation says.
    pub(crate) fn normalise(&mut self, case: &Case) {
        for (at, worker) in self.workers.iter_mut().enumerate() {
            let place = &self.places[usize::from(worker.place)];
            worker.hand.shorten(&place.row, owner(at), case.is_strict());
            if worker.hand == Hand::Idle {
                (worker.place, worker.waited) = (0, false);
            }
        }
        self.order_workers();
        for index in 0..self.places.len() {
            self.normalise_place(index, case);
        }
        self.net.sort_by_key(|r| (r.place, r.worker, r.number, r.kind as u8, r.generation, r.by_key, r.left));
    }

    /// Puts the two workers into a fixed order. They differ only in their names, so two worlds in which they have
    /// changed places become equal.
    fn order_workers(&mut self) {
        let rank = |at: usize| {
            let worker = &self.workers[at];
            let owns = self.places[usize::from(worker.place)].row.owner == Some(owner(at));
            (worker.hand == Hand::Idle, worker.place, !owns, worker.hand.rank(), worker.waited)
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

    /// Sets everything to a fixed value that can no longer matter for this action.
    fn forget(&mut self, index: usize, case: &Case) {
        let performs = self.performs_ahead(index);
        let (people, cancels) = (self.retries > 0, self.cancels > 0);
        let place = &mut self.places[index];
        let row = &mut place.row;
        if row.ended.is_some() {
            row.next_at = NOW;
        }
        // If plain SQL recorded the action, its deadline to settle is not computed yet. It will count from `begun_at`,
        // so that time must stay.
        let lacks_deadline = case.settles_within().is_some() && row.settle_by.is_none();
        // If the effect is known and no perform can still arrive, none will be sent. So what counts performs does not
        // matter.
        if !performs && matches!(row.effect, Effect::Applied | Effect::NotApplied) {
            if !case.also.clash {
                place.there.forget_key();
            }
            row.attempts = 0;
            if !lacks_deadline || row.ended.is_some() {
                row.begun_at = NOW;
            }
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
                row.send_by = None;
            }
            (row.cancel_open, row.cancel_gen_early) = (0, false);
            (row.cancel_first_at, row.cancel_quiet_until, row.cancel_key) = (None, None, None);
            (row.cancel_send_by, row.cancel_key_ends_at) = (None, None);
            (row.settle_by, row.audit_at, row.begun_at, row.failing_since) = (None, None, NOW, None);
            (row.attempts, row.asks, row.cancel_tries, row.absences) = (0, 0, 0, 0);
            if !performs {
                place.there.forget_key();
            }
        }
    }

    fn normalise_place(&mut self, index: usize, case: &Case) {
        self.forget(index, case);
        // The earliest of the times that a worker has read and may still compare with times in the row.
        let mut oldest = NOW;
        for worker in self.workers.iter_mut().filter(|w| usize::from(w.place) == index) {
            each_time(&mut worker.hand, &mut |stamp| {
                oldest = oldest.min(*stamp);
            });
        }
        let place = &mut self.places[index];
        let row = &mut place.row;
        let (fence, logged, version) = (row.fence, row.logged, row.version);
        normalise_row(row, oldest, case, self.to_midnight);
        place.there.forget_age(&case.traits);
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

/// Rewrites the columns of a row. `oldest` is the earliest time with which a worker may still compare the row's times.
fn normalise_row(row: &mut Row, oldest: Stamp, case: &Case, to_midnight: i8) {
    (row.why, row.due_at) = (None, None);
    row.in_flight = row.in_flight.map(|number| counted_back(number, row.logged));
    row.fence = u64::from(BASE);
    row.logged = BASE;
    row.version = u64::from(BASE);
    let before = row.clone();
    for stamp in [
        &mut row.leased_until,
        &mut row.quiet_until,
        &mut row.cancel_quiet_until,
        &mut row.audit_at,
        &mut row.settle_by,
        &mut row.key_ends_at,
    ] {
        stamp.iter_mut().for_each(|stamp| *stamp = (*stamp).max(oldest));
    }
    // The times of the last sends matter only in cases in which a reload declares a longer quiet time after them. The
    // time at which a cancel's key ends can be left out: it follows from the declared lifetime of keys, which never
    // changes in a run.
    let longer = case.also.shorter_quiet.is_some().then(|| ago(oldest, case.rules.quiet));
    for stamp in [&mut row.send_by, &mut row.cancel_send_by] {
        *stamp = stamp.and_then(|stamp| longer.map(|longer| stamp.max(longer)));
    }
    row.cancel_key_ends_at = None;
    row.failing_since = failing_since(row, &before, oldest, case);
    let limits = case.rules.limits;
    row.asks = if limits.confirm.is_some() { row.asks } else { 0 };
    row.cancel_tries = if limits.cancel.is_some() { row.cancel_tries } else { 0 };
    row.next_at = row.next_at.max(oldest);
    row.handler_tries = row.handler_tries.min(1);

    row.disputed_at = row.disputed_at.map(|_| NOW);
    let within = case.settles_within().filter(|_| row.settle_by.is_none() && row.ended.is_none());
    row.begun_at = match within.into_iter().chain(case.gives_up_after()).max() {
        Some(longest) => row.begun_at.max(ago(oldest, longest)),
        None => NOW,
    };
    if case.also.midnight.is_some() {
        return before_midnight(row, moved(NOW, to_midnight.into()));
    }
    // The key lives longer than any run, so the time at which it ends does not matter.
    if case.key_lifetime().is_none() {
        row.key_ends_at = row.key_ends_at.map(|_| moved(NOW, FOR_EVER.into()));
    }
    let longest = case.longest_from_first_send().map(|longest| ago(oldest, longest));
    row.first_sent_at.iter_mut().for_each(|stamp| *stamp = longest.map_or(NOW, |l| l.max(*stamp)));
    let keyed_cancel = case.rules.cancel.as_ref().is_some_and(|cancel| cancel.keyed);
    let longest = case.key_lifetime().filter(|_| keyed_cancel).map(|longest| ago(oldest, longest));
    row.cancel_first_at.iter_mut().for_each(|stamp| *stamp = longest.map_or(NOW, |l| l.max(*stamp)));
}

/// Returns the new value of the row's `failing_since`. Only one thing matters of it: whether the row becomes stuck
/// because its requests have failed for too long. `None` if that cannot happen in this case, or if no request has
/// failed. `before` is the row before its other times were rewritten.
fn failing_since(row: &Row, before: &Row, oldest: Stamp, case: &Case) -> Option<Stamp> {
    let (longest, since) = (case.stuck_after()?, before.failing_since?);
    let last_cancel =
        |row: &Row| Some(row.cancel_quiet_until?.saturating_sub(case.rules.quiet + case.rules.attempt));
    // The last cancel was recorded when the time `stuck_after` was over already. The rewritten times must say this,
    // too.
    if last_cancel(before).is_some_and(|last| last >= since.saturating_add(longest)) {
        let last = last_cancel(row).unwrap_or(oldest);
        return Some(ago(oldest, longest).min(last.saturating_sub(longest)));
    }
    Some(since.max(ago(oldest, longest)))
}

/// The keys of this case end at a midnight. Of a first send, it matters only whether it was before or after that
/// midnight. So a time before it becomes the last tick before midnight, and a time after it becomes the present. No run
/// lasts until the next midnight.
fn before_midnight(row: &mut Row, midnight: Stamp) {
    let never = moved(NOW, FOR_EVER.into());
    row.key_ends_at.iter_mut().filter(|end| **end > midnight).for_each(|end| *end = never);
    for first in [&mut row.first_sent_at, &mut row.cancel_first_at] {
        let last = moved(midnight, -1).min(NOW);
        first.iter_mut().for_each(|stamp| *stamp = if *stamp < midnight { last } else { NOW });
    }
}

pub(crate) fn ago(oldest: Stamp, by: Duration) -> Stamp {
    moved(oldest, -i64::try_from(by.as_secs()).unwrap_or(FAR).min(FAR))
}

fn rebased(seen: u64, version: u64) -> u64 {
    if seen == version { u64::from(BASE) } else { 0 }
}

fn counted_back(number: u32, logged: u32) -> u32 {
    (BASE + number).saturating_sub(logged)
}

pub(crate) fn moved(stamp: Stamp, ticks: i64) -> Stamp {
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

pub(crate) fn each_stamp(place: &mut Place, with: &mut impl FnMut(&mut Stamp)) {
    let row = &mut place.row;
    with(&mut row.next_at);
    with(&mut row.begun_at);
    for stamp in [
        &mut row.leased_until,
        &mut row.quiet_until,
        &mut row.send_by,
        &mut row.first_sent_at,
        &mut row.key_ends_at,
        &mut row.settle_by,
        &mut row.cancel_first_at,
        &mut row.cancel_quiet_until,
        &mut row.cancel_send_by,
        &mut row.audit_at,
        &mut row.failing_since,
    ] {
        stamp.iter_mut().for_each(&mut *with);
    }
}

/// Calls `with` for each time that a worker has read and that is still to be compared with other times.
pub(crate) fn each_time(hand: &mut Hand, with: &mut impl FnMut(&mut Stamp)) {
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

/// Sets the times in the line of an attempt that was sent to a fixed value. After the send, no rule reads them.
fn still(line: &mut AttemptRow) {
    line.recorded_at = NOW;
    line.send_by = NOW;
}
