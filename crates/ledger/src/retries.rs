//! Starts many stuck actions again, for example after an outage that lasted longer than `stuck_after`.
//!
//! The obvious way is a loop that retries each action: then all of them are due in the same second, and their requests
//! arrive together. So each action is due a little after the one before. In a second, fewer than half as many are sent
//! as the dependency serves in normal times. If the requests fail again, the pace of their class holds back the rest
//! ([`crate::pace`]).

use std::time::Duration;

use seawall_policy::Misuse;

use crate::action::Action;
use crate::error::{Error, Refusal};
use crate::inner::Inner;
use crate::ledger::Ledger;
use crate::machine::{self, Rules, Stamp, StuckReason};
use crate::search::Search;
use crate::store::{Standing, Store};
use crate::wishes::By;

/// The number of actions that are read together.
const PAGE: u32 = 200;

/// Which stuck actions are started again. Begin with [`RetryFilter::first`], and restrict it by the other functions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryFilter {
    search: Search,
    most: u32,
}

impl RetryFilter {
    /// Selects the first `most` stuck actions, in the order of their recording.
    #[must_use]
    pub fn first(most: u32) -> RetryFilter {
        RetryFilter { search: Search::default().standing(Standing::Stuck), most }
    }

    /// Restricts the selection to actions of this dependency.
    #[must_use]
    pub fn of(self, dependency: impl Into<String>) -> RetryFilter {
        RetryFilter { search: self.search.of(dependency), ..self }
    }

    /// Restricts the selection to actions of the operation with this name.
    #[must_use]
    pub fn operation(self, operation: impl Into<String>) -> RetryFilter {
        RetryFilter { search: self.search.operation(operation), ..self }
    }

    /// Restricts the selection to actions that are stuck for a reason of this kind.
    #[must_use]
    pub fn reason(self, reason: StuckReason) -> RetryFilter {
        RetryFilter { search: self.search.reason(reason), ..self }
    }

    /// Restricts the selection to actions that were recorded at least this long ago.
    #[must_use]
    pub fn older_than(self, age: Duration) -> RetryFilter {
        RetryFilter { search: self.search.older_than(age), ..self }
    }

    /// Restricts the selection to actions that were recorded less than this long ago.
    #[must_use]
    pub fn newer_than(self, age: Duration) -> RetryFilter {
        RetryFilter { search: self.search.newer_than(age), ..self }
    }
}

/// What became of many stuck actions that were to be started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retried {
    /// The number of actions that were started again.
    pub retried: u64,
    /// The number of selected actions that were left alone: they were no longer stuck, others changed them all the
    /// time, their operation is not declared in this process, or only a newer version of the program may change them.
    pub left: u64,
    /// How long after this call the last of the started actions is due. They are due one after the other, so that their
    /// requests do not arrive together.
    pub spread_over: Duration,
    /// Whether the limit of the filter was reached, so that further actions may be stuck. Call the function again with
    /// the same filter to start them, too.
    pub more: bool,
}

impl<S: Store> Ledger<S> {
    /// Starts all stuck actions again that the filter selects, as [`Ledger::retry`] does for one: the goal of each
    /// stays, its time limits and its number of attempts begin anew, and a mark says who did it and why. The actions
    /// are due one after the other, at less than half of the rate that the dependency serves in normal times. If that
    /// rate is not known, five are due in a second.
    ///
    /// Each action is changed in a transaction of its own. If this function fails or is dropped, some of the actions
    /// are started again already. The next call then starts the others.
    ///
    /// # Errors
    ///
    /// An error of the store.
    pub async fn retry_all(&self, filter: &RetryFilter, by: &By) -> Result<Retried, Error> {
        let mut done = Retried::default();
        let mut after = None;
        loop {
            let now = self.inner.time().await?.now();
            let actions = self.list(&filter.search.filter(after, PAGE, now)).await?;
            let Some(last) = actions.last().map(|action| action.id) else { break };
            for action in actions.iter().filter(|action| filter.search.selects(action, now)) {
                if done.retried + done.left >= u64::from(filter.most) {
                    done.more = true;
                    break;
                }
                match self.retry_later(action, by).await {
                    Ok(after) => {
                        done.retried += 1;
                        done.spread_over = done.spread_over.max(after);
                    }
                    Err(Error::Refused(_) | Error::Misused(_)) => done.left += 1,
                    Err(e) => return Err(e),
                }
            }
            if done.more {
                break;
            }
            after = Some(last);
        }
        Ok(done)
    }

    /// Starts one of many stuck actions again. Returns how long from now it is due.
    async fn retry_later(&self, action: &Action, by: &By) -> Result<Duration, Error> {
        let after = self.inner.slot(action)?;
        let wish = |action: &Action, _: &Rules, now: Stamp| {
            let write = machine::retry_from(&action.state, now, now.saturating_add(after));
            write.map(Some).ok_or(Refusal::NotStuck.into())
        };
        self.amend(action.id, Some((by, "retry")), wish).await.map(|_| after)
    }
}

impl<S: Store> Inner<S> {
    /// Returns how long from now this action is to be due, if it is one of many stuck actions that a person starts
    /// again. Each call returns a later time than the one before.
    ///
    /// # Errors
    ///
    /// If the action's operation is not declared.
    pub(crate) fn slot(&self, action: &Action) -> Result<Duration, Misuse> {
        let served = self.operations.of(action)?.remote.served_milli();
        let after = self.paces.with(&action.dependency, |pace, now| pace.slot(served, now));
        Ok(after.unwrap_or_default())
    }
}
