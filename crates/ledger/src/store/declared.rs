//! The statements for the table of declarations, written once for both databases. The table says which process declares
//! which operations. With it, the statements find rows that wait because no process declares their operation.
//!
//! Several programs can share one ledger, and each of them claims only rows of the operations that it declares. A
//! process that looks at its own declarations alone cannot know whether another process works on the other rows. So
//! each worker writes what it declares into a table, and renews that each minute. If a process ends, its declarations
//! are forgotten after ten minutes ([`DECLARED_FOR`]). That is long enough for a restart or a deploy.
//!
//! As in [`polled`](super::polled), the statements have no parameters. The reason is given there.

use std::time::Duration;

use crate::action::ActionId;
use crate::machine::{Owner, Stamp};

use super::columns::{Cell, Source};
use super::dialect::Dialect;
use super::{DECLARED_FOR, DECLARED_TO_SQL_FOR, Declared, OperationCount, Result};
use crate::terms::Declaration;

/// Returns the two statements that replace what `owner` declared before. The first one deletes the process's own
/// declarations, and two kinds of old declarations of other processes: after ten minutes ([`DECLARED_FOR`]) those of an
/// operation that `declared` has, too; after seven days ([`DECLARED_TO_SQL_FOR`]) all. The second one inserts the new
/// declarations. It is `None` if `declared` is empty.
pub(crate) fn declare(
    dialect: Dialect,
    now: &str,
    owner: Owner,
    declared: &[Declaration],
) -> (String, Option<String>) {
    let table = dialect.table("declared");
    let owner = dialect.id(&dialect.literal(&ActionId::from_u128(owner.0).to_string()));
    let literals = |of: &Declaration| (dialect.literal(&of.dependency), dialect.literal(&of.operation));
    let anew: String = declared
        .iter()
        .map(literals)
        .map(|(dependency, operation)| format!(" OR (dependency = {dependency} AND operation = {operation})"))
        .collect();
    let delete = format!(
        "DELETE FROM {table} WHERE owner = {owner} OR (declared_at <= {forgotten} AND (declared_at <= {ended}{anew}))",
        forgotten = forgotten(dialect, now),
        ended = dialect.plus(now, &format!("-{}", DECLARED_TO_SQL_FOR.as_micros())),
    );
    let row = |of: &Declaration| {
        let (dependency, operation) = literals(of);
        format!("({owner}, {dependency}, {operation}, {now}, {})", dialect.literal(&of.terms.to_json()))
    };
    let rows: Vec<String> = declared.iter().map(row).collect();
    let insert = (!rows.is_empty()).then(|| {
        format!(
            "INSERT INTO {table} (owner, dependency, operation, declared_at, terms) VALUES {} \
             ON CONFLICT (owner, dependency, operation) \
             DO UPDATE SET declared_at = excluded.declared_at, terms = excluded.terms",
            rows.join(", ")
        )
    });
    (delete, insert)
}

/// Returns the SQL that reads the operations that some process declares. The rows come in the order of dependency and
/// operation. [`declared_of`] reads them.
pub(crate) fn declared(dialect: Dialect, now: &str) -> String {
    format!(
        "SELECT DISTINCT dependency, operation FROM {} WHERE declared_at > {} ORDER BY dependency, operation",
        dialect.table("declared"),
        forgotten(dialect, now)
    )
}

/// Reads one row of the result of [`declared`], and adds its operation to `all`, which has the operations of the rows
/// before it.
pub(crate) fn declared_of(all: &mut Vec<Declared>, from: &mut impl Source) -> Result<()> {
    let dependency = from.text()?.to_owned();
    let operation = from.text()?.to_owned();
    match all.last_mut().filter(|last| last.dependency == dependency) {
        Some(last) => last.operations.push(operation),
        None => all.push(Declared { dependency, operations: vec![operation] }),
    }
    Ok(())
}

/// Returns the SQL that counts, for each operation that no process declares, its due rows. `declared` has the
/// operations of the own process: they count as declared even if they are not in the table. `of` is the dependency
/// whose rows are counted, or `None` for all dependencies. At most `most` rows of an operation are counted.
/// [`count_of`] reads the rows of the result.
pub(crate) fn undeclared(
    dialect: Dialect,
    now: &str,
    of: Option<&str>,
    declared: &[Declared],
    most: u32,
) -> String {
    let own: String = names(dialect, declared)
        .map(|(dependency, operation)| {
            format!(" AND NOT (w.dependency = {dependency} AND w.operation = {operation})")
        })
        .collect();
    let others = format!(
        " AND NOT EXISTS (SELECT 1 FROM {} d WHERE d.dependency = w.dependency AND d.operation = w.operation \
         AND d.declared_at > {})",
        dialect.table("declared"),
        forgotten(dialect, now)
    );
    count(dialect, of, &format!("a.due_at <= {now}"), &format!("{own}{others}"), most)
}

