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
    /// It has not, as far as we know.
    Open,
    /// Provably nothing was sent.
    NotSent,
    /// The provider said yes.
    Yes,
    /// The provider said no.
    No,
    /// Nobody knows.
    Unknown,
}

/// A line of the attempt log: written before the first byte leaves, completed when it ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AttemptRow {
    /// What it is for.
    pub kind: AttemptKind,
    /// Its number among the attempts of this action, of every kind, from 1; never used twice.
    pub number: u32,
    /// The generation of the cancel key; 0 for others.
    pub generation: u32,
    /// The fence under which it was recorded.
    pub fence: u64,
    /// When it was recorded.
    pub recorded_at: Stamp,
    /// Its first byte leaves before this, or not at all.
    pub send_by: Stamp,
    /// It was recorded after the quiet time of all earlier perform attempts: none of them was still on its way.
    pub after_quiet: bool,
    /// When its end was written.
    pub ended_at: Option<Stamp>,
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// The provider's status, where it has one.
    pub status: Option<u16>,
    /// What went wrong, in words; no secrets.
    pub detail: Option<String>,
}

/// A compare-and-set of one row: taken if the row still has version `from`, and then whole.
#[must_use = "a change that no store has taken has not happened"]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Write {
    /// The version that the row must have.
    pub from: u64,
    /// The row as it will be; its version is `from + 1`.
    pub to: State,
    /// A line of the attempt log to insert, or to replace where its number exists.
    pub attempt: Option<AttemptRow>,
    /// The other members of its scope shall be cancelled, too. A separate transaction after this one may do that: none of
    /// them can settle any more, and one that is missed finds out when it tries.
    pub breaks_scope: bool,
}
