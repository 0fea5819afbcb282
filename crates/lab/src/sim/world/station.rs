//! A station at work: its workers, its queue, and what goes wrong at the moment.

use std::collections::VecDeque;
use std::time::Duration;

use seawall_policy::Time;

use super::slab::Handle;
use super::{Discipline, Station, Wrong};
use crate::sim::chance::{Stream, Whose, seconds};

/// The state of a station in a run.
pub(super) struct Working {
    pub(super) setup: Station,
    stream: Stream,
    idle: u32,
    queue: VecDeque<Handle>,
    /// The share of its capacity that the station has now, from 0 to 1.
    capacity: f64,
    /// The number of permissions that were left in the quota's bucket after the last attempt that came, and the time at
    /// which it came; `None` before the first attempt.
    permissions: Option<(f64, Time)>,
}

/// What happens to an attempt that arrives.
pub(super) enum Met {
    /// A worker begins the attempt. The work takes this time, and the answer has this status.
    Begun(Duration, u16),
    /// The attempt waits in the queue.
    Queued,
    /// The attempt is answered without any work. The values are: the time until the answer is sent, its status, and the
    /// time that its `Retry-After` names (`None` if it names none).
    Answered(Duration, u16, Option<Duration>),
    /// The connection is refused.
    Refused,
    /// The attempt is never answered.
    Swallowed,
}

impl Working {
    pub(super) fn new(setup: Station, seed: u64, number: u64) -> Working {
        Working {
            stream: Stream::of(seed, Whose::Provider, number),
            idle: setup.workers.unwrap_or(u32::MAX),
            queue: VecDeque::new(),
            capacity: 1.0,
            permissions: None,
            setup,
        }
    }

    /// Returns the moments at which something starts or stops going wrong at the station.
    pub(super) fn changes(&self) -> impl Iterator<Item = Time> + '_ {
        self.setup.troubles.iter().flat_map(|trouble| [trouble.from, trouble.to])
    }

    /// Computes the share of its capacity that the station has from `now` on. This is called when something starts or
    /// stops going wrong.
    pub(super) fn change(&mut self, now: Time) {
        self.capacity = 1.0;
        for trouble in &self.setup.troubles {
            if let Wrong::Capacity(share) = trouble.what
                && (trouble.from..trouble.to).contains(&now)
            {
                self.capacity *= share;
            }
        }
    }

    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn arrives(&mut self, attempt: Handle, key: u32, now: Time) -> Met {
        if let Some(met) = self.goes_wrong(key, now) {
            return met;
        }
        if let Some(met) = self.over_quota(now) {
            return met;
        }
        if self.idle > 0 && self.capacity > 0.0 {
            let (time, status) = self.begin(key, now);
            return Met::Begun(time, status);
        }
        if self.setup.bound.is_some_and(|bound| self.queue.len() >= bound as usize) {
            return Met::Answered(Duration::ZERO, 503, self.setup.retry_after);
        }
        self.queue.push_back(attempt);
        Met::Queued
    }

    fn goes_wrong(&mut self, key: u32, now: Time) -> Option<Met> {
        for trouble in &self.setup.troubles {
            let here = trouble.key.is_none_or(|only| only == key);
            if !here || !(trouble.from..trouble.to).contains(&now) {
                continue;
            }
            match trouble.what {
                Wrong::Swallowed => return Some(Met::Swallowed),
                Wrong::Refused => return Some(Met::Refused),
                Wrong::Fails { share, status, after } if self.stream.chance(share) => {
                    return Some(Met::Answered(seconds(after), status, None));
                }
                Wrong::Busy { share, status, names } if self.stream.chance(share) => {
                    return Some(Met::Answered(Duration::ZERO, status, names.rest(now)));
                }
                Wrong::Fails { .. } | Wrong::Busy { .. } | Wrong::FailsLate { .. } | Wrong::Capacity(_) => {}
            }
        }
        None
    }

    fn over_quota(&mut self, now: Time) -> Option<Met> {
        let quota = self.setup.quota?;
        let (left, since) = self.permissions.unwrap_or((quota.burst, now));
        let left = (left + now.since(since).as_secs_f64() * quota.per_second).min(quota.burst);
        let takes = left >= 1.0;
        self.permissions = Some((left - f64::from(u8::from(takes)), now));
        (!takes).then(|| Met::Answered(Duration::ZERO, 429, quota.names.rest(now)))
    }

    /// Lets a worker begin an attempt. Returns how long the work will take, and the status of the answer.
    fn begin(&mut self, key: u32, now: Time) -> (Duration, u16) {
        if self.setup.workers.is_some() {
            self.idle -= 1;
        }
        let time = seconds(self.setup.takes.seconds(&mut self.stream) / self.capacity);
        let mut status = if self.stream.chance(self.setup.fails) { 500 } else { 200 };
        for trouble in &self.setup.troubles {
            if let Wrong::FailsLate { share, status: late } = trouble.what
                && trouble.key.is_none_or(|only| only == key)
                && (trouble.from..trouble.to).contains(&now)
                && self.stream.chance(share)
            {
                status = late;
            }
        }
        (time, status)
    }

    /// Records that a worker has finished an attempt and is idle again.
    pub(super) fn done(&mut self) {
        if self.setup.workers.is_some() {
            self.idle += 1;
        }
    }

    /// Takes the next attempt from the queue; `None` if no worker is idle, no attempt waits, or the station has no
    /// capacity.
    pub(super) fn next(&mut self) -> Option<Handle> {
        if self.idle == 0 || self.capacity <= 0.0 {
            return None;
        }
        match self.setup.order {
            Discipline::Fifo => self.queue.pop_front(),
            Discipline::Lifo => self.queue.pop_back(),
        }
    }

    /// Lets a worker begin an attempt that has waited in the queue. Returns how long the work will take, and the status
    /// of the answer.
    pub(super) fn begin_waiting(&mut self, key: u32, now: Time) -> (Duration, u16) {
        self.begin(key, now)
    }
}
