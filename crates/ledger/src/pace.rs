//! Decides how fast the requests of a dependency that have failed are tried again.
//!
//! The obvious rule is the wait of each action alone: after each failure it doubles, up to a minute. That is right for
//! one action. But after half an hour in which refunds fail, 1 800 actions wait. Each of them is sent once a minute, so
//! the provider gets 30 requests a second while it is down, and 30 or more in the first second after it is repaired. If
//! ten times as many actions wait, these requests overload the provider again.
//!
//! So requests that succeed or fail together form a [`Class`]: those of one operation, with the same goal and the same
//! known effect, such as all cancels of charges that were applied. A class is in one of three courses:
//!
//! - It **flows**: its requests bring answers. Nothing is held back.
//! - It **probes**: one kind of its requests (performs, questions or cancels) failed [`FAILURES`] times, one after the
//!   other, without an answer between them. Of all the actions of this class whose last request failed, one is let
//!   through at a time. The interval between two of these doubles up to [`PROBE_CAP`], or up to the longest wait of an
//!   action if that is shorter. The interval does not depend on the number of actions that wait. An action whose last
//!   request did not fail is sent immediately: what arrives anew is the dependency's normal load, and its answers are
//!   the best probes.
//! - It **returns**: after the class has probed, a request brought an answer again. The actions that wait are let
//!   through at a rate that begins at [`START_MILLI`], grows with each answer, and stays below half of what the
//!   dependency served per second before the trouble. Once nothing waits any more, the class flows.
//!
//! All classes of a dependency that return at the same time share one rate, since they load the same provider. A
//! process that has just started knows nothing of the failing actions that other processes left behind, so each of its
//! classes begins in the course "returns".
//!
//! The pace only delays requests. It never decides that a request is not sent at all. So each process can decide for
//! itself, from the answers that it has seen, without asking other processes.

use std::time::Duration;

use seawall_policy::{Backoff, Time};

use crate::machine::{AttemptKind, Effect, Goal, State};

/// The number of requests of one kind that must fail one after the other before a class probes. At a provider where a
/// third of the requests fail, five failures one after the other are rare (one in 243), and one answer lets the class
/// return.
const FAILURES: u32 = 5;

/// The longest interval between two probes. If a class gets no new actions, it notices the end of an outage at most
/// this much later.
const PROBE_CAP: Duration = Duration::from_secs(10);

/// The first rate of a class that returns, in thousandths of an action per second.
const START_MILLI: u64 = 5_000;

/// By how much each answer raises the rate, in thousandths of an action per second. At a rate of R actions per second,
/// R answers come in a second, so the rate grows by a tenth in each second.
const GROWTH_MILLI: u64 = 100;

/// The highest rate, as a share of what the dependency served per second before the trouble, in thousandths. In each
/// second, fewer than half as many actions are to be sent as were served. An action that was let through in one second
/// may be sent only in the next, together with the actions of that second. So the share is a little less than a half.
const SHARE_MILLI: u64 = 450;

/// The highest rate is never below this, in thousandths of an action per second. After a night with few calls, the
/// share of what was served would be too low for a backlog ever to end.
const LEAST_CAP_MILLI: u64 = 1_000;

/// The highest rate if it is not known what the dependency serves, in thousandths of an action per second.
const MOST_MILLI: u64 = 1_000_000;

/// A class: requests that probably succeed or fail together, and so are held back together.
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
    /// What was known of the action's effect before the request.
    pub(crate) effect: Effect,
    pub(crate) kind: AttemptKind,
    /// Whether the dependency answered. An answer counts even if it changes nothing for the action.
    pub(crate) answered: bool,
    /// For how long the dependency asked for no further requests, or a guard refuses them. `None` if neither said a
    /// time.
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
    /// For each kind of request (perform, confirm, cancel), how many failed since the last answer to that kind.
    failures: [u32; 3],
}

/// The pace of one dependency.
#[derive(Debug)]
pub(crate) struct Pace {
    classes: Vec<Paced>,
    /// The rate at which actions of returning classes are let through, in thousandths of an action per second.
    rate_milli: u64,
    /// The highest value of `rate_milli`.
    cap_milli: u64,
    /// The earliest time at which the next action may be let through.
    free_at: Time,
    /// If a person starts many stuck actions again: when the next of them is to be due.
    slot_at: Time,
}

