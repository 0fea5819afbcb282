//! What a caller does next, and the state of its guards. Seawall's policy and the models of other products use the same
//! two types for this.

use seawall_policy::{BreakerState, Ending, Time};

/// What a caller does next with a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Next {
    /// The caller sends an attempt.
    Send {
        /// The endpoint to which it is sent.
        endpoint: usize,
        /// The moment at which the caller stops waiting for the attempt.
        until: Time,
        /// Whether `until` is the total deadline of the call.
        total: bool,
    },
    /// The caller waits until this time, and then repeats.
    Wait(Time),
    /// The call is over.
    Over {
        /// Whether the call ended well.
        ok: bool,
        /// Whether the caller's own guards refused the call before anything was sent.
        refused: bool,
        /// When the caller may make the call again, as the last answer or the refusal by the caller's own guards says.
        /// `None` if neither says so.
        told: Option<Time>,
    },
}

/// The state of a caller's guards at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::sim) struct Seen {
    /// The state of the caller's breakers: closed if all are closed, and otherwise the state of one that is not closed.
    /// `None` if the caller has no breaker.
    pub(super) state: Option<BreakerState>,
    /// The sum of the caller's limits; `None` if it has no limit.
    pub(in crate::sim) limit: Option<u32>,
    /// The smallest of the caller's limits; `None` if it has no limit.
    pub(in crate::sim) least_limit: Option<u32>,
}

impl Seen {
    /// Returns whether at least one of the caller's breakers is not closed.
    pub(in crate::sim) fn is_open(&self) -> bool {
        self.state.is_some_and(|state| state != BreakerState::Closed)
    }
}

/// Returns the time that an answer names for coming back; `None` if the attempt has no answer, or its answer names no
/// time.
pub(super) fn told(ending: Ending, now: Time) -> Option<Time> {
    let Ending::Answered(answer) = ending else { return None };
    answer.retry_after.map(|rest| now.saturating_add(rest))
}
