//! An attempt that ended short of what was wanted, and where it may go on.

use super::Ended;
use crate::{Ending, Repeat, Time, Verdict};

/// Where a repeat goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Goes {
    /// To the same endpoint.
    Here,
    /// To the next one.
    On,
}

/// An attempt that ended, and that one would like to repeat.
pub(super) struct Fallen<'a> {
    pub(super) repeat: Repeat,
    pub(super) verdict: &'a Verdict,
    /// It timed out, or failed late.
    pub(super) slow: bool,
    pub(super) ended: Ended,
    /// When the first call passes at its endpoint again, where that cools.
    pub(super) back: Option<Time>,
}

/// Whether it takes no token to move on to another endpoint. Nobody has this call's load where it was not sent, or where the
/// answer proves that it was not worked on; and an endpoint that cools is to lose its load.
pub(super) fn moves_free(fallen: &Fallen<'_>) -> bool {
    match fallen.ended.ending {
        Ending::Unsent(_) => true,
        Ending::Answered(_) => fallen.back.is_some() || fallen.verdict.unprocessed,
        Ending::Unprocessed
        | Ending::Lost(_)
        | Ending::CallerDeadline
        | Ending::CallerStalled { .. }
        | Ending::CallerLeft { .. } => false,
    }
}
