//! The reconciler, which people and programs use: it compares a window on demand, and reads reports and their
//! differences.

use std::sync::Arc;

use seawall_policy::Misuse;

use crate::error::{Error, Refusal};
use crate::ledger::Ledger;
use crate::machine::Stamp;
use crate::remote::Remote;
use crate::store::Store;
use crate::wishes::By;

use super::shelf::{Shelf, Wanted};
use super::tables::Tables;
use super::{Difference, Entry, Report, ReportId, Settings, Status, Window};

/// Compares the ledger with the list of one provider.
pub struct Reconciler<S: Store> {
    pub(super) ledger: Ledger<S>,
    pub(super) remote: Arc<dyn Remote>,
    pub(super) settings: Settings,
}

impl<S: Store + Tables> Reconciler<S> {
    /// Makes a reconciler that compares `ledger` with the list that `remote` returns.
    ///
    /// # Errors
    ///
    /// An error in one of these cases:
    ///
    /// - The settings name no operation.
    /// - `lease` is not longer than `page` and the longest wait of `page_backoff` together.
    /// - `batch` is not between 1 and 10 000.
    /// - `page_tries` or `most_pages` is 0.
    pub fn new(ledger: Ledger<S>, remote: Arc<dyn Remote>, settings: Settings) -> Result<Self, Misuse> {
        let wrong =
            |text: &str| Err(Misuse::new(format!("reconciliation of `{}`: {text}", settings.dependency)));
        if settings.operations.is_empty() {
            return wrong("it compares no operation");
        }
        if settings.page + settings.page_backoff.cap >= settings.lease {
            return wrong("`lease` must be longer than a page and the wait before it may take");
        }
        if !(1..=10_000).contains(&settings.batch) || settings.page_tries == 0 || settings.most_pages == 0 {
            return wrong(
                "`batch` lies between 1 and 10000, and `page_tries` and `most_pages` are at least 1",
            );
        }
        Ok(Reconciler { ledger, remote, settings })
    }

    /// Returns the settings in force.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(super) fn shelf(&self) -> Shelf<'_, S> {
        Shelf { tables: self.ledger.store() }
    }

    /// Compares a window now, in the name of `asked_by`, and returns the report. If `fix` is set, differences are
    /// corrected as far as the operation allows.
    ///
    /// An incomplete report is tried again later by a process that watches the schedule, or by a call of
    /// [`Reconciler::again`]. In the same way a report is finished later if this future is dropped.
    ///
    /// # Errors
    ///
    /// An error of the store. A provider that could not be asked is no error: the returned report says so.
    pub async fn run(&self, window: &Window, asked_by: &str, fix: bool) -> Result<Report, Error> {
        let id = ReportId::new();
        let dependency = &self.settings.dependency;
        let wanted = Wanted { dependency, window, asked_by, fix, scheduled: false };
        self.shelf().want(id, &wanted).await?;
        self.again(id).await
    }

    /// Works immediately on a report that no worker is working on: one that is new or incomplete, or whose worker
    /// stopped. Returns the report as it is afterwards. A complete report, or one that another worker has, is returned
    /// without any work.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotFound`] if there is no such report, or an error of the store.
    pub async fn again(&self, id: ReportId) -> Result<Report, Error> {
        let hold = self.shelf().take(id, self.ledger.owner(), self.settings.lease, true).await?;
        if let Some(hold) = hold {
            self.work(hold).await?;
        }
        self.report(id).await
    }

    /// Returns the report with this id, as it is now.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotFound`] if there is no such report, or an error of the store.
    pub async fn report(&self, id: ReportId) -> Result<Report, Error> {
        self.shelf().report(id).await?.ok_or(Refusal::NotFound.into())
    }

    /// Reads reports, the latest first: those that are older than the report `before`, or all if `before` is `None`. At
    /// most `most` reports are returned, and never more than 1000.
    ///
    /// # Errors
    ///
    /// An error of the store.
    pub async fn reports(&self, before: Option<ReportId>, most: u32) -> Result<Vec<Report>, Error> {
        Ok(self.shelf().list(&self.settings.dependency, before, most.min(1000)).await?)
    }

    /// Reads the differences of a report, one page at a time: those after the entry named `after`, and at most `most`.
    /// With `only`, just the differences of that kind are returned; with `None`, all of them. For the first page
    /// `after` is empty. A report that is not complete shows no differences.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotFound`] if there is no such report, or an error of the store.
    pub async fn differences(
        &self,
        id: ReportId,
        only: Option<Difference>,
        after: &str,
        most: u32,
    ) -> Result<Vec<Entry>, Error> {
        match self.report(id).await?.status {
            Status::Complete => Ok(self.shelf().entries(id, only, after, most.min(1000)).await?),
            Status::Running | Status::Incomplete => Ok(Vec::new()),
        }
    }

    /// Notes in the report that a person has dealt with a difference.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotFound`] if the report has no such entry, or an error of the store.
    pub async fn mark(&self, id: ReportId, entry: &str, by: &By) -> Result<(), Error> {
        let what = format!("marked by {}: {}", by.who, by.why);
        if self.shelf().corrected(id, entry, &what).await? { Ok(()) } else { Err(Refusal::NotFound.into()) }
    }

    /// Deletes the reports that were finished before `before`, and the incomplete ones that were requested before
    /// `before` and whose list will not be read again. Works in small steps, and returns the number of deleted reports.
    ///
    /// # Errors
    ///
    /// An error of the store.
    pub async fn forget(&self, before: Stamp) -> Result<u64, Error> {
        Ok(self.shelf().forget(&self.settings.dependency, before).await?)
    }
}
