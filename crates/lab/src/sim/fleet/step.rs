//! What a caller does next, and what is seen of its guards, whatever it runs.

use seawall_policy::{BreakerState, Ending, Time};

/// What a caller does next with a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Next {
    /// It sends an attempt.
    Send {
        /// Where to.
        endpoint: usize,
        /// When it gives the attempt up.
        until: Time,
        /// That moment is the total deadline.
        total: bool,
    },
    /// It waits, and then repeats.
    Wait(Time),
    /// The call is over.
    Over {
        /// It ended well.
        ok: bool,
        /// It was refused here before anything was sent.
        refused: bool,
        /// When its caller was told to come back.
        told: Option<Time>,
    },
}

/// A caller's guards, as they are looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::sim) struct Seen {
    /// The state of its breakers: the first that is not closed.
    pub(super) state: Option<BreakerState>,
    /// Its limits together.
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

/// When an answer says to come back.
pub(super) fn told(ending: Ending, now: Time) -> Option<Time> {
    let Ending::Answered(answer) = ending else { return None };
    answer.retry_after.map(|rest| now.saturating_add(rest))
}
