//! Texts of SQL statements that write many rows, for a few numbers of rows, and statements that write actions together
//! with lines of the attempt log.

use std::sync::LazyLock;

use crate::action::ActionId;
use crate::machine::AttemptRow;
use crate::store::columns::{self, Columns};
use crate::store::lane::BATCH;

use super::rows;

/// The text of an SQL statement depends on the number of rows that it writes. Texts are made for these numbers of rows
/// only. A statement for 5 rows uses the text for 8. The last number is a whole batch.
const SIZES: [usize; 8] = [1, 2, 4, 8, 16, 32, 64, BATCH];

/// The texts of one statement, one for each of the numbers of rows in [`SIZES`].
pub(super) struct Sized {
    texts: [String; SIZES.len()],
    columns: usize,
}

impl Sized {
    pub(super) fn new(text: impl Fn(String) -> String, columns: usize) -> Sized {
        let row = format!("({})", vec!["?"; columns].join(", "));
        Sized { texts: SIZES.map(|size| text(vec![row.as_str(); size].join(", "))), columns }
    }

    /// Divides `rows` into parts that have at most the size of a batch, and returns one statement for each part. `bind`
    /// binds the values of one row.
    pub(super) fn each<'r, T>(
        &'static self,
        rows: &'r [T],
        bind: impl Fn(rows::Statement<'static>, &'r T) -> rows::Statement<'static>,
    ) -> impl Iterator<Item = rows::Statement<'static>> {
        rows.chunks(BATCH).map(move |piece| {
            let index = index_of(piece.len());
            let query = piece.iter().fold(sqlx::query(self.texts[index].as_str()), &bind);
            nothing(query, (SIZES[index] - piece.len()) * self.columns)
        })
    }
}

/// The texts of a statement that writes actions, each with at most one line of the attempt log. The statement that writes
/// these lines follows in the same text, so both are handed to the connection's thread together. It writes nothing unless
/// all of the actions were written.
pub(super) struct WithLines {
    texts: [String; SIZES.len()],
    columns: usize,
}

impl WithLines {
    pub(super) fn new(text: impl Fn(String) -> String, columns: usize) -> WithLines {
        let row = |columns| format!("({})", vec!["?"; columns].join(", "));
        let texts = SIZES.map(|size| {
            let lines = vec![row(*LINE_COLUMNS); size].join(", ");
            let actions = text(vec![row(columns); size].join(", "));
            format!("{actions}; {}", lines_text(&lines, "AND changes() = ?"))
        });
        WithLines { texts, columns }
    }

    /// Returns the statement that writes these rows, at most a whole batch, and their lines. `bind` binds the values of one
    /// row, and `line` returns its id and its line.
    pub(super) fn query<'r, T>(
        &'static self,
        rows: &'r [T],
        bind: impl Fn(rows::Statement<'static>, &'r T) -> rows::Statement<'static>,
        line: impl Fn(&'r T) -> (ActionId, Option<&'r AttemptRow>),
    ) -> rows::Statement<'static> {
        let index = index_of(rows.len());
        let missing = SIZES[index] - rows.len();
        let query = rows.iter().fold(sqlx::query(self.texts[index].as_str()), bind);
        let query = nothing(query, missing * self.columns);
        let query = rows.iter().map(line).fold(query, |query, line| match line {
            (id, Some(line)) => rows::bind_attempt(query, id, line),
            (_, None) => nothing(query, *LINE_COLUMNS),
        });
        nothing(query, missing * *LINE_COLUMNS).bind(i64::try_from(rows.len()).unwrap_or(i64::MAX))
    }
}

/// Returns the index of the smallest number in [`SIZES`] that is enough for these rows.
fn index_of(rows: usize) -> usize {
    SIZES.iter().position(|size| rows <= *size).unwrap_or(SIZES.len() - 1)
}

/// Binds NULL for these columns.
fn nothing(query: rows::Statement<'static>, columns: usize) -> rows::Statement<'static> {
    (0..columns).fold(query, |query, _| query.bind(None::<i64>))
}

/// The number of columns of the attempt log, with the column of the actions' ids.
pub(super) static LINE_COLUMNS: LazyLock<usize> = LazyLock::new(|| AttemptRow::columns().len() + 1);

/// Returns the statement that inserts or completes lines of the attempt log, if `and` holds.
pub(super) fn lines_text(values: &str, and: &str) -> String {
    let all = format!("action, {}", columns::names::<AttemptRow>());
    let assigned = columns::assigned(columns::ENDED.into_iter(), "excluded");
    format!(
        "INSERT INTO seawall_attempt ({all}) SELECT * FROM (VALUES {values}) WHERE column1 IS NOT NULL {and} \
         ON CONFLICT (action, number) DO UPDATE SET {assigned}"
    )
}
