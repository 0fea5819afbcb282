//! The data that a breaker receives (an operator's commands, and how calls ended), and the data that it returns
//! (refusals, changes of state, and why it opened).

use std::time::Duration;

use crate::failures::{FailureKind, Failures};
use crate::time::Time;
use crate::window::Counts;

/// An operator's command to a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// Refuse every call until the operator says otherwise.
    Open,
    /// Let every call pass, whatever the evidence says.
    Closed,
    /// The breaker decides by how calls end. If it was forced open before, it begins with probes.
    Auto,
}

/// The state of a breaker as it is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BreakerState {
    /// Calls flow.
    Closed,
    /// Calls are refused.
    Open,
    /// One call at a time passes as a probe.
    HalfOpen,
    /// Calls are refused because an operator said so.
    ForcedOpen,
    /// Calls flow because an operator said so.
    ForcedClosed,
}

impl BreakerState {
    /// Returns the state's name for people.
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

/// A refusal by the breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerRefusal {
    /// The state of the breaker when it refused the call. Three states refuse calls:
    ///
    /// - open and forced open: every call,
    /// - half-open: while a probe is in flight,
    /// - closed: some calls during the time of the setting `ramp`, while calls return gradually.
    pub state: BreakerState,
    /// The time from which the breaker may let calls pass again; `None` if only an operator can end the refusal.
    pub until: Option<Time>,
}

/// Whether the endpoint works, as far as the end of a call shows it. Each call counts once for each endpoint. If the
/// call repeats at the same endpoint, only its last attempt there counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// The endpoint gave a definite answer, which may be a 404.
    Success {
        /// The time from the permit to the answer.
        took: Duration,
    },
    /// A failure.
    Failure {
        /// The kind of failure.
        kind: FailureKind,
        /// Whether the attempt failed slowly: it timed out, was answered 504, or took more than a tenth of the read
        /// timeout.
        slow: bool,
    },
    /// The endpoint answered in a way that is neither good nor bad: with a 429, or by refusing an HTTP/2 stream.
    Neutral,
    /// The caller left, or the caller's own deadline ended the attempt. This counts as a slow failure only if the
    /// window holds a success and the caller waited longer than a bound. In every other case the call does not count.
    ///
    /// The bound is `slow_call`. If that is not set, the bound is twice the slowest success in the window, but at least
    /// `enough`, which is a tenth of the read timeout.
    Abandoned {
        /// The time from the permit to the end of the attempt.
        waited: Duration,
        /// A tenth of the read timeout. If `slow_call` is not set, a call that was given up after a shorter wait does
        /// not count.
        enough: Duration,
    },
    /// The call says nothing of the endpoint: no attempt was made, this process had no file descriptor for a
    /// connection, or the caller's own body broke. Such a call neither lengthens nor ends a run of failures.
    Nothing,
}

/// What a piece of evidence counted as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// A good call.
    Ok,
    /// A bad call.
    Bad,
    /// The call changed no count of the breaker, for one of these reasons:
    ///
    /// - It was [`Evidence::Neutral`] or [`Evidence::Nothing`].
    /// - Its caller gave up, but had not waited long enough to prove anything ([`Evidence::Abandoned`]).
    /// - Its pass was given before the breaker's last change of state.
    Nothing,
}

/// The result of settling a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a change of state is to be told, and clears the limit where it closed"]
pub struct Settled {
    /// Whether the call counted as good, as bad or as nothing. If its caller gave up and it counted as bad, the limit
    /// must count this call as overload.
    pub counted: Counted,
    /// The new state; `None` if it did not change. If it is [`BreakerState::Closed`], `Limit::breaker_closed` must be
    /// called, so that the limit forgets the endings from before.
    pub change: Option<BreakerState>,
}

/// Which rule opened the breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenedBy {
    /// The share of bad calls reached the setting.
    Rate,
    /// At least two slow failures in a row, and no success in the window.
    Silence,
    /// The number of failures in a row reached the setting `consecutive`.
    Consecutive,
    /// A probe failed in a breaker that none of the other rules had opened. That happens only after two commands of an
    /// operator: [`Force::Open`], and then [`Force::Auto`], after which the breaker sends probes.
    Probe,
}

/// Why the breaker is not closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// When the breaker opened.
    pub at: Time,
    /// The rule that opened it.
    pub by: OpenedBy,
    /// The numbers of good and bad calls in the window when the breaker opened.
    pub counts: Counts,
    /// The bad calls in the window when the breaker opened, by kind.
    pub failures: Failures,
    /// The number of probes that have failed since the breaker opened; each of them opened it again.
    pub reopened: u32,
}
