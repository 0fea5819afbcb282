//! What a caller does next, and what can be seen of its guards, whatever it runs.

use seawall_policy::{BreakerState, Ending, Time};

/// What a caller does next with a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Next {
    /// It sends an attempt.
    Send {
        /// The endpoint to which it is sent.
        endpoint: usize,
        /// When it gives the attempt up.
        until: Time,
        /// Whether that moment is the total deadline.
        total: bool,
    },
    /// It waits, and then repeats.
    Wait(Time),
    /// The call is over.
    Over {
        /// It ended well.
        ok: bool,
        /// It was refused by the caller's own guards, before anything was sent.
        refused: bool,
        /// The time at which the caller was told to come back.
        told: Option<Time>,
    },
}

/// A caller's guards, as they are looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::sim) struct Seen {
    /// The state of its breakers: that of the first one that is not closed.
    pub(super) state: Option<BreakerState>,
    /// The sum of its limits.
    pub(in crate::sim) limit: Option<u32>,
    /// The smallest of its limits.
    pub(in crate::sim) least_limit: Option<u32>,
}

impl Seen {
    /// Whether one of its breakers is not closed.
    pub(in crate::sim) fn is_open(&self) -> bool {
        self.state.is_some_and(|state| state != BreakerState::Closed)
    }
}

/// The time at which an answer says to come back.
pub(super) fn told(ending: Ending, now: Time) -> Option<Time> {
    let Ending::Answered(answer) = ending else { return None };
    answer.retry_after.map(|rest| now.saturating_add(rest))
}
