//! Creates and updates the tables, one numbered step after the other.

use sqlx::{Connection, Row, SqliteConnection};

use crate::store::Result;
use crate::store::version::{Step, Version};

use super::statements::failed;

/// The steps, in order.
pub(super) const STEPS: [Step; 6] = [
    Step { text: include_str!("../../../sql/sqlite/0001.sql"), works_from: 1 },
    Step { text: include_str!("../../../sql/sqlite/0002.sql"), works_from: 1 },
    Step { text: include_str!("../../../sql/sqlite/0003.sql"), works_from: 3 },
    Step { text: include_str!("../../../sql/sqlite/0004.sql"), works_from: 3 },
    Step { text: include_str!("../../../sql/sqlite/0005.sql"), works_from: 3 },
    Step { text: include_str!("../../../sql/sqlite/0006.sql"), works_from: 3 },
];

/// The steps of a program that is one version ahead, for tests. Its last step adds a column.
#[cfg(feature = "testing")]
pub(super) const AHEAD: [Step; 7] = [
    STEPS[0],
    STEPS[1],
    STEPS[2],
    STEPS[3],
    STEPS[4],
    STEPS[5],
    Step { text: "ALTER TABLE seawall_action ADD COLUMN tomorrow TEXT", works_from: 3 },
];

/// Runs the steps that are missing. Several processes may call this function at the same time. The write lock lets one
/// process go first, and the others then find nothing to do. If no step is missing, the write lock is not taken, so
/// that a process can start while another one writes.
pub(super) async fn migrate(conn: &mut SqliteConnection, program: Version) -> Result<()> {
    let there = sqlx::query("SELECT 1 FROM sqlite_schema WHERE name = 'seawall_schema'");
    if there.fetch_optional(&mut *conn).await.map_err(failed)?.is_some() {
        let (found, works_from) = version(conn).await?;
        if program.missing(found, works_from)?.next().is_none() {
            return Ok(());
        }
    }
    let mut tx = conn.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
    sqlx::query("CREATE TABLE IF NOT EXISTS seawall_schema (version INTEGER NOT NULL)")
        .execute(&mut *tx)
        .await
        .map_err(failed)?;
    let (found, works_from) = version(&mut tx).await?;
    for (made, step) in program.missing(found, works_from)? {
        sqlx::raw_sql(step.text).execute(&mut *tx).await.map_err(failed)?;
        // The column `works_from` is made by the third step.
        let text = if made < 3 {
            "INSERT INTO seawall_schema (version) VALUES (?)"
        } else {
            "INSERT INTO seawall_schema (version, works_from) VALUES (?, ?)"
        };
        let query = sqlx::query(text).bind(made);
        let query = if made < 3 { query } else { query.bind(step.works_from) };
        query.execute(&mut *tx).await.map_err(failed)?;
    }
    tx.commit().await.map_err(failed)
}

/// Returns two versions: that of the tables, and the earliest version of the program that can work with the tables.
/// Tables that an earlier program made store only the first version, so both are the same for them.
async fn version(conn: &mut SqliteConnection) -> Result<(i64, i64)> {
    let row =
        sqlx::query("SELECT max(version) FROM seawall_schema").fetch_one(&mut *conn).await.map_err(failed)?;
    let found = row.try_get::<Option<i64>, _>(0).map_err(failed)?.unwrap_or(0);
    if found < 3 {
        return Ok((found, found));
    }
    let query = sqlx::query("SELECT works_from FROM seawall_schema ORDER BY version DESC LIMIT 1");
    let row = query.fetch_one(conn).await.map_err(failed)?;
    Ok((found, row.try_get(0).map_err(failed)?))
}
