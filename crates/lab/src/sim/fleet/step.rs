//! What a caller does next, and what can be seen of its guards. Both are the same for all policies.

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
        /// Whether that moment is the call's total deadline.
        total: bool,
    },
    /// It waits, and then repeats.
    Wait(Time),
    /// The call is over.
    Over {
        /// Whether the call ended well.
        ok: bool,
        /// Whether the caller's own guards refused the call before anything was sent.
        refused: bool,
        /// The time at which the caller was told to come back, if any.
        told: Option<Time>,
    },
}

/// What can be seen of a caller's guards.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::sim) struct Seen {
    /// The state of its breakers: that of one that is not closed, if there is one.
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

/// The time at which an answer says to come back, if it names one.
pub(super) fn told(ending: Ending, now: Time) -> Option<Time> {
    let Ending::Answered(answer) = ending else { return None };
    answer.retry_after.map(|rest| now.saturating_add(rest))
}
