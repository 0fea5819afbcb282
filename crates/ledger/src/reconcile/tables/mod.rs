//! What a database must provide so that reports can be stored in it. With these functions, the statements on the tables
//! of the reports are written once for all databases.
//!
//! Every write is a list of statements in one transaction. The first of them checks that the report still belongs to
//! the writer. All statements are known before the transaction begins, so no transaction stays open while the program
//! does other work.

#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::future::Future;

use crate::error::{StoreError, Trouble};
use crate::machine::Stamp;
use crate::store::Result;
pub use crate::store::dialect::Dialect;

/// A value that is bound to a statement.
#[derive(Clone, Debug)]
pub enum Value {
    /// A number, or null.
    Int(Option<i64>),
    /// Text, or null.
    Text(Option<String>),
}

impl From<i64> for Value {
    fn from(number: i64) -> Value {
        Value::Int(Some(number))
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Value {
        Value::Int(Some(i64::from(number)))
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Value {
        Value::Int(Some(i64::try_from(number).unwrap_or(i64::MAX)))
    }
}

impl From<Stamp> for Value {
    fn from(at: Stamp) -> Value {
        Value::Int(Some(at.as_micros()))
    }
}

impl From<Option<Stamp>> for Value {
    fn from(at: Option<Stamp>) -> Value {
        Value::Int(at.map(Stamp::as_micros))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(Some(text.to_owned()))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(Some(text))
    }
}

impl From<Option<String>> for Value {
    fn from(text: Option<String>) -> Value {
        Value::Text(text)
    }
}

/// The value of one column in a result.
#[derive(Clone, Debug)]
pub enum Cell {
    /// Null.
    Null,
    /// A number, or a truth value as 0 and 1.
    Int(i64),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// The values of one row of a result, read one after the other.
#[derive(Debug)]
pub struct Cells(std::vec::IntoIter<Cell>);

impl Cells {
    pub(crate) fn new(cells: Vec<Cell>) -> Cells {
        Cells(cells.into_iter())
    }

    pub(crate) fn int(&mut self) -> Result<Option<i64>> {
        match self.0.next() {
            Some(Cell::Int(number)) => Ok(Some(number)),
            Some(Cell::Null) => Ok(None),
            Some(Cell::Text(_) | Cell::Bytes(_)) | None => Err(foreign("a number", "something else")),
        }
    }

    pub(crate) fn text(&mut self) -> Result<Option<String>> {
        match self.0.next() {
            Some(Cell::Text(text)) => Ok(Some(text)),
            Some(Cell::Null) => Ok(None),
            Some(Cell::Int(_) | Cell::Bytes(_)) | None => Err(foreign("a text", "something else")),
        }
    }

    pub(crate) fn bytes(&mut self) -> Result<Option<Vec<u8>>> {
        match self.0.next() {
            Some(Cell::Bytes(bytes)) => Ok(Some(bytes)),
            Some(Cell::Null) => Ok(None),
            Some(Cell::Int(_) | Cell::Text(_)) | None => Err(foreign("bytes", "something else")),
        }
    }

    pub(crate) fn must_int(&mut self) -> Result<i64> {
        self.int()?.ok_or_else(|| foreign("a number", "null"))
    }

    pub(crate) fn must_text(&mut self) -> Result<String> {
        self.text()?.ok_or_else(|| foreign("a text", "null"))
    }

    pub(crate) fn count(&mut self) -> Result<u32> {
        let number = self.must_int()?;
        u32::try_from(number).map_err(|_| foreign("a count", &number.to_string()))
    }

    pub(crate) fn flag(&mut self) -> Result<bool> {
        Ok(self.must_int()? != 0)
    }

    pub(crate) fn stamp(&mut self) -> Result<Option<Stamp>> {
        Ok(self.int()?.map(Stamp::from_micros))
    }

    pub(crate) fn must_stamp(&mut self) -> Result<Stamp> {
        self.must_int().map(Stamp::from_micros)
    }

    /// Reads a word or an amount with `parse`. Returns `None` for null. A value that `parse` cannot read is an error.
    pub(crate) fn parsed<T>(
        &mut self,
        what: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(text) = self.text()? else { return Ok(None) };
        parse(&text).map(Some).ok_or_else(|| foreign(what, &text))
    }
}

pub(crate) fn foreign(wanted: &str, found: &str) -> StoreError {
    StoreError::new(Trouble::Foreign, format!("{wanted} was expected in a report, and `{found}` found"))
}

/// One SQL statement with its values.
#[derive(Clone, Debug)]
pub struct Statement {
    /// The SQL text, with `$1`, `$2` and so on for the values.
    pub text: String,
    /// The values, in the order of their numbers in the text.
    pub values: Vec<Value>,
}

impl Statement {
    pub(crate) fn new<const N: usize>(text: impl Into<String>, values: [Value; N]) -> Statement {
        Statement { text: text.into(), values: Vec::from(values) }
    }
}

/// A database that has the reports' tables.
pub trait Tables: Send + Sync {
    /// The SQL dialect of the database.
    fn dialect(&self) -> Dialect;

    /// Returns the SQL for the database's time at this statement.
    fn now(&self) -> String;

    /// Returns the SQL for the database's time plus a number of microseconds.
    fn now_plus(&self, micros: &str) -> String {
        self.dialect().plus(&self.now(), micros)
    }

    /// Runs a statement that only reads, and returns the rows of its result.
    fn rows(&self, statement: Statement) -> impl Future<Output = Result<Vec<Cells>>> + Send;

    /// Executes all statements in one transaction, and returns `true`. If the first statement changes no row, the other
    /// statements are not executed, and the result is `false`.
    fn transact(&self, statements: Vec<Statement>) -> impl Future<Output = Result<bool>> + Send;
}
