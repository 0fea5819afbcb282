//! What a breaker is told, and what it tells.

use std::time::Duration;

use crate::failures::{FailureKind, Failures};
use crate::time::Time;
use crate::window::Counts;

/// What an operator asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// Refuse everything until told otherwise.
    Open,
    /// Let everything pass, whatever happens.
    Closed,
    /// Decide by evidence. After [`Force::Open`] it begins with probes.
    Auto,
}

/// The state as it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BreakerState {
    /// Flowing.
    Closed,
    /// Refusing.
    Open,
    /// Probing, one call at a time.
    HalfOpen,
    /// Refusing by an operator's word.
    ForcedOpen,
    /// Flowing by an operator's word.
    ForcedClosed,
}

impl BreakerState {
    /// The words for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            BreakerState::Closed => "closed",
            BreakerState::Open => "open",
            BreakerState::HalfOpen => "half-open",
            BreakerState::ForcedOpen => "forced-open",
            BreakerState::ForcedClosed => "forced-closed",
        }
    }
}

/// "No."
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerRefusal {
    /// Open, half-open (another probe is out), forced open, or closed (ramping up).
    pub state: BreakerState,
    /// When asking again may help; `None` where only an operator can tell.
    pub until: Option<Time>,
}

/// What the end of a call says of the endpoint's health. A call's repeats at one endpoint give it once: the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// A good answer (any definite one, a 404 too).
    Success {
        /// From the permit to the answer.
        took: Duration,
    },
    /// A failure.
    Failure {
        /// Of which kind.
        kind: FailureKind,
        /// It timed out, was answered 504, or took more than a tenth of the read timeout.
        slow: bool,
    },
    /// It spoke, and said neither: 429, a refused stream.
    Neutral,
    /// The caller left, or its own deadline cut the attempt. A slow failure if the window holds a success, and the wait
    /// was longer than `slow_call`, or without that longer than both twice the slowest success and `enough`. In every other
    /// case it says nothing.
    Abandoned {
        /// From the permit to the cut.
        waited: Duration,
        /// A tenth of the read timeout: a shorter wait says nothing.
        enough: Duration,
    },
    /// Nothing was attempted, this process had no means to, or it was the caller's own body that broke: it neither makes
    /// nor breaks a run of failures.
    Nothing,
}

/// What a piece of evidence was taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// A good call.
    Ok,
    /// A bad call.
    Bad,
    /// Nothing: neutral, of an older era, or an abandoned call that proves nothing.
    Nothing,
}

/// What came of settling a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a change of state is to be told, and clears the limit where it closed"]
pub struct Settled {
    /// What the evidence was taken for. An abandoned call that counts as bad is an overload to the limit, too.
    pub counted: Counted,
    /// The new state, where this changed it. Tell the limit of [`BreakerState::Closed`].
    pub change: Option<BreakerState>,
}

/// Which rule opened it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenedBy {
    /// The share of bad calls.
    Rate,
    /// Slow failures in a row, and no success in the window.
    Silence,
    /// So many failures in a row as `consecutive` says.
    Consecutive,
    /// A probe failed, after an operator had given it back to the evidence.
    Probe,
}

/// Why it is not closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// When it left closed.
    pub at: Time,
    /// By which rule.
    pub by: OpenedBy,
    /// What the window held then.
    pub counts: Counts,
    /// Its bad calls by kind.
    pub failures: Failures,
    /// How many probes failed since.
    pub reopened: u32,
}
