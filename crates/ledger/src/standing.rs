//! Where an action stands, in one word.

use crate::machine::{End, Known, State};

/// The standing of an action: whether it is open, and otherwise how it ended. Lists and counts use these words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// The action has not ended. In a filter, this includes the actions whose effect is unknown.
    Open,
    /// The action has not ended, and it is not known whether it took effect.
    Unknown,
    /// No rule says how to go on, so a person must look at it.
    Stuck,
    /// The action is applied, and the application has settled it.
    Done,
    /// The action is not applied.
    Failed,
    /// The action was undone, or never done.
    Cancelled,
}

impl Standing {
    /// All standings.
    pub const ALL: [Standing; 6] = [
        Standing::Open,
        Standing::Unknown,
        Standing::Stuck,
        Standing::Done,
        Standing::Failed,
        Standing::Cancelled,
    ];

    /// Returns the word for this standing.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Standing::Open => "open",
            Standing::Unknown => "unknown",
            Standing::Stuck => "stuck",
            Standing::Done => "done",
            Standing::Failed => "failed",
            Standing::Cancelled => "cancelled",
        }
    }

    /// Returns the standing with this word; `None` if there is none.
    #[must_use]
    pub fn named(word: &str) -> Option<Standing> {
        Standing::ALL.into_iter().find(|standing| standing.as_str() == word)
    }

    /// Returns the standing of a row with this state.
    #[must_use]
    pub fn of(state: &State) -> Standing {
        match state.end() {
            None if state.known() == Known::Unknown => Standing::Unknown,
            None => Standing::Open,
            Some(End::Stuck) => Standing::Stuck,
            Some(End::Done) => Standing::Done,
            Some(End::Failed) => Standing::Failed,
            Some(End::Cancelled) => Standing::Cancelled,
        }
    }
}
