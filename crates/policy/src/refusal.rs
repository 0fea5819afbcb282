//! A refusal by a guard, with the time at which the caller may come back.

use std::time::Duration;

use crate::backoff::Draw;
use crate::reason::Reason;
use crate::time::Time;

/// A refusal by a guard, before anything was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reason of the guard that refused.
    pub reason: Reason,
    /// Until when the guard refuses; `None` if that is not known.
    pub until: Option<Time>,
    /// Refused callers are to come back within this time after `until`, each at a random moment of its own. If it is
    /// zero, all of them come back at `until`.
    pub spread: Duration,
    /// Whether the guard refuses because the provider answered 429.
    pub too_many: bool,
}

impl Refusal {
    /// Returns a refusal without a known end.
    #[must_use]
    pub const fn of(reason: Reason) -> Refusal {
        Refusal::until(reason, None)
    }

    /// Returns a refusal that ends at `until`. If `until` is `None`, nobody knows when the refusal ends.
    #[must_use]
    pub const fn until(reason: Reason, until: Option<Time>) -> Refusal {
        Refusal { reason, until, spread: Duration::ZERO, too_many: false }
    }

    /// Returns how long, from `now`, the caller is to wait before it comes back; `None` if nobody knows. The wait ends
    /// at a random moment, so that refused callers do not all come back together. `draw` chooses this moment.
    #[must_use]
    pub fn come_back(&self, now: Time, draw: Draw) -> Option<Duration> {
        self.until.map(|until| until.since(now).saturating_add(draw.share_of(self.spread)))
    }
}
