//! The one place where calls share state: each dependency's guards behind one lock.
//!
//! A lock is used and not a set of atomics. Breaker, limit, window and budget change together, and one uncontended lock
//! costs less than the five atomics that it replaces. The lock is taken once to begin an attempt and once to end it. It
//! is held for a few field updates, and never while something is waited for. A call that waits in a queue leaves its
//! waker here. When the call's turn comes, it is woken after the lock is released.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use seawall_policy::{
    After, DependencyGuards, Draw, GuardSettings, Guards, HeldPass, Keys, LimitSlot, Overload, Permit,
    QueueTurn, RECENT_SUCCESS, Refusal, Report, Stopped, Ticket, Time,
};

use crate::clock::Clock;
use crate::sync::Mutex;

/// The guards of one dependency, shared by every worker's [`crate::Dependency`].
pub struct Shared {
    state: Mutex<State>,
    /// The time of the last success, in nanoseconds of [`Time`]; zero if there was none. It is read without the lock.
    /// Two kinds of successes do not count: those of probes, and those of attempts whose breaker is kept for a key.
    ///
    /// The time is not updated more often than once in [`COARSE`], because otherwise workers would write this field for
    /// every call. So the last success can be later than this time, by at most `COARSE`.
    succeeded: AtomicU64,
}

/// The maximum time by which the last success can be later than the stored time.
const COARSE: Duration = Duration::from_millis(10);

struct State {
    guards: DependencyGuards,
    /// The wakers of the calls that wait in a queue. There are never more than the queues' settings allow.
    waiting: HashMap<Ticket, Waker>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    /// Makes new guards: closed breakers, limits with free slots, and a budget with its initial tokens.
    #[must_use]
    pub fn new(settings: GuardSettings, endpoints: usize) -> Arc<Shared> {
        let guards = DependencyGuards::new(settings, endpoints);
        let state = Mutex::new(State { guards, waiting: HashMap::new() });
        Arc::new(Shared { state, succeeded: AtomicU64::new(0) })
    }

    /// Returns whether an attempt succeeded less than [`RECENT_SUCCESS`] ago. That success shows that the endpoint
    /// works. So an attempt that begins now may end when its caller leaves; it need not go on to show the same again.
    /// The result is only right for a dependency with one endpoint and for calls without a breaker key.
    #[inline]
    pub(crate) fn succeeded_lately(&self, now: Time) -> bool {
        let ended = self.succeeded.load(Ordering::Relaxed);
        ended != 0 && now.since(Time::from_nanos(ended)) + COARSE < RECENT_SUCCESS
    }

    /// Records that an attempt succeeded at `now`. Must not be called for a probe, nor for an attempt whose breaker is
    /// kept for a key.
    #[inline]
    pub(crate) fn succeeds(&self, now: Time) {
        let before = Time::from_nanos(self.succeeded.load(Ordering::Relaxed));
        if before == Time::ZERO || now.since(before) > COARSE {
            self.succeeded.store(now.as_nanos(), Ordering::Relaxed);
        }
    }

    /// Calls `look` with the guards, to read them or to let an operator change them, and returns its result. `look`
    /// must be short, because every call waits for it.
    pub fn with<R>(&self, look: impl FnOnce(&mut DependencyGuards) -> R) -> R {
        self.change(look)
    }

    /// Calls `change` with the guards, and returns its result. If the change gives waiting calls their turn, these
    /// calls are woken.
    #[inline]
    fn change<R>(&self, change: impl FnOnce(&mut DependencyGuards) -> R) -> R {
        let mut state = self.state.lock();
        let result = change(&mut state.guards);
        if let Some(first) = state.guards.take_called() {
            let woken = state.woken(first);
            drop(state);
            woken.into_iter().for_each(Waker::wake);
        }
        result
    }

    /// Becomes ready when the turn of a call that waits in a queue has come. `ticket` is the call's place in the queue.
    /// Until then, the call's waker is kept, and is woken when the turn comes.
    fn poll_turn(&self, ticket: Ticket, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        if state.guards.is_called(&ticket) {
            return Poll::Ready(());
        }
        state.waiting.insert(ticket, cx.waker().clone());
        Poll::Pending
    }

    /// Must be used for each change of the guards that ends a call's wait in a queue. `ticket` is the call's place in
    /// the queue; this function also drops the waker that was kept for this place. Returns the result of `change`.
    fn resolve<R>(&self, ticket: Ticket, change: impl FnOnce(&mut DependencyGuards) -> R) -> R {
        self.state.lock().waiting.remove(&ticket);
        self.change(change)
    }
}

