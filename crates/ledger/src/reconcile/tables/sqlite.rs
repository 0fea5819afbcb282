//! The tables of the reports in an SQLite file. Each page of a list is stored in one large transaction. So these
//! transactions run on a connection of the readers' pool, and do not occupy the one with which the ledger writes. If
//! both connections write at the same time, one of them waits for the lock of the other.

use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, Connection, Row, TypeInfo, ValueRef};

use super::{Cell, Cells, Dialect, Statement, Tables, Value};
use crate::error::Trouble;
use crate::store::Result;
use crate::store::sqlite::{Sqlite, at, failed};

/// The maximum number of times that a transaction is run if the file is locked. Each of these runs waits some seconds
/// for the file's lock.
const TIMES: u32 = 5;

impl Tables for Sqlite {
    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    fn now(&self) -> String {
        self.stamp().as_micros().to_string()
    }

    async fn rows(&self, statement: Statement) -> Result<Vec<Cells>> {
        let mut conn = self.reader().await?;
        let rows = query(statement).fetch_all(&mut *conn).await.map_err(failed)?;
        rows.iter().map(cells).collect()
    }

    async fn transact(&self, statements: Vec<Statement>) -> Result<bool> {
        let mut times = 1;
        loop {
            match self.once(statements.clone()).await {
                Err(e) if e.trouble() == Trouble::Again && times < TIMES => times += 1,
                done => return done,
            }
        }
    }
}

impl Sqlite {
    async fn once(&self, statements: Vec<Statement>) -> Result<bool> {
        let mut conn = self.reader().await?;
        let begun = conn.begin_with("BEGIN IMMEDIATE").await;
        let mut tx = begun.map_err(|e| at(self.file(), &failed(e)))?;
        for (at, statement) in statements.into_iter().enumerate() {
            let done = query(statement).execute(&mut *tx).await.map_err(failed)?;
            if at == 0 && done.rows_affected() == 0 {
                tx.rollback().await.map_err(failed)?;
                return Ok(false);
            }
        }
        tx.commit().await.map_err(failed)?;
        Ok(true)
    }
}

fn query<'q>(statement: Statement) -> sqlx::query::Query<'q, sqlx::Sqlite, SqliteArguments> {
    let query = sqlx::query(AssertSqlSafe(statement.text)).persistent(false);
    statement.values.into_iter().fold(query, |query, value| match value {
        Value::Int(number) => query.bind(number),
        Value::Text(text) => query.bind(text),
    })
}

fn cells(row: &SqliteRow) -> Result<Cells> {
    let cell = |at: usize| {
        let raw = row.try_get_raw(at)?;
        if raw.is_null() {
            return Ok(Cell::Null);
        }
        Ok(match raw.type_info().name() {
            "TEXT" => Cell::Text(row.try_get(at)?),
            "BLOB" => Cell::Bytes(row.try_get(at)?),
            _ => Cell::Int(row.try_get(at)?),
        })
    };
    let cells: std::result::Result<Vec<Cell>, sqlx::Error> = (0..row.len()).map(cell).collect();
    cells.map(Cells::new).map_err(failed)
}
