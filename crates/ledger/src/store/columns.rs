//! Describes the columns of the tables once, for both stores. Values are bound and read by this description.
//!
//! A table is described by a struct with one field for each column, in the order in which all statements name the
//! columns. The macro `columns!` makes everything else from the names of the fields: the names and types of the
//! columns, the values to bind, and the code that reads a row. So a new column is one new field, and the compiler finds
//! code that forgets it.

use std::borrow::Cow;

use crate::action::ActionId;
use crate::error::StoreError;
use crate::machine::{AttemptRow, Owner, Row, Stamp};

use super::Result;

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Count,
    Flag,
    Text,
    Bytes,
    Time,
    Id,
}

/// The name and the type of a column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    #[cfg_attr(
        not(feature = "postgres"),
        expect(dead_code, reason = "only PostgreSQL is told the type of a value")
    )]
    pub(crate) kind: Kind,
}

/// A value of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Null,
    Count(i64),
    Flag(bool),
    Word(&'static str),
    Text(&'a str),
    Bytes(&'a [u8]),
    Time(Stamp),
    Id(u128),
}

/// The columns of one row of a database, which are read one after the other.
pub(crate) trait Source {
    /// Returns whether the next column is NULL. If it is, the column is skipped.
    fn skip_null(&mut self) -> Result<bool>;
    fn count(&mut self) -> Result<i64>;
    fn flag(&mut self) -> Result<bool>;
    fn text(&mut self) -> Result<&str>;
    fn bytes(&mut self) -> Result<&[u8]>;
    fn time(&mut self) -> Result<Stamp>;
    fn id(&mut self) -> Result<u128>;
}

/// A type that one column holds.
pub(crate) trait Cell: Sized {
    const KIND: Kind;
    fn value(&self) -> Value<'_>;
    fn read(from: &mut impl Source) -> Result<Self>;
}

impl<T: Cell> Cell for Option<T> {
    const KIND: Kind = T::KIND;

    fn value(&self) -> Value<'_> {
        self.as_ref().map_or(Value::Null, Cell::value)
    }

    fn read(from: &mut impl Source) -> Result<Self> {
        if from.skip_null()? { Ok(None) } else { T::read(from).map(Some) }
    }
}

/// Implements [`Cell`] for numbers. A number above the largest `i64` is bound as the largest `i64`, but no number in
/// these tables comes near it.
macro_rules! counts {
    ($($type:ty),*) => {$(
        impl Cell for $type {
            const KIND: Kind = Kind::Count;

            fn value(&self) -> Value<'_> {
                Value::Count(i64::try_from(*self).unwrap_or(i64::MAX))
            }

            fn read(from: &mut impl Source) -> Result<Self> {
                let value = from.count()?;
                <$type>::try_from(value).map_err(|_| StoreError::foreign("count", &value.to_string()))
            }
        }
    )*};
}

counts!(u16, u32, u64, i64);

/// Implements [`Cell`] for a type, from three things: the kind of its column, an expression that binds a value, and an
/// expression that reads a value.
macro_rules! cell {
    ($type:ty, $kind:ident, |$this:ident| $value:expr, |$from:ident| $read:expr) => {
        impl Cell for $type {
            const KIND: Kind = Kind::$kind;

            fn value(&self) -> Value<'_> {
                let $this = self;
                $value
            }

            fn read($from: &mut impl Source) -> Result<Self> {
                $read
            }
        }
    };
}

