//! The tables of the reports: which worker may work on a report, how far it is, and what it says.
//!
//! One of many workers does a report. The report's row names an owner, and every write of that owner is in one
//! transaction with the check that it still is the owner. A worker that stopped is replaced once the lease has run out
//! on the database's clock. The new worker goes on where the last page was stored. When the old one wakes up, it finds
//! another fence, and its writes change nothing.

use std::time::Duration;

use super::paging::Paging;
use super::report::{Report, ReportId, Totals};
use super::row::{HOLD, REPORT, Stage, read};
use super::tables::{Statement, Tables, Value};
use super::{Difference, Window};
use crate::machine::{Owner, Stamp};
use crate::store::Result;

/// How old a list may be when another worker takes the report over. An older list is begun again, since cursors do not
/// live for ever.
const STALE: Duration = Duration::from_secs(3600);

/// The right to work on a report, and where the work stands.
#[derive(Clone, Debug)]
pub(crate) struct Hold {
    pub(crate) report: Report,
    pub(crate) stage: Stage,
    /// When the provider was first asked in this try.
    pub(crate) began_at: Stamp,
    /// The stretch that is being asked for: 0 the window, 1 before it, 2 after it.
    pub(crate) span: u32,
    /// The end of the time after the window that is listed, once it is found to be needed.
    pub(crate) edge_to: Option<Stamp>,
    pub(crate) paging: Paging,
    owner: String,
    fence: i64,
    lease_micros: i64,
}

/// A report that is asked for.
pub(crate) struct Wanted<'a> {
    pub(crate) dependency: &'a str,
    pub(crate) window: &'a Window,
    pub(crate) asked_by: &'a str,
    pub(crate) fix: bool,
    /// It is a window of the schedule, which has one report.
    pub(crate) scheduled: bool,
}

/// The statements over one database.
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

    /// Writes down that a report is asked for; `false` where the schedule has it already.
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
            now = dialect.now(),
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

    /// The latest reports of a dependency, the latest first; those from before `before`, at most the given number.
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

    /// The end of the latest window that the schedule has taken up.
    pub(crate) async fn scheduled_until(&self, dependency: &str) -> Result<Option<Stamp>> {
        let end = self.tables.dialect().micros("max(window_to)");
        let text = format!("SELECT {end} FROM {} WHERE dependency = $1 AND slot IS NOT NULL", self.reports());
        let rows = self.tables.rows(Statement::new(text, [dependency.into()])).await?;
        rows.into_iter().next().map_or(Ok(None), |mut row| row.stamp())
    }

    /// No worker has it, and its time has come.
    fn free(&self) -> String {
        let now = self.tables.dialect().now();
        format!(
            "((status = 'running' AND lease_until <= {now}) OR (status = 'incomplete' AND next_at <= {now}))"
        )
    }

    /// A report that waits for a worker.
    pub(crate) async fn due(&self, dependency: &str) -> Result<Option<ReportId>> {
        let text = format!(
            "SELECT id FROM {} WHERE dependency = $1 AND status <> 'complete' AND {} ORDER BY id LIMIT 1",
            self.reports(),
            self.free(),
        );
        let rows = self.tables.rows(Statement::new(text, [dependency.into()])).await?;
        let Some(mut row) = rows.into_iter().next() else { return Ok(None) };
        row.parsed("an id", ReportId::parse)
    }

    /// Takes a report, if no worker has it. With `now` an incomplete one is taken before its time.
    pub(crate) async fn take(
        &self,
        id: ReportId,
        owner: Owner,
        lease: Duration,
        at_once: bool,
    ) -> Result<Option<Hold>> {
        let dialect = self.tables.dialect();
        let owner = format!("{:032x}", owner.0);
        let lease_micros = i64::try_from(lease.as_micros()).unwrap_or(i64::MAX / 4);
        let stale = i64::try_from(STALE.as_micros()).unwrap_or(i64::MAX);
        let anew = format!(
            "(status = 'incomplete' OR began_at IS NULL OR (stage = 'list' AND began_at < {}))",
            dialect.now_plus(&format!("(-{stale})")),
        );
        let reset =
            |column: &str, value: &str| format!("{column} = CASE WHEN {anew} THEN {value} ELSE {column} END");
        let sets = [
            reset("stage", "'list'"),
            reset("tries", "tries + 1"),
            reset("began_at", &dialect.now()),
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
            dialect.now_plus("$3"),
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
        // Another worker has taken it already. Only tests have leases that are so short.
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

    /// The first statement of every write checks that the report is still ours, and begins its lease again. `sets` may
    /// use `$5` and the following.
    pub(crate) fn guard<const N: usize>(&self, hold: &Hold, sets: &str, values: [Value; N]) -> Statement {
        let text = format!(
            "UPDATE {} SET lease_until = {}{sets} WHERE id = $1 AND owner = $2 AND fence = $3",
            self.reports(),
            self.tables.dialect().now_plus("$4"),
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

    /// Keeps the report for another lease; `false` where another worker has it by now.
    pub(crate) async fn keep(&self, hold: &Hold) -> Result<bool> {
        self.tables.transact(vec![self.guard(hold, "", [])]).await
    }

    /// Stores where the asking stands.
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

    /// The list could not be read whole. It is asked for again `after` that time, if at all.
    pub(crate) async fn incomplete(&self, hold: &Hold, why: &str, after: Option<Duration>) -> Result<bool> {
        let micros = after.map(|after| i64::try_from(after.as_micros()).unwrap_or(i64::MAX / 4));
        let next = self.tables.dialect().now_plus("$6");
        let sets = format!(", status = 'incomplete', owner = NULL, why = $5, next_at = {next}");
        self.tables.transact(vec![self.guard(hold, &sets, [why.into(), Value::Int(micros)])]).await
    }

    /// The comparison is done: stores what it counted, and goes on to corrections.
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

    /// Moves on to another stage.
    pub(crate) async fn reach(&self, hold: &Hold, stage: Stage) -> Result<bool> {
        self.tables.transact(vec![self.guard(hold, ", stage = $5", [stage.as_str().into()])]).await
    }

    pub(crate) async fn complete(&self, hold: &Hold) -> Result<bool> {
        let now = self.tables.dialect().now();
        let sets = format!(", status = 'complete', owner = NULL, why = NULL, finished_at = {now}");
        self.tables.transact(vec![self.guard(hold, &sets, [])]).await
    }

    /// Deletes reports that were finished or given up before `before`, with their entries.
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

    /// Deletes some of a report's entries; `false` once none was left.
    async fn drop_listed(&self, report: &str, which: &str) -> Result<bool> {
        let listed = self.tables.dialect().table("listed");
        // The entries up to the thousandth are a range of the primary key. No planner takes a range for a join.
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

    /// As [`Shelf::drop_listed`], as long as the report is ours. The condition may use `$5`, which is `bound`.
    ///
    /// `false` where the report is no longer ours.
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
