//! The errors of the ledger have three types. A refusal is the ledger's own "no", a store's error comes from the
//! database, and a misuse is a mistake of the caller.

use std::error::Error as StdError;
use std::fmt;

/// The ledger said no. If this happens in a transaction, the transaction has to roll back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// The key was recorded before, with another request.
    KeyConflict,
    /// The action is being cancelled, or was cancelled, since its deadline had passed or somebody asked for it.
    TooLate,
    /// It is not known yet whether the action took effect.
    NotKnown,
    /// The action did not take effect, and will not.
    Failed,
    /// The action is settled. It can be cancelled only in a transaction that also takes the business row back.
    Settled,
    /// There is no such action.
    NotFound,
    /// Only a stuck action can be retried or resolved.
    NotStuck,
    /// Other writers changed the action again and again, so that this change could not be written.
    InProgress,
}

impl Refusal {
    /// The word for this refusal.
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
    /// Something is larger than allowed.
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size in bytes.
        bytes: usize,
        /// The most bytes that are allowed.
        most: usize,
    },
    /// A name must not be empty.
    Empty {
        /// Which name.
        what: &'static str,
    },
    /// A name must not contain a control character.
    ControlCharacter {
        /// Which name.
        what: &'static str,
    },
    /// A scope has no members, or more members than allowed.
    ScopeSize {
        /// Its size.
        size: u32,
        /// The most members that it may have.
        most: u32,
    },
    /// The scope was recorded before, with another size.
    ScopeChanged {
        /// The size with which the scope was recorded.
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
    /// The database could not be reached, or the connection was lost in the middle. It is not known whether the write
    /// was made, so read the row before writing again.
    Away,
    /// Another transaction holds the row. Nothing was changed. A later try may succeed.
    Busy,
    /// The database refused the transaction in favour of another one (40001, 40P01). Nothing was changed; run it again.
    Again,
    /// The database refused. Nothing was changed, and the same statement will be refused again.
    Refused,
    /// The row or the schema was written by another version of the program.
    Foreign,
}

/// The database failed or refused.
#[derive(Debug)]
pub struct StoreError {
    trouble: Trouble,
    source: Box<dyn StdError + Send + Sync>,
}

impl StoreError {
    /// Makes an error with this meaning, from the error that caused it.
    #[must_use]
    pub fn new(trouble: Trouble, source: impl Into<Box<dyn StdError + Send + Sync>>) -> StoreError {
        StoreError { trouble, source: source.into() }
    }

    /// What the error means for the caller.
    #[must_use]
    pub fn trouble(&self) -> Trouble {
        self.trouble
    }

    /// The same error once more. It is used when one statement carried the writes of several callers.
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
    /// The caller made a mistake.
    Misused(Misuse),
    /// The database failed.
    Store(StoreError),
    /// A handler of the application failed, and its transaction was rolled back.
    Handler(Box<dyn StdError + Send + Sync>),
}

impl Error {
    /// The refusal, if the ledger itself refused. `None` for every other error.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Error::Refused(refusal) => Some(*refusal),
            Error::Misused(_) | Error::Store(_) | Error::Handler(_) => None,
        }
    }

    /// What the error means for the caller, if it comes from the database. `None` for every other error.
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
