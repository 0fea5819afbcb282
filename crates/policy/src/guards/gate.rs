//! A concurrency limit and the queue before it, joined: whoever leaves hands its place to whoever waits longest.
//!
//! The obvious way, to wake the next and let it ask again, lets a newcomer slip in between, and the one who waited
//! longest waits for ever. Here a place that comes free is taken at once for the one whose turn it is, which then
//! claims it, or gives it back by leaving.

use std::collections::BTreeMap;

use super::keyed::Kept;
use crate::limit::{AttemptEnd, Limit, LimitSettings, Slot};
use crate::queue::{Queue, QueueFull, QueueSettings, Waiter};
use crate::time::Time;

/// What became of one who waits.
#[derive(Debug)]
pub(crate) enum Claim {
    /// Its turn came.
    Yours(Slot),
    /// Not yet.
    Waits { until: Time },
    /// It is not in the queue any more, or its time is over.
    Over,
}

#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) limit: Limit,
    queue: Queue,
    /// Places taken for those whose turn came and who have not claimed them yet.
    called: BTreeMap<Waiter, Slot>,
}

impl Clone for Gate {
    /// A copy in which nobody waits.
    fn clone(&self) -> Gate {
        self.alike()
    }
}

impl Gate {
    pub(crate) fn new(limit: LimitSettings, queue: QueueSettings) -> Gate {
        Gate { limit: Limit::new(limit), queue: Queue::new(queue), called: BTreeMap::new() }
    }

    /// A place at once, or none. Nobody passes one who waits, but a breaker's probe, which is one call in seconds.
    #[inline]
    pub(crate) fn admit(&mut self, probe: bool) -> Option<Slot> {
        if !probe && !self.queue.is_empty() {
            return None;
        }
        self.limit.admit(probe).ok()
    }

    /// Waits for a place. It is over with [`Gate::claim`] or [`Gate::leave`].
    pub(crate) fn join(&mut self, now: Time) -> Result<(Waiter, Time), QueueFull> {
        // Those whose time is over will find out by themselves; their room is free.
        while self.queue.expired(now).is_some() {}
        self.queue.join(now)
    }

    pub(crate) fn claim(&mut self, waiter: Waiter, now: Time) -> Claim {
        if let Some(slot) = self.called.remove(&waiter) {
            return Claim::Yours(slot);
        }
        if let Some(until) = self.queue.until(waiter).filter(|until| now < *until) {
            return Claim::Waits { until };
        }
        self.queue.leave(waiter);
        Claim::Over
    }

    pub(crate) fn is_called(&self, waiter: Waiter) -> bool {
        self.called.contains_key(&waiter)
    }

    /// Gives up waiting, or the place whose turn came.
    pub(crate) fn leave(&mut self, waiter: Waiter) {
        self.queue.leave(waiter);
        if let Some(slot) = self.called.remove(&waiter) {
            self.limit.release(slot, AttemptEnd::Nothing);
        }
    }

    /// Takes free places for those whose turn it is, and tells who they are.
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

    /// Callers waiting.
    pub(crate) fn waiting(&self) -> u32 {
        self.queue.len()
    }

    /// How the queue is bounded.
    pub(crate) fn queue(&self) -> &QueueSettings {
        self.queue.settings()
    }
}

impl Kept for Gate {
    fn alike(&self) -> Gate {
        Gate::new(*self.limit.settings(), *self.queue.settings())
    }

    fn at_rest(&self, _: Time) -> bool {
        self.limit.in_flight() == 0 && self.queue.is_empty()
    }

    fn renew(&mut self, model: &Gate, _: Time) {
        *self = model.alike();
    }
}
