//! The wishes of an application, a webhook or a person for an action.
//!
//! Each wish is handled in three steps. The row is read, the machine computes the change, and the change is offered to
//! the store. If the row has changed meanwhile, these steps are repeated. If the caller has a transaction, the row is
//! read in that transaction. If two wishes contradict each other, the one that commits first wins, and the caller of
//! the other one gets an error.

use std::sync::Arc;

use crate::action::{Action, ActionId, Mark};
use crate::drive::has_outcome;
use crate::error::{Error, Refusal};
use crate::failpoint::point;
use crate::inner::{Inner, LOOKS};
use crate::ledger::Ledger;
use crate::machine::{
    self, CancelBy, Cancelling, End, NotCancelled, NotSettled, Observed, Resolution, Rules, Scope, Stamp,
    State, Write,
};
use crate::store::{Change, Changed, Standing, Store};

/// The person or program that changes something by hand, and the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct By {
    /// The person, the name of a token, or the program that makes the change.
    pub who: String,
    /// The reason for the change.
    pub why: String,
    /// How the caller proved who they are, for example by which token. `None` if nothing is known of it.
    pub via: Option<String>,
}

impl By {
    /// Makes a `By` from the person or program, and the reason.
    #[must_use]
    pub fn new(who: impl Into<String>, why: impl Into<String>) -> By {
        By { who: who.into(), why: why.into(), via: None }
    }

    /// Adds how the caller proved who they are. The audit trail keeps it beside the name, since anybody could give any name.
    #[must_use]
    pub fn via(self, proof: impl Into<String>) -> By {
        By { via: Some(proof.into()), ..self }
    }

    fn mark(&self, what: &str, at: Stamp, was: &State, became: &State) -> Mark {
        Mark {
            at,
            who: self.who.clone(),
            what: what.to_owned(),
            why: self.why.clone(),
            via: self.via.clone(),
            was: Some(Standing::of(was)),
            became: Some(Standing::of(became)),
        }
    }
}

impl<S: Store> Ledger<S> {
    /// Settles an action in the transaction that writes the business row: both are committed or neither is. If the
    /// action is settled already, nothing changes. If the action belongs to a scope, all members of the scope are
    /// settled.
    ///
    /// # Errors
    ///
    /// [`Refusal::TooLate`], [`Refusal::NotKnown`] or [`Refusal::Failed`] if the action cannot be settled,
    /// [`Refusal::NotFound`] if there is no such action, [`Refusal::InProgress`] if other writers change it too often,
    /// or an error of the store. After each of them the business transaction must roll back.
    pub async fn settle_in(&self, conn: &mut S::Connection, id: ActionId) -> Result<(), Error> {
        point("before-settle").await;
        for _ in 0..LOOKS {
            let (action, now) = self.inner.read_in(conn, id).await?;
            let settled = match &action.scope {
                Some(scope) => self.settle_scope_in(conn, scope, now).await?,
                None => match machine::settle(&action.state, now).map_err(not_settled)? {
                    None => true,
                    Some(write) => self.inner.store.change_in(conn, id, &write, None).await?,
                },
            };
            if settled {
                point("after-settle").await;
                return Ok(());
            }
        }
        Err(Refusal::InProgress.into())
    }

    async fn settle_scope_in(
        &self,
        conn: &mut S::Connection,
        scope: &Scope,
        now: Stamp,
    ) -> Result<bool, Error> {
        let members = self.inner.store.members_in(conn, &scope.name).await?;
        members.iter().try_for_each(|member| self.inner.may_change(member))?;
        let states: Vec<_> = members.iter().map(|member| member.state.clone()).collect();
        let writes = machine::settle_scope(&states, scope.size, now).map_err(not_settled)?;
        let unsettled = members.iter().filter(|member| !member.state.settled());
        for (taken, (member, write)) in unsettled.zip(&writes).enumerate() {
            if !self.inner.store.change_in(conn, member.id, write, None).await? {
                // Some member has changed since it was read. If no other member was changed in this transaction yet,
                // the members are read again. Otherwise only a rollback can undo the changes, so an error is returned.
                return if taken == 0 { Ok(false) } else { Err(Refusal::InProgress.into()) };
            }
        }
        Ok(true)
    }

    /// Cancels an action in the transaction that also changes the business row back. The action may be settled or not.
    /// All members of its scope are cancelled, too. Returns whether this action is now being undone, or how it has
    /// ended.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotFound`] if there is no such action, [`Refusal::InProgress`] if other writers change it too often,
    /// or an error of the store. After each of them the transaction has to roll back.
    pub async fn cancel_in(&self, conn: &mut S::Connection, id: ActionId) -> Result<Cancelling, Error> {
        let (action, _) = self.inner.read_in(conn, id).await?;
        let members = match &action.scope {
            Some(scope) => self.inner.store.members_in(conn, &scope.name).await?,
            None => vec![action],
        };
        let mut became = Cancelling::UnderWay;
        for member in members {
            let of_member = self.cancel_one_in(conn, member.id).await?;
            became = if member.id == id { of_member } else { became };
        }
        Ok(became)
    }

