//! Counts the calls of each dependency. Each worker has its own counters, so that counting never waits. The counters of
//! all workers are added up when they are shown.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use seawall_policy::{Effect, Reason};

/// The counts of one dependency in one worker.
#[derive(Debug, Default)]
pub struct Counters {
    effects: [AtomicU64; 3],
    reasons: [AtomicU64; Reason::ALL.len()],
    attempts: AtomicU64,
    truncated: AtomicU64,
    in_flight: AtomicU64,
}

/// The counts of one dependency, added up over all workers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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

/// Returns the sums of these counts. `counters` has one entry for each worker.
#[must_use]
pub fn tally(counters: &[Counters]) -> Tally {
    let mut tally = Tally::default();
    counters.iter().for_each(|one| one.add_to(&mut tally));
    tally
}
