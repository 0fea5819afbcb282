//! An attempt that ended: what is known of it, and where the call may go on.

use crate::ending::{Ending, Verdict};
use crate::repeat::Repeat;
use crate::report::Report;
use crate::time::Time;

/// What the driver knows of an ended attempt beside its ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// How it ended.
    pub ending: Ending,
    /// Whether the same bytes can be sent again.
    pub body_kept: bool,
    /// It was lost with a connection that an earlier call had left, before a byte of its answer, or was left out by that
    /// connection's GOAWAY: the connection was stale. That says nothing of the load, so a repeat that the table allows
    /// goes at once, to the same endpoint on a fresh connection, and costs nothing. It cannot multiply: each such
    /// connection has carried an answer before.
    pub stale: bool,
    /// The answer's body is still under way.
    pub flowing: bool,
}

impl Ended {
    /// An ending with nothing beside it: the same bytes can be sent again, and nothing is under way.
    #[must_use]
    pub const fn of(ending: Ending) -> Ended {
        Ended { ending, body_kept: true, stale: false, flowing: false }
    }
}

/// Where a repeat goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Goes {
    /// To the same endpoint.
    Here,
    /// To the next one.
    On,
}

/// What is known of an attempt that ended short of what was wanted.
pub(super) struct Facts {
    /// What the driver told.
    pub(super) ended: Ended,
    /// What the rules make of it.
    pub(super) verdict: Verdict,
    /// What the repeat table says of that.
    pub(super) repeat: Repeat,
    /// What is told to the guards.
    pub(super) report: Report,
    /// When the first call passes at its endpoint again, where that cools.
    pub(super) back: Option<Time>,
}

impl Facts {
    /// Whether it takes no token to move on to another endpoint. Nobody has this call's load where it was not sent, or where
    /// the answer proves that it was not worked on; and an endpoint that cools is to lose its load.
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

    /// Whether the work may be done twice by a repeat, which `moves_on` to another endpoint or stays at this one.
    pub(super) fn doubles(&self, moves_on: bool) -> bool {
        self.report.is_slow_failure() || !(moves_on || self.verdict.is_unprocessed())
    }
}