    async fn cancel_one_in(&self, conn: &mut S::Connection, id: ActionId) -> Result<Cancelling, Error> {
        for _ in 0..LOOKS {
            let (action, now) = self.inner.read_in(conn, id).await?;
            let rules = &self.inner.operations.of(&action)?.rules;
            let wish = machine::cancel(&action.state, rules, CancelBy::Transaction, now);
            let Some(write) = wish.map_err(not_cancelled)? else { return Ok(Cancelling::of(&action.state)) };
            if self.inner.store.change_in(conn, id, &write, None).await? {
                return Ok(Cancelling::of(write.to()));
            }
        }
        Err(Refusal::InProgress.into())
    }

    /// Settles an action in a transaction of the ledger's own, and returns the action. This is for a caller whose
    /// business rows are in another database. No transaction covers both databases, so that caller writes its row
    /// twice. Before this call it commits a state that means "being confirmed", and after this call it commits the
    /// final state, for example `paid`.
    ///
    /// # Errors
    ///
    /// The errors of [`Ledger::settle_in`].
    pub async fn settle(&self, id: ActionId) -> Result<Action, Error> {
        let action = self.load(id).await?;
        if let Some(scope) = action.scope {
            let settled = self.inner.store.settle_scope(&action.dependency, scope, None).await?;
            let settled = settled.map_err(not_settled)?;
            settled.members.iter().for_each(|member| self.inner.changes.written(member.id));
            return self.load(id).await;
        }
        self.amend(id, None, |action, _, now| machine::settle(&action.state, now).map_err(not_settled)).await
    }

    /// Cancels an action that is not settled, and returns it. This is for a caller that has no transaction in the
    /// ledger's database. All members of its scope are cancelled, too.
    ///
    /// # Errors
    ///
    /// [`Refusal::Settled`] if the action or a member of its scope is settled, [`Refusal::NotFound`] if there is no
    /// such action, or an error of the store.
    pub async fn cancel(&self, id: ActionId) -> Result<Action, Error> {
        let action = self.load(id).await?;
        let ids = match &action.scope {
            Some(scope) => {
                let members = self.inner.store.members(&scope.name).await?;
                if members.iter().any(|member| member.state.settled()) {
                    return Err(Refusal::Settled.into());
                }
                members.iter().try_for_each(|member| self.inner.may_change(member))?;
                members.into_iter().map(|member| member.id).collect()
            }
            None => vec![id],
        };
        for member in ids {
            let wish = |action: &Action, rules: &Rules, now: Stamp| {
                machine::cancel(&action.state, rules, CancelBy::Caller, now).map_err(not_cancelled)
            };
            self.amend(member, None, wish).await?;
        }
        self.load(id).await
    }

    /// Starts a stuck action again, with the full number of attempts, and returns it. Its goal does not change: if the
    /// action was being cancelled, the cancel is tried again. To make the charge after all, record a new action.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotStuck`] if the action is not stuck, [`Refusal::NotFound`] if there is no such action, or an error
    /// of the store.
    pub async fn retry(&self, id: ActionId, by: &By) -> Result<Action, Error> {
        let wish = |action: &Action, _: &Rules, now: Stamp| {
            machine::retry(&action.state, now).map(Some).ok_or(Refusal::NotStuck.into())
        };
        self.amend(id, Some((by, "retry")), wish).await
    }

    /// Records a person's decision on whether the effect of a stuck action exists, and returns the action. The ledger
    /// takes the decision as a fact and goes on with the action.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotStuck`] if the action is not stuck, [`Refusal::NotFound`] if there is no such action, or an error
    /// of the store.
    pub async fn resolve(&self, id: ActionId, as_what: Resolution, by: &By) -> Result<Action, Error> {
        let wish = |action: &Action, rules: &Rules, now: Stamp| {
            let write = machine::resolve(&action.state, rules, action.origin(), as_what, &by.why, now);
            write.map(Some).ok_or(Refusal::NotStuck.into())
        };
        self.amend(id, Some((by, "resolve")), wish).await
    }

    /// Records what a webhook reported about an action, and returns the action. [`Observed::Applied`] is taken as a
    /// fact. Every other report only makes a worker ask the provider sooner.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotFound`] if there is no such action, or an error of the store.
    pub async fn observe(&self, id: ActionId, what: Observed, by: &By) -> Result<Action, Error> {
        let wish = |action: &Action, rules: &Rules, now: Stamp| {
            Ok(machine::observe(&action.state, rules, action.origin(), what.clone(), now))
        };
        self.amend(id, Some((by, "observe")), wish).await
    }

