//! The provider's records in the store while they are compared, and the differences that remain after the comparison.
//!
//! The memory that the process uses does not grow with the length of the list. Each page is stored as it arrives. The
//! comparison reads the tables twice, in the order of an index and a batch of rows at a time: first each record with
//! the row of its key, then each row with the record of its key. A record is stored once, under its identity (its id,
//! or else its key), however often it was listed.

use std::collections::BTreeMap;

use serde::Serialize;

use super::judge::Here;
use super::report::{Entry, ReportId};
use super::shelf::{Hold, Shelf};
use super::tables::{Cells, Statement, Tables, foreign};
use super::{Amount, Difference, Listed, ListedState, ReadAmount, Settings};
use crate::action::ActionId;
use crate::caught::caught_now;
use crate::machine::{Effect, End, Goal, Impossible, Known, NotApplied, Stamp};
use crate::store::words::Word as _;
use crate::store::{Result, Standing};

/// The value of the column `span` in the line of an action that has no record in the provider's list. The table has
/// such a line only to store the difference. In the line of a record, the column says in which part of the list the
/// record was found: 0 is the window of the report, 1 the time before it, and 2 the time after it.
const NO_RECORD: u32 = 9;
/// The maximum length of a request whose amount is read, in bytes. If a request is longer, its amount counts as
/// missing.
const LONGEST_REQUEST_BYTES: usize = 64 << 10;
/// How far outside of the window the rows of the window are searched, in microseconds. The search goes by the rows'
/// ids, which come from the application's clock. Whether a row belongs to the window is decided by `created_at`, which
/// comes from the database's clock. If the two clocks differ by more than this value, a row of the window may be
/// missed.
const ID_SLACK_MICROS: i64 = 24 * 3600 * 1_000_000;

/// The part of a ledger's row that is compared.
#[derive(Clone, Debug)]
pub(crate) struct OurRow {
    pub(crate) id: ActionId,
    pub(crate) operation: String,
    pub(crate) key: String,
    pub(crate) here: Here,
    /// The time until which a perform request that was sent for the action may still take effect; `None` if none may
    /// have been sent.
    pub(crate) quiet_until: Option<Stamp>,
}

/// A record of the provider, together with the ledger's row with the same key.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) name: String,
    pub(crate) state: ListedState,
    pub(crate) amount: Option<Amount>,
    /// Whether another record of the same key is compared with the ledger's row instead of this one. Of several records
    /// with one key, the record that comes first by [`ListedState::as_str`], and then by name, is compared.
    pub(crate) beaten: bool,
    /// The result that an earlier comparison of this record has stored. `None` if the record and the row agreed, or if
    /// they were not compared yet.
    pub(crate) judged: Option<Difference>,
    pub(crate) ours: Option<OurRow>,
}

/// The result of comparing a record of the provider with the ledger's row. It is stored in the line of that record. An
/// action without a record gets a line of its own for its result.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Judged {
    pub(crate) name: String,
    pub(crate) key: Option<String>,
    pub(crate) difference: Option<&'static str>,
    pub(crate) action: Option<String>,
    pub(crate) operation: Option<String>,
    pub(crate) state_here: Option<&'static str>,
    pub(crate) amount_here: Option<String>,
}

impl Judged {
    pub(crate) fn new(name: String, difference: Option<Difference>, ours: Option<&OurRow>) -> Judged {
        Judged {
            name,
            key: ours.map(|row| row.key.clone()),
            difference: difference.map(Difference::as_str),
            action: ours.map(|row| row.id.to_string()),
            operation: ours.map(|row| row.operation.clone()),
            state_here: ours.map(|row| standing(&row.here).as_str()),
            amount_here: ours.and_then(|row| row.here.amount).map(|amount| amount.to_string()),
        }
    }

    /// Makes the result for an action without a record.
    pub(crate) fn unlisted(difference: Difference, ours: &OurRow) -> Judged {
        Judged::new(format!("here:{}", ours.id), Some(difference), Some(ours))
    }
}

