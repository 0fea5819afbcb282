//! Decides how fast the requests of a dependency that have failed are tried again.
//!
//! The obvious rule is the wait of each action alone: after each failure it doubles, up to a minute. That is right for one
//! action. But after half an hour in which refunds fail, 1 800 actions wait. Each tries once a minute, so the provider
//! gets 30 requests a second while it is down, and 30 and more in the second in which it comes back. With 20 000 actions
//! that wave ends the recovery.
//!
//! So requests that succeed or fail together form a [`Class`]: those of one operation, with the same goal and the same
//! known effect, such as all cancels of charges that were applied. A class is in one of three courses:
//!
//! - It **flows**: its requests bring answers. Nothing is held back.
//! - It **probes**: the last [`FAILURES`] of its performs, of its questions or of its cancels failed. Of all the
//!   actions of this class whose last request failed, only one at a time is tried. The interval between two such tries
//!   doubles up to [`PROBE_CAP`], or up to the longest wait of an action if that is shorter. It does not depend on the
//!   number of actions that wait. An action that has not failed yet is tried immediately: what arrives anew is the
//!   dependency's normal load, and its answers are the best probes.
//! - It **returns**: a request brought an answer again. The actions that wait are let through at a rate that begins at
//!   [`START_MILLI`], grows with each answer, and ends below half of what the dependency served per second before the
//!   trouble. Once nothing waits any more, the class flows.
//!
//! The rate is one for all classes of a dependency that return at the same time, since they load the same provider. A
//! process that has just started knows nothing of the failing actions that other processes left behind, so each of its
//! classes begins in the course "returns".
//!
//! What is decided here changes only when a request is sent, and never whether. So each process decides for itself, from
//! what it sees.

use std::time::Duration;

use seawall_policy::{Backoff, Time};

use crate::machine::{AttemptKind, Effect, Goal, State};

/// The number of requests of one kind that must fail one after the other before a class probes. At a provider of which
/// every third request fails, such a run is rare (one in 243), and one success ends it.
const FAILURES: u32 = 5;

/// The longest interval between two probes. After an outage, a class without new actions notices the end this late.
const PROBE_CAP: Duration = Duration::from_secs(10);

/// The first rate of a class that returns, in thousandths of an action per second.
const START_MILLI: u64 = 5_000;

/// By how much each answer raises the rate, in thousandths of an action per second. So the rate grows by a tenth in a
/// second, whatever it is.
const GROWTH_MILLI: u64 = 100;

/// The highest rate, as a share of what the dependency served per second before the trouble, in thousandths. It is less
/// than a half, since actions that were let through in one second may be sent in the next.
const SHARE_MILLI: u64 = 450;

/// The lowest of the highest rates, in thousandths of an action per second: also after a quiet night a backlog must end.
const LEAST_CAP_MILLI: u64 = 1_000;

/// The highest rate where nobody knows what the dependency serves.
const MOST_MILLI: u64 = 1_000_000;

/// Names the requests that are held back together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Class {
    /// The operation of the actions.
    pub operation: String,
    /// Their goal.
    pub goal: Goal,
    /// What is known of their effect.
    pub effect: Effect,
}

/// How a request of an action ended, as far as the pace depends on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heard<'a> {
    pub(crate) operation: &'a str,
    pub(crate) goal: Goal,
    /// What was known of the effect before the request.
    pub(crate) effect: Effect,
    pub(crate) kind: AttemptKind,
    /// Whether the dependency answered. An answer that leaves the action as it was counts, too.
    pub(crate) answered: bool,
    /// For how long the dependency, or a guard before it, wants no further requests.
    pub(crate) retry_after: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    Flows,
    Probes { interval: Duration, longest: Duration, next: Time },
    Returns,
}

#[derive(Debug)]
struct Paced {
    class: Class,
    course: Course,
    /// For each kind of request, the number of the last ones that failed, without an answer between them.
    failures: [u32; 3],
}

/// The pace of one dependency.
#[derive(Debug)]
pub(crate) struct Pace {
    classes: Vec<Paced>,
    /// The rate at which actions of returning classes are let through, in thousandths of an action per second.
    rate_milli: u64,
    /// The highest rate.
    cap_milli: u64,
    /// The earliest time at which the next action may be let through.
    free_at: Time,
    /// When the next of many stuck actions is due that a person starts again.
    slot_at: Time,
}

