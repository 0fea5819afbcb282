//! The questions about rows that wait, written once for both databases.
//!
//! The first question is asked once in each poll interval, for all dependencies of a process together: which of them
//! have a row that is due, and when will the next row be due? The second question is: which versions do the actions
//! with these ids have?
//!
//! The questions have no parameters: the names are written into the text. So PostgreSQL gets such a question in one
//! message (the simple protocol), answers it in one round trip, and plans it anew each time for the current size of the
//! table. With parameters, sqlx first prepares the statement in a message of its own. Behind a pooler in transaction
//! mode, the statement could then be executed in another server session, in which it was never prepared.

use std::time::Duration;

use crate::action::ActionId;
use crate::machine::Stamp;

use super::columns::{Cell, Source};
use super::dialect::Dialect;
use super::{Declared, Due, Result};

/// Returns the SQL of the question that a poll asks: which operations have rows that are due? `now` is the SQL for the
/// current time. The answer has one row for each declared operation, which [`Answers::read`] reads. The columns are:
///
/// - the database's time;
/// - the index of the dependency in `declared`, and the name of the operation;
/// - the counter [`Dialect::walked`], the due time of the first row that is due, and the counter again. The difference
///   of the two counters is the number of index entries that this search has read;
/// - the due time of the next row, if that is within the time `within`.
///
/// The search for the first due row begins at the time that `from` returns for the operation. The search for the next
/// row ends at `within` from now. PostgreSQL's index still has the old entries of rows that were changed, such as the
/// ends of the leases of finished rows. Without an end, the search would read all of them.
pub(crate) fn due(
    dialect: Dialect,
    now: &str,
    declared: &[Declared],
    knows: u32,
    within: Duration,
    from: impl Fn(&str, &str) -> Option<Stamp>,
) -> String {
    let low = |dependency: &str, operation: &str| {
        vec![dialect.at(&micros(from(dependency, operation).unwrap_or(BEGINNING)))]
    };
    format!(
        "WITH d (number, dependency, operation, low) AS (VALUES {operations}) \
         SELECT {time}, d.number, d.operation, {walked}, {due}, {walked}, {next} FROM d",
        operations = operations(dialect, declared, low),
        time = dialect.micros(now),
        due = first(dialect, knows, &format!("a.due_at >= d.low AND a.due_at <= {now}")),
        next = first(
            dialect,
            knows,
            &format!("a.due_at > {now} AND a.due_at <= {}", dialect.later(now, within))
        ),
        walked = dialect.walked(),
    )
}

/// Returns the SQL that finds, for each declared operation, the first row whose due time lies in a range of time.
/// `range` returns the begin and the end of the range for an operation. The answer has the columns of [`due`].
#[cfg(feature = "postgres")]
pub(crate) fn due_in(
    dialect: Dialect,
    now: &str,
    declared: &[Declared],
    knows: u32,
    range: impl Fn(&str, &str) -> (Stamp, Stamp),
) -> String {
    let ranges = |dependency: &str, operation: &str| {
        let (begin, end) = range(dependency, operation);
        [begin, end].map(|at| dialect.at(&micros(at))).to_vec()
    };
    format!(
        "WITH d (number, dependency, operation, low, high) AS (VALUES {operations}) \
         SELECT {time}, d.number, d.operation, {walked}, {due}, {walked}, NULL FROM d",
        operations = operations(dialect, declared, ranges),
        time = dialect.micros(now),
        due = first(dialect, knows, "a.due_at >= d.low AND a.due_at < d.high"),
        walked = dialect.walked(),
    )
}

/// No row is due before this time.
pub(crate) const BEGINNING: Stamp = Stamp::from_micros(0);

fn micros(at: Stamp) -> String {
    at.as_micros().to_string()
}

/// Returns the SQL for the rows of a table, one row for each declared operation. The columns are the number of the
/// dependency, its name, the name of the operation, and the further columns that `more` returns for it.
fn operations(dialect: Dialect, declared: &[Declared], more: impl Fn(&str, &str) -> Vec<String>) -> String {
    let mut rows = Vec::new();
    for (number, of) in declared.iter().enumerate() {
        for operation in &of.operations {
            let names = [dialect.literal(&of.dependency), dialect.literal(operation)];
            let values: Vec<String> = names.into_iter().chain(more(&of.dependency, operation)).collect();
            rows.push(format!("({number}, {})", values.join(", ")));
        }
    }
    rows.join(", ")
}

/// Returns the SQL for the earliest due time among the rows of the operation `d` for which the SQL condition `when` is
/// true. Rows whose `needs` is above `knows` are left out: only a newer version of the program works on them.
fn first(dialect: Dialect, knows: u32, when: &str) -> String {
    format!(
        "(SELECT {due_at} FROM {action} a WHERE a.dependency = d.dependency AND a.operation = d.operation AND {when} \
         AND a.needs <= {knows} ORDER BY a.due_at LIMIT 1)",
        due_at = dialect.micros("a.due_at"),
        action = dialect.table("action"),
    )
}

/// The answers to [`due`], gathered by dependency.
pub(crate) struct Answers {
    pub(crate) due: Vec<Due>,
    /// For each operation that was read: the number of its dependency, its name, and the due time of its first due
    /// row. The due time is `None` if no row of the operation is due.
    pub(crate) first: Vec<(usize, String, Option<Stamp>)>,
    /// The database's time; `None` if no row was read.
    pub(crate) now: Option<Stamp>,
    /// The number of entries that the searches for rows that are due have read from the index.
    pub(crate) walked: u64,
}

impl Answers {
    pub(crate) fn of(declared: &[Declared]) -> Answers {
        let due = vec![Due::default(); declared.len()];
        Answers { due, first: Vec::new(), now: None, walked: 0 }
    }

    pub(crate) fn read(&mut self, from: &mut impl Source) -> Result<()> {
        let now = i64::read(from)?;
        let number = u32::read(from)? as usize;
        let operation = from.text()?.to_owned();
        let (before, due) = (u64::read(from)?, Option::<i64>::read(from)?);
        let (after, next) = (u64::read(from)?, Option::<i64>::read(from)?);
        self.now = Some(Stamp::from_micros(now));
        self.walked += after.saturating_sub(before);
        self.first.push((number, operation, due.map(Stamp::from_micros)));
        if let Some(of) = self.due.get_mut(number) {
            of.now |= due.is_some();
            of.next = of.next.into_iter().chain(next.map(Stamp::from_micros)).min();
        }
        Ok(())
    }
}

/// Returns the SQL that reads the versions of the actions with these ids. [`version_of`] reads the rows. There must be
/// at least one id.
pub(crate) fn versions(dialect: Dialect, ids: &[ActionId]) -> String {
    let action = dialect.table("action");
    let ids = ids.iter().map(|id| dialect.literal(&id.to_string())).collect::<Vec<_>>().join(", ");
    format!("SELECT id, version FROM {action} WHERE id IN ({ids})")
}

/// Reads an action's id and version from one row of the result of [`versions`].
pub(crate) fn version_of(from: &mut impl Source) -> Result<(ActionId, u64)> {
    Ok((ActionId::read(from)?, u64::read(from)?))
}