impl Pace {
    /// Returns the pace of a dependency with these operations, for a process that has just started: all classes return.
    pub(crate) fn new<'a>(operations: impl Iterator<Item = &'a str>) -> Pace {
        let mut pace = Pace {
            classes: Vec::new(),
            rate_milli: START_MILLI,
            cap_milli: MOST_MILLI,
            free_at: Time::ZERO,
            slot_at: Time::ZERO,
        };
        pace.declare(&operations.collect::<Vec<_>>());
        pace
    }

    /// Declares the operations of the dependency, instead of those before, as a reload of the configuration does. What is
    /// known of an operation that was declared before is kept. The classes of a new one return, as in a process that has
    /// just started.
    pub(crate) fn declare(&mut self, operations: &[&str]) {
        const WAITING: [(Goal, Effect); 4] = [
            (Goal::Perform, Effect::Never),
            (Goal::Perform, Effect::Unknown),
            (Goal::Cancel, Effect::Unknown),
            (Goal::Cancel, Effect::Applied),
        ];
        self.classes.retain(|paced| operations.contains(&paced.class.operation.as_str()));
        for operation in operations {
            if self.classes.iter().any(|paced| paced.class.operation == *operation) {
                continue;
            }
            self.classes.extend(WAITING.map(|(goal, effect)| Paced {
                class: Class { operation: (*operation).to_owned(), goal, effect },
                course: Course::Returns,
                failures: [0; 3],
            }));
        }
    }

    /// Updates the class of a request that has ended. `backoff` has the bounds of an action's own waits. `served_milli`
    /// returns what the dependency serves in normal times, in thousandths of a call per second; `None` if that is not
    /// known. It is called only when a class begins to probe.
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
                // While other classes return, their waiting actions are served in addition, so what is served then is
                // more than in normal times. The highest rate is not computed from that.
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

    /// Returns the classes that are held back: all that do not flow. Of their actions whose last request failed, a
    /// worker may claim only the number that [`Pace::next`] returns.
    pub(crate) fn held(&self) -> Vec<Class> {
        let held = self.classes.iter().filter(|paced| paced.course != Course::Flows);
        held.map(|paced| paced.class.clone()).collect()
    }

    /// Returns a class that is held back and of which some actions may be claimed now, and their number, at most
    /// `most`. Returns `None` if no class may have actions claimed now. After the claim, call [`Pace::took`].
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

    /// Notes that `taken` actions of a class were claimed, after [`Pace::next`] offered the number `offered`. If a
    /// class returns and fewer actions were claimed than offered, none wait any more, so the class flows from now on.
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
        // The class goes to the end of the list, so that the next offer is for another class.
        self.classes.push(paced);
        self.sends(taken, now);
    }

    /// Notes that actions which were let through send this number of requests. The next action is let through later by
    /// the time that these requests take at the present rate. [`Pace::took`] counts the first request of each action.
    /// The driver calls this function for each further one.
    pub(crate) fn sends(&mut self, requests: u32, now: Time) {
        let begin = self.free_at.max(self.earliest(now));
        self.free_at = begin.saturating_add(self.spacing().saturating_mul(requests));
    }

    /// Returns the time from which [`Pace::next`] may return a class; `None` if no class is held back.
    pub(crate) fn next_at(&self) -> Option<Time> {
        let each = self.classes.iter().filter_map(|paced| match paced.course {
            Course::Flows => None,
            Course::Probes { next, .. } => Some(next),
            Course::Returns => Some(self.free_at),
        });
        each.min()
    }

    /// For a person who starts many stuck actions again: returns how long from now the next of these actions is to be
    /// due. Each call returns a later time than the one before. For example, if the dependency serves 10 calls per
    /// second in normal times, two of these times are more than 200 ms apart.
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

    /// Returns the time from which the rate is counted: a quarter of a second ago. If fewer actions were let through
    /// before that time than the rate allows, this is not made up for later.
    fn earliest(&self, now: Time) -> Time {
        Time::from_nanos(now.as_nanos().saturating_sub(250_000_000))
    }
}

/// Returns what was known of the effect before a request of this kind was recorded. A perform has its own case, since
/// its record makes the effect unknown.
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
