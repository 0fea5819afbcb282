//! The record of an action, and the limits on its size.
//!
//! Sizes are checked before anything is written. Otherwise a row could be too large for one of the databases or for an
//! index, and the database would report that error only inside the caller's transaction.

use std::fmt;

use seawall_policy::Misuse;
use uuid::Uuid;

use crate::machine::{AttemptRow, Naming, Origin, Scope, SentKey, Stamp, State};
use crate::prints::{Prints, Same};
use crate::reconcile::Amount;
use crate::standing::Standing;

/// The id of an action in the ledger: a UUID of version 7. It is made when the action is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActionId(Uuid);

impl ActionId {
    /// Makes a new id. Ids sort by the time at which they were made, to the millisecond.
    #[must_use]
    pub fn new() -> ActionId {
        ActionId(Uuid::now_v7())
    }

    /// Makes an id from its 128 bits.
    #[must_use]
    pub const fn from_u128(bits: u128) -> ActionId {
        ActionId(Uuid::from_u128(bits))
    }

    /// Returns the 128 bits of the id.
    #[must_use]
    pub const fn as_u128(self) -> u128 {
        self.0.as_u128()
    }

    /// Reads an id from the text that [`fmt::Display`] writes. Returns `None` if `text` is no UUID.
    #[must_use]
    pub fn parse(text: &str) -> Option<ActionId> {
        Uuid::try_parse(text).ok().map(ActionId)
    }

    /// Returns the lowest id that can be made at `at` or later.
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

/// An action that is to be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAction {
    /// The name of the dependency in the configuration.
    pub dependency: String,
    /// The name of the operation in that dependency.
    pub operation: String,
    /// The key of the action: the name by which the provider and the caller know it. It is unique within a dependency.
    pub key: String,
    /// The request that is sent, in the form that the remote (the code that sends it) understands. It is kept and sent
    /// unchanged, and holds no credentials.
    pub request: Vec<u8>,
    /// The scope, if the action settles together with other actions; `None` if it settles alone.
    pub scope: Option<Scope>,
    /// The amount of money; `None` if the operation declares none.
    pub amount: Option<Money>,
    /// How a later request under the same key is compared with this one. With `Some`, the two are the same request if
    /// their heads and their bodies are equal; the value says what the head is and where the body begins. With `None`,
    /// they are the same request only if all their bytes are equal.
    pub same: Option<Same>,
    /// The name of the caller that records the action; `None` if callers have no names. Only this caller finds the
    /// action again: the same request of another caller under the same key is a conflict.
    pub client: Option<String>,
}

impl NewAction {
    /// Makes a new action from its four required values. It settles alone, and has no amount and no client name.
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
            amount: None,
            same: None,
            client: None,
        }
    }

    /// Sets the amount of money that the action moves.
    #[must_use]
    pub fn of_amount(mut self, amount: Money) -> NewAction {
        self.amount = Some(amount);
        self
    }

    /// Returns the body of the request. If `same` is `None`, nothing says where the body begins, and the whole request
    /// is returned.
    pub(crate) fn body(&self) -> &[u8] {
        let at = self.same.as_ref().map_or(0, |same| same.body_at);
        self.request.get(at..).unwrap_or_default()
    }

    /// Makes the action settle together with the other actions of the scope `name`. `size` is the number of all actions
    /// in the scope; each of them must be recorded with this name and size.
    #[must_use]
    pub fn in_scope(mut self, name: impl Into<String>, size: u32) -> NewAction {
        self.scope = Some(Scope { name: name.into(), size });
        self
    }
}

/// The limits on the sizes of the values that the ledger records. Begin with [`Sizes::default`], and change single
/// fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sizes {
    /// The maximum number of bytes of a key, of a scope's name and of a client's name. Default 255: no provider takes
    /// more, and every index can hold a key of that length.
    pub key: usize,
    /// The maximum number of bytes of a dependency's or an operation's name. Default 100.
    pub name: usize,
    /// The maximum number of bytes of a request. Default 1 MiB, since the whole request is read and written with the
    /// row.
    pub request: usize,
    /// The maximum number of bytes of an answer that is kept. Default 256 KiB. Nothing is kept of a longer answer,
    /// since a part of the answer could be read wrongly.
    pub answer: usize,
    /// The maximum number of actions in a scope. Default 64, since all actions of a scope are locked together when the
    /// scope settles.
    pub scope: u32,
}

impl Default for Sizes {
    fn default() -> Self {
        Sizes { key: 255, name: 100, request: 1 << 20, answer: 256 << 10, scope: 64 }
    }
}

