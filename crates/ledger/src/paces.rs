//! For each dependency of this process: its pace, and the earliest due time of the rows that its claims look at while
//! classes are held back (`Horizon`). One lock guards both. It is held only while a few fields are read or written.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use seawall_policy::Time;

use crate::machine::Stamp;
use crate::pace::Pace;

/// The pace of each dependency in this process.
pub(crate) struct Paces {
    began: Instant,
    by_dependency: HashMap<String, Arc<Mutex<Paced>>>,
}

struct Paced {
    pace: Pace,
    horizon: Horizon,
}

/// The time between two claims that look at all due rows. The claims in between look only at rows that became due
/// lately.
const LOOK_BACK: Duration = Duration::from_secs(10);

/// While classes are held back, a claim looks only at rows whose due time is at most this long before the start of the
/// last claim. So it can miss a row that an application commits more than this time after the row's due time. Such a
/// row waits for the next claim that looks at all rows.
const MARGIN: Duration = Duration::from_secs(5);

/// While classes are held back: the earliest due time of the rows that a claim looks at.
///
/// A row that is held back stays due, and each claim would read all such rows again. So a claim leaves out the rows
/// with an earlier due time: an earlier claim has already claimed all of them that it may. Every ten seconds, one claim
/// looks at all due rows.
#[derive(Debug)]
struct Horizon {
    from: Stamp,
    /// When the last claim looked at all rows.
    whole: Time,
}

/// All rows are due after this time.
const BEGINNING: Stamp = Stamp::from_micros(0);

impl Horizon {
    fn new() -> Horizon {
        Horizon { from: BEGINNING, whole: Time::ZERO }
    }

    /// Returns the earliest due time at which the next claim is to look.
    fn from(&self, now: Time) -> Stamp {
        if now.since(self.whole) >= LOOK_BACK { BEGINNING } else { self.from }
    }

    /// Notes that a claim has looked at the rows that are due at `from` or later. `begun` is the database's time before
    /// the claim. `is_full` says whether the claim reached its limit, so that it may have left rows which it could have
    /// claimed.
    fn looked(&mut self, from: Stamp, begun: Stamp, is_full: bool, now: Time) {
        if from == BEGINNING {
            self.whole = now;
        }
        if !is_full {
            self.from = begun.saturating_sub(MARGIN);
        } else if from == BEGINNING {
            self.from = BEGINNING;
        }
    }
}

impl Paces {
    /// Returns the paces of these operations, each with its dependency. `old` has the paces of an earlier ledger of
    /// this process. The new ledger shares them, so what was seen of an outage is not forgotten.
    pub(crate) fn new<'a>(
        operations: impl Iterator<Item = (&'a str, &'a str)>,
        old: Option<&Paces>,
    ) -> Paces {
        let mut names: HashMap<String, Vec<&str>> = HashMap::new();
        for (dependency, operation) in operations {
            names.entry(dependency.to_owned()).or_default().push(operation);
        }
        let by_dependency = names.into_iter().map(|(dependency, names)| {
            let shared = old.and_then(|old| old.by_dependency.get(&dependency)).cloned();
            let paced = shared.unwrap_or_else(|| {
                let pace = Pace::new(std::iter::empty());
                Arc::new(Mutex::new(Paced { pace, horizon: Horizon::new() }))
            });
            paced.lock().unwrap_or_else(PoisonError::into_inner).pace.declare(&names);
            (dependency, paced)
        });
        let by_dependency = by_dependency.collect();
        Paces { began: old.map_or_else(Instant::now, |old| old.began), by_dependency }
    }

    /// Calls `with` with the pace of a dependency and the present time. Returns `None` if no operation of the
    /// dependency is declared.
    pub(crate) fn with<R>(&self, dependency: &str, with: impl FnOnce(&mut Pace, Time) -> R) -> Option<R> {
        self.lock(dependency).map(|mut paced| with(&mut paced.pace, self.now()))
    }

    /// While classes of a dependency are held back, a claim looks only at the rows that are due at this time or later.
    /// Returns that time.
    pub(crate) fn horizon(&self, dependency: &str) -> Stamp {
        self.lock(dependency).map_or(BEGINNING, |paced| paced.horizon.from(self.now()))
    }

    /// Notes that a claim has looked at the rows of a dependency that are due at `from` or later. `begun` is the
    /// database's time before the claim. `is_full` says whether the claim may have left rows which it could have
    /// claimed.
    pub(crate) fn looked(&self, dependency: &str, from: Stamp, begun: Stamp, is_full: bool) {
        if let Some(mut paced) = self.lock(dependency) {
            paced.horizon.looked(from, begun, is_full, self.now());
        }
    }

    fn now(&self) -> Time {
        Time::ZERO.saturating_add(self.began.elapsed())
    }

    fn lock(&self, dependency: &str) -> Option<MutexGuard<'_, Paced>> {
        // Every change leaves the pace and the horizon with valid values. So they can be used even if another thread
        // panicked while it held the lock.
        Some(self.by_dependency.get(dependency)?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the time until the pace of a dependency may let a row through; `None` if no class of it is held back.
    pub(crate) fn wait(&self, dependency: &str) -> Option<Duration> {
        self.with(dependency, |pace, now| pace.next_at().map(|at| at.since(now))).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_looks_back_to_what_the_one_before_has_not_seen_and_sometimes_at_all() {
        let (at, now) = (|seconds: i64| Stamp::from_micros(seconds * 1_000_000), Time::from_millis);
        let mut horizon = Horizon::new();
        let first = horizon.from(now(100));
        assert_eq!(first, BEGINNING);
        horizon.looked(first, at(1_000), true, now(100));
        assert_eq!(horizon.from(now(200)), BEGINNING, "the claim before was full");
        horizon.looked(BEGINNING, at(1_000), false, now(200));
        assert_eq!(horizon.from(now(300)), at(995));
        horizon.looked(at(995), at(1_003), true, now(3_200));
        assert_eq!(horizon.from(now(3_300)), at(995), "what the claim before left is still to be found");
        horizon.looked(at(995), at(1_004), false, now(4_200));
        assert_eq!(horizon.from(now(10_199)), at(999));
        assert_eq!(horizon.from(now(10_200)), BEGINNING, "ten seconds after the last look at all");
    }
}
