//! Creates and updates the tables, one numbered step after the other.
//!
//! Any number of processes may migrate at the same time. The first step makes the schema with `CREATE … IF NOT EXISTS`.
//! It can fail when two processes run it together: both find nothing, both create, and a unique index of the catalogue
//! refuses one of them. So this step is run again if it fails in this way. After the first step, a row lock lets one
//! process go first.

use sqlx::Row;
use sqlx::postgres::PgPool;

use crate::error::{StoreError, Trouble};
use crate::store::Result;
use crate::store::lane::{RUNS, pause};

use super::statements::failed;

/// The steps, in order. Once a step is released, it is never edited.
const STEPS: [&str; 2] =
    [include_str!("../../../sql/postgres/0001.sql"), include_str!("../../../sql/postgres/0002.sql")];

const FIRST: &str = "CREATE SCHEMA IF NOT EXISTS seawall; \
     CREATE TABLE IF NOT EXISTS seawall.schema (one boolean PRIMARY KEY, version bigint NOT NULL); \
     INSERT INTO seawall.schema VALUES (true, 0) ON CONFLICT DO NOTHING";

pub(super) async fn migrate(pool: &PgPool) -> Result<()> {
    let mut run = 1;
    loop {
        match try_migrate(pool).await {
            Err(e) if e.trouble() == Trouble::Again && run < RUNS => {
                tokio::time::sleep(pause(run)).await;
                run += 1;
            }
            ended => return ended,
        }
    }
}

async fn try_migrate(pool: &PgPool) -> Result<()> {
    let mut tx = pool.begin_with("BEGIN ISOLATION LEVEL READ COMMITTED").await.map_err(failed)?;
    // The schema is looked for first, so that a role without the right to create tables can use existing ones.
    let there = sqlx::raw_sql("SELECT to_regclass('seawall.schema') IS NOT NULL AS there")
        .fetch_one(&mut *tx)
        .await
        .map_err(failed)?;
    if !there.try_get::<bool, _>(0).map_err(failed)? {
        sqlx::raw_sql(FIRST).execute(&mut *tx).await.map_err(raced)?;
    }
    let found: i64 = version(&mut tx, "SELECT version FROM seawall.schema").await?;
    let known = i64::try_from(STEPS.len()).unwrap_or(i64::MAX);
    if found == known {
        return tx.commit().await.map_err(failed);
    }
    let found = version(&mut tx, "SELECT version FROM seawall.schema FOR UPDATE").await?;
    if found > known {
        let text = format!("they are of version {found}, and this program knows {known}: update the program");
        return Err(StoreError::new(Trouble::Foreign, text));
    }
    for step in STEPS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        sqlx::raw_sql(*step).execute(&mut *tx).await.map_err(raced)?;
        sqlx::raw_sql("UPDATE seawall.schema SET version = version + 1")
            .execute(&mut *tx)
            .await
            .map_err(failed)?;
    }
    tx.commit().await.map_err(failed)
}

async fn version(conn: &mut sqlx::PgConnection, text: &'static str) -> Result<i64> {
    let row = sqlx::raw_sql(text).fetch_one(conn).await.map_err(failed)?;
    row.try_get(0).map_err(failed)
}

/// Turns an error of a step into a [`StoreError`]. If another process made the same thing at the same moment, the error
/// is [`Trouble::Again`], so that the migration is run again.
fn raced(e: sqlx::Error) -> StoreError {
    let code = e.as_database_error().and_then(|said| said.code()).map(|code| code.into_owned());
    match code.as_deref() {
        Some("23505" | "42P06" | "42P07" | "42723" | "XX000") => StoreError::new(Trouble::Again, e),
        _ => failed(e),
    }
}
