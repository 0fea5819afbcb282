//! Stuck actions in SQLite: their numbers, and which of them were told.

use std::time::Duration;

use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Connection};

use crate::action::ActionId;
use crate::machine::{Owner, Stamp};
use crate::store::dialect::Dialect;
use crate::store::stuck::{StuckAction, StuckStore};
use crate::store::telling;
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
        counted(&mut *self.reader().await?, telling::counts(Dialect::Sqlite, COUNTED)).await
    }

    async fn untold(&self, most: u32) -> Result<Vec<StuckAction>> {
        let statement = sqlx::query(AssertSqlSafe(telling::untold(Dialect::Sqlite, most))).persistent(false);
        let rows = statement.fetch_all(&mut *self.reader().await?).await.map_err(failed)?;
        rows.iter().map(|row| telling::untold_of(&mut rows::reader(row))).collect()
    }

    async fn take_telling(&self, owner: Owner, span: Duration) -> Result<Option<u32>> {
        let rows = self.writes(vec![telling::take(Dialect::Sqlite, &self.now(), owner, span)]).await?;
        rows.first().map(|row| telling::tries_of(&mut rows::reader(row))).transpose()
    }

    async fn told(&self, owner: Owner, told: &[(ActionId, Stamp)]) -> Result<()> {
        self.writes(telling::told(Dialect::Sqlite, &self.now(), owner, told)).await.map(drop)
    }

    async fn not_told(&self, owner: Owner, tries: u32, again: Duration) -> Result<()> {
        self.writes(vec![telling::not_told(Dialect::Sqlite, &self.now(), owner, tries, again)])
            .await
            .map(drop)
    }
}
