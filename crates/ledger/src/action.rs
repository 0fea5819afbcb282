//! What is recorded of an action, and how large it may be.
//!
//! Sizes are checked before anything is written. Otherwise a row that one store takes and another one cuts, or that
//! fits the table but not an index, would fail inside the caller's transaction, at the worst moment.

use std::fmt;

use uuid::Uuid;

use crate::error::Misuse;
use crate::machine::{AttemptRow, Scope, Stamp, State};

/// An action's name in the ledger: a UUID of version 7, which is made where the action is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActionId(Uuid);

impl ActionId {
    /// A new id. To the millisecond, later ids sort after earlier ones.
    #[must_use]
    pub fn new() -> ActionId {
        ActionId(Uuid::now_v7())
    }

    /// The id with these bits.
    #[must_use]
    pub const fn from_u128(bits: u128) -> ActionId {
        ActionId(Uuid::from_u128(bits))
    }

    /// Its bits.
    #[must_use]
    pub const fn as_u128(self) -> u128 {
        self.0.as_u128()
    }

    /// Reads an id as [`fmt::Display`] writes it.
    #[must_use]
    pub fn parse(text: &str) -> Option<ActionId> {
        Uuid::try_parse(text).ok().map(ActionId)
    }

    /// The lowest id that can be made at `at` or later.
    #[must_use]
    pub fn lowest_at(at: Stamp) -> ActionId {
        let millis = u128::try_from(at.as_micros().max(0) / 1000).unwrap_or(0);
        ActionId::from_u128((millis & 0xffff_ffff_ffff) << 80)
    }
}

impl Default for ActionId {
    fn default() -> Self {
        ActionId::new()
    }
}

impl fmt::Display for ActionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An action as its caller states it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAction {
    /// The name of the dependency in the configuration.
    pub dependency: String,
    /// The name of the operation there.
    pub operation: String,
    /// The name of the action, for the provider and for the caller. It is unique within a dependency.
    pub key: String,
    /// What is sent, in the form that the remote understands. It is kept and sent unchanged, and holds no credentials.
    pub request: Vec<u8>,
    /// The actions with which this one settles, if there are any.
    pub scope: Option<Scope>,
}

impl NewAction {
    /// An action that settles alone.
    #[must_use]
    pub fn new(
        dependency: impl Into<String>,
        operation: impl Into<String>,
        key: impl Into<String>,
        request: impl Into<Vec<u8>>,
    ) -> NewAction {
        NewAction {
            dependency: dependency.into(),
            operation: operation.into(),
            key: key.into(),
            request: request.into(),
            scope: None,
        }
    }

    /// An action that settles together with others: `size` actions have the scope `name`.
    #[must_use]
    pub fn in_scope(mut self, name: impl Into<String>, size: u32) -> NewAction {
        self.scope = Some(Scope { name: name.into(), size });
        self
    }
}

/// How large what is recorded may be. Begin with the defaults, and change what has to be different.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sizes {
    /// The most bytes of a key, and of a scope's name. Default 255: no provider takes more, and it fits every index.
    pub key: usize,
    /// The most bytes of a dependency's or an operation's name. Default 100.
    pub name: usize,
    /// The most bytes of a request. Default 1 MiB: it is read and written with the row.
    pub request: usize,
    /// The most bytes of an answer that is kept. Default 256 KiB. A longer answer is not kept at all, since one half of
    /// it would be read wrongly.
    pub answer: usize,
    /// The most members of a scope. Default 64: all of them are locked together.
    pub scope: u32,
}

impl Default for Sizes {
    fn default() -> Self {
        Sizes { key: 255, name: 100, request: 1 << 20, answer: 256 << 10, scope: 64 }
    }
}

impl Sizes {
    /// Checks whether `new` fits. The error says what does not fit, and how large it is.
    pub fn check(&self, new: &NewAction) -> Result<(), Misuse> {
        word("dependency", &new.dependency, self.name)?;
        word("operation", &new.operation, self.name)?;
        word("key", &new.key, self.key)?;
        if new.request.len() > self.request {
            return Err(Misuse::TooLarge { what: "request", bytes: new.request.len(), most: self.request });
        }
        let Some(scope) = &new.scope else { return Ok(()) };
        word("scope", &scope.name, self.key)?;
        if scope.size == 0 || scope.size > self.scope {
            return Err(Misuse::ScopeSize { size: scope.size, most: self.scope });
        }
        Ok(())
    }
}

