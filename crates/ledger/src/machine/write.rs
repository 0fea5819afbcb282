//! One change of a row, as a store executes it.

use super::{Stamp, State};

/// The purpose of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttemptKind {
    /// The attempt performs the action.
    Perform,
    /// The attempt asks the provider what became of the action.
    Confirm,
    /// The attempt undoes the action.
    Cancel,
}

/// The outcome of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttemptOutcome {
    /// The attempt has not ended, as far as the ledger knows.
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

/// A line of the attempt log. The line of a perform or a cancel is written before the first byte is sent, and completed
/// when the attempt has ended. The line of a question is written when the question has ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AttemptRow {
    /// The purpose of the attempt.
    pub kind: AttemptKind,
    /// The number of the line within its action, from 1. A number is never used twice.
    pub number: u32,
    /// The generation of the cancel's key, a number that grows with each new key; 0 if the attempt is no cancel.
    pub generation: u32,
    /// The number of the claim under which the attempt was recorded. Each claim of a row has a new number, its fence.
    pub fence: u64,
    /// When the attempt was recorded. For a question, when it was asked.
    pub recorded_at: Stamp,
    /// The time before which the first byte is sent; at this time and later nothing is sent.
    pub send_by: Stamp,
    /// Whether the attempt was recorded after the quiet time of all earlier perform attempts, so that none of them
    /// could still arrive.
    pub after_quiet: bool,
    /// When the end of the attempt was recorded; `None` while it has not ended.
    pub ended_at: Option<Stamp>,
    /// The outcome of the attempt.
    pub outcome: AttemptOutcome,
    /// The HTTP status or another status code of the provider; `None` if there is none.
    pub status: Option<u16>,
    /// What went wrong, in words, without secrets. `None` if nothing is to be said.
    pub detail: Option<String>,
    /// The body of a refusal; `None` if the attempt was not refused, or if the body was too long to be kept.
    pub answer: Option<Vec<u8>>,
}

/// A compare-and-set of one row. If the row still has the version `from`, the whole change is written, and otherwise
/// nothing. Only the machine makes such a change.
#[must_use = "a change that no store has taken has not happened"]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Write {
    pub(super) from: u64,
    pub(super) to: State,
    pub(super) attempt: Option<AttemptRow>,
    pub(super) breaks_scope: bool,
    pub(super) names: Option<SentKey>,
}

impl Write {
    /// Returns the version that the row must have for the change to be written.
    pub fn from(&self) -> u64 {
        self.from
    }

    /// Returns the row after the change. Its version is [`Write::from`] plus 1.
    pub fn to(&self) -> &State {
        &self.to
    }

    /// Returns the line of the attempt log that is written with the change; `None` if there is none. The line is
    /// inserted. If the action has a line with the same number, that line is replaced.
    pub fn attempt(&self) -> Option<&AttemptRow> {
        self.attempt.as_ref()
    }

    /// Returns whether this change makes it impossible to settle the scope of the action, so that the other actions of
    /// the scope must be cancelled. The store cancels them in a later transaction. This does no harm, since none of
    /// them can settle any more. If the store misses an action, the worker of that action notices it when it tries to
    /// settle the scope, and cancels the action.
    pub fn breaks_scope(&self) -> bool {
        self.breaks_scope
    }

    /// Returns the key under which the action will be sent, if this change decides it; `None` if it does not.
    pub fn names(&self) -> Option<&SentKey> {
        self.names.as_ref()
    }
}

/// The key under which an action is sent, as the ledger keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SentKey {
    /// The key that is sent; `None` if the caller's key is sent as it is.
    pub mapped: Option<String>,
    /// The salt with which the key was made: a number from which a mapped key is computed, together with the caller's
    /// key.
    pub salt: u32,
}

/// A line of the attempt log that is completed without a change of the action's row, because the answer came too late
/// to change the row. Only the machine makes such a line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Evidence(pub(super) AttemptRow);

impl Evidence {
    /// Returns the line of the attempt log.
    #[must_use]
    pub fn line(&self) -> &AttemptRow {
        &self.0
    }
}