impl State {
    #[cold]
    fn woken(&mut self, first: Ticket) -> Vec<Waker> {
        let mut woken = Vec::new();
        let mut next = Some(first);
        while let Some(ticket) = next {
            woken.extend(self.waiting.remove(&ticket));
            next = self.guards.take_called();
        }
        woken
    }
}

/// Returns one uniform random draw.
#[must_use]
pub fn draw() -> Draw {
    Draw::new(fastrand::u64(..))
}

/// A call's place in the limit of an endpoint. It is given back when this value is dropped.
pub(crate) struct Slot {
    shared: Arc<Shared>,
    clock: Clock,
    slot: Option<LimitSlot>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            self.shared.change(|guards| guards.release(slot, || self.clock.now()));
        }
    }
}

/// Gives one call access to the guards. It borrows the `Arc` that all workers share, because cloning the `Arc` would
/// cost more than asking the guards. Code that cannot keep this value between the steps of a call makes a new one for
/// each step.
pub(crate) struct CallGuards<'a> {
    shared: &'a Arc<Shared>,
    keys: &'a Keys,
    clock: Clock,
    /// The answered attempt's place in the limit. It is kept until the answer's body is over.
    answered: Option<LimitSlot>,
    /// Whether the last attempt that ended was a success and not a probe.
    proved_well: bool,
}

impl<'a> CallGuards<'a> {
    #[inline]
    pub(crate) fn new(shared: &'a Arc<Shared>, keys: &'a Keys, clock: Clock) -> CallGuards<'a> {
        CallGuards { shared, keys, clock, answered: None, proved_well: false }
    }

    /// Returns whether the last attempt that ended proves that the endpoint works: it was a success and not a probe,
    /// and its breaker is not one that is kept for a key.
    pub(crate) fn proved_well(&self) -> bool {
        self.proved_well && self.keys.breaker.is_none()
    }

    /// Takes the answered attempt's place in the limit out of this value, so that the answer's body can hold it. `None`
    /// if no attempt was answered, or if the place was taken out already.
    pub(crate) fn take_slot(&mut self) -> Option<Slot> {
        let slot = self.answered.take()?;
        Some(Slot { shared: Arc::clone(self.shared), clock: self.clock, slot: Some(slot) })
    }

    /// Gives the answered attempt's place in the limit back, because nobody will read the answer's body.
    #[cold]
    pub(crate) fn free_slot(&mut self) {
        if let Some(slot) = self.answered.take() {
            self.shared.change(|guards| guards.release(slot, || self.clock.now()));
        }
    }

    /// Becomes ready when the turn of this ticket has come.
    pub(crate) fn poll_turn(&self, ticket: Ticket, cx: &mut Context<'_>) -> Poll<()> {
        self.shared.poll_turn(ticket, cx)
    }
}

impl Drop for CallGuards<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.answered.is_some() {
            self.free_slot();
        }
    }
}

impl Guards for CallGuards<'_> {
    #[inline]
    fn admit(&mut self, endpoint: usize, now: Time) -> Result<Permit, Refusal> {
        self.shared.state.lock().guards.admit(endpoint, self.keys, now)
    }

    fn join(&mut self, endpoint: usize, now: Time) -> Result<(Ticket, Time), Refusal> {
        self.shared.change(|guards| guards.join(endpoint, self.keys, now))
    }

    fn take_turn(&mut self, ticket: Ticket, now: Time) -> QueueTurn {
        self.shared.resolve(ticket, |guards| guards.take_turn(ticket, self.keys, now))
    }

    fn leave(&mut self, ticket: Ticket, now: Time) {
        self.shared.resolve(ticket, |guards| guards.leave(ticket, now));
    }

    fn overloaded(&mut self, permit: &Permit, told: Overload, now: Time) -> Option<Time> {
        self.shared.state.lock().guards.overloaded(permit, told, now, draw)
    }

    fn refuses(&mut self, endpoint: usize, now: Time) -> Option<Stopped> {
        self.shared.state.lock().guards.refuses(endpoint, self.keys, now)
    }

    #[inline]
    fn settle(&mut self, permit: Permit, report: &Report, after: After, now: Time) -> Option<HeldPass> {
        self.proved_well = report.is_success() && !permit.is_probe();
        let remains = self.shared.change(|guards| guards.settle(permit, report, after, now, draw));
        self.answered = remains.slot;
        remains.pass
    }

    fn witness(&mut self, pass: HeldPass, report: &Report, now: Time) {
        self.shared.change(|guards| guards.witness(pass, report, now, draw));
    }

    fn pay(&mut self, permit: &Permit, doubles: bool, now: Time) -> Result<(), Stopped> {
        self.shared.state.lock().guards.pay(permit, doubles, now)
    }
}
