//! The tables of the reports: which worker may work on a report, how far the work has come, and what the report says.
//!
//! Only one worker may work on a report. The report's row names this worker as its owner. Each write of the worker is
//! in one transaction with the check that the worker still is the owner. If the worker stops, another one takes the
//! report over when the lease has ended on the database's clock, and goes on after the last stored page. Each takeover
//! increases the row's number `fence`. If the first worker goes on later, its number is out of date, and its writes
//! change nothing.

use std::time::Duration;

use super::paging::Paging;
use super::report::{Report, ReportId, Totals};
use super::row::{HOLD, REPORT, Stage, read};
use super::tables::{Statement, Tables, Value, foreign};
use super::{Difference, Window};
use crate::machine::{Owner, Stamp};
use crate::store::Result;

/// The maximum age of a partly read list that a worker continues after it has taken the report over. The age counts
/// from the first page. An older list is read from its first page again, since cursors do not stay valid for ever.
const STALE: Duration = Duration::from_secs(3600);

/// The right of a worker to work on a report, and how far the work has come.
#[derive(Clone, Debug)]
pub(crate) struct Hold {
    pub(crate) report: Report,
    pub(crate) stage: Stage,
    /// When the provider was asked for the first page of the list that is being read.
    pub(crate) began_at: Stamp,
    /// Which part of the provider's list is being read: 0 is the window of the report, 1 the time before it, 2 the
    /// time after it.
    pub(crate) span: u32,
    /// The end of the time after the window, up to which the list is read (`span` 2). `None` while only the window
    /// itself is read. The time around the window is read only if an action of the window is missing in the list.
    pub(crate) edge_to: Option<Stamp>,
    pub(crate) paging: Paging,
    owner: String,
    fence: i64,
    lease_micros: i64,
}

/// A report that is to be stored.
pub(crate) struct Wanted<'a> {
    pub(crate) dependency: &'a str,
    pub(crate) window: &'a Window,
    pub(crate) asked_by: &'a str,
    pub(crate) fix: bool,
    /// Whether the schedule requests the report, and not a person. The schedule has at most one report for each window.
    pub(crate) scheduled: bool,
}

/// What there is to do for the schedule of a dependency, now and later.
pub(crate) struct Outlook {
    /// The database's time.
    pub(crate) now: Stamp,
    /// The end of the latest window for which the schedule has a report; `None` if no window has one.
    pub(crate) until: Option<Stamp>,
    /// The first report that waits for a worker; `None` if no report waits.
    pub(crate) due: Option<ReportId>,
    /// The earliest time at which a report that is not complete waits for a worker. It is in the past if the report
    /// waits already. `None` if there is no such report.
    pub(crate) later: Option<Stamp>,
}

/// Runs the statements on the reports' tables of one database.
pub(crate) struct Shelf<'t, T> {
    pub(crate) tables: &'t T,
}

