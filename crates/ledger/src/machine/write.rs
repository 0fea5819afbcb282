//! One change of a row, as a store executes it.

use super::{Stamp, State};

/// What an attempt is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttemptKind {
    /// It performs the action.
    Perform,
    /// It asks the provider what became of the action.
    Confirm,
    /// It undoes the action.
    Cancel,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttemptOutcome {
    /// It has not ended, as far as we know.
    Open,
    /// It is proved that no byte was sent.
    NotSent,
    /// The provider said yes.
    Yes,
    /// The provider said no.
    No,
    /// It is not known what the provider did.
    Unknown,
}

/// A line of the attempt log. It is written before the first byte is sent, and completed when the attempt has ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AttemptRow {
    /// What the attempt is for.
    pub kind: AttemptKind,
    /// The number of the line within its action, from 1. A number is never used twice.
    pub number: u32,
    /// The generation of the cancel key; 0 if the line is no cancel.
    pub generation: u32,
    /// The fence number of the claim under which it was recorded.
    pub fence: u64,
    /// When it was recorded.
    pub recorded_at: Stamp,
    /// The first byte is sent before this time, or nothing is sent.
    pub send_by: Stamp,
    /// Whether it was recorded after the quiet time of all earlier perform attempts, so that none of them could still
    /// arrive.
    pub after_quiet: bool,
    /// When its end was recorded; `None` while it has not ended.
    pub ended_at: Option<Stamp>,
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// The HTTP status or another status code of the provider, if there is one.
    pub status: Option<u16>,
    /// What went wrong, in words, without secrets.
    pub detail: Option<String>,
}

/// A compare-and-set of one row. All of it is written if the row still has the version `from`, and otherwise nothing.
#[must_use = "a change that no store has taken has not happened"]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Write {
    /// The version that the row must have.
    pub from: u64,
    /// The row after the change. Its version is `from + 1`.
    pub to: State,
    /// A line of the attempt log. It is inserted, or it replaces the line with the same number.
    pub attempt: Option<AttemptRow>,
    /// Whether the other members of the scope are to be cancelled. A later transaction may do that: none of the members
    /// can settle any more, and a member that is missed is cancelled when its worker tries to settle.
    pub breaks_scope: bool,
}
