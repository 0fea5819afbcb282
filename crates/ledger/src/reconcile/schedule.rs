//! Decides which windows are compared on schedule, and which process compares them.
//!
//! There is no leader among the processes, and none of them has to run at a certain time. Every process that watches
//! the schedule computes which windows have ended, and writes a report into the store for each of them. A unique key
//! lets only one process write the report of a window. Then the process takes a report that waits: a new one, an
//! incomplete one that is due for its next try, or one whose worker stopped. So the windows of a day on which no
//! process ran are compared later, and a crash in the middle of a list delays its report by one lease.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use seawall_policy::Misuse;

use super::run::LOOK;
use super::shelf::Wanted;
use super::tables::Tables;
use super::{NoWindow, Reconciler, Report, ReportId, Window};
use crate::error::Error;
use crate::machine::Stamp;
use crate::store::Store;

/// The name in `asked_by` for reports of the schedule.
const SCHEDULE: &str = "schedule";

impl<S: Store + Tables> Reconciler<S> {
    /// Stores the reports of the schedule that are missing, and works on the first report that waits for a worker.
    /// Returns that report afterwards; `None` if no report waits.
    ///
    /// # Errors
    ///
    /// An error of the store.
    pub async fn tick(&self) -> Result<Option<Report>, Error> {
        let now = self.ledger.store().ask_time().await?.now();
        let shelf = self.shelf();
        let dependency = &self.settings.dependency;
        let until = shelf.scheduled_until(dependency).await?;
        for window in self.missing(until, now).map_err(|why| Misuse::new(why.to_string()))? {
            let wanted = Wanted {
                dependency,
                window: &window,
                asked_by: SCHEDULE,
                fix: self.settings.fix,
                scheduled: true,
            };
            shelf.want(ReportId::new(), &wanted).await?;
        }
        let Some(id) = shelf.due(dependency).await? else { return Ok(None) };
        let hold = shelf.take(id, self.ledger.owner(), self.settings.lease, false).await?;
        let Some(hold) = hold else { return Ok(None) };
        self.work(hold).await?;
        self.report(id).await.map(Some)
    }

    /// Returns the windows that have ended and have no report yet, where `until` is the end of the latest window with a
    /// report. If no window has a report, only the last window that has ended is returned. At most `catch_up`
    /// windows are returned, the latest ones.
    fn missing(&self, until: Option<Stamp>, now: Stamp) -> Result<VecDeque<Window>, NoWindow> {
        let settings = &self.settings;
        let delay = i64::try_from(settings.delay.as_micros()).unwrap_or(i64::MAX);
        let horizon = Stamp::from_micros(now.as_micros().saturating_sub(delay));
        let last = Window::last_closed(&settings.zone, settings.every, horizon)?;
        let Some(until) = until else { return Ok(VecDeque::from([last])) };
        let mut missing = VecDeque::new();
        let mut next = Window::around(&settings.zone, settings.every, until)?;
        while next.to() <= last.to() {
            let following = next.following(settings.every)?;
            missing.push_back(std::mem::replace(&mut next, following));
            if missing.len() > settings.catch_up.max(1) as usize {
                missing.pop_front();
            }
        }
        Ok(missing)
    }

    /// Follows the schedule until `stop` is ready. An error of the store is logged, and the failed step is tried again
    /// later.
    pub async fn watch(&self, stop: impl Future<Output = ()> + Send) {
        let mut stop = pin!(stop);
        loop {
            let ticked = tokio::select! {
                () = &mut stop => return,
                ticked = self.tick() => ticked,
            };
            match ticked {
                Ok(Some(_)) => continue,
                Ok(None) => {}
                Err(e) => {
                    tracing::warn!(dependency = %self.settings.dependency, error = %e, "no reconciliation");
                }
            }
            // The wait is random, so that the processes do not all read the table at the same time.
            let pause = LOOK / 2 + Duration::from_millis(fastrand::u64(0..15_000));
            tokio::select! {
                () = &mut stop => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}