fn standing(here: &Here) -> Standing {
    match here.end {
        None if here.known == crate::machine::Known::Unknown => Standing::Unknown,
        None => Standing::Open,
        Some(End::Stuck) => Standing::Stuck,
        Some(End::Done) => Standing::Done,
        Some(End::Failed) => Standing::Failed,
        Some(End::Cancelled) => Standing::Cancelled,
    }
}

#[derive(Serialize)]
struct Record<'a> {
    name: String,
    key: Option<&'a str>,
    id_there: Option<&'a str>,
    amount: Option<String>,
    state: &'static str,
    at: Option<i64>,
}

const RECORD: [&str; 6] = ["name", "key", "id_there", "amount", "state", "#at"];
const JUDGED: [&str; 7] = ["name", "key", "difference", "action", "operation", "state_here", "amount_here"];

fn json(rows: &impl Serialize) -> String {
    serde_json::to_string(rows).expect("texts and numbers are JSON")
}

impl<T: Tables> Shelf<'_, T> {
    fn listed(&self) -> String {
        self.tables.dialect().table("listed")
    }

    /// Returns how many records of this page were not listed before in the current try. A try is one reading of the
    /// list from its first page.
    pub(crate) async fn fresh(&self, hold: &Hold, page: &[Listed]) -> Result<usize> {
        let page = once_each(page);
        let names: Vec<_> = page.keys().map(|name| BTreeMap::from([("name", name)])).collect();
        let text = format!(
            "SELECT count(*) FROM {} CROSS JOIN {} l WHERE l.report = $1 AND l.name = r.name AND l.seen_in = $3",
            self.tables.dialect().records("$2", &["name"]),
            self.listed(),
        );
        let values = [hold.report.id.to_string().into(), json(&names).into(), hold.report.tries.into()];
        let rows = self.tables.rows(Statement::new(text, values)).await?;
        let seen = rows.into_iter().next().map_or(Ok(0), |mut row| row.must_int())?;
        Ok(page.len().saturating_sub(usize::try_from(seen).unwrap_or(0)))
    }

    /// Stores a page of the list together with the cursor of the next page. `span` says which part of the list the
    /// page belongs to: 0 is the window of the report, 1 the time before it, and 2 the time after it. Returns `false`
    /// if another worker has taken the report over.
    pub(crate) async fn page(&self, hold: &Hold, span: u32, page: &[Listed]) -> Result<bool> {
        let dialect = self.tables.dialect();
        let records: Vec<Record<'_>> = once_each(page)
            .into_iter()
            .map(|(name, record)| Record {
                name,
                key: record.key.as_deref(),
                id_there: record.id.as_deref(),
                amount: record.amount.map(|amount| amount.to_string()),
                state: record.state.as_str(),
                at: record.at.map(Stamp::as_micros),
            })
            .collect();
        let listed = self.listed();
        // A record at the edge of the window may be listed twice: with the window, and with the time before or after
        // it. Such a record counts as part of the window.
        let text = format!(
            "INSERT INTO {listed} AS l (report, name, key, id_there, amount, state, at, span, seen_in) \
             SELECT $1, r.name, r.key, r.id_there, r.amount, r.state, {at}, $3, $4 FROM {records} WHERE 1 = 1 \
             ON CONFLICT (report, name) DO UPDATE SET key = excluded.key, id_there = excluded.id_there, \
             amount = excluded.amount, state = excluded.state, at = excluded.at, seen_in = excluded.seen_in, \
             span = CASE WHEN l.seen_in = excluded.seen_in AND l.span < excluded.span \
             THEN l.span ELSE excluded.span END",
            at = dialect.at("r.at"),
            records = dialect.records("$2", &RECORD),
        );
        let values =
            [hold.report.id.to_string().into(), json(&records).into(), span.into(), hold.report.tries.into()];
        self.tables.transact(vec![self.placed(hold), Statement::new(text, values)]).await
    }

    /// Deletes the records that were listed in an earlier try but not in the current one; `false` if another worker has
    /// taken the report over.
    pub(crate) async fn drop_earlier(&self, hold: &Hold) -> Result<bool> {
        self.drop_while_ours(hold, &format!("seen_in < {} AND span < {NO_RECORD}", hold.report.tries)).await
    }

    /// Deletes the entries that an earlier comparison made for actions without a record; `false` if another worker has
    /// taken the report over.
    pub(crate) async fn drop_unlisted(&self, hold: &Hold) -> Result<bool> {
        self.drop_while_ours(hold, &format!("span = {NO_RECORD}")).await
    }

    /// Deletes the stored records that agree with the ledger; `false` if another worker has taken the report over.
    pub(crate) async fn drop_agreed(&self, hold: &Hold) -> Result<bool> {
        self.drop_while_ours(hold, "difference IS NULL").await
    }

    fn our_columns(&self, settings: &Settings) -> String {
        let dialect = self.tables.dialect();
        let request = if settings.compares_amounts() {
            dialect.bytes_within("a.request", LONGEST_REQUEST_BYTES)
        } else {
            "NULL".to_owned()
        };
        let times = ["a.ended_at", "a.quiet_until", "a.cancel_quiet_until"].map(|time| dialect.micros(time));
        format!(
            "{}, a.operation, a.key, a.goal, a.effect, a.reason, a.ended, {}, a.amount, {request}",
            dialect.id_text("a.id"),
            times.join(", "),
        )
    }

    /// Returns the next batch of the window's records, after the record named `after`. Each record comes with the row
    /// that was sent under the same key, even if that row was recorded outside of the window.
    pub(crate) async fn pairs(&self, hold: &Hold, settings: &Settings, after: &str) -> Result<Vec<Pair>> {
        let listed = self.listed();
        let text = format!(
            "SELECT l.name, l.state, l.amount, l.difference, \
             CASE WHEN EXISTS (SELECT 1 FROM {listed} o{by_key} WHERE o.report = l.report AND o.key = l.key \
             AND o.span < {NO_RECORD} AND (o.state < l.state OR (o.state = l.state AND o.name < l.name))) \
             THEN 1 ELSE 0 END, {ours} \
             FROM (SELECT * FROM {listed} WHERE report = $1 AND name > $2 AND span = 0 ORDER BY name LIMIT $4) l \
             LEFT JOIN {actions} a ON a.id = coalesce( \
             (SELECT s.id FROM {actions} s WHERE s.dependency = $3 AND s.sent_key = l.key), \
             (SELECT k.id FROM {actions} k WHERE k.dependency = $3 AND k.key = l.key AND k.sent_key IS NULL)) \
             ORDER BY l.name",
            by_key = self.tables.dialect().by_key(),
            ours = self.our_columns(settings),
            actions = self.tables.dialect().table("action"),
        );
        let values = [
            hold.report.id.to_string().into(),
            after.into(),
            hold.report.dependency.as_str().into(),
            settings.batch.into(),
        ];
        let rows = self.tables.rows(Statement::new(text, values)).await?;
        rows.into_iter().map(|row| pair(row, hold, settings)).collect()
    }

    /// Reads the next batch of rows that were recorded in the window, of any operation, after the row `after`. With
    /// each row, returns whether its key is in the list of the window or of the time around the window.
    pub(crate) async fn ours(
        &self,
        hold: &Hold,
        settings: &Settings,
        after: ActionId,
    ) -> Result<Vec<(OurRow, bool)>> {
        let dialect = self.tables.dialect();
        let window = &hold.report.window;
        // The database is made to find the rows by their id. If it used the index on the dependency, it would read and
        // sort all rows of the dependency for each batch.
        let text = format!(
            "SELECT {ours}, CASE WHEN EXISTS (SELECT 1 FROM {listed} l{by_key} WHERE l.report = $1 \
             AND l.key = coalesce(a.sent_key, a.key) \
             AND l.span < {NO_RECORD}) THEN 1 ELSE 0 END \
             FROM {actions} a WHERE a.id > {after} AND a.id < {last} AND {dependency} = $4 \
             AND a.created_at >= {from} AND a.created_at < {to} \
             ORDER BY a.id LIMIT $7",
            ours = self.our_columns(settings),
            listed = self.listed(),
            by_key = dialect.by_key(),
            actions = dialect.table("action"),
            after = dialect.id("$2"),
            last = dialect.id("$3"),
            from = dialect.at("$5"),
            to = dialect.at("$6"),
            dependency = dialect.unsearched("a.dependency"),
        );
        let slack =
            |at: Stamp, by: i64| ActionId::lowest_at(Stamp::from_micros(at.as_micros().saturating_add(by)));
        let values = [
            hold.report.id.to_string().into(),
            after.max(slack(window.from(), -ID_SLACK_MICROS)).to_string().into(),
            slack(window.to(), ID_SLACK_MICROS).to_string().into(),
            hold.report.dependency.as_str().into(),
            window.from().into(),
            window.to().into(),
            settings.batch.into(),
        ];
        let rows = self.tables.rows(Statement::new(text, values)).await?;
        let read = |mut row: Cells| {
            let ours = our_row(&mut row, hold, settings)?.ok_or_else(|| foreign("an action", "null"))?;
            Ok((ours, row.flag()?))
        };
        rows.into_iter().map(read).collect()
    }

    /// Stores the results of a comparison; `false` if another worker has taken the report over.
    pub(crate) async fn judged(&self, hold: &Hold, judged: &[Judged]) -> Result<bool> {
        // The table has a line for each record of the provider, and that line is updated. For an action without a
        // record, a line is inserted. If an earlier comparison has inserted it already, it is updated.
        let text = format!(
            "INSERT INTO {} (report, name, key, span, seen_in, difference, action, operation, state_here, \
             amount_here) SELECT $1, r.name, r.key, {NO_RECORD}, $3, r.difference, r.action, r.operation, \
             r.state_here, r.amount_here FROM {} WHERE 1 = 1 ON CONFLICT (report, name) DO UPDATE SET \
             difference = excluded.difference, action = excluded.action, operation = excluded.operation, \
             state_here = excluded.state_here, amount_here = excluded.amount_here, correction = NULL",
            self.listed(),
            self.tables.dialect().records("$2", &JUDGED),
        );
        let values = [hold.report.id.to_string().into(), json(&judged).into(), hold.report.tries.into()];
        self.tables.transact(vec![self.guard(hold, "", []), Statement::new(text, values)]).await
    }

    /// Reads the differences of a report after the one named `after`, in the order of their names, and at most `most`
    /// of them. `only` selects one kind of difference; `None` selects all kinds.
    pub(crate) async fn entries(
        &self,
        report: ReportId,
        only: Option<Difference>,
        after: &str,
        most: u32,
    ) -> Result<Vec<Entry>> {
        let which = only.map_or_else(
            || "difference IS NOT NULL".to_owned(),
            |kind| format!("difference = '{}'", kind.as_str()),
        );
        let text = format!(
            "SELECT name, difference, key, id_there, action, operation, state_here, state, amount_here, amount, \
             {}, correction FROM {} WHERE report = $1 AND name > $2 AND {which} ORDER BY name LIMIT $3",
            self.tables.dialect().micros("at"),
            self.listed(),
        );
        let values = [report.to_string().into(), after.into(), most.into()];
        let rows = self.tables.rows(Statement::new(text, values)).await?;
        rows.into_iter().map(entry).collect()
    }

    /// Stores what was done about a difference; `false` if there is no such difference.
    pub(crate) async fn corrected(&self, report: ReportId, name: &str, what: &str) -> Result<bool> {
        let text = format!(
            "UPDATE {} SET correction = $3 WHERE report = $1 AND name = $2 AND difference IS NOT NULL",
            self.listed(),
        );
        let values = [report.to_string().into(), name.into(), what.into()];
        self.tables.transact(vec![Statement::new(text, values)]).await
    }
}

