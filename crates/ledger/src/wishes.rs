//! What an application, a webhook or a person wants of an action.
//!
//! Each of these wishes is handled in the same way. The row is read, the machine is asked for the change, and the
//! change is offered to the store. If the row has changed meanwhile, this begins again. In a caller's transaction the
//! row is read in that transaction. So if two wishes contradict each other, the one that commits first wins, and the
//! other caller gets an error.

use std::sync::Arc;

use crate::action::{Action, ActionId, Mark};
use crate::drive::has_outcome;
use crate::error::{Error, Refusal};
use crate::failpoint::point;
use crate::inner::Inner;
use crate::ledger::Ledger;
use crate::machine::{
    self, CancelBy, End, NotCancelled, NotSettled, Observed, Resolution, Rules, Scope, Stamp, State, Write,
};
use crate::operation::origin;
use crate::store::{Change, Changed, Store};

/// How often a row is read again before the wish is given up. Other writers change a row only a few times meanwhile.
const LOOKS: u32 = 16;

/// The person who does something by hand, and the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct By {
    /// The person, the name of a token, or the program that does it.
    pub who: String,
    /// The reason.
    pub why: String,
}

impl By {
    /// Names the person or program, and the reason.
    #[must_use]
    pub fn new(who: impl Into<String>, why: impl Into<String>) -> By {
        By { who: who.into(), why: why.into() }
    }

    fn mark(&self, what: &str, at: Stamp) -> Mark {
        Mark { at, who: self.who.clone(), what: what.to_owned(), why: self.why.clone() }
    }
}