cell!(bool, Flag, |this| Value::Flag(*this), |from| from.flag());
cell!(String, Text, |this| Value::Text(this), |from| from.text().map(str::to_owned));
cell!(Cow<'_, str>, Text, |this| Value::Text(this), |from| from.text().map(|text| text.to_owned().into()));
cell!(Vec<u8>, Bytes, |this| Value::Bytes(this), |from| from.bytes().map(<[u8]>::to_vec));
cell!(Cow<'_, [u8]>, Bytes, |this| Value::Bytes(this), |from| from
    .bytes()
    .map(|bytes| bytes.to_vec().into()));
cell!(Stamp, Time, |this| Value::Time(*this), |from| from.time());
cell!(Owner, Id, |this| Value::Id(this.0), |from| from.id().map(Owner));
cell!(ActionId, Id, |this| Value::Id(this.as_u128()), |from| from.id().map(ActionId::from_u128));

/// A struct with one field for each column of a table.
pub(crate) trait Columns: Sized {
    /// The columns, in the order of the fields.
    fn columns() -> &'static [Column];
    /// The values of the columns, in the same order.
    fn values(&self) -> Vec<Value<'_>>;
    fn read(from: &mut impl Source) -> Result<Self>;
}

/// Implements [`Columns`] for a struct. The macro is given the names of all fields of the struct, in the order of the
/// columns.
macro_rules! columns {
    ($type:ty { $($field:ident),* $(,)? }) => {
        impl Columns for $type {
            fn columns() -> &'static [Column] {
                // Returns the kind of a column. The compiler infers the field's type `T` from the closure that reads
                // the field, because the macro is given only the field's name.
                fn kind<R, T: Cell>(_: impl Fn(R) -> T) -> Kind {
                    T::KIND
                }
                static ALL: std::sync::LazyLock<Vec<Column>> = std::sync::LazyLock::new(|| {
                    vec![$(Column { name: stringify!($field), kind: kind(|row: $type| row.$field) }),*]
                });
                &ALL
            }

            fn values(&self) -> Vec<Value<'_>> {
                vec![$(self.$field.value()),*]
            }

            fn read(from: &mut impl Source) -> Result<Self> {
                Ok(Self { $($field: Cell::read(from)?),* })
            }
        }
    };
}

/// The columns of an action that do not change any more once a worker has worked on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fixed<'a> {
    pub(crate) id: ActionId,
    pub(crate) dependency: Cow<'a, str>,
    pub(crate) operation: Cow<'a, str>,
    pub(crate) key: Cow<'a, str>,
    pub(crate) scope: Option<Cow<'a, str>>,
    pub(crate) scope_size: Option<u32>,
    pub(crate) request: Cow<'a, [u8]>,
    pub(crate) created_at: Stamp,
    pub(crate) sent_key: Option<Cow<'a, str>>,
    pub(crate) salt: Option<i64>,
    pub(crate) amount: Option<Cow<'a, str>>,
    pub(crate) currency: Option<Cow<'a, str>>,
    pub(crate) head_print: Option<Cow<'a, [u8]>>,
    pub(crate) body_print: Option<Cow<'a, [u8]>>,
    pub(crate) client: Option<Cow<'a, str>>,
}

columns!(Fixed<'_> {
    id, dependency, operation, key, scope, scope_size, request, created_at, sent_key, salt, amount, currency,
    head_print, body_print, client,
});

columns!(Row {
    version,
    needs,
    goal,
    effect,
    reason,
    open_attempts,
    attempts,
    maybe_sent,
    first_sent_at,
    quiet_until,
    send_by,
    key_ends_at,
    seen,
    logged,
    in_flight,
    asks,
    absences,
    ended,
    why,
    owner,
    fence,
    leased_until,
    begun_at,
    next_at,
    settle_by,
    answer,
    cancel_gen,
    cancel_tries,
    cancel_asked,
    cancel_open,
    cancel_gen_early,
    cancel_first_at,
    cancel_quiet_until,
    cancel_send_by,
    cancel_key_ends_at,
    cancel_key,
    handler_tries,
    handler_error,
    audit_at,
    disputed_at,
    failing_since,
    due_at,
});

columns!(AttemptRow {
    kind,
    number,
    generation,
    fence,
    recorded_at,
    send_by,
    after_quiet,
    ended_at,
    outcome,
    status,
    detail,
    answer,
});

/// The columns of the attempt log that are written when an attempt ends.
pub(crate) const ENDED: [&str; 5] = ["ended_at", "outcome", "status", "detail", "answer"];

/// Returns the names of the columns of `T`, separated by commas.
pub(crate) fn names<T: Columns>() -> String {
    let all: Vec<&str> = T::columns().iter().map(|column| column.name).collect();
    all.join(", ")
}

/// Returns the names of all columns of an action, separated by commas.
pub(crate) fn action() -> String {
    format!("{}, {}", names::<Fixed<'_>>(), names::<Row>())
}

/// Returns `column = source.column` for each column, separated by commas.
pub(crate) fn assigned<'a>(columns: impl Iterator<Item = &'a str>, source: &str) -> String {
    let each: Vec<String> = columns.map(|column| format!("{column} = {source}.{column}")).collect();
    each.join(", ")
}

/// Returns the number of columns of an action.
pub(crate) fn width() -> usize {
    Fixed::columns().len() + Row::columns().len()
}