/// Returns the records of a page by identity. If the page lists a record twice, the later entry is returned.
fn once_each(page: &[Listed]) -> BTreeMap<String, &Listed> {
    page.iter().filter_map(|record| Some((record.identity()?, record))).collect()
}

fn our_row(row: &mut Cells, hold: &Hold, settings: &Settings) -> Result<Option<OurRow>> {
    let id = row.parsed("an action's id", ActionId::parse)?;
    let (operation, key) = (row.text()?, row.text()?);
    let (goal, effect, reason, ended) = (row.text()?, row.text()?, row.text()?, row.text()?);
    let (ended_at, quiet_until, cancel_quiet) = (row.stamp()?, row.stamp()?, row.stamp()?);
    let recorded = row.parsed("an amount", |text| text.parse().ok())?;
    let request = row.bytes()?;
    let (Some(id), Some(operation), Some(key), Some(goal), Some(effect)) = (id, operation, key, goal, effect)
    else {
        return Ok(None);
    };
    let reason = reason.map(|word| NotApplied::of_word(&word)).transpose()?;
    let known = Known::of(Effect::of_word(&effect)?, reason)
        .map_err(|Impossible(what)| foreign("an effect", what))?;
    let before = |at: Option<Stamp>| at.is_none_or(|at| at <= hold.began_at);
    let amount = settings.operations.get(&operation).and_then(|compared| compared.amount.as_ref());
    let here = Here {
        goal: Goal::of_word(&goal)?,
        known,
        end: ended.map(|word| End::of_word(&word)).transpose()?,
        rested: before(ended_at) && before(quiet_until) && before(cancel_quiet),
        amount: recorded.or_else(|| read_amount(amount?, &request?, id)),
    };
    Ok(Some(OurRow { id, operation, key, here, quiet_until }))
}