impl Pace {
    /// Returns the pace of a dependency with these operations, in a process that begins now.
    pub(crate) fn new<'a>(operations: impl Iterator<Item = &'a str>) -> Pace {
        const WAITING: [(Goal, Effect); 4] = [
            (Goal::Perform, Effect::Never),
            (Goal::Perform, Effect::Unknown),
            (Goal::Cancel, Effect::Unknown),
            (Goal::Cancel, Effect::Applied),
        ];
        let classes = operations.flat_map(|operation| {
            WAITING.map(|(goal, effect)| Paced {
                class: Class { operation: operation.to_owned(), goal, effect },
                course: Course::Returns,
                failures: [0; 3],
            })
        });
        Pace {
            classes: classes.collect(),
            rate_milli: START_MILLI,
            cap_milli: MOST_MILLI,
            free_at: Time::ZERO,
            slot_at: Time::ZERO,
        }
    }

    /// Takes in how a request ended. `backoff` has the bounds of an action's own waits. `served_milli` returns what the
    /// dependency serves in normal times, in thousandths of a call per second; `None` if that is not known. It is called
    /// only when a class begins to probe.
    pub(crate) fn heard(
        &mut self,
        heard: Heard<'_>,
        backoff: &Backoff,
        served_milli: impl FnOnce() -> Option<u64>,
        now: Time,
    ) {
        let at = self.class(&heard);
        let paced = &mut self.classes[at];
        let failures = &mut paced.failures[heard.kind as usize];
        *failures = if heard.answered { 0 } else { failures.saturating_add(1) };
        let is_in_trouble = paced.failures.iter().any(|failures| *failures >= FAILURES);
        match (paced.course, is_in_trouble) {
            (Course::Flows | Course::Returns, true) => {
                let interval = backoff.base.clamp(Duration::from_millis(1), PROBE_CAP);
                let longest = backoff.cap.clamp(interval, PROBE_CAP);
                paced.course = Course::Probes { interval, longest, next: now.saturating_add(interval) };
                let returns = self.classes.iter().any(|paced| paced.course == Course::Returns);
                // What is served while other classes return is more than normal.
                if !returns {
                    self.cap_milli = cap_milli(served_milli());
                }
            }
            (Course::Probes { interval, longest, next }, true) => {
                let wanted = now.saturating_add(heard.retry_after.unwrap_or_default().min(PROBE_CAP * 6));
                paced.course = Course::Probes { interval, longest, next: next.max(wanted) };
            }
            (Course::Probes { .. }, false) => {
                paced.course = Course::Returns;
                self.rate_milli = START_MILLI.min(self.cap_milli);
                self.free_at = now;
            }
            (Course::Returns, false) if heard.answered => {
                self.rate_milli = self.rate_milli.saturating_add(GROWTH_MILLI).min(self.cap_milli);
            }
            (Course::Flows | Course::Returns, false) => {}
        }
    }

    /// Returns the classes that are held: of their actions whose last request failed, only those are taken up that
    /// [`Pace::next`] offers.
    pub(crate) fn held(&self) -> Vec<Class> {
        let held = self.classes.iter().filter(|paced| paced.course != Course::Flows);
        held.map(|paced| paced.class.clone()).collect()
    }

    /// Returns a held class of which actions may be taken up now, and how many, at most `most`. After that, call
    /// [`Pace::took`]. Returns `None` if there is none.
    pub(crate) fn next(&mut self, most: u32, now: Time) -> Option<(Class, u32)> {
        let free = self.free(now).min(most);
        let offered = self.classes.iter().position(|paced| match paced.course {
            Course::Flows => false,
            Course::Probes { next, .. } => next <= now && most > 0,
            Course::Returns => free > 0,
        })?;
        let paced = &self.classes[offered];
        let count = if paced.course == Course::Returns { free } else { 1 };
        Some((paced.class.clone(), count))
    }

    /// Takes in how many actions of a class were taken up of the number that was offered. If fewer waited, the class flows
    /// from now on, unless it probes.
    pub(crate) fn took(&mut self, class: &Class, offered: u32, taken: u32, now: Time) {
        let Some(at) = self.classes.iter().position(|paced| paced.class == *class) else { return };
        let mut paced = self.classes.remove(at);
        match &mut paced.course {
            Course::Flows => {}
            Course::Probes { interval, longest, next } => {
                *next = now.saturating_add(*interval);
                *interval = interval.saturating_mul(2).min(*longest);
            }
            course @ Course::Returns if taken < offered => *course = Course::Flows,
            Course::Returns => {}
        }
        // The next offer begins with another class.
        self.classes.push(paced);
        self.sends(taken, now);
    }

    /// Takes in that an action which was let through sends one more request.
    pub(crate) fn sends(&mut self, requests: u32, now: Time) {
        let begin = self.free_at.max(self.earliest(now));
        self.free_at = begin.saturating_add(self.spacing().saturating_mul(requests));
    }

    /// Returns when [`Pace::next`] may offer something; `None` if no class is held.
    pub(crate) fn next_at(&self) -> Option<Time> {
        let each = self.classes.iter().filter_map(|paced| match paced.course {
            Course::Flows => None,
            Course::Probes { next, .. } => Some(next),
            Course::Returns => Some(self.free_at),
        });
        each.min()
    }

    /// Returns after which time an action is due that is started again together with many others. The times of several
    /// calls are apart by more than twice the time between two calls that the dependency serves in normal times.
    pub(crate) fn slot(&mut self, served_milli: Option<u64>, now: Time) -> Duration {
        let rate_milli = served_milli.map_or(START_MILLI, |served| cap_milli(Some(served)));
        let slot = self.slot_at.max(now);
        self.slot_at = slot.saturating_add(spacing(rate_milli));
        slot.since(now)
    }

    /// Returns the time between two actions at the present rate.
    fn spacing(&self) -> Duration {
        spacing(self.rate_milli)
    }

    fn class(&mut self, heard: &Heard<'_>) -> usize {
        let found = self.classes.iter().position(|paced| {
            let class = &paced.class;
            class.operation == heard.operation && class.goal == heard.goal && class.effect == heard.effect
        });
        found.unwrap_or_else(|| {
            let class =
                Class { operation: heard.operation.to_owned(), goal: heard.goal, effect: heard.effect };
            self.classes.push(Paced { class, course: Course::Flows, failures: [0; 3] });
            self.classes.len() - 1
        })
    }

    /// Returns the number of actions that may be let through now.
    fn free(&self, now: Time) -> u32 {
        if self.free_at > now {
            return 0;
        }
        let since = now.since(self.free_at.max(self.earliest(now)));
        let whole = since.as_nanos() / self.spacing().as_nanos().max(1);
        u32::try_from(whole).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// What was not let through in the last quarter of a second is not made up for later.
    fn earliest(&self, now: Time) -> Time {
        Time::from_nanos(now.as_nanos().saturating_sub(250_000_000))
    }
}

/// Returns what was known of the effect before a request of this kind was recorded. The record of a perform makes the effect
/// unknown.
pub(crate) fn effect_before(state: &State, kind: AttemptKind) -> Effect {
    let effect = state.row().effect;
    match (kind, effect) {
        (AttemptKind::Perform, Effect::Unknown) if state.open_attempts() <= 1 => Effect::Never,
        (AttemptKind::Perform | AttemptKind::Confirm | AttemptKind::Cancel, effect) => effect,
    }
}

fn spacing(rate_milli: u64) -> Duration {
    Duration::from_nanos(1_000_000_000_000 / rate_milli.max(1))
}

fn cap_milli(served_milli: Option<u64>) -> u64 {
    let share = |served: u64| (served.saturating_mul(SHARE_MILLI) / 1000).clamp(LEAST_CAP_MILLI, MOST_MILLI);
    served_milli.map_or(MOST_MILLI, share)
}

#[cfg(test)]
#[path = "pace_outage_tests.rs"]
mod outage;
#[cfg(test)]
#[path = "pace_tests.rs"]
mod tests;
