//! What the guards give to callers: permits, passes, slots of a limit, and tickets of a queue. Each of them is given
//! back once.

use std::time::Duration;

use super::keyed::KeyPlace;
use crate::breaker::Pass;
use crate::limit::{AttemptEnd, Slot};
use crate::queue::Waiter;
use crate::refusal::Refusal;
use crate::time::Time;

/// The right to make one attempt: a breaker's pass and a slot of the limit.
#[derive(Debug)]
#[must_use = "it is given back in `settle`"]
pub struct Permit {
    pub(super) at: At,
    pub(super) pass: Pass,
    pub(super) slot: Slot,
}

/// A breaker's pass whose attempt has ended. The breaker has not been told the result, because the call repeats at the
/// same endpoint, and only its last result there counts.
#[derive(Debug)]
pub struct HeldPass {
    pub(super) at: At,
    pub(super) pass: Pass,
}

/// A slot of a limit that is held while an answer's body is still being received. It remembers how its attempt counts
/// for the limit.
#[derive(Debug)]
#[must_use = "it is given back in `release`"]
pub struct LimitSlot {
    pub(super) endpoint: u32,
    pub(super) gate: KeyPlace,
    pub(super) slot: Slot,
    pub(super) end: AttemptEnd,
}

/// A caller's place in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket {
    pub(super) endpoint: u32,
    pub(super) gate: KeyPlace,
    pub(super) waiter: Waiter,
}

/// What is still to be given back after a permit was settled.
#[derive(Debug)]
#[must_use = "a slot is given back in `release`"]
pub struct Remains {
    /// The breaker's pass, if the call repeats at the same endpoint. In that case the breaker has not been told yet how
    /// this attempt ended. `None` in all other cases.
    pub pass: Option<HeldPass>,
    /// The slot that is kept until the answer's body is over; `None` if no body is under way.
    pub slot: Option<LimitSlot>,
}

/// Where a permit's guards are kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct At {
    pub(super) endpoint: u32,
    pub(super) breaker: KeyPlace,
    pub(super) gate: KeyPlace,
}

/// What became of a caller that waits in a queue.
#[derive(Debug)]
pub enum QueueTurn {
    /// The caller's turn came. It has this permit.
    Yours(Permit),
    /// The caller's turn has not come. The caller must ask again with this ticket, at this time at the latest.
    Waits(Ticket, Time),
    /// The time that the caller may wait is over (`queue-timeout`), or the breaker or the cooling has begun to refuse
    /// calls.
    Refused(Refusal),
}

/// What must be known of an attempt in flight to decide whether it goes on after its caller has left: where its guards
/// are kept, whether it is a probe, and when it began.
#[derive(Clone, Copy, Debug)]
pub struct Underway {
    pub(super) at: At,
    pub(super) probe: bool,
    pub(super) began: Time,
}

impl Permit {
    /// Returns whether the attempt is a probe.
    #[must_use]
    #[inline]
    pub fn is_probe(&self) -> bool {
        self.pass.is_probe()
    }

    /// Returns a description of the attempt that this permit is for. It is used to decide whether the attempt goes on
    /// after its caller has left. `began` is the time when the attempt began.
    #[must_use]
    pub fn underway(&self, began: Time) -> Underway {
        Underway { at: self.at, probe: self.pass.is_probe(), began }
    }
}

/// The right to let an attempt go on after its caller has left, until it really ends. It is given back in
/// [`super::DependencyGuards::unfollow`].
#[derive(Debug)]
#[must_use = "it is given back in `unfollow`"]
pub struct Witness {
    pub(super) endpoint: u32,
    pub(super) breaker: KeyPlace,
    pub(super) patience: Duration,
    /// Whether the attempt counts towards the maximum number of attempts that may go on at the same time without their
    /// callers. A probe does not count, since a probe goes on in any case.
    pub(super) counted: bool,
}

impl Witness {
    /// Returns how long the attempt may go on without progress after its caller has left. This time replaces the
    /// attempt's read timeout and is never longer.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.patience
    }
}