impl<T: Tables> Shelf<'_, T> {
    fn reports(&self) -> String {
        self.tables.dialect().table("reconciliation")
    }

    fn selected(&self) -> String {
        let dialect = self.tables.dialect();
        let column = |name: &&str| match name.strip_prefix('@') {
            Some(time) => dialect.micros(time),
            None => name.strip_prefix('?').unwrap_or(name).to_owned(),
        };
        REPORT.iter().chain(&HOLD).map(column).collect::<Vec<_>>().join(", ")
    }

    /// Stores a new report; `false` if the schedule already has a report for this window. A report that a person
    /// requests is always stored.
    pub(crate) async fn want(&self, id: ReportId, wanted: &Wanted<'_>) -> Result<bool> {
        let dialect = self.tables.dialect();
        let (from, to) = (wanted.window.from().as_micros(), wanted.window.to().as_micros());
        let slot = wanted.scheduled.then(|| format!("{from}-{to}"));
        let text = format!(
            "INSERT INTO {} (id, dependency, slot, window_from, window_to, zone, asked_by, fix, asked_at, status, \
             stage, tries, fence, lease_until, span, pages, barren, still) \
             VALUES ($1, $2, $3, {from}, {to}, $6, $7, $8 = 1, {now}, 'running', 'list', 0, 0, {now}, 0, 0, 0, 0) \
             ON CONFLICT (dependency, slot) DO NOTHING",
            self.reports(),
            from = dialect.at("$4"),
            to = dialect.at("$5"),
            now = self.tables.now(),
        );
        let values = [
            id.to_string().into(),
            wanted.dependency.into(),
            slot.into(),
            from.into(),
            to.into(),
            wanted.window.zone().name().into(),
            wanted.asked_by.into(),
            i64::from(wanted.fix).into(),
        ];
        self.tables.transact(vec![Statement::new(text, values)]).await
    }

    pub(crate) async fn report(&self, id: ReportId) -> Result<Option<Report>> {
        let text = format!("SELECT {} FROM {} WHERE id = $1", self.selected(), self.reports());
        let rows = self.tables.rows(Statement::new(text, [id.to_string().into()])).await?;
        rows.into_iter().next().map(|row| read(row).map(|(report, _)| report)).transpose()
    }

    /// Reads the reports of a dependency that are older than the report `before`, or all of them if `before` is `None`.
    /// The latest reports come first. At most `most` reports are returned.
    pub(crate) async fn list(
        &self,
        dependency: &str,
        before: Option<ReportId>,
        most: u32,
    ) -> Result<Vec<Report>> {
        let text = format!(
            "SELECT {} FROM {} WHERE dependency = $1 AND id < $2 ORDER BY id DESC LIMIT $3",
            self.selected(),
            self.reports(),
        );
        let before = before.map_or_else(|| "g".to_owned(), |id| id.to_string());
        let rows =
            self.tables.rows(Statement::new(text, [dependency.into(), before.into(), most.into()])).await?;
        rows.into_iter().map(|row| read(row).map(|(report, _)| report)).collect()
    }

    /// Returns the SQL condition for a report that waits for a worker: one whose lease has ended, or an incomplete one
    /// whose list is to be read again now.
    fn free(&self) -> String {
        let now = self.tables.now();
        format!(
            "((status = 'running' AND lease_until <= {now}) OR (status = 'incomplete' AND next_at <= {now}))"
        )
    }

    /// Returns for a dependency, in one statement, what there is to do for its schedule. That is the first report that
    /// waits for a worker, and the time at which the next report will wait. Also returns the database's time, and the
    /// end of the latest window with a report.
    pub(crate) async fn outlook(&self, dependency: &str) -> Result<Outlook> {
        let (dialect, reports, free) = (self.tables.dialect(), self.reports(), self.free());
        let later = "min(CASE status WHEN 'running' THEN lease_until ELSE next_at END)";
        let text = format!(
            "SELECT {now}, \
             (SELECT {until} FROM {reports} WHERE dependency = $1 AND slot IS NOT NULL), \
             (SELECT id FROM {reports} WHERE dependency = $1 AND status <> 'complete' AND {free} ORDER BY id LIMIT 1), \
             (SELECT {later} FROM {reports} WHERE dependency = $1 AND status <> 'complete')",
            now = dialect.micros(&self.tables.now()),
            until = dialect.micros("max(window_to)"),
            later = dialect.micros(later),
        );
        let rows = self.tables.rows(Statement::new(text, [dependency.into()])).await?;
        let mut row = rows.into_iter().next().ok_or_else(|| foreign("a time", "no row"))?;
        let (now, until) = (row.must_stamp()?, row.stamp()?);
        let due =
            row.text()?.map(|id| ReportId::parse(&id).ok_or_else(|| foreign("an id", &id))).transpose()?;
        Ok(Outlook { now, until, due, later: row.stamp()? })
    }

    /// Makes `owner` the owner of a report that waits for a worker. Returns the right to work on the report, with how
    /// far the work has come. Returns `None` if the report does not wait. With `at_once`, an incomplete report is taken
    /// even if the time has not come at which its list is to be read again, or if the list is not to be read again.
    pub(crate) async fn take(
        &self,
        id: ReportId,
        owner: Owner,
        lease: Duration,
        at_once: bool,
    ) -> Result<Option<Hold>> {
        let owner = format!("{:032x}", owner.0);
        let lease_micros = i64::try_from(lease.as_micros()).unwrap_or(i64::MAX / 4);
        let stale = i64::try_from(STALE.as_micros()).unwrap_or(i64::MAX);
        let anew = format!(
            "(status = 'incomplete' OR began_at IS NULL OR (stage = 'list' AND began_at < {}))",
            self.tables.now_plus(&format!("(-{stale})")),
        );
        let reset =
            |column: &str, value: &str| format!("{column} = CASE WHEN {anew} THEN {value} ELSE {column} END");
        let sets = [
            reset("stage", "'list'"),
            reset("tries", "tries + 1"),
            reset("began_at", &self.tables.now()),
            reset("span", "0"),
            reset("edge_to", "NULL"),
            reset("cursor", "NULL"),
            reset("pages", "0"),
            reset("barren", "0"),
            reset("still", "0"),
        ];
        let text = format!(
            "UPDATE {} SET owner = $2, fence = fence + 1, lease_until = {}, status = 'running', next_at = NULL, {} \
             WHERE id = $1 AND ({} OR (status = 'incomplete' AND $4 = 1))",
            self.reports(),
            self.tables.now_plus("$3"),
            sets.join(", "),
            self.free(),
        );
        let values =
            [id.to_string().into(), owner.clone().into(), lease_micros.into(), i64::from(at_once).into()];
        if !self.tables.transact(vec![Statement::new(text, values)]).await? {
            return Ok(None);
        }
        let text = format!("SELECT {} FROM {} WHERE id = $1", self.selected(), self.reports());
        let rows = self.tables.rows(Statement::new(text, [id.to_string().into()])).await?;
        let Some(row) = rows.into_iter().next() else { return Ok(None) };
        let (report, rest) = read(row)?;
        // Another worker has taken the report in the meantime. This happens only with the very short leases of tests.
        if rest.owner.as_ref() != Some(&owner) {
            return Ok(None);
        }
        Ok(Some(Hold {
            report,
            stage: rest.stage,
            began_at: rest.began_at,
            span: rest.span,
            edge_to: rest.edge_to,
            paging: rest.paging,
            owner,
            fence: rest.fence,
            lease_micros,
        }))
    }

    /// Returns the first statement of every write. It checks that the report still belongs to this worker, and begins
    /// the lease again. `sets` is SQL that sets further columns; it refers to `values` as `$5` and so on.
    pub(crate) fn guard<const N: usize>(&self, hold: &Hold, sets: &str, values: [Value; N]) -> Statement {
        let text = format!(
            "UPDATE {} SET lease_until = {}{sets} WHERE id = $1 AND owner = $2 AND fence = $3",
            self.reports(),
            self.tables.now_plus("$4"),
        );
        let mut all: Vec<Value> = vec![
            hold.report.id.to_string().into(),
            hold.owner.clone().into(),
            hold.fence.into(),
            hold.lease_micros.into(),
        ];
        all.extend(values);
        Statement { text, values: all }
    }

    /// Begins the lease again, so that the report stays with this worker; `false` if another worker has taken the
    /// report over.
    pub(crate) async fn keep(&self, hold: &Hold) -> Result<bool> {
        self.tables.transact(vec![self.guard(hold, "", [])]).await
    }

    /// Returns the statement that stores the current stage of the work, and how far the provider's list has been read.
    pub(crate) fn placed(&self, hold: &Hold) -> Statement {
        let edge = self.tables.dialect().at("$7");
        let sets = format!(
            ", stage = $5, span = $6, edge_to = {edge}, cursor = $8, pages = $9, barren = $10, still = $11"
        );
        let values = [
            hold.stage.as_str().into(),
            hold.span.into(),
            hold.edge_to.into(),
            hold.paging.cursor.clone().into(),
            hold.paging.pages.into(),
            hold.paging.barren.into(),
            hold.paging.still.into(),
        ];
        self.guard(hold, &sets, values)
    }

    /// Stores that the list could not be read whole, and the reason `why`. The list is asked for again after the time
    /// `after`; if `after` is `None`, it is not asked for again. Returns `false` if another worker has taken the report
    /// over.
    pub(crate) async fn incomplete(&self, hold: &Hold, why: &str, after: Option<Duration>) -> Result<bool> {
        let micros = after.map(|after| i64::try_from(after.as_micros()).unwrap_or(i64::MAX / 4));
        let next = self.tables.now_plus("$6");
        let sets = format!(", status = 'incomplete', owner = NULL, why = $5, next_at = {next}");
        self.tables.transact(vec![self.guard(hold, &sets, [why.into(), Value::Int(micros)])]).await
    }

    /// Stores the counts of a finished comparison, and goes on to the corrections; `false` if another worker has taken
    /// the report over.
    pub(crate) async fn counted(&self, hold: &Hold, totals: &Totals) -> Result<bool> {
        let sum = |amount: Option<super::Amount>| Value::Text(amount.map(|amount| amount.to_string()));
        let sets = ", stage = 'fix', there = $5, sum_there = $6, here = $7, sum_here = $8, agreed = $9, \
                    uncompared = $10, only_here = $11, only_there = $12, amount = $13, state = $14, doubled = $15, \
                    pending = $16, sum_only_here = $17, sum_only_there = $18";
        let of = |kind| Value::from(totals.of(kind));
        let values = [
            totals.there.into(),
            sum(totals.sum_there),
            totals.here.into(),
            sum(totals.sum_here),
            totals.agreed.into(),
            totals.uncompared.into(),
            of(Difference::OnlyHere),
            of(Difference::OnlyThere),
            of(Difference::Amount),
            of(Difference::State),
            of(Difference::Doubled),
            of(Difference::Pending),
            sum(totals.sum_only_here),
            sum(totals.sum_only_there),
        ];
        self.tables.transact(vec![self.guard(hold, sets, values)]).await
    }

    /// Stores that the work has reached the stage `stage`; `false` if another worker has taken the report over.
    pub(crate) async fn reach(&self, hold: &Hold, stage: Stage) -> Result<bool> {
        self.tables.transact(vec![self.guard(hold, ", stage = $5", [stage.as_str().into()])]).await
    }

    pub(crate) async fn complete(&self, hold: &Hold) -> Result<bool> {
        let now = self.tables.now();
        let sets = format!(", status = 'complete', owner = NULL, why = NULL, finished_at = {now}");
        self.tables.transact(vec![self.guard(hold, &sets, [])]).await
    }

    /// Deletes the reports that were finished before `before`, and the incomplete ones that were requested before
    /// `before` and whose lists will not be read again. The entries of these reports are deleted as well. Returns the
    /// number of deleted reports.
    pub(crate) async fn forget(&self, dependency: &str, before: Stamp) -> Result<u64> {
        let dialect = self.tables.dialect();
        let old = format!(
            "SELECT id FROM {} WHERE dependency = $1 AND coalesce(finished_at, asked_at) < {} \
             AND (status = 'complete' OR (status = 'incomplete' AND next_at IS NULL)) LIMIT 1",
            self.reports(),
            dialect.at("$2"),
        );
        let mut forgotten = 0;
        loop {
            let rows =
                self.tables.rows(Statement::new(old.clone(), [dependency.into(), before.into()])).await?;
            let Some(mut row) = rows.into_iter().next() else { return Ok(forgotten) };
            let id = row.must_text()?;
            while self.drop_listed(&id, "1 = 1").await? {}
            let text = format!("DELETE FROM {} WHERE id = $1", self.reports());
            self.tables.transact(vec![Statement::new(text, [id.into()])]).await?;
            forgotten += 1;
        }
    }

    /// Deletes up to a thousand of a report's entries for which the SQL condition `which` is true. Returns `false` if
    /// there was no such entry.
    async fn drop_listed(&self, report: &str, which: &str) -> Result<bool> {
        let listed = self.tables.dialect().table("listed");
        // The first thousand entries are deleted as a range of the primary key, up to the thousandth name. If the
        // statement joined the table with a query for these entries instead, a database would not use the primary key.
        let text = format!(
            "SELECT name FROM {listed} WHERE report = $1 AND {which} ORDER BY name LIMIT 1 OFFSET 999"
        );
        let rows = self.tables.rows(Statement::new(text, [report.into()])).await?;
        let last = rows.into_iter().next().map_or(Ok(None), |mut row| row.text())?;
        let (range, values) = match last {
            Some(last) => ("name <= $2", vec![report.into(), last.into()]),
            None => ("1 = 1", vec![report.into()]),
        };
        let text = format!("DELETE FROM {listed} WHERE report = $1 AND {which} AND {range}");
        self.tables.transact(vec![Statement { text, values }]).await
    }

    /// Deletes all of a report's entries for which the SQL condition `which` is true, in steps of a thousand.
    ///
    /// Returns `false`, and stops, if another worker has taken the report over.
    pub(crate) async fn drop_while_ours(&self, hold: &Hold, which: &str) -> Result<bool> {
        let report = hold.report.id.to_string();
        loop {
            if !self.keep(hold).await? {
                return Ok(false);
            }
            if !self.drop_listed(&report, which).await? {
                return Ok(true);
            }
        }
    }
}
