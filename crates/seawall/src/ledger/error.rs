//! The type [`ActionError`]: why the ledger could not do what the application asked of it.

use std::error::Error as StdError;
use std::fmt;

use seawall_ledger::{Error as LedgerError, Refusal, Trouble};
use seawall_policy::{Effect, Origin, Reason};

/// The error of an action that could not be recorded, run, settled or cancelled. An action that failed at the provider
/// is no such error, but an [`super::Outcome`].
///
/// If this error comes while a transaction of the caller is open, roll the transaction back.
#[derive(Debug)]
pub struct ActionError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    effect: Effect,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Ledger(LedgerError),
    /// The task holds a connection of a pool that denies external calls.
    Held(crate::error::Error),
    /// The body cannot be recorded, for this reason.
    Body(String),
}

impl ActionError {
    /// Returns what is known of the action's effect. [`Effect::Unknown`] means that the database failed after the
    /// action was recorded; the worker goes on with the action.
    #[must_use]
    pub fn effect(&self) -> Effect {
        self.0.effect
    }

    /// Returns the reason, as a word that `seawall explain` explains; `None` if there is no word for this error.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        match &self.0.kind {
            Kind::Held(error) => error.reason(),
            Kind::Body(_) | Kind::Ledger(LedgerError::Misused(_)) => Some(Reason::BadRequest),
            Kind::Ledger(LedgerError::Store(_)) => Some(Reason::LedgerUnavailable),
            Kind::Ledger(LedgerError::Refused(Refusal::KeyConflict)) => Some(Reason::KeyConflict),
            Kind::Ledger(LedgerError::Refused(Refusal::InProgress)) => Some(Reason::InProgress),
            Kind::Ledger(_) => None,
        }
    }

    /// Returns the party from which the error comes. An error without a reason comes from the caller.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.reason().map_or(Origin::Caller, Reason::origin)
    }

    /// Returns the refusal, if the ledger itself refused (for example because it is too late, or because the effect is
    /// not known yet). `None` for every other error.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        match &self.0.kind {
            Kind::Ledger(error) => error.refusal(),
            Kind::Held(_) | Kind::Body(_) => None,
        }
    }

    /// Returns the kind of trouble that the database had; `None` if the database was not the cause. With
    /// [`Trouble::Again`], run the transaction again.
    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        match &self.0.kind {
            Kind::Ledger(error) => error.trouble(),
            Kind::Held(_) | Kind::Body(_) => None,
        }
    }

    /// Makes the error of a request to the ledger that failed before anything was sent to the provider.
    pub(super) fn before(error: LedgerError) -> ActionError {
        ActionError(Box::new(Inner { effect: Effect::NotApplied, kind: Kind::Ledger(error) }))
    }

    /// Makes the error of an action whose call may be under way.
    pub(super) fn under_way(error: LedgerError) -> ActionError {
        let effect = match &error {
            LedgerError::Store(_) => Effect::Unknown,
            _ => Effect::NotApplied,
        };
        ActionError(Box::new(Inner { effect, kind: Kind::Ledger(error) }))
    }

    pub(super) fn held(error: crate::error::Error) -> ActionError {
        ActionError(Box::new(Inner { effect: Effect::NotApplied, kind: Kind::Held(error) }))
    }

    pub(super) fn body(why: impl Into<String>) -> ActionError {
        ActionError(Box::new(Inner { effect: Effect::NotApplied, kind: Kind::Body(why.into()) }))
    }
}

impl fmt::Display for ActionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.kind {
            Kind::Ledger(error) => error.fmt(f),
            Kind::Held(error) => error.fmt(f),
            Kind::Body(why) => write!(f, "the body cannot be recorded: {why}"),
        }
    }
}

/// Makes the error of one of the ledger's own functions, such as [`super::Ledger::list`]. If the database failed, the
/// effect is unknown, because the function may have been one that makes a call.
impl From<LedgerError> for ActionError {
    fn from(error: LedgerError) -> ActionError {
        ActionError::under_way(error)
    }
}

impl StdError for ActionError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.0.kind {
            Kind::Ledger(error) => Some(error),
            Kind::Held(error) => Some(error),
            Kind::Body(_) => None,
        }
    }
}