/// Returns the SQL that counts the open rows of each operation, at most `most` of each. [`count_of`] reads the rows of
/// the result.
pub(crate) fn open(dialect: Dialect, most: u32) -> String {
    count(dialect, None, "a.due_at IS NOT NULL AND a.ended IS NULL", "", most)
}

/// Returns the SQL that counts, for each operation, the rows that fulfil the SQL condition `rows`, but at most `most`
/// of them. `operations` is a further SQL condition, which says which operations are counted. `of` is the dependency
/// whose rows are counted, or `None` for all dependencies. The statement jumps in the index of due rows from one
/// operation to the next, so it does not read the rows of the operations that it does not count.
fn count(dialect: Dialect, of: Option<&str>, rows: &str, operations: &str, most: u32) -> String {
    let action = dialect.table("action");
    let next = |column: &str, condition: &str| {
        format!(
            "(SELECT a.{column} FROM {action} a WHERE a.due_at IS NOT NULL{condition} ORDER BY a.{column} LIMIT 1)"
        )
    };
    let dependencies = match of {
        Some(name) => format!("VALUES ({})", dialect.literal(name)),
        None => format!(
            "SELECT {} UNION ALL SELECT {} FROM n WHERE n.dependency IS NOT NULL",
            next("dependency", ""),
            next("dependency", " AND a.dependency > n.dependency")
        ),
    };
    format!(
        "WITH RECURSIVE n (dependency) AS ({dependencies}), w (dependency, operation) AS (\
         SELECT n.dependency, {first} FROM n WHERE n.dependency IS NOT NULL UNION ALL \
         SELECT w.dependency, {following} FROM w WHERE w.operation IS NOT NULL), \
         counted (dependency, operation, number) AS (\
         SELECT w.dependency, w.operation, (SELECT count(*) FROM (SELECT 1 FROM {action} a \
         WHERE a.dependency = w.dependency AND a.operation = w.operation AND {rows} LIMIT {most}) AS c) \
         FROM w WHERE w.operation IS NOT NULL{operations}) \
         SELECT dependency, operation, number FROM counted WHERE number > 0",
        first = next("operation", " AND a.dependency = n.dependency"),
        following = next("operation", " AND a.dependency = w.dependency AND a.operation > w.operation"),
    )
}

/// Reads one row of the result of [`undeclared`] or [`open`].
pub(crate) fn count_of(from: &mut impl Source) -> Result<OperationCount> {
    Ok(OperationCount {
        dependency: from.text()?.to_owned(),
        operation: from.text()?.to_owned(),
        number: u64::read(from)?,
    })
}

/// Returns the SQL that finds the open rows of an operation that have been due since `before` or longer, the oldest
/// first. [`id_of`] reads the rows of the result.
pub(crate) fn overdue(
    dialect: Dialect,
    dependency: &str,
    operation: &str,
    before: Stamp,
    knows: u32,
    most: u32,
) -> String {
    format!(
        "SELECT id FROM {action} WHERE dependency = {dependency} AND operation = {operation} AND due_at <= {before} \
         AND ended IS NULL AND needs <= {knows} ORDER BY due_at LIMIT {most}",
        action = dialect.table("action"),
        dependency = dialect.literal(dependency),
        operation = dialect.literal(operation),
        before = dialect.at(&before.as_micros().to_string()),
    )
}

/// Returns the SQL that finds rows that `owner` has claimed, for a lease that ends within the time `within`. `declared`
/// must have at least one operation: only its operations are searched. At most `most` rows are found. [`id_of`] reads
/// the rows of the result.
pub(crate) fn held(
    dialect: Dialect,
    now: &str,
    declared: &[Declared],
    owner: Owner,
    within: Duration,
    most: u32,
) -> String {
    let operations: Vec<String> = names(dialect, declared)
        .map(|(dependency, operation)| format!("(a.dependency = {dependency} AND a.operation = {operation})"))
        .collect();
    format!(
        "SELECT a.id FROM {action} a WHERE ({operations}) AND a.due_at > {now} AND a.due_at <= {end} \
         AND a.owner = {owner} LIMIT {most}",
        action = dialect.table("action"),
        operations = operations.join(" OR "),
        end = dialect.later(now, within),
        owner = dialect.id(&dialect.literal(&ActionId::from_u128(owner.0).to_string())),
    )
}

/// Reads an id from one row of the result of [`overdue`] or [`held`].
pub(crate) fn id_of(from: &mut impl Source) -> Result<ActionId> {
    ActionId::read(from)
}

/// Returns the SQL for the time that is [`DECLARED_FOR`] before `now`. A declaration that was last renewed at this time
/// or earlier does not count any more.
fn forgotten(dialect: Dialect, now: &str) -> String {
    dialect.plus(now, &format!("-{}", DECLARED_FOR.as_micros()))
}

/// Returns the declared operations as SQL literals: the dependency and the operation.
fn names(dialect: Dialect, declared: &[Declared]) -> impl Iterator<Item = (String, String)> {
    declared.iter().flat_map(move |of| {
        of.operations
            .iter()
            .map(move |operation| (dialect.literal(&of.dependency), dialect.literal(operation)))
    })
}
