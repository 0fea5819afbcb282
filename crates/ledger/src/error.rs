//! There are three kinds of "no", and three types: a refusal is the ledger's own, a store's error is the database's,
//! and a misuse is the caller's mistake.

use std::error::Error as StdError;
use std::fmt;

/// The ledger said no. In a transaction this means that it has to roll back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// The key was recorded before, with another request.
    KeyConflict,
    /// The action is being cancelled, or was cancelled: its deadline passed, or somebody asked for it.
    TooLate,
    /// It is not known yet whether it took effect.
    NotKnown,
    /// It did not take effect, and will not.
    Failed,
    /// It is settled. Only a caller that can undo the settled business row as well may undo it.
    Settled,
    /// There is no such action.
    NotFound,
    /// Only a stuck action can be retried or resolved.
    NotStuck,
    /// Another worker is working on it.
    InProgress,
}

impl Refusal {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Refusal::KeyConflict => "key-conflict",
            Refusal::TooLate => "too-late",
            Refusal::NotKnown => "not-known",
            Refusal::Failed => "failed",
            Refusal::Settled => "settled",
            Refusal::NotFound => "not-found",
            Refusal::NotStuck => "not-stuck",
            Refusal::InProgress => "in-progress",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A mistake of the caller. Nothing was written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Misuse {
    /// Something is longer than it may be.
    TooLarge {
        /// What is too long.
        what: &'static str,
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        most: usize,
    },
    /// A name is empty.
    Empty {
        /// Which name.
        what: &'static str,
    },
    /// A name holds a control character.
    ControlCharacter {
        /// Which name.
        what: &'static str,
    },
    /// A scope without members, or with more than the bound.
    ScopeSize {
        /// Its size.
        size: u32,
        /// The most members that it may have.
        most: u32,
    },
    /// The scope was recorded before with another size.
    ScopeChanged {
        /// The size it has.
        size: u32,
    },
    /// No such operation was declared.
    UnknownOperation {
        /// The dependency.
        dependency: String,
        /// The operation.
        operation: String,
    },
    /// A setting contradicts another one.
    Setting(String),
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Misuse::TooLarge { what, bytes, most } => {
                write!(f, "the {what} has {bytes} bytes; at most {most} are recorded")
            }
            Misuse::Empty { what } => write!(f, "the {what} is empty"),
            Misuse::ControlCharacter { what } => write!(f, "the {what} holds a control character"),
            Misuse::ScopeSize { size, most } => write!(f, "a scope of {size}; it has 1 to {most} members"),
            Misuse::ScopeChanged { size } => write!(f, "the scope was recorded with {size} members before"),
            Misuse::UnknownOperation { dependency, operation } => {
                write!(f, "no operation `{operation}` of `{dependency}` was declared")
            }
            Misuse::Setting(text) => f.write_str(text),
        }
    }
}

impl StdError for Misuse {}

/// What an error of the database means for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// The database cannot be reached, or went away in the middle. What was written may stand or not: read it before
    /// writing again.
    Away,
    /// Another transaction holds what was wanted. Nothing was changed; a later try may work.
    Busy,
    /// The database refused the transaction in favour of another one (40001, 40P01). Nothing was changed; run it again.
    Again,
    /// The database refused. Nothing was changed, and the same statement will be refused again.
    Refused,
    /// A row or the schema is not of this version.
    Foreign,
}

/// The database failed or refused.
#[derive(Debug)]
pub struct StoreError {
    trouble: Trouble,
    source: Box<dyn StdError + Send + Sync>,
}

impl StoreError {
    /// An error with this meaning.
    #[must_use]
    pub fn new(trouble: Trouble, source: impl Into<Box<dyn StdError + Send + Sync>>) -> StoreError {
        StoreError { trouble, source: source.into() }
    }

    /// What it means.
    #[must_use]
    pub fn trouble(&self) -> Trouble {
        self.trouble
    }

    /// The same error for another caller, where one statement carried the writes of many.
    #[must_use]
    pub fn repeated(&self) -> StoreError {
        StoreError::new(self.trouble, self.source.to_string())
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let meaning = match self.trouble {
            Trouble::Away => "the ledger's database cannot be reached",
            Trouble::Busy => "the row is locked by another transaction",
            Trouble::Again => "the database gave way to another transaction",
            Trouble::Refused => "the ledger's database refused",
            Trouble::Foreign => "the ledger's tables are not of this version",
        };
        write!(f, "{meaning}: {}", self.source)
    }
}

impl StdError for StoreError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(self.source.as_ref())
    }
}

/// Why the ledger did not do what it was asked for.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The ledger refused.
    Refused(Refusal),
    /// It was the caller's mistake.
    Misused(Misuse),
    /// The database failed.
    Store(StoreError),
    /// A handler of the application failed; its transaction was rolled back.
    Handler(Box<dyn StdError + Send + Sync>),
}

impl Error {
    /// The ledger's own refusal, if it is one.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Error::Refused(refusal) => Some(*refusal),
            Error::Misused(_) | Error::Store(_) | Error::Handler(_) => None,
        }
    }

    /// What the database's error means, if it is one.
    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        match self {
            Error::Store(e) => Some(e.trouble()),
            Error::Refused(_) | Error::Misused(_) | Error::Handler(_) => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Refused(refusal) => write!(f, "refused by the ledger: {refusal}"),
            Error::Misused(misuse) => misuse.fmt(f),
            Error::Store(e) => e.fmt(f),
            Error::Handler(e) => write!(f, "the handler failed: {e}"),
        }
    }
}

impl StdError for Error {}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        Error::Refused(refusal)
    }
}

impl From<Misuse> for Error {
    fn from(misuse: Misuse) -> Error {
        Error::Misused(misuse)
    }
}

impl From<StoreError> for Error {
    fn from(e: StoreError) -> Error {
        Error::Store(e)
    }
}
