//! Stuck actions in PostgreSQL: their numbers, and which of them were told.

use std::time::Duration;

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgRow;

use crate::action::ActionId;
use crate::machine::{Owner, Stamp};
use crate::store::dialect::Dialect;
use crate::store::stuck::{StuckAction, StuckStore};
use crate::store::telling;
use crate::store::{COUNTED, OperationCount, Result};

use super::deadline::Begin;
use super::statements::{NOW, failed};
use super::{Postgres, rows};

impl Postgres {
    /// Executes statements in one transaction, and returns the rows of the last one.
    async fn writes(&self, texts: &[String]) -> Result<Vec<PgRow>> {
        let until = self.link.until();
        let writing = async {
            let mut tx = self.link.begin(Begin::Alone, until).await?;
            let mut rows = Vec::new();
            for text in texts {
                let statement = sqlx::raw_sql(AssertSqlSafe(text.as_str()));
                rows = statement.fetch_all(&mut *tx).await.map_err(failed)?;
            }
            tx.commit().await.map(|()| rows)
        };
        self.link.bounded(until, writing).await
    }
}

impl StuckStore for Postgres {
    async fn stuck_counts(&self) -> Result<Vec<OperationCount>> {
        self.count(telling::counts(Dialect::Postgres, COUNTED)).await
    }

    async fn untold(&self, most: u32) -> Result<Vec<StuckAction>> {
        let (rows, _) = self.link.plain(telling::untold(Dialect::Postgres, most)).await?;
        rows.iter().map(|row| telling::untold_of(&mut rows::reader(row))).collect()
    }

    async fn take_telling(&self, owner: Owner, span: Duration) -> Result<Option<u32>> {
        let rows = self.writes(&[telling::take(Dialect::Postgres, NOW, owner, span)]).await?;
        rows.first().map(|row| telling::tries_of(&mut rows::reader(row))).transpose()
    }

    async fn told(&self, owner: Owner, told: &[(ActionId, Stamp)]) -> Result<()> {
        self.writes(&telling::told(Dialect::Postgres, NOW, owner, told)).await.map(drop)
    }

    async fn not_told(&self, owner: Owner, tries: u32, again: Duration) -> Result<()> {
        self.writes(&[telling::not_told(Dialect::Postgres, NOW, owner, tries, again)]).await.map(drop)
    }
}
