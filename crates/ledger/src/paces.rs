//! The pace of each dependency in this process, behind a lock that is held for a few field updates.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use seawall_policy::Time;

use crate::pace::Pace;

/// The pace of each dependency in this process.
pub(crate) struct Paces {
    began: Instant,
    by_dependency: HashMap<String, Mutex<Pace>>,
}

impl Paces {
    /// Returns the paces of these operations, each with its dependency.
    pub(crate) fn new<'a>(operations: impl Iterator<Item = (&'a str, &'a str)>) -> Paces {
        let mut names: HashMap<String, Vec<&str>> = HashMap::new();
        for (dependency, operation) in operations {
            names.entry(dependency.to_owned()).or_default().push(operation);
        }
        let pace = |names: Vec<&str>| Mutex::new(Pace::new(names.into_iter()));
        let by_dependency = names.into_iter().map(|(dependency, names)| (dependency, pace(names)));
        Paces { began: Instant::now(), by_dependency: by_dependency.collect() }
    }

    /// Calls `with` with the pace of a dependency and the present time. Returns `None` if no operation of the dependency
    /// is declared.
    pub(crate) fn with<R>(&self, dependency: &str, with: impl FnOnce(&mut Pace, Time) -> R) -> Option<R> {
        let pace = self.by_dependency.get(dependency)?;
        // A pace is consistent after each of its changes, so it can be used after a panic.
        let mut pace: MutexGuard<'_, Pace> = pace.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Time::ZERO.saturating_add(self.began.elapsed());
        Some(with(&mut pace, now))
    }

    /// Returns the time until the pace of a dependency may let a row through; `None` if it holds none back.
    pub(crate) fn wait(&self, dependency: &str) -> Option<Duration> {
        self.with(dependency, |pace, now| pace.next_at().map(|at| at.since(now))).flatten()
    }
}
