//! One change of a row, as a store executes it.

use super::{Stamp, State};

/// What an attempt is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttemptKind {
    /// It performs.
    Perform,
    /// It asks.
    Confirm,
    /// It undoes.
    Cancel,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttemptOutcome {
    /// It has not ended, as far as we know.
    Open,
    /// It is proved that nothing was sent.
    NotSent,
    /// The provider said yes.
    Yes,
    /// The provider said no.
    No,
    /// It is not known.
    Unknown,
}

/// A line of the attempt log. It is written before the first byte is sent, and completed when the attempt has ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AttemptRow {
    /// What it is for.
    pub kind: AttemptKind,
    /// Its number among all attempts of this action, from 1. A number is never used twice.
    pub number: u32,
    /// The generation of the cancel key; 0 for others.
    pub generation: u32,
    /// The fence under which it was recorded.
    pub fence: u64,
    /// When it was recorded.
    pub recorded_at: Stamp,
    /// Its first byte is sent before this time, or not at all.
    pub send_by: Stamp,
    /// It was recorded after the quiet time of all earlier perform attempts, so none of them was still on its way.
    pub after_quiet: bool,
    /// When its end was written.
    pub ended_at: Option<Stamp>,
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// The provider's status, where it has one.
    pub status: Option<u16>,
    /// What went wrong, in words, without secrets.
    pub detail: Option<String>,
}

/// A compare-and-set of one row. It is taken whole, if the row still has the version `from`.
#[must_use = "a change that no store has taken has not happened"]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Write {
    /// The version that the row must have.
    pub from: u64,
    /// The row as it will be; its version is `from + 1`.
    pub to: State,
    /// A line of the attempt log: it is inserted, or replaces the line with its number.
    pub attempt: Option<AttemptRow>,
    /// Whether the other members of its scope are to be cancelled, too. A separate transaction after this one may do
    /// that: none of them can settle any more, and a member that is missed finds out when it tries.
    pub breaks_scope: bool,
}
