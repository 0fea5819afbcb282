//! A concurrency limit together with its queue: when a call ends, its slot goes to the call that has waited longest.
//!
//! A slot that comes free is taken immediately for the caller whose turn it is. That caller then collects the slot, or
//! gives it back by leaving. The obvious way would be to wake that caller and let it ask again. But a new call could
//! ask first and get the slot. If this happens each time, the caller that waited longest waits for ever.

use std::collections::BTreeMap;

use super::keyed::Kept;
use crate::limit::{AttemptEnd, Limit, LimitSettings, Slot};
use crate::queue::{Queue, QueueFull, QueueSettings, Waiter};
use crate::time::Time;

/// What became of a caller that waits.
#[derive(Debug)]
pub(crate) enum LimitTurn {
    /// The caller's turn came. It has this slot.
    Yours(Slot),
    /// The caller's turn has not come. It waits until the time `until` at the latest.
    Waits { until: Time },
    /// The caller is not in the queue any more, or the time that it may wait is over.
    Over,
}

#[derive(Debug)]
pub(crate) struct LimitGate {
    pub(crate) limit: Limit,
    queue: Queue,
    /// Slots that were taken for callers whose turn came, but who have not collected them yet.
    called: BTreeMap<Waiter, Slot>,
}

impl Clone for LimitGate {
    /// Returns a copy in which nobody waits.
    fn clone(&self) -> LimitGate {
        self.alike()
    }
}

impl LimitGate {
    pub(crate) fn new(limit: LimitSettings, queue: QueueSettings) -> LimitGate {
        LimitGate { limit: Limit::new(limit), queue: Queue::new(queue), called: BTreeMap::new() }
    }

    /// Returns a slot, or `None` if none is free or another call waits for one. A new call never overtakes a call that
    /// waits. A breaker's probe may do so. That delays nobody for long, since a breaker has only one probe in flight at
    /// a time.
    #[inline]
    pub(crate) fn admit(&mut self, probe: bool) -> Option<Slot> {
        if !probe && !self.queue.is_empty() {
            return None;
        }
        self.limit.admit(probe).ok()
    }

    /// Puts a caller into the queue. Returns its place, and the time until which it waits at most. The wait ends with
    /// [`LimitGate::take_turn`] or [`LimitGate::leave`].
    ///
    /// # Errors
    /// The queue is full.
    pub(crate) fn join(&mut self, now: Time) -> Result<(Waiter, Time), QueueFull> {
        // Callers whose time is over are removed here, so that their places in the queue are free. They need not be
        // told: `take_turn` returns `Over` when they ask next.
        while self.queue.expired(now).is_some() {}
        self.queue.join(now)
    }

    pub(crate) fn take_turn(&mut self, waiter: Waiter, now: Time) -> LimitTurn {
        if let Some(slot) = self.called.remove(&waiter) {
            return LimitTurn::Yours(slot);
        }
        if let Some(until) = self.queue.until(waiter).filter(|until| now < *until) {
            return LimitTurn::Waits { until };
        }
        self.queue.leave(waiter);
        LimitTurn::Over
    }

    pub(crate) fn is_called(&self, waiter: Waiter) -> bool {
        self.called.contains_key(&waiter)
    }

    /// Removes a caller from the queue. If the caller's turn has come already, its slot is given back.
    pub(crate) fn leave(&mut self, waiter: Waiter) {
        self.queue.leave(waiter);
        if let Some(slot) = self.called.remove(&waiter) {
            self.limit.release(slot, AttemptEnd::Nothing);
        }
    }

    /// Takes free slots for the callers whose turn it is, and passes each of these callers to `tell`.
    #[inline]
    pub(crate) fn call(&mut self, now: Time, mut tell: impl FnMut(Waiter)) {
        while !self.queue.is_empty() && self.limit.has_room() {
            let Some(waiter) = self.queue.next(now) else { return };
            let Ok(slot) = self.limit.admit(false) else { return };
            self.called.insert(waiter, slot);
            tell(waiter);
        }
    }

    pub(crate) fn adopt(&mut self, limit: LimitSettings, queue: QueueSettings) {
        self.limit.adopt(limit);
        self.queue.adopt(queue);
    }

    /// Returns the number of callers that wait.
    pub(crate) fn waiting(&self) -> u32 {
        self.queue.len()
    }

    /// Returns the bounds of the queue.
    pub(crate) fn queue(&self) -> &QueueSettings {
        self.queue.settings()
    }
}

impl Kept for LimitGate {
    fn alike(&self) -> LimitGate {
        LimitGate::new(*self.limit.settings(), *self.queue.settings())
    }

    fn at_rest(&self, _: Time) -> bool {
        self.limit.in_flight() == 0 && self.queue.is_empty()
    }

    fn renew(&mut self, model: &LimitGate, _: Time) {
        *self = model.alike();
    }
}
