//! Creates and updates the tables, one numbered step after the other.

use sqlx::{Connection, Row, SqliteConnection};

use crate::error::{StoreError, Trouble};
use crate::store::Result;

use super::statements::failed;

/// The steps, in order. Once a step is released, it is never edited.
const STEPS: [&str; 2] =
    [include_str!("../../../sql/sqlite/0001.sql"), include_str!("../../../sql/sqlite/0002.sql")];

/// Runs the steps that are missing. Any number of processes may call this function at the same time: the write lock
/// lets one process go first, and the others find nothing to do afterwards.
pub(super) async fn migrate(conn: &mut SqliteConnection) -> Result<()> {
    let mut tx = conn.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
    sqlx::query("CREATE TABLE IF NOT EXISTS seawall_schema (version INTEGER NOT NULL)")
        .execute(&mut *tx)
        .await
        .map_err(failed)?;
    let row =
        sqlx::query("SELECT max(version) FROM seawall_schema").fetch_one(&mut *tx).await.map_err(failed)?;
    let found: Option<i64> = row.try_get(0).map_err(failed)?;
    let found = usize::try_from(found.unwrap_or(0)).unwrap_or(usize::MAX);
    if found > STEPS.len() {
        return Err(newer(found));
    }
    for (step, text) in STEPS.iter().enumerate().skip(found) {
        sqlx::raw_sql(*text).execute(&mut *tx).await.map_err(failed)?;
        sqlx::query("INSERT INTO seawall_schema (version) VALUES (?)")
            .bind(i64::try_from(step + 1).unwrap_or(i64::MAX))
            .execute(&mut *tx)
            .await
            .map_err(failed)?;
    }
    tx.commit().await.map_err(failed)
}

fn newer(found: usize) -> StoreError {
    let known = STEPS.len();
    let text = format!("they are of version {found}, and this program knows {known}: update the program");
    StoreError::new(Trouble::Foreign, text)
}
