//! Counts the calls of each dependency. Each worker has its own counters, so that counting never waits. The counters of
//! all workers are added up when they are shown.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use seawall_policy::{Effect, Reason};

/// The counts of one dependency in one worker.
#[derive(Debug)]
pub struct Counters {
    effects: [AtomicU64; 3],
    reasons: [AtomicU64; Reason::ALL.len()],
    attempts: AtomicU64,
    truncated: AtomicU64,
    in_flight: AtomicU64,
}

/// The counts of one dependency, added up over all workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// The numbers of calls whose effect was `applied`, `not-applied` and `unknown`, in this order.
    pub effects: [u64; 3],
    /// The number of calls that ended without an answer of the dependency, for each reason in the order of
    /// [`Reason::ALL`].
    pub reasons: [u64; Reason::ALL.len()],
    /// The number of attempts that were made.
    pub attempts: u64,
    /// The number of answers whose body broke after the head had been sent to the caller.
    pub truncated: u64,
    /// The number of calls under way.
    pub in_flight: u64,
}

// The standard library has no default for an array with more than 32 places, and there are more reasons.
impl Default for Counters {
    fn default() -> Counters {
        Counters {
            effects: Default::default(),
            reasons: std::array::from_fn(|_| AtomicU64::new(0)),
            attempts: AtomicU64::new(0),
            truncated: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
        }
    }
}

impl Default for Tally {
    fn default() -> Tally {
        Tally { effects: [0; 3], reasons: [0; Reason::ALL.len()], attempts: 0, truncated: 0, in_flight: 0 }
    }
}

impl Counters {
    /// Counts a call that begins.
    pub fn began(&self) {
        add(&self.in_flight, 1);
    }

    /// Subtracts one from the number of calls under way, because a call has ended, with or without an answer.
    pub fn over(&self) {
        self.in_flight.store(self.in_flight.load(Relaxed).saturating_sub(1), Relaxed);
    }

    /// Counts the effect, the reason and the attempts of a call that has ended.
    pub fn ended(&self, effect: Effect, reason: Option<Reason>, attempts: u32) {
        add(&self.effects[effect as usize], 1);
        if let Some(reason) = reason {
            add(&self.reasons[reason as usize], 1);
        }
        add(&self.attempts, u64::from(attempts));
    }

    /// Counts an answer whose body broke.
    pub fn truncated(&self) {
        add(&self.truncated, 1);
    }

    fn add_to(&self, tally: &mut Tally) {
        for (sum, count) in tally.effects.iter_mut().zip(&self.effects) {
            *sum += count.load(Relaxed);
        }
        for (sum, count) in tally.reasons.iter_mut().zip(&self.reasons) {
            *sum += count.load(Relaxed);
        }
        tally.attempts += self.attempts.load(Relaxed);
        tally.truncated += self.truncated.load(Relaxed);
        tally.in_flight += self.in_flight.load(Relaxed);
    }
}

/// Adds `more` to a counter. No atomic addition is needed: a load and a store are enough, because only one worker
/// writes to each counter.
fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(more), Relaxed);
}

/// Adds up all counters of one dependency. `counters` has one entry for each worker, and one for the ledger.
#[must_use]
pub fn tally(counters: &[Counters]) -> Tally {
    let mut tally = Tally::default();
    counters.iter().for_each(|one| one.add_to(&mut tally));
    tally
}
