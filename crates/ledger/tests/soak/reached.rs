//! Counts how often each kind of fault was tried, and how often it was reached.
//!
//! A fault counts as reached where it takes effect. For example, a lost answer counts when the provider has written the
//! effect and closes the connection, and a kill counts as "during a request" only if the provider was working on a
//! request of that program. A count of what was scheduled would also contain the faults that hit nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// The two counts of each kind of fault. A clone shares the counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reached(Arc<Mutex<BTreeMap<String, Count>>>);

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    tried: u64,
    reached: u64,
}

impl Reached {
    /// Counts that a fault of this kind was tried. From now on the kind must be reached.
    pub(crate) fn tried(&self, kind: &str) {
        self.change(kind, |count| count.tried += 1);
    }

    /// Counts that a fault of this kind took effect.
    pub(crate) fn reached(&self, kind: &str) {
        self.change(kind, |count| count.reached += 1);
    }

    fn change(&self, kind: &str, how: impl FnOnce(&mut Count)) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        how(counts.entry(kind.to_owned()).or_default());
    }

    /// Returns how often a fault of this kind took effect.
    pub(crate) fn count(&self, kind: &str) -> u64 {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.get(kind).map_or(0, |count| count.reached)
    }

    /// Returns the kinds that were tried but never reached.
    pub(crate) fn missed(&self) -> Vec<String> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let missed = counts.iter().filter(|(_, count)| count.tried > 0 && count.reached == 0);
        missed.map(|(kind, _)| kind.clone()).collect()
    }
}

impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(f, "{:<44} {:>8} {:>8}", "fault", "tried", "reached")?;
        for (kind, count) in counts.iter() {
            writeln!(f, "{kind:<44} {:>8} {:>8}", count.tried, count.reached)?;
        }
        Ok(())
    }
}
