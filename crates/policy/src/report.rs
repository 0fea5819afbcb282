//! The report of an attempt: what each guard must know of how the attempt ended.
//!
//! The report is made from the ending and its verdict before the driver takes the lock that all calls share, and it
//! fits into a cache line. The obvious report would hold the ending and its verdict, which are more than a hundred
//! bytes, and each guard would read them under the lock.

use std::time::Duration;

use crate::breaker::Evidence;
use crate::ending::{Ending, Health, Lost, Unsent, Verdict};
use crate::failures::FailureKind;
use crate::limit::AttemptEnd;

/// What is reported to the guards when an attempt has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// What the ending says of the endpoint's health.
    pub health: Evidence,
    /// What the ending says of the load.
    pub load: AttemptEnd,
    /// The operation's own `slow_call`; with `None`, the breaker's setting is used.
    pub slow_call: Option<Duration>,
    /// Whether an answer came that does not say "come back later".
    pub answered: bool,
    /// Whether the answer's body is still under way. If so, the attempt keeps its slot of the limit until the body's
    /// end.
    pub flowing: bool,
}

impl Report {
    /// The report of an attempt that was admitted and then not made.
    pub const UNUSED: Report = Report {
        health: Evidence::Nothing,
        load: AttemptEnd::Nothing,
        slow_call: None,
        answered: false,
        flowing: false,
    };

    /// Returns the report of an attempt. `took` is the time from the start of the attempt to its ending. `tenth` is a
    /// tenth of the read timeout: a failure that took longer was slow. Every timeout and every 504 is slow, too.
    #[must_use]
    #[inline]
    pub fn of(ending: &Ending, verdict: &Verdict, took: Duration, tenth: Duration) -> Report {
        let health = health(ending, verdict, took, tenth);
        let load = verdict.load;
        let answered = matches!(ending, Ending::Answered(_)) && load != AttemptEnd::Overload;
        Report { health, load, slow_call: None, answered, flowing: false }
    }

    /// Returns the report of an attempt that its caller gave up after `waited`. `tenth` is a tenth of the read timeout.
    #[must_use]
    pub fn abandoned(waited: Duration, tenth: Duration) -> Report {
        Report { health: Evidence::Abandoned { waited, enough: tenth }, ..Report::UNUSED }
    }

    /// Returns whether the attempt succeeded.
    #[must_use]
    #[inline]
    pub fn is_success(&self) -> bool {
        matches!(self.health, Evidence::Success { .. })
    }

    /// Returns whether the attempt failed slowly: it timed out, was answered 504, or took more than a tenth of the read
    /// timeout. The provider may have worked on the request all that time.
    #[must_use]
    pub(crate) fn is_slow_failure(&self) -> bool {
        matches!(self.health, Evidence::Failure { slow: true, .. })
    }
}

/// What the call does after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// The call is repeated at the same endpoint. The breaker counts only the last result of a call at an endpoint, so
    /// it does not count this attempt yet.
    RepeatsHere,
    /// The call is repeated at another endpoint.
    MovesOn,
    /// The call is over.
    Ends,
}

#[inline]
fn health(ending: &Ending, verdict: &Verdict, took: Duration, tenth: Duration) -> Evidence {
    match ending {
        Ending::CallerDeadline => return Evidence::Abandoned { waited: took, enough: tenth },
        // The call waited for the caller's body, which broke or did not come, and not for the endpoint.
        Ending::CallerStalled { .. } | Ending::CallerLeft { .. } => return Evidence::Nothing,
        // The endpoint was not asked.
        Ending::Unsent(Unsent::OutOfDescriptors) => return Evidence::Nothing,
        Ending::Unsent(_) | Ending::Unprocessed | Ending::Answered(_) | Ending::Lost(_) => {}
    }
    match verdict.health {
        Health::Success => Evidence::Success { took },
        Health::Failure => Evidence::Failure { kind: kind(ending), slow: took > tenth },
        Health::Timeout => Evidence::Failure { kind: kind(ending), slow: true },
        Health::Busy | Health::Silent => Evidence::Neutral,
    }
}

fn kind(ending: &Ending) -> FailureKind {
    match ending {
        Ending::Unsent(_) | Ending::Unprocessed => FailureKind::Unreachable,
        Ending::Answered(answer) => FailureKind::of_status(answer.status),
        Ending::Lost(Lost::ReadTimeout | Lost::TotalTimeout) => FailureKind::Timeout,
        Ending::Lost(Lost::ConnectionLost) => FailureKind::Lost,
        Ending::Lost(Lost::BadAnswer) => FailureKind::BadAnswer,
        Ending::CallerDeadline | Ending::CallerStalled { .. } | Ending::CallerLeft { .. } => {
            FailureKind::Abandoned
        }
    }
}
