//! The two questions about rows that wait, written once for both databases.
//!
//! The first question is about all dependencies of a process together, and is asked once in each poll interval: which
//! of them have a row that is due, and when will the next row be due? The second question is: which due rows wait for
//! another process, because this process does not declare their operations?
//!
//! The questions have no parameters: the names are written into the text. So PostgreSQL gets such a question in one
//! message (the simple protocol), answers it in one round trip, and plans it anew each time for the current size of the
//! table. With parameters, sqlx first prepares the statement in a message of its own. Behind a pooler in transaction
//! mode, the statement could then be executed in another server session, in which it was never prepared.

use crate::machine::Stamp;

use super::columns::{Cell, Source};
use super::dialect::Dialect;
use super::{Declared, Due, Result, Undeclared};

/// Returns the SQL of the first question, for the time `now`. Its result has one row for each declared operation, with
/// four columns: the database's time, the index of the dependency in `declared`, since when a row is due, and when the
/// next row will be due. [`Answers::read`] reads these rows.
pub(crate) fn due(dialect: Dialect, now: &str, declared: &[Declared], knows: u32) -> String {
    let action = dialect.table("action");
    let operations = declared.iter().enumerate().flat_map(|(number, of)| {
        let dependency = dialect.literal(&of.dependency);
        of.operations.iter().map(move |operation| {
            format!("({number}, {dependency}, {operation})", operation = dialect.literal(operation))
        })
    });
    let operations = operations.collect::<Vec<_>>().join(", ");
    let first = |when: &str| {
        let due_at = dialect.micros("a.due_at");
        format!(
            "(SELECT {due_at} FROM {action} a WHERE a.dependency = d.dependency AND a.operation = d.operation \
             AND a.due_at {when} {now} AND a.needs <= {knows} ORDER BY a.due_at LIMIT 1)"
        )
    };
    format!(
        "WITH d (number, dependency, operation) AS (VALUES {operations}) \
         SELECT {now}, d.number, {due}, {next} FROM d",
        now = dialect.micros(now),
        due = first("<="),
        next = first(">"),
    )
}

/// The answers to [`due`], gathered by dependency.
pub(crate) struct Answers {
    pub(crate) due: Vec<Due>,
    /// The database's time; `None` if no row was read.
    pub(crate) now: Option<Stamp>,
}

impl Answers {
    pub(crate) fn of(declared: &[Declared]) -> Answers {
        Answers { due: vec![Due::default(); declared.len()], now: None }
    }

    pub(crate) fn read(&mut self, from: &mut impl Source) -> Result<()> {
        let now = i64::read(from)?;
        let number = u32::read(from)?;
        let (due, next) = (Option::<i64>::read(from)?, Option::<i64>::read(from)?);
        self.now = Some(Stamp::from_micros(now));
        if let Some(of) = self.due.get_mut(number as usize) {
            of.now |= due.is_some();
            of.next = of.next.into_iter().chain(next.map(Stamp::from_micros)).min();
        }
        Ok(())
    }
}

/// Returns the SQL of the second question. Its result has one row for each operation that is not in `declared`,
/// although its dependency is, and that has rows that are due. The columns are the dependency, the operation, and the
/// number of due rows, of which at most `most` are counted. [`undeclared_of`] reads these rows.
///
/// The statement jumps in the index from one operation to the next, so it does not read the rows of the declared
/// operations.
pub(crate) fn undeclared(dialect: Dialect, now: &str, declared: &[Declared], most: u32) -> String {
    let action = dialect.table("action");
    let named: Vec<String> =
        declared.iter().map(|of| format!("({})", dialect.literal(&of.dependency))).collect();
    let known = declared.iter().filter(|of| !of.operations.is_empty()).map(|of| {
        let operations: Vec<String> = of.operations.iter().map(|name| dialect.literal(name)).collect();
        let dependency = dialect.literal(&of.dependency);
        format!(" AND NOT (w.dependency = {dependency} AND w.operation IN ({}))", operations.join(", "))
    });
    let next = |dependency: &str, after: &str| {
        format!(
            "(SELECT a.operation FROM {action} a WHERE a.dependency = {dependency} AND a.due_at IS NOT NULL{after} \
             ORDER BY a.operation LIMIT 1)"
        )
    };
    format!(
        "WITH RECURSIVE n (dependency) AS (VALUES {named}), w (dependency, operation) AS (\
         SELECT n.dependency, {first} FROM n UNION ALL \
         SELECT w.dependency, {following} FROM w WHERE w.operation IS NOT NULL), \
         counted (dependency, operation, number) AS (\
         SELECT w.dependency, w.operation, (SELECT count(*) FROM (SELECT 1 FROM {action} a \
         WHERE a.dependency = w.dependency AND a.operation = w.operation AND a.due_at <= {now} LIMIT {most}) AS c) \
         FROM w WHERE w.operation IS NOT NULL{known}) \
         SELECT dependency, operation, number FROM counted WHERE number > 0",
        named = named.join(", "),
        first = next("n.dependency", ""),
        following = next("w.dependency", " AND a.operation > w.operation"),
        known = known.collect::<String>(),
    )
}

/// Reads a row of [`undeclared`].
pub(crate) fn undeclared_of(from: &mut impl Source) -> Result<Undeclared> {
    Ok(Undeclared {
        dependency: from.text()?.to_owned(),
        operation: from.text()?.to_owned(),
        due: u64::read(from)?,
    })
}
