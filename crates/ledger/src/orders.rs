//! What a person orders for one action that they have looked at: to try it again, to undo it, or to take their word for its
//! effect.
//!
//! The obvious order changes the row as it is when the order arrives. But between the look and the order a worker, a webhook
//! or another person may have changed the row, and then the person decided about something else. So an order can name the
//! version of the row that the person has seen. If the row has another version, nothing is changed, and the person is told.

use std::time::Duration;

use crate::action::{Action, ActionId};
use crate::error::{Error, Refusal};
use crate::ledger::Ledger;
use crate::machine::{self, CancelBy, Resolution, Rules, Stamp, Write};
use crate::store::{Standing, Store};
use crate::wishes::{Amended, By, not_cancelled};

/// What a person orders for an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Start the stuck action again, as [`Ledger::retry`] does.
    Retry(Begins),
    /// Cancel the action and the other members of its scope: no effect is to exist at the provider. A stuck cancel is
    /// started again.
    Cancel {
        /// Whether an action is cancelled, too, that the application has settled. The application learns nothing of it, so
        /// the person must also change what the application has written, such as a row that says "this order is paid".
        settled: bool,
    },
    /// Take the person's word for the effect of the stuck action, as [`Ledger::resolve`] does.
    Resolve(Resolution),
}

impl Order {
    /// Returns the word for this order, as the audit trail has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Order::Retry(_) => "retry",
            Order::Cancel { .. } => "cancel",
            Order::Resolve(_) => "resolve",
        }
    }
}

/// When an action that is started again is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begins {
    /// Immediately.
    Now,
    /// After this time.
    After(Duration),
    /// One after the other, at less than half of the rate that the dependency serves in normal times, as
    /// [`Ledger::retry_all`] does it.
    AtPace,
}

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ordered {
    /// The action as it is afterwards.
    pub action: Action,
    /// Where it stood before.
    pub was: Standing,
    /// Where it stands now.
    pub became: Standing,
    /// Whether anything was changed. A cancel changes nothing if the action has failed, or is being cancelled or cancelled
    /// already.
    pub changed: bool,
}

impl<S: Store> Ledger<S> {
    /// Does what a person orders for an action, and keeps who ordered it and why. With `version`, the action is changed only
    /// if it still has this version ([`State::version`](crate::State::version)).
    ///
    /// The other members of a scope are cancelled one after the other. If that fails in the middle, order it again.
    ///
    /// # Errors
    ///
    /// [`Refusal::Changed`] if the action has another version, [`Refusal::NotStuck`] if only a stuck action can be changed in
    /// this way, [`Refusal::Settled`] if the action or a member of its scope is settled, [`Refusal::NotFound`] if there is no
    /// such action, a misuse if its operation is not declared, or an error of the store.
    pub async fn order(
        &self,
        id: ActionId,
        version: Option<u64>,
        order: Order,
        by: &By,
    ) -> Result<Ordered, Error> {
        let action = self.load(id).await?;
        let mark = Some((by, order.as_str()));
        let amended = match order {
            Order::Retry(begins) => {
                let after = match begins {
                    Begins::Now => Duration::ZERO,
                    Begins::After(after) => after,
                    Begins::AtPace if action.state.end() == Some(machine::End::Stuck) => {
                        self.inner.slot(&action)?
                    }
                    Begins::AtPace => Duration::ZERO,
                };
                let wish = |action: &Action, _: &Rules, now: Stamp| {
                    let write = machine::retry_from(&action.state, now, now.saturating_add(after));
                    write.map(Some).ok_or(Refusal::NotStuck.into())
                };
                self.amend_at(id, version, mark, wish).await?
            }
            Order::Resolve(as_what) => {
                let wish = |action: &Action, rules: &Rules, now: Stamp| {
                    let write =
                        machine::resolve(&action.state, rules, action.origin(), as_what, &by.why, now);
                    write.map(Some).ok_or(Refusal::NotStuck.into())
                };
                self.amend_at(id, version, mark, wish).await?
            }
            Order::Cancel { settled } => self.cancel_by_order(&action, version, settled, by).await?,
        };
        let Amended { action, was, changed } = amended;
        let became = Standing::of(&action.state);
        Ok(Ordered { action, was, became, changed })
    }

    async fn cancel_by_order(
        &self,
        action: &Action,
        version: Option<u64>,
        settled: bool,
        by: &By,
    ) -> Result<Amended, Error> {
        let others: Vec<Action> = match &action.scope {
            Some(scope) => self.inner.store.members(&scope.name).await?,
            None => Vec::new(),
        };
        if !settled && others.iter().any(|member| member.state.settled()) {
            return Err(Refusal::Settled.into());
        }
        others.iter().try_for_each(|member| self.inner.may_change(member))?;
        let wish = |action: &Action, rules: &Rules, now: Stamp| -> Result<Option<Write>, Error> {
            if action.state.settled() && !settled {
                return Err(Refusal::Settled.into());
            }
            machine::cancel(&action.state, rules, CancelBy::Person, now).map_err(not_cancelled)
        };
        let mark = Some((by, "cancel"));
        let amended = self.amend_at(action.id, version, mark, wish).await?;
        for member in others.into_iter().filter(|member| member.id != action.id) {
            self.amend_at(member.id, None, mark, wish).await?;
        }
        Ok(amended)
    }
}