impl Sizes {
    /// Checks the names and sizes in `new`. Returns an error if a value is too large, if a name is empty or contains a
    /// control character, or if the size of the scope is zero or above the limit. The error names the value.
    pub fn check(&self, new: &NewAction) -> Result<(), Misuse> {
        word("dependency", &new.dependency, self.name)?;
        word("operation", &new.operation, self.name)?;
        word("key", &new.key, self.key)?;
        if new.request.len() > self.request {
            return Err(too_large("request", new.request.len(), self.request));
        }
        if let Some(client) = &new.client {
            word("client", client, self.key)?;
        }
        if new.same.as_ref().is_some_and(|same| same.body_at > new.request.len()) {
            return Err(Misuse::new("the body begins behind the end of the request"));
        }
        let Some(scope) = &new.scope else { return Ok(()) };
        word("scope", &scope.name, self.key)?;
        if scope.size == 0 || scope.size > self.scope {
            let (size, most) = (scope.size, self.scope);
            return Err(Misuse::new(format!("a scope of {size}; it has 1 to {most} members")));
        }
        Ok(())
    }
}

fn word(what: &'static str, text: &str, most: usize) -> Result<(), Misuse> {
    if text.is_empty() {
        return Err(Misuse::new(format!("the {what} is empty")));
    }
    if text.len() > most {
        return Err(too_large(what, text.len(), most));
    }
    if text.chars().any(char::is_control) {
        return Err(Misuse::new(format!("the {what} has a control character in it")));
    }
    Ok(())
}

fn too_large(what: &str, bytes: usize, most: usize) -> Misuse {
    Misuse::new(format!("the {what} has {bytes} bytes; at most {most} are recorded"))
}

/// An action as it is recorded in the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// The id of the action in the ledger.
    pub id: ActionId,
    /// The name of the dependency.
    pub dependency: String,
    /// The name of the operation in that dependency.
    pub operation: String,
    /// The key of the action: the name by which the provider and the caller know it.
    pub key: String,
    /// The scope, if the action settles together with other actions; `None` if it settles alone.
    pub scope: Option<Scope>,
    /// The request that is sent, unchanged, with every attempt.
    pub request: Vec<u8>,
    /// When it was recorded, on the database's clock.
    pub created_at: Stamp,
    /// How the keys of the action's requests are computed from the caller's key: by which rules, and with which salt.
    pub naming: Naming,
    /// The key under which the action is sent; `None` if the caller's key is sent as it is.
    pub mapped_key: Option<String>,
    /// The amount of money that was recorded with the action. `None` if the operation declares no amount, or if plain
    /// SQL recorded the action.
    pub amount: Option<Money>,
    /// The fingerprints of the request; `None` if the action was recorded without [`NewAction::same`].
    pub prints: Option<Prints>,
    /// The name of the caller that recorded the action; `None` if callers have no names.
    pub client: Option<String>,
    /// The part of the action that changes.
    pub state: State,
}

impl Action {
    /// Makes the action for `new`, as it is recorded at the time `now`: with a new id and the state `state`. The action
    /// is sent under the caller's key, unchanged.
    #[must_use]
    pub fn of(new: &NewAction, state: State, now: Stamp) -> Action {
        Action {
            id: ActionId::new(),
            dependency: new.dependency.clone(),
            operation: new.operation.clone(),
            key: new.key.clone(),
            scope: new.scope.clone(),
            request: new.request.clone(),
            created_at: now,
            naming: Naming::Salted(0),
            mapped_key: None,
            amount: new.amount.clone(),
            prints: None,
            client: new.client.clone(),
            state,
        }
    }

    /// Returns a copy of this action with another state.
    pub(crate) fn in_state(&self, state: State) -> Action {
        Action {
            id: self.id,
            dependency: self.dependency.clone(),
            operation: self.operation.clone(),
            key: self.key.clone(),
            scope: self.scope.clone(),
            request: self.request.clone(),
            created_at: self.created_at,
            naming: self.naming,
            mapped_key: self.mapped_key.clone(),
            amount: self.amount.clone(),
            prints: self.prints,
            client: self.client.clone(),
            state,
        }
    }

    /// Returns this action with `key` as the key under which it is sent.
    pub(crate) fn named(mut self, key: &SentKey) -> Action {
        self.naming = Naming::Salted(key.salt);
        self.mapped_key.clone_from(&key.mapped);
        self
    }

