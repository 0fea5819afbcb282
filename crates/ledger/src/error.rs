//! The errors of the ledger, which are of three types: a [`Refusal`] is the ledger's own "no", a [`StoreError`] comes
//! from the database, and a [`Misuse`] is a mistake of the caller.

use std::error::Error as StdError;
use std::fmt;

use seawall_policy::Misuse;

/// The reason why the ledger refused. If the ledger refuses in a transaction, that transaction has to roll back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// The key is already recorded with another request.
    KeyConflict,
    /// The action is being cancelled, or was cancelled: the time in which it had to be settled was over, or somebody
    /// cancelled it.
    TooLate,
    /// It is not yet known whether the action took effect.
    NotKnown,
    /// The action did not take effect, and never will.
    Failed,
    /// The application has settled the action already, for example together with a row that says "this order is paid".
    /// Such an action can be cancelled only in the transaction that also changes that row back.
    Settled,
    /// There is no such action.
    NotFound,
    /// Only a stuck action can be retried or resolved.
    NotStuck,
    /// The action has changed since the caller looked at it, so the change was not made. Look again.
    Changed,
    /// A newer version of the program wrote this action, and only a program of that version may change it.
    NeedsNewer,
    /// Other writers changed the action so often that this change could not be written. Try again.
    InProgress,
}

impl Refusal {
    /// Returns the word for this refusal.
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
            Refusal::Changed => "changed",
            Refusal::NeedsNewer => "needs-newer",
            Refusal::InProgress => "in-progress",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an error of the database means for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Trouble {
    /// The database could not be reached, or the connection was lost during the statement. It is not known whether the
    /// write was made, so read the row before writing again.
    Away,
    /// Another transaction holds the row or the file, or all connections or places for transactions were in use for too
    /// long. Nothing was changed. The same write may succeed later.
    Busy,
    /// The database refused the transaction in favour of another one (SQLSTATE 40001 or 40P01). Nothing was changed.
    /// Run the transaction again.
    Again,
    /// The database refused the statement. Nothing was changed, and the database would refuse the statement again.
    Refused,
    /// The row or the schema was written by another version of the program, so this version cannot read it.
    Foreign,
}

/// An error of the database. The database failed, could not be reached, or refused a statement.
#[derive(Debug)]
pub struct StoreError {
    trouble: Trouble,
    doubt: bool,
    /// What the message says of the trouble, if it is not what it says of the kind of trouble.
    meaning: Option<&'static str>,
    source: Box<dyn StdError + Send + Sync>,
}

impl StoreError {
    /// Makes an error with the meaning `trouble`, from the error that caused it.
    #[must_use]
    pub fn new(trouble: Trouble, source: impl Into<Box<dyn StdError + Send + Sync>>) -> StoreError {
        StoreError { trouble, doubt: false, meaning: None, source: source.into() }
    }

    /// Makes the error for a value that this version of the program does not know. `what` names the kind of value.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(crate) fn foreign(what: &str, found: &str) -> StoreError {
        StoreError::new(Trouble::Foreign, format!("`{found}` is no {what} that this version knows"))
    }

    /// Makes the error for a URL that cannot be used. `said` must not have a part of a password.
    #[cfg(feature = "postgres")]
    pub(crate) fn of_url(said: &str) -> StoreError {
        let meaning = Some("the URL of the ledger's database is wrong");
        StoreError { meaning, ..StoreError::new(Trouble::Refused, said) }
    }

    /// Returns this error with the note that nobody knows whether the COMMIT of its transaction has worked: the COMMIT
    /// was sent and not answered, or it failed while SQLite wrote the database's file. [`StoreError::in_doubt`] then
    /// returns true.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(crate) fn after_commit(self) -> StoreError {
        StoreError { doubt: true, ..self }
    }

    /// Returns whether the writes may have been committed although this error was returned: the COMMIT was sent and its
    /// answer was lost, or the COMMIT failed while SQLite wrote the database's file.
    #[must_use]
    pub fn in_doubt(&self) -> bool {
        self.doubt
    }

    /// Returns what the error means for the caller.
    #[must_use]
    pub fn trouble(&self) -> Trouble {
        self.trouble
    }

    /// Returns the message of the error that caused this one, such as the database's own message.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(crate) fn said(&self) -> String {
        self.source.to_string()
    }

    /// Returns a copy of this error. If one statement carried the writes of several callers, each of them gets a copy.
    #[must_use]
    pub fn repeated(&self) -> StoreError {
        StoreError {
            doubt: self.doubt,
            meaning: self.meaning,
            ..StoreError::new(self.trouble, self.source.to_string())
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let meaning = match self.trouble {
            Trouble::Away => "the ledger's database cannot be reached",
            Trouble::Busy => "the ledger's database is busy",
            Trouble::Again => "the database gave way to another transaction",
            Trouble::Refused => "the ledger's database refused",
            Trouble::Foreign => "the ledger's tables are not of this version",
        };
        write!(f, "{}: {}", self.meaning.unwrap_or(meaning), self.source)
    }
}

impl StdError for StoreError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(self.source.as_ref())
    }
}

/// The reason why a call to the ledger failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The ledger refused for this reason.
    Refused(Refusal),
    /// The caller made a mistake.
    Misused(Misuse),
    /// The database failed or refused.
    Store(StoreError),
    /// A handler of the application failed, and its transaction was rolled back.
    Handler(Box<dyn StdError + Send + Sync>),
}

impl Error {
    /// Returns the reason, if the ledger itself refused, and `None` for every other error.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Error::Refused(refusal) => Some(*refusal),
            Error::Misused(_) | Error::Store(_) | Error::Handler(_) => None,
        }
    }

    /// Returns what the error means for the caller, if the error comes from the database, and `None` for every other
    /// error.
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
