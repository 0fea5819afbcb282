//! What is known after an attempt has ended: how it ended, whether a move to another endpoint costs a token, and
//! whether a repeat may do the work twice.

use crate::ending::{Ending, Verdict};
use crate::repeat::Repeat;
use crate::report::Report;
use crate::time::Time;

/// What the driver knows of an attempt that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// How the attempt ended.
    pub ending: Ending,
    /// Whether the request's body was kept, so that the same bytes can be sent again.
    pub body_kept: bool,
    /// Whether the attempt was lost because its connection was stale. A connection is stale in two cases:
    ///
    /// - It had carried an earlier call, and then broke before a byte of this attempt's answer came.
    /// - The server closed it with an HTTP/2 GOAWAY whose last stream number is below that of this request. So the
    ///   server did not process the request.
    ///
    /// A stale connection does not mean that the server has too much to do. So a repeat, if [`crate::may_repeat`]
    /// allows it, goes immediately to the same endpoint on a fresh connection, and costs no token. Such repeats cannot
    /// become a storm: each needs a connection of its own that has become stale, and such a connection has carried an
    /// answer before.
    pub stale: bool,
    /// Whether the answer's body is still under way.
    pub flowing: bool,
}

impl Ended {
    /// Returns an attempt that ended with `ending`. The other fields have their usual values: the request's body was
    /// kept, the connection was not stale, and no answer's body is under way.
    #[must_use]
    pub const fn of(ending: Ending) -> Ended {
        Ended { ending, body_kept: true, stale: false, flowing: false }
    }
}

/// Where a repeat goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Goes {
    /// To the endpoint of the last attempt.
    Here,
    /// To the next endpoint.
    On,
}

/// What is known of an attempt that ended without the wanted result.
pub(super) struct Facts {
    /// What the driver reported.
    pub(super) ended: Ended,
    /// What the rules conclude from the ending.
    pub(super) verdict: Verdict,
    /// What the repeat table says of the verdict.
    pub(super) repeat: Repeat,
    /// What is reported to the guards.
    pub(super) report: Report,
    /// When the endpoint lets the first call pass again; `None` if it does not cool.
    pub(super) back: Option<Time>,
}

impl Facts {
    /// Returns whether a move to another endpoint costs no token. That is so in two cases:
    ///
    /// - No endpoint works on this call: the request was not sent, or the answer proves that it was not processed.
    /// - The endpoint cools. Then its load is meant to move to other endpoints.
    pub(super) fn moves_free(&self) -> bool {
        match self.ended.ending {
            Ending::Unsent(_) => true,
            Ending::Answered(_) => self.back.is_some() || self.verdict.is_unprocessed(),
            Ending::Unprocessed
            | Ending::Lost(_)
            | Ending::CallerDeadline
            | Ending::CallerStalled { .. }
            | Ending::CallerLeft { .. } => false,
        }
    }

    /// Returns whether a repeat may do the work twice. `moves_on` says that the repeat goes to another endpoint.
    pub(super) fn doubles(&self, moves_on: bool) -> bool {
        self.report.is_slow_failure() || !(moves_on || self.verdict.is_unprocessed())
    }
}
