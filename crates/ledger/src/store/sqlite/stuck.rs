//! Stuck actions in SQLite: their numbers, and which of them were told.

use std::time::Duration;

use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Connection};

use crate::action::ActionId;
use crate::machine::{Owner, Stamp};
use crate::store::dialect::Dialect;
use crate::store::stuck::{self, StuckAction, StuckStore};
use crate::store::{COUNTED, OperationCount, Result};

use super::statements::{counted, failed};
use super::{Sqlite, rows};

impl Sqlite {
    /// Executes statements in one transaction, and returns the rows of the last one.
    async fn writes(&self, texts: Vec<String>) -> Result<Vec<SqliteRow>> {
        let mut conn = self.reader().await?;
        let mut tx = conn.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        let mut rows = Vec::new();
        for text in texts {
            let statement = sqlx::query(AssertSqlSafe(text)).persistent(false);
            rows = statement.fetch_all(&mut *tx).await.map_err(failed)?;
        }
        tx.commit().await.map_err(failed)?;
        Ok(rows)
    }
}

impl StuckStore for Sqlite {
    async fn stuck_counts(&self) -> Result<Vec<OperationCount>> {
        counted(&mut *self.reader().await?, stuck::counts(Dialect::Sqlite, COUNTED)).await
    }

    async fn untold(&self, most: u32) -> Result<Vec<StuckAction>> {
        let statement = sqlx::query(AssertSqlSafe(stuck::untold(Dialect::Sqlite, most))).persistent(false);
        let rows = statement.fetch_all(&mut *self.reader().await?).await.map_err(failed)?;
        rows.iter().map(|row| stuck::untold_of(&mut rows::reader(row))).collect()
    }

    async fn take_telling(&self, owner: Owner, span: Duration) -> Result<Option<u32>> {
        let rows = self.writes(vec![stuck::take(Dialect::Sqlite, &self.now(), owner, span)]).await?;
        rows.first().map(|row| stuck::tries_of(&mut rows::reader(row))).transpose()
    }

    async fn told(&self, owner: Owner, told: &[(ActionId, Stamp)]) -> Result<()> {
        self.writes(stuck::told(Dialect::Sqlite, &self.now(), owner, told)).await.map(drop)
    }

    async fn not_told(&self, owner: Owner, tries: u32, again: Duration) -> Result<()> {
        self.writes(vec![stuck::not_told(Dialect::Sqlite, &self.now(), owner, tries, again)]).await.map(drop)
    }
}
