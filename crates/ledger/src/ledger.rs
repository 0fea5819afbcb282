//! The ledger as an application uses it.
//!
//! An application can make the call after its own commit, or before it:
//!
//! - **Call after commit.** [`Ledger::record_in`] records the action in the transaction of the business row. After that
//!   transaction has committed, [`Ledger::run`] or a worker makes the call. The outcome is written together with what
//!   [`Operation::on_settled`](crate::Operation::on_settled) does.
//! - **Call before commit.** [`Ledger::reserve`] records the action first, and [`Ledger::run`] makes the call. Then the
//!   application settles the action in its business transaction, with [`Ledger::settle_in`]. If it never does so, the
//!   effect is cancelled at the provider.
//!
//! [`Ledger::perform`] records and calls in one step, for a caller without a transaction of its own.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use seawall_policy::Misuse;
use tokio::sync::Semaphore;
use tokio::sync::futures::Notified;

use crate::action::{Action, ActionId, NewAction, Sizes, Story};
use crate::attempt::{Attempted, IfUnsent, LOST};
use crate::begin::Place;
use crate::drive::has_outcome;
use crate::error::{Error, Refusal, StoreError};
use crate::inner::{Inner, Wakes};
use crate::machine::{Birth, Owner};
use crate::on_stuck::OnStuck;
use crate::operation::{Operation, Operations};
use crate::paces::Paces;
use crate::store::{Boxed, Counts, Filter, OperationCount, Store};
use crate::waiting::in_task;

/// The ledger, which an application uses: it records actions in one store, and knows the declared operations of these
/// actions. A clone is another handle to the same ledger.
pub struct Ledger<S: Store> {
    pub(crate) inner: Arc<Inner<S>>,
}

impl<S: Store> Clone for Ledger<S> {
    fn clone(&self) -> Self {
        Ledger { inner: self.inner.clone() }
    }
}

/// Builds a [`Ledger`] from its store, its operations and its limits on sizes.
pub struct LedgerBuilder<S: Store> {
    store: S,
    operations: Vec<Operation<S>>,
    sizes: Sizes,
    on_stuck: Option<OnStuck>,
    old: Option<Ledger<S>>,
}

impl<S: Store> LedgerBuilder<S> {
    /// Declares an operation. Declare each operation once; [`LedgerBuilder::build`] fails if an operation is declared
    /// twice.
    #[must_use]
    pub fn operation(mut self, operation: impl Into<Operation<S>>) -> LedgerBuilder<S> {
        self.operations.push(operation.into());
        self
    }

    /// Sets the limits on the sizes of keys, names, requests and answers. Default [`Sizes::default`].
    #[must_use]
    pub fn sizes(mut self, sizes: Sizes) -> LedgerBuilder<S> {
        self.sizes = sizes;
        self
    }

    /// Sets who is told of stuck actions. The worker tells them ([`Ledger::worker`]), at least once each time that an action
    /// becomes stuck, and never in the way of other work. If several processes share the ledger, one of them tells; all of
    /// them should tell the same receiver. By default nobody is told.
    #[must_use]
    pub fn on_stuck(mut self, receiver: OnStuck) -> LedgerBuilder<S> {
        self.on_stuck = Some(receiver);
        self
    }

    /// Makes the new ledger the successor of `old` in this process, for a program that reads its declarations again.
    /// Both ledgers work on the same database and have the same owner id. If either of them writes a row, the tasks
    /// that wait for this row are woken in both. Both share what is known of providers that are down, so a reload in an
    /// outage starts no wave of requests. What the old ledger has under way goes on as if nothing had changed. Stop the
    /// worker of the old ledger, and start one of the new ledger.
    #[must_use]
    pub fn succeeds(mut self, old: &Ledger<S>) -> LedgerBuilder<S> {
        self.old = Some(old.clone());
        self
    }

    /// Builds the ledger.
    ///
    /// # Errors
    ///
    /// If an operation is declared twice, or if the rules of an operation contradict each other.
    pub fn build(self) -> Result<Ledger<S>, Misuse> {
        let old = self.old.as_ref().map(|old| &*old.inner);
        let owner = old.map_or_else(drawn, |old| Ok(old.owner))?;
        // At the first use of a store, the database's clock is compared with the times that an earlier process has
        // stored. If the old ledger has the same store, both ledgers share the mark `compared`, so this is done only
        // once.
        let clock = self.store.shared_clock();
        let compared = old.filter(|old| old.store.shared_clock().is_same(clock));
        let compared = compared.map(|old| old.compared.clone()).unwrap_or_default();
        let operations = Operations::new(self.operations)?;
        let inner = Inner {
            paces: Paces::new(operations.names(), old.map(|old| &old.paces)),
            wakes: Wakes::of(operations.dependencies()),
            store: self.store,
            operations: Arc::new(operations),
            owner,
            sizes: self.sizes,
            on_stuck: self.on_stuck,
            changes: old.map(|old| old.changes.clone()).unwrap_or_default(),
            compared,
            print_key: OnceLock::new(),
            lost: Arc::new(Semaphore::new(LOST)),
        };
        if let Some((pause, wait)) = inner.operations.doubt() {
            inner.store.shared_clock().cover(pause, wait);
        }
        Ok(Ledger { inner: Arc::new(inner) })
    }
}