impl<S: Store> Ledger<S> {
    /// Settles an action in the transaction that writes the business row: both are committed or neither is. If the
    /// action is settled already, nothing changes. All members of a scope settle together.
    ///
    /// # Errors
    ///
    /// [`Refusal::TooLate`], [`Refusal::NotKnown`] or [`Refusal::Failed`]. After each of them the business transaction
    /// must roll back.
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
        let states: Vec<_> = members.iter().map(|member| member.state.clone()).collect();
        let writes = machine::settle_scope(&states, scope.size, now).map_err(not_settled)?;
        let unsettled = members.iter().filter(|member| !member.state.settled);
        for (taken, (member, write)) in unsettled.zip(&writes).enumerate() {
            if !self.inner.store.change_in(conn, member.id, write, None).await? {
                // If no member was changed yet, the members are read again. If one was changed, only a rollback can
                // undo that.
                return if taken == 0 { Ok(false) } else { Err(Refusal::InProgress.into()) };
            }
        }
        Ok(true)
    }

    /// Cancels an action in the transaction that also takes the business row back, whether the action is settled or
    /// not. All members of its scope are cancelled with it.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotFound`] if there is no such action, or an error of the store. After each of them the transaction
    /// has to roll back.
    pub async fn cancel_in(&self, conn: &mut S::Connection, id: ActionId) -> Result<(), Error> {
        let (action, _) = self.inner.read_in(conn, id).await?;
        let members = match &action.scope {
            Some(scope) => self.inner.store.members_in(conn, &scope.name).await?,
            None => vec![action],
        };
        for member in members {
            self.cancel_one_in(conn, member.id).await?;
        }
        Ok(())
    }

    async fn cancel_one_in(&self, conn: &mut S::Connection, id: ActionId) -> Result<(), Error> {
        for _ in 0..LOOKS {
            let (action, now) = self.inner.read_in(conn, id).await?;
            let rules = &self.inner.operations.of(&action)?.rules;
            let wish = machine::cancel(&action.state, rules, CancelBy::Transaction, now);
            let Some(write) = wish.map_err(not_cancelled)? else { return Ok(()) };
            if self.inner.store.change_in(conn, id, &write, None).await? {
                return Ok(());
            }
        }
        Err(Refusal::InProgress.into())
    }

    /// Settles in a transaction of the ledger's own, for a caller whose business rows are in another database. That
    /// caller commits `confirming` in its own database before this call, and `paid` after it.
    ///
    /// # Errors
    ///
    /// As [`Ledger::settle_in`].
    pub async fn settle(&self, id: ActionId) -> Result<Action, Error> {
        let action = self.load(id).await?;
        if let Some(scope) = action.scope {
            let settled = self.inner.store.settle_scope(scope, None).await?.map_err(not_settled)?;
            settled.members.iter().for_each(|member| self.inner.changes.written(member.id));
            return self.load(id).await;
        }
        self.amend(id, None, |action, _, now| machine::settle(&action.state, now).map_err(not_settled)).await
    }

    /// Cancels an action that is not settled, for a caller that has no transaction in the ledger's database.
    ///
    /// # Errors
    ///
    /// [`Refusal::Settled`] if the action is settled, [`Refusal::NotFound`] if there is no such action, or an error of
    /// the store.
    pub async fn cancel(&self, id: ActionId) -> Result<Action, Error> {
        let action = self.load(id).await?;
        let ids = match &action.scope {
            Some(scope) => {
                let members = self.inner.store.members(&scope.name).await?;
                if members.iter().any(|member| member.state.settled) {
                    return Err(Refusal::Settled.into());
                }
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
        self.inner.recorded.notify_waiters();
        self.load(id).await
    }

    /// Starts a stuck action again, with the full number of tries. Its goal does not change: an action that was being
    /// cancelled is cancelled. For a new charge, record a new action.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotStuck`] if the action is not stuck, [`Refusal::NotFound`] if there is no such action, or an error
    /// of the store.
    pub async fn retry(&self, id: ActionId, by: &By) -> Result<Action, Error> {
        let wish = |action: &Action, _: &Rules, now: Stamp| {
            machine::retry(&action.state, now).map(Some).ok_or(Refusal::NotStuck.into())
        };
        let action = self.amend(id, Some((by, "retry")), wish).await?;
        self.inner.recorded.notify_waiters();
        Ok(action)
    }

    /// Records what a person found out about a stuck action.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotStuck`] if the action is not stuck, [`Refusal::NotFound`] if there is no such action, or an error
    /// of the store.
    pub async fn resolve(&self, id: ActionId, as_what: Resolution, by: &By) -> Result<Action, Error> {
        let wish = |action: &Action, rules: &Rules, now: Stamp| {
            let write = machine::resolve(&action.state, rules, origin(action), as_what, &by.why, now);
            write.map(Some).ok_or(Refusal::NotStuck.into())
        };
        let action = self.amend(id, Some((by, "resolve")), wish).await?;
        self.inner.recorded.notify_waiters();
        Ok(action)
    }

    /// Records what a webhook reported. "Applied" is taken as a fact. Every other report only makes a worker ask the
    /// provider sooner.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotFound`] if there is no such action, or an error of the store.
    pub async fn observe(&self, id: ActionId, what: Observed, by: &By) -> Result<Action, Error> {
        let wish = |action: &Action, rules: &Rules, now: Stamp| {
            Ok(machine::observe(&action.state, rules, origin(action), what.clone(), now))
        };
        let action = self.amend(id, Some((by, "observe")), wish).await?;
        self.inner.recorded.notify_waiters();
        Ok(action)
    }

    /// Reads the row, asks `wish` for the change and offers it to the store, until it is taken or nothing is to be
    /// changed.
    pub(crate) async fn amend<W>(
        &self,
        id: ActionId,
        by: Option<(&By, &str)>,
        wish: W,
    ) -> Result<Action, Error>
    where
        W: Fn(&Action, &Rules, Stamp) -> Result<Option<Write>, Error> + Sync,
    {
        let mut action = self.load(id).await?;
        for _ in 0..LOOKS {
            let now = self.inner.time().await?.now();
            let operation = self.inner.operations.of(&action)?;
            let Some(write) = wish(&action, &operation.rules, now)? else { return Ok(action) };
            let amended = Action { state: write.to.clone(), ..action.clone() };
            let over = |state: &State| matches!(state.end, Some(End::Done | End::Failed | End::Cancelled));
            let ends = !over(&action.state) && over(&amended.state);
            // A caller that settles without naming a person does the work of the handler in its own transaction.
            let own = by.is_none() && amended.state.settled;
            let change = Change {
                action: amended.clone(),
                write,
                mark: by.map(|(by, what)| by.mark(what, now)),
                // If this wish ends the action, the handler runs, as it does for every other end.
                follow: if ends && !own { operation.follow.clone() } else { None },
            };
            match self.inner.store.change(Arc::new(change)).await? {
                Changed::Taken => {
                    self.inner.changes.written(id);
                    return Ok(amended);
                }
                Changed::Stale(Some(found)) => action = *found,
                Changed::Stale(None) => return Err(Refusal::NotFound.into()),
                Changed::HandlerFailed(why) => return Err(Error::Handler(why.into())),
            }
        }
        Err(Refusal::InProgress.into())
    }
}

impl<S: Store> Inner<S> {
    async fn read_in(&self, conn: &mut S::Connection, id: ActionId) -> Result<(Action, Stamp), Error> {
        self.store.load_in(conn, id).await?.ok_or(Refusal::NotFound.into())
    }
}

fn not_settled(why: NotSettled) -> Error {
    let refusal = match why {
        NotSettled::TooLate => Refusal::TooLate,
        NotSettled::NotKnown | NotSettled::ScopeIncomplete => Refusal::NotKnown,
        NotSettled::Failed => Refusal::Failed,
    };
    refusal.into()
}

fn not_cancelled(why: NotCancelled) -> Error {
    match why {
        NotCancelled::Settled => Refusal::Settled.into(),
    }
}

/// A question about an action. It is here because callers use it together with the wishes.
impl Action {
    /// Whether it has an outcome for its caller: an end, or an effect that the caller has to settle.
    #[must_use]
    pub fn has_outcome(&self) -> bool {
        has_outcome(&self.state)
    }
}