    /// Reads the row, computes the change with `wish`, and offers the change to the store. If the row has changed
    /// meanwhile, does so again, at most [`LOOKS`] times in all, and then fails with [`Refusal::InProgress`]. Returns
    /// the action as it is afterwards. If `wish` returns `None`, nothing is changed.
    pub(crate) async fn amend<W>(
        &self,
        id: ActionId,
        by: Option<(&By, &str)>,
        wish: W,
    ) -> Result<Action, Error>
    where
        W: Fn(&Action, &Rules, Stamp) -> Result<Option<Write>, Error> + Sync,
    {
        self.amend_at(id, None, by, wish).await.map(|amended| amended.action)
    }

    /// Changes the action as [`Ledger::amend`] does, but only if it still has this version. With `None`, any version may be
    /// changed. Fails with [`Refusal::Changed`] if the action has another version.
    pub(crate) async fn amend_at<W>(
        &self,
        id: ActionId,
        version: Option<u64>,
        by: Option<(&By, &str)>,
        wish: W,
    ) -> Result<Amended, Error>
    where
        W: Fn(&Action, &Rules, Stamp) -> Result<Option<Write>, Error> + Sync,
    {
        let mut action = self.load(id).await?;
        for _ in 0..LOOKS {
            self.inner.may_change(&action)?;
            if version.is_some_and(|version| version != action.state.version()) {
                return Err(Refusal::Changed.into());
            }
            let now = self.inner.time().await?.now();
            let operation = self.inner.operations.of(&action)?;
            let was = Standing::of(&action.state);
            let Some(write) = wish(&action, &operation.rules, now)? else {
                return Ok(Amended { action, was, changed: false });
            };
            let amended = Action { state: write.to().clone(), ..action.clone() };
            let over = |state: &State| matches!(state.end(), Some(End::Done | End::Failed | End::Cancelled));
            let ends = !over(&action.state) && over(&amended.state);
            // A caller that is not a person may wish to settle the action. Then the handler does not run, since this
            // caller does the handler's work in a transaction of its own.
            let own = by.is_none() && amended.state.settled();
            let change = Change {
                action: amended.clone(),
                write,
                mark: by.map(|(by, what)| by.mark(what, now, &action.state, &amended.state)),
                // The handler runs if the action ends with this change, as it does whenever the ledger itself ends an
                // action. The one exception is `own`, from above.
                follow: if ends && !own { operation.follow.clone() } else { None },
            };
            match self.inner.store.change(Arc::new(change)).await? {
                Changed::Taken => {
                    self.inner.changes.written(id);
                    self.inner.wakes.written(&amended, now);
                    return Ok(Amended { action: amended, was, changed: true });
                }
                Changed::Stale(Some(found)) => action = *found,
                Changed::Stale(None) => return Err(Refusal::NotFound.into()),
                Changed::Clash => return Err(Refusal::InProgress.into()),
                Changed::HandlerFailed(why) => return Err(Error::Handler(why.into())),
            }
        }
        Err(Refusal::InProgress.into())
    }
}

/// What became of an action that somebody wished to change.
pub(crate) struct Amended {
    /// The action as it is afterwards.
    pub(crate) action: Action,
    /// Where it stood before.
    pub(crate) was: Standing,
    /// Whether anything was changed.
    pub(crate) changed: bool,
}

impl<S: Store> Inner<S> {
    async fn read_in(&self, conn: &mut S::Connection, id: ActionId) -> Result<(Action, Stamp), Error> {
        let (action, now) = self.store.load_in(conn, id).await?.ok_or(Refusal::NotFound)?;
        self.may_change(&action)?;
        Ok((action, now))
    }

    /// Checks that this version of the program may change the action. Fails with [`Refusal::NeedsNewer`] if only a
    /// newer version may do so.
    pub(crate) fn may_change(&self, action: &Action) -> Result<(), Refusal> {
        if action.state.needs() > self.store.knows() { Err(Refusal::NeedsNewer) } else { Ok(()) }
    }
}

fn not_settled(why: NotSettled) -> Error {
    let refusal = match why {
        NotSettled::TooLate => Refusal::TooLate,
        NotSettled::NotKnown | NotSettled::ScopeIncomplete => Refusal::NotKnown,
        NotSettled::Failed => Refusal::Failed,
        NotSettled::NeedsNewer => Refusal::NeedsNewer,
    };
    refusal.into()
}

pub(crate) fn not_cancelled(why: NotCancelled) -> Error {
    match why {
        NotCancelled::Settled => Refusal::Settled.into(),
    }
}

/// This method of [`Action`] stands here, because callers use it together with their wishes.
impl Action {
    /// Returns whether the action has an outcome for its caller: an end, or an effect that the caller has to settle.
    #[must_use]
    pub fn has_outcome(&self) -> bool {
        has_outcome(&self.state)
    }
}