/// Draws the random id of a process.
fn drawn() -> Result<Owner, Misuse> {
    let mut incarnation = [0; 16];
    getrandom::fill(&mut incarnation)
        .map_err(|e| Misuse::new(format!("no random incarnation could be drawn: {e}")))?;
    Ok(Owner(u128::from_ne_bytes(incarnation)))
}

impl<S: Store> Ledger<S> {
    /// Begins to build a ledger that keeps its actions in `store`.
    #[must_use]
    pub fn builder(store: S) -> LedgerBuilder<S> {
        LedgerBuilder { store, operations: Vec::new(), sizes: Sizes::default(), on_stuck: None, old: None }
    }

    /// Checks that an operation was declared when this ledger was built.
    ///
    /// # Errors
    ///
    /// If it was not declared.
    pub fn declares(&self, dependency: &str, operation: &str) -> Result<(), Misuse> {
        self.inner.operations.get(dependency, operation).map(drop)
    }

    /// Returns the store that holds the actions.
    #[must_use]
    pub fn store(&self) -> &S {
        &self.inner.store
    }

    /// Returns the random id of this process. The process writes it into each row that it claims.
    #[must_use]
    pub fn owner(&self) -> Owner {
        self.inner.owner
    }

    /// Records an action in the caller's transaction: the action exists if and only if that transaction commits. After
    /// the commit, a worker makes the call, unless [`Ledger::run`] is called first. If the key is already recorded with
    /// this request, the existing action is returned.
    ///
    /// # Errors
    ///
    /// [`Refusal::KeyConflict`] if the key is already recorded with another request, a misuse if a value is too large
    /// or the operation is not declared, or an error of the store. After each of these errors the transaction has to
    /// roll back.
    pub async fn record_in(&self, conn: &mut S::Connection, new: &NewAction) -> Result<Action, Error> {
        let entry = self.inner.begin(Place::In(conn), new, Birth::Recorded).await?;
        Ok(entry.action)
    }

    /// Records an action as [`Ledger::record_in`] does, and returns it. This is for a caller that calls [`Ledger::run`]
    /// directly after the commit. The action is leased to this process. So no worker takes it until the lease ends, and
    /// [`Ledger::run`] saves the write that would claim the row.
    ///
    /// # Errors
    ///
    /// As [`Ledger::record_in`].
    pub async fn reserve_in(&self, conn: &mut S::Connection, new: &NewAction) -> Result<Action, Error> {
        let entry = self.inner.begin(Place::In(conn), new, Birth::Reserved(self.inner.owner)).await?;
        Ok(entry.action)
    }

    /// Records an action in a transaction of the ledger's own, and returns it. A worker then makes the call. If the key
    /// is already recorded with this request, the existing action is returned.
    ///
    /// # Errors
    ///
    /// As [`Ledger::record_in`].
    pub async fn record(&self, new: &NewAction) -> Result<Action, Error> {
        let entry = self.inner.begin(Place::Own, new, Birth::Recorded).await?;
        self.inner.wakes.claim(&new.dependency);
        Ok(entry.action)
    }

    /// Records an action in a transaction of the ledger's own, leases it to the caller, and returns it. The caller then
    /// makes the call with [`Ledger::run`], and settles the action in a transaction of its own. If the key is already
    /// recorded with this request, the existing action is returned.
    ///
    /// # Errors
    ///
    /// As [`Ledger::record_in`].
    pub async fn reserve(&self, new: &NewAction) -> Result<Action, Error> {
        let entry = self.inner.begin(Place::Own, new, Birth::Reserved(self.inner.owner)).await?;
        Ok(entry.action)
    }