/// Reads the amount from a request with a function of the application. Returns `None` if the request has no amount. If
/// the function panics, the result is also `None`, so that the other rows can still be compared.
fn read_amount(read: &ReadAmount, request: &[u8], id: ActionId) -> Option<Amount> {
    let amount = caught_now(|| read(request)).inspect_err(|panic| {
        tracing::error!(action = %id, error = %panic, "the amount of an action cannot be read from its request");
    });
    amount.ok().flatten()
}

fn pair(mut row: Cells, hold: &Hold, settings: &Settings) -> Result<Pair> {
    Ok(Pair {
        name: row.must_text()?,
        state: row.parsed("a state", ListedState::parse)?.ok_or_else(|| foreign("a state", "null"))?,
        amount: row.parsed("an amount", |text| text.parse().ok())?,
        judged: row.parsed("a difference", Difference::parse)?,
        beaten: row.flag()?,
        ours: our_row(&mut row, hold, settings)?,
    })
}

fn entry(mut row: Cells) -> Result<Entry> {
    let standing = |word: &str| Standing::ALL.into_iter().find(|standing| standing.as_str() == word);
    Ok(Entry {
        name: row.must_text()?,
        difference: row
            .parsed("a difference", Difference::parse)?
            .ok_or_else(|| foreign("a difference", "null"))?,
        key: row.text()?,
        id_there: row.text()?,
        action: row.parsed("an action's id", ActionId::parse)?,
        operation: row.text()?,
        state_here: row.parsed("a state", standing)?,
        state_there: row.parsed("a state", ListedState::parse)?,
        amount_here: row.parsed("an amount", |text| text.parse().ok())?,
        amount_there: row.parsed("an amount", |text| text.parse().ok())?,
        at_there: row.stamp()?,
        correction: row.text()?,
    })
}
