//! The actions of one operation, as the application works with them.

use std::future::Future;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use seawall_ledger::store::Store;
use seawall_ledger::{ActionId, By, Ledger, Misuse, NewAction, Operation, Scope};
use serde::Serialize;

use super::{ActionError, Durable, Outcome};
use crate::call_site::CallSite;
use crate::entry::{self, Entered};

impl Durable {
    /// What a ledger is told of it. [`super::LedgerBuilder::operation`] takes it as it is; this is for what shall happen in
    /// the transaction in which the ledger writes an end: `charge.declare::<Sqlite>().on_settled(…)`.
    #[must_use]
    pub fn declare<S: Store>(&self) -> Operation<S> {
        Operation::new(self.dependency(), self.operation(), self.rules().clone(), self.remote())
    }

    /// Its actions in a ledger.
    ///
    /// # Errors
    /// It was not given to the ledger's builder, so that no worker would go on with them.
    pub fn actions<S: Store>(&self, ledger: &Ledger<S>) -> Result<Actions<S>, Misuse> {
        ledger.declares(self.dependency(), self.operation())?;
        Ok(Actions { ledger: ledger.clone(), durable: self.clone(), name: Arc::from(self.dependency()) })
    }
}

impl<S: Store> From<&Durable> for Operation<S> {
    fn from(durable: &Durable) -> Operation<S> {
        durable.declare()
    }
}

/// The actions of one durable operation. Clones are the same.
pub struct Actions<S: Store> {
    ledger: Ledger<S>,
    durable: Durable,
    name: Arc<str>,
}

impl<S: Store> Clone for Actions<S> {
    fn clone(&self) -> Self {
        Actions { ledger: self.ledger.clone(), durable: self.durable.clone(), name: Arc::clone(&self.name) }
    }
}

impl<S: Store> std::fmt::Debug for Actions<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Actions").field("durable", &self.durable).finish_non_exhaustive()
    }
}

impl<S: Store> Actions<S> {
    /// The ledger beneath: lists, stories, what a person may do.
    #[must_use]
    pub fn ledger(&self) -> &Ledger<S> {
        &self.ledger
    }

    /// What was declared.
    #[must_use]
    pub fn durable(&self) -> &Durable {
        &self.durable
    }