    /// Records an action together with its first attempt, sends the attempt, and writes how the attempt ended. This
    /// takes two commits. If the key is already recorded with this request, no second action is made. Instead, this
    /// function waits until the existing action has an outcome, but no longer than the time of one attempt, and returns
    /// the existing action.
    ///
    /// Dropping the future does not stop an attempt that has begun.
    ///
    /// # Errors
    ///
    /// The errors of [`Ledger::record_in`]. A failed request to the provider is no error: the state of the returned
    /// action says what is known.
    pub async fn perform(&self, new: &NewAction) -> Result<Action, Error> {
        self.record_and_send(new, IfUnsent::TryAgain).await
    }

    /// Records an action and sends it as [`Ledger::perform`] does. This is for a caller that waits for the answer, and
    /// gives up if the action cannot be sent. If the first attempt is provably not sent, the action fails in the commit
    /// that ends the attempt, and no worker sends it later. So a caller that gets a failed action knows that nothing
    /// was done. The same key can then be used anew with the same request.
    ///
    /// If the action existed already, this call does not make it fail. The call then waits for the action as
    /// [`Ledger::perform`] does.
    ///
    /// # Errors
    ///
    /// As [`Ledger::perform`].
    pub async fn perform_or_close(&self, new: &NewAction) -> Result<Action, Error> {
        self.record_and_send(new, IfUnsent::Close).await
    }

    async fn record_and_send(&self, new: &NewAction, unsent: IfUnsent) -> Result<Action, Error> {
        let entry = self.inner.begin_sent(new, unsent).await?;
        let id = entry.action.id;
        if entry.attempt.is_none() && !(entry.began && unsent == IfUnsent::Close) {
            return Box::pin(self.run(id)).await;
        }
        let inner = self.inner.clone();
        let driving = Box::pin(async move {
            let action = match inner.first_attempt(entry, unsent).await? {
                Attempted::Yes(attempt) => inner.send(*attempt).await?,
                Attempted::No(action) => *action,
            };
            if action.state.end().is_some() {
                return Some(action);
            }
            Box::pin(inner.drive(action)).await
        });
        self.inner.driven(id, driving).await
    }

    /// Works on an action until the action has an outcome, or until the time of one attempt is over. The time is
    /// checked only between requests, so a call to the provider that has begun is waited for. Returns the action as it
    /// then is. No database connection is held during the call to the provider.
    ///
    /// Dropping the future does not stop an attempt that has begun. If the action has no outcome yet, a worker goes on
    /// with it.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotFound`] if there is no such action, a misuse if its operation is not declared, or an error of the
    /// store.
    pub async fn run(&self, id: ActionId) -> Result<Action, Error> {
        let action = self.load(id).await?;
        let patience = self.inner.operations.of(&action).map(|operation| operation.rules.attempt)?;
        self.go_on(action, patience).await
    }

    /// Works on an action and returns it, as [`Ledger::run`] does. The time `within` takes the place of the time of one
    /// attempt. A call to the provider that has begun is waited for here, too.
    ///
    /// # Errors
    ///
    /// As [`Ledger::run`].
    pub async fn run_within(&self, id: ActionId, within: Duration) -> Result<Action, Error> {
        let action = self.load(id).await?;
        self.go_on(action, within).await
    }

