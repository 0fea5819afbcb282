//! Turns rows of PostgreSQL into values, and values into rows.
//!
//! A batch is sent as one array for each column. So the text of a statement does not depend on the number of rows.

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgHasArrayType, PgRow, PgTypeInfo, PgValueRef};
use sqlx::query::Query;
use sqlx::{Decode, Encode, Postgres, Row, Type, ValueRef};
use uuid::Uuid;

use crate::action::{Action, ActionId, Mark};
use crate::error::{StoreError, Trouble};
use crate::machine::{AttemptRow, Row as StateRow, Stamp};
use crate::store::columns::{Columns, Kind, Source, Value};
use crate::store::{Counts, Result, kept};

pub(super) type Statement<'q> = Query<'q, Postgres, PgArguments>;

/// The number of microseconds from the start of 1970, where the Unix epoch begins, to the start of 2000, where
/// PostgreSQL's timestamps begin.
const EPOCH: i64 = 946_684_800_000_000;

/// A `timestamptz` in the form in which PostgreSQL sends it: microseconds since 2000.
#[derive(Clone, Copy, Debug)]
pub(super) struct At(pub(super) Stamp);

impl Type<Postgres> for At {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(1184))
    }
}

impl PgHasArrayType for At {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(1185))
    }
}

impl Encode<'_, Postgres> for At {
    fn encode_by_ref(&self, buf: &mut PgArgumentBuffer) -> std::result::Result<IsNull, BoxDynError> {
        <i64 as Encode<Postgres>>::encode(self.0.as_micros().saturating_sub(EPOCH), buf)
    }

    fn size_hint(&self) -> usize {
        8
    }
}

impl Decode<'_, Postgres> for At {
    fn decode(value: PgValueRef<'_>) -> std::result::Result<At, BoxDynError> {
        let micros = i64::from_be_bytes(value.as_bytes()?.try_into()?);
        Ok(At(Stamp::from_micros(micros.saturating_add(EPOCH))))
    }
}

/// Converts a count to the table's type. A count above the largest `i64` becomes the largest `i64`, but no real count
/// comes near it.
pub(super) fn count(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn uuid(id: ActionId) -> Uuid {
    Uuid::from_u128(id.as_u128())
}

/// Returns the SQL type of a column.
pub(super) fn sql_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Count => "bigint",
        Kind::Flag => "boolean",
        Kind::Text => "text",
        Kind::Bytes => "bytea",
        Kind::Time => "timestamptz",
        Kind::Id => "uuid",
    }
}

/// Binds the columns of rows, one array for each column.
fn bind<'q, 'r, T: Columns + 'r>(
    query: Statement<'q>,
    rows: impl IntoIterator<Item = &'r T>,
) -> Statement<'q> {
    let rows: Vec<Vec<Value<'_>>> = rows.into_iter().map(Columns::values).collect();
    T::columns().iter().enumerate().fold(query, |query, (at, column)| {
        macro_rules! each {
            ($kind:ident, $it:ident => $value:expr) => {{
                let of = |row: &Vec<Value<'_>>| match &row[at] {
                    Value::$kind($it) => Some($value),
                    _ => None,
                };
                query.bind(rows.iter().map(of).collect::<Vec<_>>())
            }};
        }
        match column.kind {
            Kind::Count => each!(Count, it => *it),
            Kind::Flag => each!(Flag, it => *it),
            Kind::Text => query.bind(rows.iter().map(|row| text(&row[at])).collect::<Vec<_>>()),
            Kind::Bytes => query.bind(rows.iter().map(|row| bytes(&row[at])).collect::<Vec<_>>()),
            Kind::Time => each!(Time, it => At(*it)),
            Kind::Id => each!(Id, it => Uuid::from_u128(*it)),
        }
    })
}

fn text<'v>(value: &Value<'v>) -> Option<&'v str> {
    match value {
        Value::Text(text) => Some(text),
        Value::Word(word) => Some(word),
        _ => None,
    }
}

fn bytes<'v>(value: &Value<'v>) -> Option<&'v [u8]> {
    if let Value::Bytes(bytes) = value { Some(bytes) } else { None }
}

pub(super) fn bind_fixed<'q>(query: Statement<'q>, actions: &[&Action]) -> Statement<'q> {
    bind(query, &actions.iter().map(|action| kept::fixed(action)).collect::<Vec<_>>())
}

pub(super) fn bind_states<'q>(query: Statement<'q>, states: &[StateRow]) -> Statement<'q> {
    bind(query, states)
}

/// Binds the columns of the attempt log, after the column of the actions' ids. Each column is one array.
pub(super) fn bind_attempts<'q>(query: Statement<'q>, attempts: &[(ActionId, &AttemptRow)]) -> Statement<'q> {
    let ids: Vec<Uuid> = attempts.iter().map(|(id, _)| uuid(*id)).collect();
    bind(query.bind(ids), attempts.iter().map(|(_, attempt)| *attempt))
}

/// Reads the columns of a row one after the other.
struct Reader<'r> {
    row: &'r PgRow,
    next: usize,
}

impl<'r> Reader<'r> {
    fn take<T: Decode<'r, Postgres>>(&mut self) -> Result<T> {
        self.next += 1;
        self.row.try_get_unchecked(self.next - 1).map_err(unreadable)
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
        self.take::<At>().map(|at| at.0)
    }

    fn id(&mut self) -> Result<u128> {
        self.take::<Uuid>().map(|id| id.as_u128())
    }
}

/// Reads the columns of a row, from the first one on.
pub(super) fn reader(row: &PgRow) -> impl Source {
    Reader { row, next: 0 }
}

pub(super) fn action(row: &PgRow) -> Result<Action> {
    kept::action(|| Reader { row, next: 0 })
}

/// Reads a row of a list.
pub(super) fn listed(row: &PgRow) -> Result<(ActionId, Option<Action>)> {
    kept::listed(|| Reader { row, next: 0 })
}

/// Returns a line of the attempt log. The first column, the action's id, is skipped.
pub(super) fn attempt(row: &PgRow) -> Result<AttemptRow> {
    AttemptRow::read(&mut Reader { row, next: 1 })
}

pub(super) fn mark(row: &PgRow) -> Result<Mark> {
    kept::mark(&mut Reader { row, next: 0 })
}

pub(super) fn counts(open: &PgRow, stuck: &PgRow, most: u32) -> Result<Counts> {
    kept::counts(&mut Reader { row: open, next: 0 }, &mut Reader { row: stuck, next: 0 }, most)
}
