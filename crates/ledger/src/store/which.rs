//! The conditions of a claim that takes only some of the due rows, because classes are held.

use crate::pace::Class;

use super::dialect::Dialect;
use super::words::Word;

/// The SQL for a row's class as one text.
const CLASS: &str = "operation || '/' || goal || '/' || effect";

/// Returns the condition of [`Which::AllBut`](super::Which::AllBut). `held` is the parameter for the classes, as
/// [`texts`] returns them, `declared` the one for the names of the declared operations, `now` the SQL for the present time, and `give_up` the SQL for the present time less the time
/// for which an unsent action is tried.
pub(crate) fn all_but(dialect: Dialect, held: &str, declared: &str, now: &str, give_up: &str) -> String {
    let one_of = |value: &str, list: &str| match dialect {
        Dialect::Sqlite => format!("{value} IN (SELECT value FROM json_each({list}))"),
        Dialect::Postgres => format!("{value} = ANY ({list}::text[])"),
    };
    let (is_held, is_declared) = (one_of(&format!("({CLASS})"), held), one_of("operation", declared));
    format!(
        "{is_declared} AND (failing_since IS NULL OR NOT {is_held} OR (goal = 'perform' AND settle_by <= {now}) \
         OR (effect = 'never' AND begun_at <= {give_up}))"
    )
}

/// Returns the condition of [`Which::Failing`](super::Which::Failing). `class` is the parameter for the class.
pub(crate) fn failing(class: &str) -> String {
    format!("failing_since IS NOT NULL AND {CLASS} = {class}")
}

/// Returns a class as the conditions compare it.
pub(crate) fn text(class: &Class) -> String {
    format!("{}/{}/{}", class.operation, class.goal.word(), class.effect.word())
}

/// Returns the classes as the conditions compare them.
pub(crate) fn texts(classes: &[Class]) -> Vec<String> {
    classes.iter().map(text).collect()
}