    /// Returns the facts about the action that never change and that the machine needs besides the state: whether the
    /// action belongs to a scope, its dependency, its key, and how the keys of its requests are computed from that key.
    #[must_use]
    pub fn origin(&self) -> Origin<'_> {
        Origin {
            scoped: self.scope.is_some(),
            dependency: &self.dependency,
            key: &self.key,
            naming: self.naming,
        }
    }

    /// Returns the key under which the action is sent: the caller's key if the provider takes it, and otherwise the key
    /// to which it was mapped.
    #[must_use]
    pub fn sent_key(&self) -> &str {
        self.mapped_key.as_deref().unwrap_or(&self.key)
    }

    /// Returns the key under which the cancel of the current generation is sent. Each generation has a new key, since a
    /// provider may repeat its first answer to every later request with the same key.
    #[must_use]
    pub fn cancel_key(&self) -> String {
        match self.state.cancel_key() {
            Some(key) => key.to_owned(),
            None => format!("{}:c:{}", self.key, self.state.cancel_generation()),
        }
    }

    /// Returns whether `new` describes this action: its dependency, operation, key, scope, client and request are all
    /// the same as this action's. If so, recording `new` again returns this action. `prints` are the fingerprints of
    /// `new`. If this action or `new` has no fingerprints, the requests are compared byte by byte. An action that plain
    /// SQL recorded has only a body, so it is compared with the body of `new`.
    pub(crate) fn is_of(&self, new: &NewAction, prints: Option<&Prints>) -> bool {
        let same_request = || match (&self.prints, prints) {
            (Some(own), Some(prints)) => own.are_of(prints),
            (None, Some(_)) => self.request == new.request || self.request == new.body(),
            (Some(_) | None, None) => self.request == new.request,
        };
        self.dependency == new.dependency
            && self.operation == new.operation
            && self.key == new.key
            && self.scope == new.scope
            && self.client == new.client
            && same_request()
    }
}

/// An exact amount of money.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Money {
    /// The amount in units of the currency, such as 10.50.
    pub amount: Amount,
    /// The code of the currency (ISO 4217), such as `KRW`.
    pub currency: String,
}

/// A line of the audit trail: who changed an action by hand, how, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// When the change was made, on the database's clock.
    pub at: Stamp,
    /// The person, the name of a token, or the program that made the change.
    pub who: String,
    /// What was done, in one word: `retry`, `cancel`, `resolve`, `observe` or `note`.
    pub what: String,
    /// The reason that was given.
    pub why: String,
    /// How the caller proved who they are, for example by which token. `None` if nothing is known of it.
    pub via: Option<String>,
    /// Where the action stood before the change. `None` if a program of an earlier version made it.
    pub was: Option<Standing>,
    /// Where the action stood after the change. `None` as for `was`.
    pub became: Option<Standing>,
}

/// An action with its attempts and with the changes that were made by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Story {
    /// The action.
    pub action: Action,
    /// Its attempts, in the order of their recording.
    pub attempts: Vec<AttemptRow>,
    /// The changes made by hand.
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

        let says = |new: NewAction| sizes.check(&new).unwrap_err().to_string();
        let long_key = NewAction { key: "k".repeat(256), ..fits.clone() };
        assert_eq!(says(long_key), "the key has 256 bytes; at most 255 are recorded");
        let long_request = NewAction { request: vec![0; (1 << 20) + 1], ..fits.clone() };
        assert_eq!(says(long_request), "the request has 1048577 bytes; at most 1048576 are recorded");
        let long_scope = fits.clone().in_scope("s".repeat(300), 2);
        assert_eq!(says(long_scope), "the scope has 300 bytes; at most 255 are recorded");
        assert_eq!(says(fits.clone().in_scope("s", 0)), "a scope of 0; it has 1 to 64 members");
        let no_key = NewAction { key: String::new(), ..fits.clone() };
        assert_eq!(says(no_key), "the key is empty");
        let nul = NewAction { key: "a\0b".to_owned(), ..fits.clone() };
        assert_eq!(says(nul), "the key has a control character in it");
        let client = NewAction { client: Some("c".repeat(256)), ..fits.clone() };
        assert_eq!(says(client), "the client has 256 bytes; at most 255 are recorded");
        let body_at = |body_at| NewAction { same: Some(Same { head: Vec::new(), body_at }), ..fits.clone() };
        assert_eq!(sizes.check(&body_at(2)), Ok(()));
        assert_eq!(says(body_at(3)), "the body begins behind the end of the request");
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