    async fn go_on(&self, mut action: Action, patience: Duration) -> Result<Action, Error> {
        let inner = &self.inner;
        let end = Instant::now() + patience;
        let id = action.id;
        loop {
            if has_outcome(&action.state) {
                return Ok(action);
            }
            // The task registers for changes before it reads the row again, so that it misses no later write of this
            // process.
            let changed = self.written(id);
            if let Some(mine) = inner.take_up(&action).await? {
                let inner = inner.clone();
                action = self.inner.driven(id, Box::pin(async move { inner.drive(mine).await })).await?;
                if has_outcome(&action.state) {
                    return Ok(action);
                }
            }
            let now = inner.time().await?;
            let due = action.state.due_at().map_or(Duration::ZERO, |due| crate::drive::until(&now, due));
            // Another process may write the row, and this process gets no notice of that. So the row is read again from
            // time to time.
            let pause = due.clamp(Duration::from_millis(20), Duration::from_millis(500));
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(action);
            }
            let _ = tokio::time::timeout(pause.min(left), changed).await;
            action = self.load(id).await?;
        }
    }

    /// Returns the action that is recorded under the key of `new` with the same request. Nothing is written. Returns
    /// `None` if there is no such action, or if recording `new` would begin the action again under the same key,
    /// because it has failed and no request of it was ever sent.
    ///
    /// # Errors
    ///
    /// [`Refusal::KeyConflict`] if the key is recorded with another request; otherwise as [`Ledger::record`].
    pub async fn recorded(&self, new: &NewAction) -> Result<Option<Action>, Error> {
        self.inner.already_recorded(new).await
    }

    /// Returns a future that resolves when this process has written the row of this action. Sometimes it also resolves
    /// when this process has written another row. Call this function before you read the row: then no write after the
    /// read is missed, even if the future is polled later. A write by another process, or in a transaction of the
    /// application, does not resolve the future.
    pub fn written(&self, id: ActionId) -> Notified<'_> {
        self.inner.changes.of(id).notified()
    }

    /// Returns the action with this id.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotFound`] if there is no such action, or an error of the store.
    pub async fn load(&self, id: ActionId) -> Result<Action, Error> {
        self.inner.store.load(id).await?.ok_or(Refusal::NotFound.into())
    }

    /// Returns the action of this dependency with this key.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotFound`] if there is no such action, or an error of the store.
    pub async fn find(&self, dependency: &str, key: &str) -> Result<Action, Error> {
        self.inner.store.find(dependency, key).await?.ok_or(Refusal::NotFound.into())
    }

    /// Returns one action with its attempts and with the changes that people made by hand.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotFound`] if there is no such action, or an error of the store.
    pub async fn story(&self, id: ActionId) -> Result<Story, Error> {
        self.inner.store.story(id).await?.ok_or(Refusal::NotFound.into())
    }

    /// Returns the versions of the actions with these ids, in any order. An action that does not exist is left out. The
    /// version of an action grows with each change. So a program that waits for changes of many actions can compare
    /// their versions with those that it has seen, and needs only one short statement for all of them.
    ///
    /// # Errors
    ///
    /// An error of the store.
    pub async fn versions(&self, ids: &[ActionId]) -> Result<Vec<(ActionId, u64)>, Error> {
        Ok(self.inner.store.versions(ids).await?)
    }

    /// Lists the actions that match the filter, in the order of their recording, one page at a time. To get the next
    /// page, set [`Filter::after`] to the id of the last action of this page. If this version of the program cannot
    /// read a row, the row is left out, and an error with its id is logged. [`Ledger::load`] with that id returns the
    /// same error.
    ///
    /// # Errors
    ///
    /// An error of the store.
    pub async fn list(&self, filter: &Filter) -> Result<Vec<Action>, Error> {
        Ok(self.inner.store.list(filter).await?)
    }

    /// Returns the numbers of a dependency's open actions, of its stuck actions, and of the due actions whose
    /// operations are not declared in this process. At most [`COUNTED`](crate::store::COUNTED) actions of each kind are
    /// counted. The dependency need not be declared.
    ///
    /// # Errors
    ///
    /// An error of the store.
    pub async fn counts(&self, dependency: &str) -> Result<Counts, Error> {
        Ok(self.inner.store.counts(&self.inner.operations.declared(dependency)).await?)
    }

    /// Returns the numbers of the stuck actions of all operations that have some, whether or not they are declared in this
    /// process. At most [`COUNTED`](crate::store::COUNTED) actions are counted in all.
    ///
    /// # Errors
    ///
    /// An error of the store.
    pub async fn stuck_counts(&self) -> Result<Vec<OperationCount>, Error> {
        Ok(self.inner.store.stuck_counts().await?)
    }
}

impl<S: Store> Inner<S> {
    /// Returns the row if it is leased to this process and has no attempt under way. Otherwise claims the row, if it is
    /// due. Returns `None` if the row can be neither used nor claimed.
    async fn take_up(&self, action: &Action) -> Result<Option<Action>, StoreError> {
        let clock = self.time().await?;
        let now = clock.now();
        let state = &action.state;
        let ours = state.owner() == Some(self.owner)
            && state.in_flight().is_none()
            && state.leased_until().is_some_and(|until| until > now);
        if ours {
            return Ok(Some(action.clone()));
        }
        if state.due_at().is_none_or(|due| due > now) {
            return Ok(None);
        }
        let Ok(operation) = self.operations.of(action) else { return Ok(None) };
        self.store.claim_one(action.id, self.owner, operation.rules.lease).await
    }

    /// Works on an action in a task of its own, and returns the action as it is after that. If the database does not
    /// answer, the task offers its write again and again. If that takes longer than [`Store::answers_within`], this
    /// function returns the database's error, and the task goes on without the caller.
    async fn driven(&self, id: ActionId, driving: Boxed<'static, Option<Action>>) -> Result<Action, Error> {
        match in_task(driving).await? {
            Some(action) => Ok(action),
            // The row is gone, the database refused the write, or the task ended early, for example by a panic. If the
            // row still exists, it is read again and returned: its state says what is known of the effect.
            None => Box::pin(self.store.load(id)).await?.ok_or(Refusal::NotFound.into()),
        }
    }
}