fn word(what: &'static str, text: &str, most: usize) -> Result<(), Misuse> {
    if text.is_empty() {
        return Err(Misuse::Empty { what });
    }
    if text.len() > most {
        return Err(Misuse::TooLarge { what, bytes: text.len(), most });
    }
    if text.chars().any(char::is_control) {
        return Err(Misuse::ControlCharacter { what });
    }
    Ok(())
}

/// An action as it stands in the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// Its name in the ledger.
    pub id: ActionId,
    /// The name of the dependency.
    pub dependency: String,
    /// The name of the operation there.
    pub operation: String,
    /// Its key.
    pub key: String,
    /// The actions with which it settles, if there are any.
    pub scope: Option<Scope>,
    /// What is sent.
    pub request: Vec<u8>,
    /// When it was recorded, on the database's clock.
    pub created_at: Stamp,
    /// Everything of it that changes.
    pub state: State,
}

impl Action {
    /// The same action in another state.
    pub(crate) fn in_state(&self, state: State) -> Action {
        Action {
            id: self.id,
            dependency: self.dependency.clone(),
            operation: self.operation.clone(),
            key: self.key.clone(),
            scope: self.scope.clone(),
            request: self.request.clone(),
            created_at: self.created_at,
            state,
        }
    }

    /// The key of its cancel in the current generation. One key asks one question and gets one definite answer.
    #[must_use]
    pub fn cancel_key(&self) -> String {
        format!("{}:c:{}", self.key, self.state.cancel_gen)
    }

    /// Whether `new` says the same as this action, so that recording it again gives this one.
    #[must_use]
    pub fn is_of(&self, new: &NewAction) -> bool {
        self.dependency == new.dependency
            && self.operation == new.operation
            && self.key == new.key
            && self.request == new.request
            && self.scope == new.scope
    }
}

/// A line of the audit trail: who changed an action by hand, how, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// When, on the database's clock.
    pub at: Stamp,
    /// A person, the name of a token, or a program.
    pub who: String,
    /// What was done, in one word: `retry`, `resolve`, `observe`, `orphan`.
    pub what: String,
    /// The reason given.
    pub why: String,
}

/// An action with its whole story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Story {
    /// The action.
    pub action: Action,
    /// Its attempts, in the order of their recording.
    pub attempts: Vec<AttemptRow>,
    /// What people did with it.
    pub marks: Vec<Mark>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_refused_with_what_and_how_far() {
        let sizes = Sizes::default();
        let fits = NewAction::new("pay", "charge", "k", b"{}".to_vec());
        assert_eq!(sizes.check(&fits), Ok(()));

        let long_key = NewAction { key: "k".repeat(256), ..fits.clone() };
        assert_eq!(sizes.check(&long_key), Err(Misuse::TooLarge { what: "key", bytes: 256, most: 255 }));
        let long_request = NewAction { request: vec![0; (1 << 20) + 1], ..fits.clone() };
        assert!(matches!(sizes.check(&long_request), Err(Misuse::TooLarge { what: "request", .. })));
        let long_scope = fits.clone().in_scope("s".repeat(300), 2);
        assert!(matches!(sizes.check(&long_scope), Err(Misuse::TooLarge { what: "scope", .. })));
        assert_eq!(sizes.check(&fits.clone().in_scope("s", 0)), Err(Misuse::ScopeSize { size: 0, most: 64 }));
        let no_key = NewAction { key: String::new(), ..fits.clone() };
        assert_eq!(sizes.check(&no_key), Err(Misuse::Empty { what: "key" }));
        let nul = NewAction { key: "a\0b".to_owned(), ..fits };
        assert_eq!(sizes.check(&nul), Err(Misuse::ControlCharacter { what: "key" }));
    }

    #[test]
    fn ids_made_later_sort_later_and_can_be_bounded_by_time() {
        let at = Stamp::from_micros(1_700_000_000_000_000);
        let bound = ActionId::lowest_at(at);
        assert!(ActionId::lowest_at(Stamp::from_micros(1_699_999_999_999_000)) < bound);
        assert!(ActionId::new() > bound);
        assert_eq!(ActionId::parse(&bound.to_string()), Some(bound));
    }
}
