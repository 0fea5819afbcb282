//! The actions of one operation, for the application's code.

use std::future::Future;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use seawall_actions::stored::StoredRequest;
use seawall_ledger::store::Store;
use seawall_ledger::{
    ActionId, By, Cancelling, Ledger, NewAction, Operation, Retried, RetryFilter, Same, Scope,
};
use seawall_policy::Misuse;
use serde::Serialize;

use super::{ActionError, Durable, Outcome};
use crate::call_site::CallSite;
use crate::entry::{self, Entered};

impl Durable {
    /// Returns the declaration of this operation for a ledger's builder. It is needed to add a handler, which runs in
    /// the transaction in which the ledger writes the action's end: `charge.declare::<Sqlite>().on_settled(…)`. Without
    /// a handler, pass the operation itself to [`super::LedgerBuilder::operation`].
    #[must_use]
    pub fn declare<S: Store>(&self) -> Operation<S> {
        Operation::new(self.dependency(), self.operation(), self.rules().clone(), self.remote())
    }

    /// Returns the actions of this operation in a ledger.
    ///
    /// # Errors
    /// If the operation was not given to the builder of this ledger. The ledger's workers would not continue the
    /// actions of such an operation.
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

/// The actions of one durable operation in one ledger. Clones are handles to the same actions.
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
    /// Returns the ledger itself. The ledger can list actions, show what happened to each of them, and carry out a
    /// person's decisions about them.
    #[must_use]
    pub fn ledger(&self) -> &Ledger<S> {
        &self.ledger
    }

    /// Returns the declaration of the operation.
    #[must_use]
    pub fn durable(&self) -> &Durable {
        &self.durable
    }

