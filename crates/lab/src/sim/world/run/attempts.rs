//! What happens to one attempt: it goes to its station, is served or not, and its answer goes back to the caller that
//! waits for it.

use seawall_policy::{Answer, Ending, Lost, Time, Unsent};

use super::{Attempt, Happens, Play, REFUSED};
use crate::sim::world::slab::Handle;
use crate::sim::world::station::Met;

impl Play {
    pub(super) fn sends(&mut self, handle: Handle, endpoint: usize, until: Time, total: bool, now: Time) {
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
            told: None,
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
        // There are few levels, so a scan is faster than a search.
        self.levels[1..].iter().position(|end| caller < *end).expect("each caller has a level")
    }

    pub(super) fn reaches(&mut self, handle: Handle, now: Time) {
        let Some(attempt) = self.attempts.get(handle) else { return };
        let (key, at) = (attempt.key, attempt.station);
        let station = &mut self.stations[at as usize];
        let front = station.setup.front;
        let is_provider = at as usize >= self.world.middle.len();
        let met = station.arrives(handle, key, now);
        if is_provider {
            self.record.reached(at as usize - self.world.middle.len(), now);
        }
        if let (Some(front), Met::Begun(..) | Met::Queued) = (front, &met) {
            self.agenda.after(front.patience, Happens::FrontGivesUp(handle));
        }
        match met {
            Met::Begun(time, status) => self.agenda.after(time, Happens::Served(handle, status)),
            Met::Queued => {}
            Met::Answered(later, status, told) => {
                if let Some(attempt) = self.attempts.get(handle) {
                    attempt.told = told;
                }
                if is_provider && matches!(status, 429 | 503) {
                    self.record.turned_away(at as usize - self.world.middle.len(), now);
                }
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

    /// Records that the station has finished with the attempt. If nobody waits for the attempt either, it is removed.
    fn let_go(&mut self, handle: Handle) {
        if let Some(attempt) = self.attempts.get(handle) {
            attempt.held = false;
            if !attempt.awaited {
                self.attempts.remove(handle);
            }
        }
    }

    pub(super) fn served(&mut self, handle: Handle, status: u16, now: Time) {
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

    /// Gives attempts from the queue to idle workers, until no worker is idle or the queue is empty.
    pub(super) fn serves_on(&mut self, at: u32, now: Time) {
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

    /// Sends an answer from a station to the caller, where it arrives after the time that the network takes.
    pub(super) fn answers(&mut self, handle: Handle, status: u16, now: Time) {
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

    pub(super) fn front_gives_up(&mut self, handle: Handle, now: Time) {
        let Some(attempt) = self.attempts.get(handle) else { return };
        let front = self.stations[attempt.station as usize].setup.front;
        if let Some(front) = front {
            self.answered(handle, front.status, now);
        }
    }

    pub(super) fn answered(&mut self, handle: Handle, status: u16, now: Time) {
        let Some(attempt) = self.attempts.get(handle) else { return };
        let (at, told) = (attempt.station as usize, attempt.told);
        let retry_after = match status {
            503 => told.or(self.stations[at].setup.retry_after),
            _ => told,
        };
        let ending = match status {
            REFUSED => Ending::Unsent(Unsent::Refused),
            status => Ending::Answered(Answer { retry_after, ..Answer::of_status(status) }),
        };
        if status == 200
            && attempt.awaited
            && let Some(provider) = at.checked_sub(self.world.middle.len())
        {
            self.record.served(provider, now);
        }
        self.ended(handle, ending, now);
    }

    pub(super) fn times_out(&mut self, handle: Handle, now: Time) {
        let Some(attempt) = self.attempts.get(handle) else { return };
        let lost = if attempt.total { Lost::TotalTimeout } else { Lost::ReadTimeout };
        self.ended(handle, Ending::Lost(lost), now);
    }

    /// Gives the ending of an attempt to its caller, if the caller still waits, and does what the caller decides.
    fn ended(&mut self, handle: Handle, ending: Ending, now: Time) {
        let Some((call, caller)) = self.not_awaited(handle) else { return };
        let Some(under_way) = self.calls.get(call) else { return };
        under_way.flight = None;
        let own = &mut self.callers[caller as usize];
        let next = own.ended(&self.policies[own.policy], &mut under_way.machine, under_way.key, ending, now);
        self.looks_at(caller, now);
        self.goes_on(call, next, now);
    }

    /// Records that nobody waits for the attempt any longer. Returns its call and its caller. Returns `None` if nobody
    /// was waiting for the attempt.
    pub(super) fn not_awaited(&mut self, handle: Handle) -> Option<(Handle, u32)> {
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
}
