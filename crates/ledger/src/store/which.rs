//! The conditions of a claim that takes only some of the due rows, while the pace holds classes back.

use crate::pace::Class;

use super::dialect::Dialect;
use super::words::Word;

/// The SQL for a row's class as one text.
const CLASS: &str = "operation || '/' || goal || '/' || effect";

/// Returns the condition of [`Which::AllBut`](super::Which::AllBut). Its arguments are SQL:
///
/// - `held`: the parameter with the classes that are held back, as [`texts`] returns them.
/// - `from`: the parameter with the earliest due time of the rows that are claimed.
/// - `now`: the present time.
/// - `give_up`: `now` minus the field `give_up` of [`Which::AllBut`](super::Which::AllBut). Rows that were recorded
///   before that time and never sent are claimed even if their class is held back.
pub(crate) fn all_but(dialect: Dialect, held: &str, from: &str, now: &str, give_up: &str) -> String {
    let is_held = match dialect {
        Dialect::Sqlite => format!("({CLASS}) IN (SELECT value FROM json_each({held}))"),
        Dialect::Postgres => format!("({CLASS}) = ANY ({held}::text[])"),
    };
    format!(
        "due_at >= {from} AND (failing_since IS NULL OR NOT {is_held} OR (goal = 'perform' AND settle_by <= {now}) \
         OR (effect = 'never' AND begun_at <= {give_up}))"
    )
}

/// Returns the condition of [`Which::Failing`](super::Which::Failing). The parameters are the columns of the class: its
/// operation, goal and effect, as [`columns`] returns them. The index `action_failing` has these rows in the order in
/// which they are due.
pub(crate) fn failing([operation, goal, effect]: [&str; 3]) -> String {
    format!("failing_since IS NOT NULL AND operation = {operation} AND goal = {goal} AND effect = {effect}")
}

/// Returns the columns of a class.
pub(crate) fn columns(class: &Class) -> [String; 3] {
    [class.operation.clone(), class.goal.word().to_owned(), class.effect.word().to_owned()]
}

/// Returns the classes as the condition of [`all_but`] compares them.
pub(crate) fn texts(classes: &[Class]) -> Vec<String> {
    classes.iter().map(|class| columns(class).join("/")).collect()
}
