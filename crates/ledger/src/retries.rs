//! Starts many stuck actions again, for example after an outage that lasted longer than `stuck_after`.
//!
//! The obvious way is a loop that retries each action: then all of them are due in the same second, and their requests
//! arrive together. So each action is due a little after the one before, so that per second fewer than half as many are
//! sent as the dependency serves in normal times. If the requests fail again, the pace of their class holds back the
//! rest ([`crate::pace`]).

use std::time::Duration;

use crate::action::Action;
use crate::error::{Error, Refusal};
use crate::ledger::Ledger;
use crate::machine::{self, End, Rules, Stamp, StuckReason};
use crate::store::{Filter, Standing, Store};
use crate::wishes::By;

/// The number of actions that are read together.
const PAGE: u32 = 200;

/// Which stuck actions are started again. Begin with [`RetryFilter::first`], and restrict it by the other functions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryFilter {
    dependency: Option<String>,
    operation: Option<String>,
    reason: Option<StuckReason>,
    older_than: Duration,
    newer_than: Duration,
    most: u32,
}

impl RetryFilter {
    /// Selects the first `most` stuck actions, in the order of their recording.
    #[must_use]
    pub fn first(most: u32) -> RetryFilter {
        RetryFilter {
            dependency: None,
            operation: None,
            reason: None,
            older_than: Duration::ZERO,
            newer_than: Duration::MAX,
            most,
        }
    }

    /// Restricts the selection to actions of this dependency.
    #[must_use]
    pub fn of(self, dependency: impl Into<String>) -> RetryFilter {
        RetryFilter { dependency: Some(dependency.into()), ..self }
    }

    /// Restricts the selection to actions of the operation with this name.
    #[must_use]
    pub fn operation(self, operation: impl Into<String>) -> RetryFilter {
        RetryFilter { operation: Some(operation.into()), ..self }
    }

    /// Restricts the selection to actions that are stuck for a reason of this kind.
    #[must_use]
    pub fn reason(self, reason: StuckReason) -> RetryFilter {
        RetryFilter { reason: Some(reason), ..self }
    }

    /// Restricts the selection to actions that were recorded at least this long ago.
    #[must_use]
    pub fn older_than(self, age: Duration) -> RetryFilter {
        RetryFilter { older_than: age, ..self }
    }

    /// Restricts the selection to actions that were recorded less than this long ago.
    #[must_use]
    pub fn newer_than(self, age: Duration) -> RetryFilter {
        RetryFilter { newer_than: age, ..self }
    }

    /// Returns whether this stuck action is selected. `now` is the database's time.
    fn selects(&self, action: &Action, now: Stamp) -> bool {
        let age = now.since(action.created_at);
        let reason = action.state.why().and_then(StuckReason::of);
        action.state.end() == Some(End::Stuck)
            && self.operation.as_ref().is_none_or(|operation| *operation == action.operation)
            && self.reason.is_none_or(|wanted| reason == Some(wanted))
            && age >= self.older_than
            && age < self.newer_than
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
        let mut page = Filter { dependency: filter.dependency.clone(), ..Filter::first(PAGE) };
        page.standing = Some(Standing::Stuck);
        loop {
            let actions = self.list(&page).await?;
            let Some(last) = actions.last().map(|action| action.id) else { break };
            let now = self.inner.time().await?.now();
            for action in actions.iter().filter(|action| filter.selects(action, now)) {
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
            page.after = Some(last);
        }
        Ok(done)
    }

    /// Starts one of many stuck actions again. Returns how long from now it is due.
    async fn retry_later(&self, action: &Action, by: &By) -> Result<Duration, Error> {
        let operation = self.inner.operations.of(action)?;
        let served = operation.remote.served_milli();
        let after = self.inner.paces.with(&action.dependency, |pace, now| pace.slot(served, now));
        let after = after.unwrap_or_default();
        let wish = |action: &Action, _: &Rules, now: Stamp| {
            let write = machine::retry_from(&action.state, now, now.saturating_add(after));
            write.map(Some).ok_or(Refusal::NotStuck.into())
        };
        self.amend(action.id, Some((by, "retry")), wish).await.map(|_| after)
    }
}
