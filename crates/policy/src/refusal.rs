//! A "no" of a guard, and when to come back.

use std::time::Duration;

use crate::backoff::Draw;
use crate::reason::Reason;
use crate::time::Time;

/// A "no" of a guard, before anything was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which guard.
    pub reason: Reason,
    /// Until when it will say so, where it knows.
    pub until: Option<Time>,
    /// Over which while after that those who were refused are to come back, each at a moment of its own. Zero: at that time.
    pub spread: Duration,
    /// The provider said it first, by 429.
    pub too_many: bool,
}

impl Refusal {
    /// One that does not know until when.
    #[must_use]
    pub const fn of(reason: Reason) -> Refusal {
        Refusal::until(reason, None)
    }

    /// One that holds until then.
    #[must_use]
    pub const fn until(reason: Reason, until: Option<Time>) -> Refusal {
        Refusal { reason, until, spread: Duration::ZERO, too_many: false }
    }

    /// After what time the caller is told to come back; none where nobody knows.
    #[must_use]
    pub fn come_back(&self, now: Time, draw: Draw) -> Option<Duration> {
        self.until.map(|until| until.since(now).saturating_add(draw.share_of(self.spread)))
    }
}