    /// Records the action in the caller's transaction, for the order "call after commit": first the caller's
    /// transaction commits, then the call is made. The action exists if and only if that transaction commits. After the
    /// commit, [`Actions::run`] or a worker makes the call. If the key is recorded already with the same body, nothing
    /// is added, and the id of the recorded action is returned.
    ///
    /// # Errors
    /// If the key was recorded with another body; if the body is too large, or lacks a field that a later request
    /// needs; or if the database failed. Roll the transaction back in all these cases.
    pub fn record<'a, T: Serialize + ?Sized>(
        &'a self,
        conn: &'a mut S::Connection,
        key: &str,
        body: &T,
    ) -> impl Future<Output = Result<ActionId, ActionError>> + Send + use<'a, S, T> {
        self.record_in(conn, self.new_action(key, body))
    }

    /// Records an action as [`Actions::record`] does, as one of several actions that settle together or not at all.
    /// Returns its id. `scope` has the common name of these actions, such as an order's id, and their number.
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

    /// Records the action in a transaction of the ledger's own, for the order "call before commit": first the call is
    /// made, then the caller's transaction commits. Returns the action's id. Next, call [`Actions::run`], and then
    /// [`Actions::settle`] in the caller's transaction.
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

    /// Records an action as [`Actions::reserve`] does, as one of several actions that settle together or not at all.
    /// Returns its id.
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

    /// Makes the call, and waits until its effect is known, but at most for the time of one attempt. Returns the
    /// outcome. If the effect is not known when that time is over, [`Outcome::effect`] is `Unknown`, and a worker goes
    /// on with the action. Dropping the future does not stop a call that has begun.
    ///
    /// The task must not hold a database connection during this wait. The connection guard checks that.
    ///
    /// # Errors
    /// If there is no such action, if the database failed, or if the task holds a connection of a pool that denies
    /// external calls.
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

    /// Does what [`Actions::run`] does, and returns the same, but waits at most for the time `within`.
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

    /// Records the action and makes the call immediately, for a caller that has no transaction of its own. If the key
    /// is recorded already with the same body, no new action is recorded, and the outcome of the recorded one is
    /// returned.
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

    /// Settles the action in the caller's transaction, which also writes the business row: both are committed or
    /// neither is. This is needed only for an operation that is declared with [`super::DurableBuilder::settle_within`]
    /// or `settled_by_application`. All actions of a scope settle together.
    ///
    /// # Errors
    /// Roll the transaction back in all these cases:
    ///
    /// - [`super::Refusal::TooLate`] if the action is or was cancelled.
    /// - [`super::Refusal::NotKnown`] if its effect is not known yet.
    /// - [`super::Refusal::Failed`] if it took no effect.
    /// - An error of the database.
    pub async fn settle(&self, conn: &mut S::Connection, action: ActionId) -> Result<(), ActionError> {
        self.ledger.settle_in(conn, action).await.map_err(ActionError::before)
    }

    /// Cancels an action, settled or not, in the caller's transaction. In the same transaction the caller undoes the
    /// business row. The effect at the provider is undone, even if it is not known yet whether there is one. If the
    /// action belongs to a scope, all actions of the scope are cancelled.
    ///
    /// Returns [`Cancelling::UnderWay`] if the effect is being undone, and [`Cancelling::Ended`] if the action has
    /// ended already.
    ///
    /// # Errors
    /// If there is no such action, or if the database failed. Roll the transaction back.
    pub async fn cancel(
        &self,
        conn: &mut S::Connection,
        action: ActionId,
    ) -> Result<Cancelling, ActionError> {
        self.ledger.cancel_in(conn, action).await.map_err(ActionError::before)
    }

    /// Cancels an action that is not settled, in a transaction of the ledger's own. Returns the outcome afterwards.
    ///
    /// # Errors
    /// [`super::Refusal::Settled`], if the application has settled the action. For a settled action, use
    /// [`Actions::cancel`] in the transaction that undoes the business row.
    pub async fn cancel_unsettled(&self, action: ActionId) -> Result<Outcome, ActionError> {
        self.ledger.cancel(action).await.map(Outcome::of).map_err(ActionError::before)
    }

    /// Lets a stuck action go on. Its bounds begin anew: the number of requests
    /// ([`attempts`](super::DurableBuilder::attempts)), and the time for which failed requests are repeated
    /// ([`stuck_after`](super::DurableBuilder::stuck_after)). `by` says which person or program wants this, and why.
    /// Returns the outcome afterwards.
    ///
    /// # Errors
    /// If the action is not stuck.
    pub async fn retry(&self, action: ActionId, by: &By) -> Result<Outcome, ActionError> {
        self.ledger.retry(action, by).await.map(Outcome::of).map_err(ActionError::before)
    }

    /// Lets those stuck actions of this operation go on that `filter` selects, one after the other, as
    /// [`Ledger::retry_all`] does. Returns how many were started again.
    ///
    /// # Errors
    /// If the database failed. A part of the actions is started again then; call this function again for the others.
    pub async fn retry_all(&self, filter: RetryFilter, by: &By) -> Result<Retried, ActionError> {
        let filter = filter.of(self.durable.dependency()).operation(self.durable.operation());
        self.ledger.retry_all(&filter, by).await.map_err(ActionError::before)
    }

    /// Returns the present state of an action.
    ///
    /// # Errors
    /// If there is no such action, or if the database failed.
    pub async fn load(&self, action: ActionId) -> Result<Outcome, ActionError> {
        self.ledger.load(action).await.map(Outcome::of).map_err(ActionError::under_way)
    }

    /// Returns the present state of the action with this key. The action is found by the key that the application gave
    /// it, and also by the key under which it is sent, if that is another. This is for an application that knows only
    /// the key after a crash.
    ///
    /// # Errors
    /// If there is no action with this key, or if the database failed.
    pub async fn find(&self, key: &str) -> Result<Outcome, ActionError> {
        let found = self.ledger.find(self.durable.dependency(), key).await;
        found.map(Outcome::of).map_err(ActionError::under_way)
    }

    fn new_action<T: Serialize + ?Sized>(&self, key: &str, body: &T) -> Result<NewAction, ActionError> {
        let body = serde_json::to_vec(body).map_err(|wrong| ActionError::body(wrong.to_string()))?;
        let durable = &self.durable;
        let amount = durable.amount.as_ref().map(|amount| amount.read(&body)).transpose();
        let amount = amount.map_err(ActionError::body)?;
        let mapped = durable.rules().keys.sent(durable.dependency(), key, 0);
        let body_bytes = body.len();
        let request =
            durable.remote.record(mapped.as_deref().unwrap_or(key), body).map_err(ActionError::body)?;
        // If this key is recorded a second time, `head` and the body of the new record are compared with those of the
        // first. `head` has no header but the content type, because a later version of the program may record other
        // headers.
        let head = StoredRequest::decode(&request).same_head();
        let same = Some(Same { head, body_at: request.len() - body_bytes });
        let new = NewAction::new(durable.dependency(), durable.operation(), key, request);
        Ok(NewAction { amount, same, ..new })
    }

    fn enter(&self, place: &'static Location<'static>) -> Result<Entered, ActionError> {
        entry::check(CallSite { dependency: &self.name, place }).map_err(ActionError::held)
    }
}
