//! Reads a report from its row in the store.

use super::paging::Paging;
use super::report::{Report, ReportId, Status, Totals};
use super::tables::{Cells, foreign};
use super::{Window, Zone};
use crate::machine::Stamp;
use crate::store::Result;

/// The columns of a report, in the order in which they are read. The mark `@` before a column's name means that its
/// value is a time, and the mark `?` that it is a truth value.
pub(super) const REPORT: [&str; 30] = [
    "id",
    "dependency",
    "@window_from",
    "@window_to",
    "zone",
    "asked_by",
    "?fix",
    "@asked_at",
    "@finished_at",
    "status",
    "why",
    "tries",
    "@next_at",
    "there",
    "sum_there",
    "here",
    "sum_here",
    "agreed",
    "uncompared",
    "only_here",
    "only_there",
    "amount",
    "state",
    "doubled",
    "pending",
    "sum_only_here",
    "sum_only_there",
    "stage",
    "@began_at",
    "span",
];

/// The columns that are read in addition to [`REPORT`] for a worker that works on the report.
pub(super) const HOLD: [&str; 7] = ["@edge_to", "cursor", "pages", "barren", "still", "fence", "owner"];

/// The stage that the work on a report has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The provider's list is being read.
    List,
    /// The provider's records and the ledger's rows are being compared.
    Join,
    /// Differences are being corrected, where that is allowed.
    Fix,
    /// The stored records that agree with the ledger are being deleted.
    Purge,
}

impl Stage {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Stage::List => "list",
            Stage::Join => "join",
            Stage::Fix => "fix",
            Stage::Purge => "purge",
        }
    }

    fn parse(word: &str) -> Option<Stage> {
        [Stage::List, Stage::Join, Stage::Fix, Stage::Purge].into_iter().find(|s| s.as_str() == word)
    }
}

/// The columns of a report's row that are not in [`Report`].
pub(super) struct Rest {
    pub(super) stage: Stage,
    pub(super) began_at: Stamp,
    pub(super) span: u32,
    pub(super) edge_to: Option<Stamp>,
    pub(super) paging: Paging,
    pub(super) fence: i64,
    pub(super) owner: Option<String>,
}

pub(super) fn read(mut row: Cells) -> Result<(Report, Rest)> {
    let id = row.parsed("an id", ReportId::parse)?.ok_or_else(|| foreign("an id", "null"))?;
    let dependency = row.must_text()?;
    let (from, to) = (row.must_stamp()?, row.must_stamp()?);
    let zone = row.must_text()?;
    let zone = Zone::named(&zone).map_err(|_| foreign("a time zone", &zone))?;
    let window =
        Window::new(&zone, from, to).map_err(|_| foreign("a window", "its end before its beginning"))?;
    let (asked_by, fix, asked_at) = (row.must_text()?, row.flag()?, row.must_stamp()?);
    let finished_at = row.stamp()?;
    let status = row.parsed("a status", Status::parse)?.ok_or_else(|| foreign("a status", "null"))?;
    let (why, tries, next_at) = (row.text()?, row.count()?, row.stamp()?);
    let totals = read_totals(&mut row)?;
    let stage = row.parsed("a stage", Stage::parse)?.ok_or_else(|| foreign("a stage", "null"))?;
    let rest = Rest {
        stage,
        began_at: row.stamp()?.unwrap_or(asked_at),
        span: row.count()?,
        edge_to: row.stamp()?,
        paging: Paging {
            cursor: row.text()?,
            pages: row.count()?,
            barren: row.count()?,
            still: row.count()?,
        },
        fence: row.must_int()?,
        owner: row.text()?,
    };
    let totals = totals.filter(|_| status == Status::Complete);
    let report = Report {
        id,
        dependency,
        window,
        asked_by,
        fix,
        asked_at,
        finished_at,
        status,
        why,
        tries,
        next_at,
        totals,
    };
    Ok((report, rest))
}

fn read_totals(row: &mut Cells) -> Result<Option<Totals>> {
    let amount = |row: &mut Cells| row.parsed("an amount", |text| text.parse().ok());
    let number = |row: &mut Cells| Ok(row.int()?.map(|count| u64::try_from(count).unwrap_or(0)));
    let (there, sum_there) = (number(row)?, amount(row)?);
    let (here, sum_here) = (number(row)?, amount(row)?);
    let (agreed, uncompared) = (number(row)?, number(row)?);
    let mut differences = [0; 6];
    for count in &mut differences {
        *count = number(row)?.unwrap_or(0);
    }
    let (sum_only_here, sum_only_there) = (amount(row)?, amount(row)?);
    let (Some(there), Some(here), Some(agreed), Some(uncompared)) = (there, here, agreed, uncompared) else {
        return Ok(None);
    };
    Ok(Some(Totals {
        there,
        sum_there,
        here,
        sum_here,
        agreed,
        uncompared,
        differences,
        sum_only_here,
        sum_only_there,
    }))
}
