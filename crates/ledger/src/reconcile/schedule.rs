//! Decides which windows are compared on schedule, and which process compares them.
//!
//! There is no leader among the processes, and none of them has to run at a certain time. Every process that watches
//! the schedule computes which windows have ended, and writes a report into the store for each of them. A unique key
//! lets only one process write the report of a window. Then the process takes a report that waits: a new one, an
//! incomplete one whose list is to be read again now, or one whose worker stopped. So the windows of a day on which no
//! process ran are compared later, and a crash in the middle of a list delays its report by one lease.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use seawall_policy::Misuse;

use super::shelf::Wanted;
use super::tables::Tables;
use super::{NoWindow, Reconciler, Report, ReportId, Window};
use crate::error::Error;
use crate::machine::Stamp;
use crate::store::Store;

/// The name in `asked_by` for reports of the schedule.
const SCHEDULE: &str = "schedule";

/// The longest time between two looks at the schedule. A look is one statement. Most windows are a day long, so it does
/// no harm if a report begins some minutes later.
const LOOK: Duration = Duration::from_secs(300);

/// The shortest time between two looks.
const PAUSE: Duration = Duration::from_secs(15);

impl<S: Store + Tables> Reconciler<S> {
    /// Stores the reports of the schedule that are missing, and works on the first report that waits for a worker.
    /// Returns that report as it is after the work; `None` if no report waits.
    ///
    /// # Errors
    ///
    /// An error of the store.
    pub async fn tick(&self) -> Result<Option<Report>, Error> {
        self.look().await.map(|(report, _)| report)
    }

    /// Does one round of the schedule: stores the reports that are missing, and works on the first report that waits
    /// for a worker. Returns that report, or `None` if no report waits. Also returns the time until the next round.
    async fn look(&self) -> Result<(Option<Report>, Duration), Error> {
        let shelf = self.shelf();
        let dependency = &self.settings.dependency;
        let mut outlook = shelf.outlook(dependency).await?;
        let missing = self.missing(outlook.until, outlook.now);
        let missing = missing.map_err(|why| Misuse::new(why.to_string()))?;
        let has_wanted = !missing.is_empty();
        for window in missing {
            let wanted = Wanted {
                dependency,
                window: &window,
                asked_by: SCHEDULE,
                fix: self.settings.fix,
                scheduled: true,
            };
            shelf.want(ReportId::new(), &wanted).await?;
        }
        if has_wanted {
            outlook = shelf.outlook(dependency).await?;
        }
        let wait = outlook.later.map_or(LOOK, |later| later.since(outlook.now)).clamp(PAUSE, LOOK);
        let Some(id) = outlook.due else { return Ok((None, wait)) };
        let hold = shelf.take(id, self.ledger.owner(), self.settings.lease, false).await?;
        let Some(hold) = hold else { return Ok((None, wait)) };
        self.work(hold).await?;
        Ok((Some(self.report(id).await?), wait))
    }

    /// Returns the windows that have ended and have no report yet. `until` is the end of the latest window with a
    /// report. If no window has a report, only the last window that has ended is returned. At most `catch_up` windows
    /// are returned, the latest ones.
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
            let looked = tokio::select! {
                () = &mut stop => return,
                looked = self.look() => looked,
            };
            let wait = match looked {
                Ok((Some(_), _)) => continue,
                Ok((None, wait)) => wait,
                Err(e) => {
                    tracing::warn!(dependency = %self.settings.dependency, error = %e, "no reconciliation");
                    PAUSE
                }
            };
            // The wait is random, so that the processes do not all read the table at the same time.
            let pause = wait.mul_f64(1.0 + fastrand::f64() / 2.0);
            tokio::select! {
                () = &mut stop => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}
