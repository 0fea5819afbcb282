//! Turns rows of SQLite into values, and values into rows. Times are microseconds, ids are text, and booleans are 0 and
//! 1.

use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Row, Sqlite, ValueRef};
use uuid::Uuid;

use crate::action::{Action, ActionId, Mark};
use crate::error::{StoreError, Trouble};
use crate::machine::{AttemptRow, Owner, Stamp, State};
use crate::store::columns::{Columns, Source, Value};
use crate::store::{Counts, Result, kept};

pub(super) type Statement<'q> = Query<'q, Sqlite, SqliteArguments>;

pub(super) fn owner_text(owner: Owner) -> String {
    Uuid::from_u128(owner.0).to_string()
}

/// Binds the values of all columns of a row.
fn bind<'q>(query: Statement<'q>, row: &impl Columns) -> Statement<'q> {
    row.values().into_iter().fold(query, |query, value| match value {
        Value::Null => query.bind(None::<i64>),
        Value::Count(count) => query.bind(count),
        Value::Flag(flag) => query.bind(flag),
        Value::Word(word) => query.bind(word),
        Value::Text(text) => query.bind(text.to_owned()),
        Value::Bytes(bytes) => query.bind(bytes.to_vec()),
        Value::Time(time) => query.bind(time.as_micros()),
        Value::Id(id) => query.bind(Uuid::from_u128(id).to_string()),
    })
}

pub(super) fn bind_fixed<'q>(query: Statement<'q>, action: &Action) -> Statement<'q> {
    bind(query, &kept::fixed(action))
}

pub(super) fn bind_state<'q>(query: Statement<'q>, state: &State) -> Statement<'q> {
    bind(query, &state.row())
}

/// Binds the action's id, and after it the columns of the attempt log.
pub(super) fn bind_attempt<'q>(query: Statement<'q>, id: ActionId, attempt: &AttemptRow) -> Statement<'q> {
    bind(query.bind(id.to_string()), attempt)
}

/// Reads the columns of a row one after the other.
struct Reader<'r> {
    row: &'r SqliteRow,
    next: usize,
}

impl<'r> Reader<'r> {
    fn take<T>(&mut self) -> Result<T>
    where
        T: sqlx::Decode<'r, Sqlite> + sqlx::Type<Sqlite>,
    {
        self.next += 1;
        self.row.try_get(self.next - 1).map_err(unreadable)
    }
}

fn unreadable(e: sqlx::Error) -> StoreError {
    StoreError::new(Trouble::Foreign, e)
}

impl Source for Reader<'_> {
    fn skip_null(&mut self) -> Result<bool> {
        let is_null = self.row.try_get_raw(self.next).map_err(unreadable)?.is_null();
        self.next += usize::from(is_null);
        Ok(is_null)
    }

    fn count(&mut self) -> Result<i64> {
        self.take()
    }

    fn flag(&mut self) -> Result<bool> {
        self.take()
    }

    fn text(&mut self) -> Result<&str> {
        self.take()
    }

    fn bytes(&mut self) -> Result<&[u8]> {
        self.take()
    }

    fn time(&mut self) -> Result<Stamp> {
        self.take().map(Stamp::from_micros)
    }

    fn id(&mut self) -> Result<u128> {
        let text: &str = self.take()?;
        ActionId::parse(text).map(ActionId::as_u128).ok_or_else(|| StoreError::foreign("id", text))
    }
}

/// Reads the columns of a row, from the first one on.
pub(super) fn reader(row: &SqliteRow) -> impl Source {
    Reader { row, next: 0 }
}

pub(super) fn action(row: &SqliteRow) -> Result<Action> {
    kept::action(|| Reader { row, next: 0 })
}

/// Reads a row of a list.
pub(super) fn listed(row: &SqliteRow) -> Result<(ActionId, Option<Action>)> {
    kept::listed(|| Reader { row, next: 0 })
}

/// Returns a line of the attempt log. The first column, the action's id, is skipped.
pub(super) fn attempt(row: &SqliteRow) -> Result<AttemptRow> {
    AttemptRow::read(&mut Reader { row, next: 1 })
}

pub(super) fn mark(row: &SqliteRow) -> Result<Mark> {
    kept::mark(&mut Reader { row, next: 0 })
}

pub(super) fn counts(open: &SqliteRow, stuck: &SqliteRow, most: u32) -> Result<Counts> {
    kept::counts(&mut Reader { row: open, next: 0 }, &mut Reader { row: stuck, next: 0 }, most)
}
