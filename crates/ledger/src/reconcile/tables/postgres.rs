//! The tables of the reports in PostgreSQL. Every statement runs in a transaction. None of them is prepared under a
//! name, since a named statement would belong to one connection. So the statements also work behind a pooler that gives
//! each transaction another connection.

use std::time::Instant;

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{AssertSqlSafe, Row, TypeInfo, ValueRef};

use super::{Cell, Cells, Dialect, Statement, Tables, Value};
use crate::error::Trouble;
use crate::store::Result;
use crate::store::lane::{RUNS, pause};
use crate::store::postgres::{Begin, Postgres, failed};

impl Tables for Postgres {
    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }

    fn now(&self) -> String {
        "clock_timestamp()".to_owned()
    }

    async fn rows(&self, statement: Statement) -> Result<Vec<Cells>> {
        let (link, statement) = (self.link(), &statement);
        let reading = |until| async move {
            let mut tx = link.begin(Begin::Read, until).await?;
            let rows = query(statement.clone()).fetch_all(&mut *tx).await.map_err(failed)?;
            tx.commit().await.map(|()| rows)
        };
        link.reads(reading).await?.iter().map(cells).collect()
    }

    async fn transact(&self, statements: Vec<Statement>) -> Result<bool> {
        let mut run = 1;
        loop {
            match self.once(statements.clone()).await {
                Err(e) if e.trouble() == Trouble::Again && run < RUNS => {
                    tokio::time::sleep(pause(run)).await;
                    run += 1;
                }
                ended => return ended,
            }
        }
    }
}

impl Postgres {
    /// Executes the statements in one transaction. Returns `false` if the first statement changed no row. READ
    /// COMMITTED is enough, because the first statement itself checks that the report still belongs to the worker.
    async fn once(&self, statements: Vec<Statement>) -> Result<bool> {
        let until = self.link().until();
        self.link().bounded(until, self.execute(statements, until)).await
    }

    async fn execute(&self, statements: Vec<Statement>, until: Instant) -> Result<bool> {
        let mut tx = self.link().begin(Begin::Alone, until).await?;
        for (at, statement) in statements.into_iter().enumerate() {
            let done = query(statement).execute(&mut *tx).await.map_err(failed)?;
            if at == 0 && done.rows_affected() == 0 {
                tx.rollback().await?;
                return Ok(false);
            }
        }
        tx.commit().await?;
        Ok(true)
    }
}

fn query<'q>(statement: Statement) -> sqlx::query::Query<'q, sqlx::Postgres, PgArguments> {
    let query = sqlx::query(AssertSqlSafe(statement.text)).persistent(false);
    statement.values.into_iter().fold(query, |query, value| match value {
        Value::Int(number) => query.bind(number),
        Value::Text(text) => query.bind(text),
    })
}

fn cells(row: &PgRow) -> Result<Cells> {
    let cell = |at: usize| {
        let raw = row.try_get_raw(at)?;
        if raw.is_null() {
            return Ok(Cell::Null);
        }
        Ok(match raw.type_info().name() {
            "TEXT" | "VARCHAR" => Cell::Text(row.try_get(at)?),
            "BYTEA" => Cell::Bytes(row.try_get(at)?),
            "BOOL" => Cell::Int(i64::from(row.try_get::<bool, _>(at)?)),
            "INT4" => Cell::Int(i64::from(row.try_get::<i32, _>(at)?)),
            _ => Cell::Int(row.try_get(at)?),
        })
    };
    let cells: std::result::Result<Vec<Cell>, sqlx::Error> = (0..row.len()).map(cell).collect();
    cells.map(Cells::new).map_err(failed)
}