    /// Call after commit, first half: records the action in the caller's transaction. It is there if and only if that
    /// commits, and is then made by whoever calls [`Actions::run`], or by a worker. The same key and body again give the
    /// same action.
    ///
    /// # Errors
    /// The key was recorded with another body; the body is too large, or lacks what a later request is filled with; the
    /// database failed. The transaction is to be rolled back.
    pub fn record<'a, T: Serialize + ?Sized>(
        &'a self,
        conn: &'a mut S::Connection,
        key: &str,
        body: &T,
    ) -> impl Future<Output = Result<ActionId, ActionError>> + Send + use<'a, S, T> {
        self.record_in(conn, self.new_action(key, body))
    }

    /// As [`Actions::record`], for one of several actions that settle together or not at all: `scope` is their common name,
    /// as an order's id, and how many there are.
    ///
    /// # Errors
    /// As [`Actions::record`].
    pub fn record_in_scope<'a, T: Serialize + ?Sized>(
        &'a self,
        conn: &'a mut S::Connection,
        key: &str,
        body: &T,
        scope: Scope,
    ) -> impl Future<Output = Result<ActionId, ActionError>> + Send + use<'a, S, T> {
        self.record_in(conn, self.new_action(key, body).map(|new| NewAction { scope: Some(scope), ..new }))
    }

    async fn record_in(
        &self,
        conn: &mut S::Connection,
        new: Result<NewAction, ActionError>,
    ) -> Result<ActionId, ActionError> {
        let recorded = self.ledger.record_in(conn, &new?).await;
        recorded.map(|action| action.id).map_err(ActionError::before)
    }

    /// Call before commit, first half: records the action in a transaction of the ledger's own, for whoever then calls
    /// [`Actions::run`] and [`Actions::settle`].
    ///
    /// # Errors
    /// As [`Actions::record`].
    pub fn reserve<'a, T: Serialize + ?Sized>(
        &'a self,
        key: &str,
        body: &T,
    ) -> impl Future<Output = Result<ActionId, ActionError>> + Send + use<'a, S, T> {
        self.reserve_new(self.new_action(key, body))
    }

    /// As [`Actions::reserve`], for one of several actions that settle together or not at all.
    ///
    /// # Errors
    /// As [`Actions::record`].
    pub fn reserve_in_scope<'a, T: Serialize + ?Sized>(
        &'a self,
        key: &str,
        body: &T,
        scope: Scope,
    ) -> impl Future<Output = Result<ActionId, ActionError>> + Send + use<'a, S, T> {
        self.reserve_new(self.new_action(key, body).map(|new| NewAction { scope: Some(scope), ..new }))
    }

    async fn reserve_new(&self, new: Result<NewAction, ActionError>) -> Result<ActionId, ActionError> {
        let reserved = self.ledger.reserve(&new?).await;
        reserved.map(|action| action.id).map_err(ActionError::before)
    }

    /// Makes the call, and goes on until there is an outcome, or for the time of one attempt. No database connection may be
    /// held meanwhile: the connection guard looks. Dropping the future does not stop what has begun.
    ///
    /// # Errors
    /// There is no such action; the database failed; the task holds a connection of a pool that denies it.
    #[track_caller]
    pub fn run(
        &self,
        action: ActionId,
    ) -> impl Future<Output = Result<Outcome, ActionError>> + Send + use<'_, S> {
        let place = Location::caller();
        async move {
            let _entered = self.enter(place)?;
            self.ledger.run(action).await.map(Outcome::of).map_err(ActionError::under_way)
        }
    }

    /// As [`Actions::run`], for as long as `within`.
    ///
    /// # Errors
    /// As [`Actions::run`].
    #[track_caller]
    pub fn run_within(
        &self,
        action: ActionId,
        within: Duration,
    ) -> impl Future<Output = Result<Outcome, ActionError>> + Send + use<'_, S> {
        let place = Location::caller();
        async move {
            let _entered = self.enter(place)?;
            let ran = self.ledger.run_within(action, within).await;
            ran.map(Outcome::of).map_err(ActionError::under_way)
        }
    }

    /// Records and makes the call at once, for whoever has no transaction of his own. The same key and body again give the
    /// action as it stands.
    ///
    /// # Errors
    /// As [`Actions::record`] and [`Actions::run`].
    #[track_caller]
    pub fn perform<'a, T: Serialize + ?Sized>(
        &'a self,
        key: &str,
        body: &T,
    ) -> impl Future<Output = Result<Outcome, ActionError>> + Send + use<'a, S, T> {
        let (place, new) = (Location::caller(), self.new_action(key, body));
        async move {
            let new = new?;
            let _entered = self.enter(place)?;
            self.ledger.perform(&new).await.map(Outcome::of).map_err(ActionError::under_way)
        }
    }

    /// Takes the outcome in, in the transaction that writes the business row: both are committed or neither is. For an
    /// operation that is declared with [`super::DurableBuilder::settle_within`]. All members of a scope settle together.
    ///
    /// # Errors
    /// [`super::Refusal::TooLate`], [`super::Refusal::NotKnown`], [`super::Refusal::Failed`], and the database's: the business
    /// transaction must roll back.
    pub async fn settle(&self, conn: &mut S::Connection, action: ActionId) -> Result<(), ActionError> {
        self.ledger.settle_in(conn, action).await.map_err(ActionError::before)
    }

    /// Takes an action back in the transaction that takes the business row back, settled or not: what was done over there is
    /// undone, whatever is known of it. All members of a scope are.
    ///
    /// # Errors
    /// There is no such action; the database failed. The transaction is to be rolled back.
    pub async fn cancel(&self, conn: &mut S::Connection, action: ActionId) -> Result<(), ActionError> {
        self.ledger.cancel_in(conn, action).await.map_err(ActionError::before)
    }

    /// Takes an action back that is not settled, in a transaction of the ledger's own.
    ///
    /// # Errors
    /// [`super::Refusal::Settled`]: our side has taken it in, so whoever takes that back cancels in his transaction.
    pub async fn cancel_unsettled(&self, action: ActionId) -> Result<Outcome, ActionError> {
        self.ledger.cancel(action).await.map(Outcome::of).map_err(ActionError::before)
    }

    /// Lets a stuck action go on, with all its tries again.
    ///
    /// # Errors
    /// It is not stuck.
    pub async fn retry(&self, action: ActionId, by: &By) -> Result<Outcome, ActionError> {
        self.ledger.retry(action, by).await.map(Outcome::of).map_err(ActionError::before)
    }

    /// An action as it stands.
    ///
    /// # Errors
    /// There is no such action; the database failed.
    pub async fn load(&self, action: ActionId) -> Result<Outcome, ActionError> {
        self.ledger.load(action).await.map(Outcome::of).map_err(ActionError::under_way)
    }

    /// The action with this key: after a crash an application may know no more.
    ///
    /// # Errors
    /// There is none; the database failed.
    pub async fn find(&self, key: &str) -> Result<Outcome, ActionError> {
        let found = self.ledger.find(self.durable.dependency(), key).await;
        found.map(Outcome::of).map_err(ActionError::under_way)
    }

    fn new_action<T: Serialize + ?Sized>(&self, key: &str, body: &T) -> Result<NewAction, ActionError> {
        let body = serde_json::to_vec(body).map_err(|wrong| ActionError::body(wrong.to_string()))?;
        let request = self.durable.remote.record(key, body).map_err(ActionError::body)?;
        Ok(NewAction::new(self.durable.dependency(), self.durable.operation(), key, request))
    }

    fn enter(&self, place: &'static Location<'static>) -> Result<Entered, ActionError> {
        entry::check(CallSite { dependency: &self.name, place }).map_err(ActionError::held)
    }
}
