//! What each worker counted of each dependency. One set for each worker, so that counting never waits; whoever shows them
//! adds them up.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use seawall_policy::{Effect, Reason};

/// Counts of one dependency in one worker.
#[derive(Debug, Default)]
pub struct Counters {
    effects: [AtomicU64; 3],
    reasons: [AtomicU64; Reason::ALL.len()],
    attempts: AtomicU64,
    truncated: AtomicU64,
    in_flight: AtomicU64,
}

/// A sum over workers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Calls that ended applied, not applied, unknown.
    pub effects: [u64; 3],
    /// Calls that ended without an answer of the dependency, by reason, in the order of [`Reason::ALL`].
    pub reasons: [u64; Reason::ALL.len()],
    /// Attempts made.
    pub attempts: u64,
    /// Answers whose body broke after the head had gone out.
    pub truncated: u64,
    /// Calls under way.
    pub in_flight: u64,
}

impl Counters {
    /// A call began.
    pub fn began(&self) {
        add(&self.in_flight, 1);
    }

    /// A call that had begun is over, answered or not.
    pub fn over(&self) {
        self.in_flight.store(self.in_flight.load(Relaxed).saturating_sub(1), Relaxed);
    }

    /// A call's verdict.
    pub fn ended(&self, effect: Effect, reason: Option<Reason>, attempts: u32) {
        add(&self.effects[effect as usize], 1);
        if let Some(reason) = reason {
            add(&self.reasons[reason as usize], 1);
        }
        add(&self.attempts, u64::from(attempts));
    }

    /// An answer's body broke.
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

/// Only one worker writes, so a load and a store do.
fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(more), Relaxed);
}

/// The counts of all workers together.
#[must_use]
pub fn tally(counters: &[Counters]) -> Tally {
    let mut tally = Tally::default();
    counters.iter().for_each(|one| one.add_to(&mut tally));
    tally
}
