//! What the guards hand out, each to be given back once: permits, passes, places in a limit and in a queue.

use std::time::Duration;

use super::keyed::Place;
use crate::breaker::Pass;
use crate::limit::{AttemptEnd, Slot};
use crate::queue::Waiter;
use crate::refusal::Refusal;
use crate::time::Time;

/// The right to make one attempt: a breaker's pass and a place in the limit.
#[derive(Debug)]
#[must_use = "it is given back in `settle`"]
pub struct Permit {
    pub(super) at: At,
    pub(super) pass: Pass,
    pub(super) slot: Slot,
}

/// A pass whose evidence is still to be given: its call repeats at the same endpoint, and the last result counts.
#[derive(Debug)]
pub struct HeldPass {
    pub(super) at: At,
    pub(super) pass: Pass,
}

/// A place in a limit, held while an answer's body is under way, with what its attempt will have said of the load.
#[derive(Debug)]
#[must_use = "it is given back in `release`"]
pub struct LimitSlot {
    pub(super) endpoint: u32,
    pub(super) gate: Place,
    pub(super) slot: Slot,
    pub(super) end: AttemptEnd,
}

/// Somebody's place in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket {
    pub(super) endpoint: u32,
    pub(super) gate: Place,
    pub(super) waiter: Waiter,
}

/// What is left of a settled permit.
#[derive(Debug)]
#[must_use = "a slot is given back in `release`"]
pub struct Remains {
    /// Where the call repeats here.
    pub pass: Option<HeldPass>,
    /// Where an answer's body is still under way.
    pub slot: Option<LimitSlot>,
}

/// Where a permit's guards are kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct At {
    pub(super) endpoint: u32,
    pub(super) breaker: Place,
    pub(super) gate: Place,
}

/// What became of one who waits in a queue.
#[derive(Debug)]
pub enum Claim {
    /// Its turn came.
    Yours(Permit),
    /// Not yet; until then at the latest.
    Waits(Ticket, Time),
    /// Its time is over (`queue-timeout`), or the breaker opened meanwhile.
    Refused(Refusal),
}

/// An attempt under way, as it is known outside its call.
#[derive(Clone, Copy, Debug)]
pub struct Underway {
    pub(super) at: At,
    pub(super) probe: bool,
    pub(super) began: Time,
}

impl Permit {
    /// Whether the attempt asks an open breaker's question.
    #[must_use]
    #[inline]
    pub fn is_probe(&self) -> bool {
        self.pass.is_probe()
    }

    /// The attempt that this permit is for, begun at `began`.
    #[must_use]
    pub fn underway(&self, began: Time) -> Underway {
        Underway { at: self.at, probe: self.pass.is_probe(), began }
    }
}

/// The right to follow an attempt without its caller. It goes back in [`super::DependencyGuards::unfollow`].
#[derive(Debug)]
#[must_use = "it is given back in `unfollow`"]
pub struct Witness {
    pub(super) endpoint: u32,
    pub(super) breaker: Place,
    pub(super) patience: Duration,
    /// A probe is followed whatever the bounds say, and takes no place in them.
    pub(super) counted: bool,
}

impl Witness {
    /// How long it waits for progress, instead of the read timeout that was told. Never longer.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.patience
    }
}
