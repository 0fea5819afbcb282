//! Finds the actions that a person asks for: by where they stand, dependency, operation, reason and age.
//!
//! The database finds actions by dependency and standing, in the order of their recording. The other conditions are checked
//! here, row by row. So a search that few rows match could read a large table, and a person would wait for it. A search
//! therefore reads a bounded number of rows, and says where the next one goes on.

use std::time::Duration;

use crate::action::{Action, ActionId};
use crate::error::Error;
use crate::ledger::Ledger;
use crate::machine::{End, Stamp, StuckReason};
use crate::store::{Filter, Standing, Store};

/// The number of rows that are read together. Each can have a request of a MiB.
const PAGE: u32 = 50;

/// The maximum number of rows that one search reads.
const LOOKED_AT: u32 = 1000;

/// How much the clocks of the processes that record actions may differ from the database's clock. An action's id has the
/// time of its process.
const CLOCKS: Duration = Duration::from_secs(3600);

/// Which actions are searched for. Begin with [`Search::default`], which selects all actions, and restrict it by the other
/// functions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    dependency: Option<String>,
    operation: Option<String>,
    standing: Option<Standing>,
    reason: Option<StuckReason>,
    older_than: Option<Duration>,
    newer_than: Option<Duration>,
}

impl Search {
    /// Restricts the search to actions of this dependency.
    #[must_use]
    pub fn of(self, dependency: impl Into<String>) -> Search {
        Search { dependency: Some(dependency.into()), ..self }
    }

    /// Restricts the search to actions of the operation with this name.
    #[must_use]
    pub fn operation(self, operation: impl Into<String>) -> Search {
        Search { operation: Some(operation.into()), ..self }
    }

    /// Restricts the search to actions with this standing.
    #[must_use]
    pub fn standing(self, standing: Standing) -> Search {
        Search { standing: Some(standing), ..self }
    }

    /// Restricts the search to actions that are stuck for a reason of this kind.
    #[must_use]
    pub fn reason(self, reason: StuckReason) -> Search {
        Search { reason: Some(reason), ..self }
    }

    /// Restricts the search to actions that were recorded at least this long ago.
    #[must_use]
    pub fn older_than(self, age: Duration) -> Search {
        Search { older_than: Some(age), ..self }
    }

    /// Restricts the search to actions that were recorded less than this long ago.
    #[must_use]
    pub fn newer_than(self, age: Duration) -> Search {
        Search { newer_than: Some(age), ..self }
    }

    /// Returns whether the conditions that the database does not check hold for this action. `now` is the database's time.
    pub(crate) fn selects(&self, action: &Action, now: Stamp) -> bool {
        let age = now.since(action.created_at);
        let has_reason = |wanted| {
            action.state.end() == Some(End::Stuck)
                && action.state.why().and_then(StuckReason::of) == Some(wanted)
        };
        self.operation.as_ref().is_none_or(|operation| *operation == action.operation)
            && self.reason.is_none_or(has_reason)
            && self.older_than.is_none_or(|least| age >= least)
            && self.newer_than.is_none_or(|most| age < most)
    }

    /// Returns the filter for the first page after this action.
    pub(crate) fn filter(&self, after: Option<ActionId>, most: u32, now: Stamp) -> Filter {
        // Ids are in the order of time, so the rows that are too old for `newer_than` need not be read.
        let oldest =
            self.newer_than.map(|age| ActionId::lowest_at(now.saturating_sub(age).saturating_sub(CLOCKS)));
        Filter {
            dependency: self.dependency.clone(),
            standing: self.standing,
            after: after.max(oldest),
            most,
        }
    }
}

/// A page of what a search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The actions, in the order of their recording.
    pub actions: Vec<Action>,
    /// Where the search goes on: pass it as `after`. `None` if there are no more rows. A page may be short, or even empty, and
    /// the search still go on.
    pub next: Option<ActionId>,
}

impl<S: Store> Ledger<S> {
    /// Returns at most `most` actions that the search selects, in the order of their recording, beginning after the action
    /// `after`. A row that this version of the program cannot read is left out, and logged. Not more than 1000 rows are
    /// read.
    ///
    /// # Errors
    ///
    /// An error of the store.
    pub async fn search(&self, search: &Search, after: Option<ActionId>, most: u32) -> Result<Page, Error> {
        let now = self.inner.time().await?.now();
        let mut page = Page { actions: Vec::new(), next: after };
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        for _ in 0..LOOKED_AT / PAGE {
            let rows = self.list(&search.filter(page.next, PAGE, now)).await?;
            let is_last = rows.len() < usize::try_from(PAGE).unwrap_or(usize::MAX);
            for row in rows {
                if page.actions.len() == most {
                    return Ok(page);
                }
                page.next = Some(row.id);
                if search.selects(&row, now) {
                    page.actions.push(row);
                }
            }
            if is_last {
                page.next = None;
                return Ok(page);
            }
        }
        Ok(page)
    }
}
