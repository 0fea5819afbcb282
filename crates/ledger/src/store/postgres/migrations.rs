//! Creates and updates the tables, one numbered step after the other.
//!
//! Any number of processes may migrate at the same time. The first step makes the schema with `CREATE … IF NOT EXISTS`.
//! It can fail when two processes run it together: both find nothing, both create, and a unique index of the catalogue
//! refuses one of them. So this step is run again if it fails in this way. In the later steps, a row lock lets one
//! process go first, and the others wait for it.

use std::time::{Duration, Instant};

use sqlx::Row;
use sqlx::postgres::PgConnection;

use crate::error::{StoreError, Trouble};
use crate::store::Result;
use crate::store::lane::{RUNS, pause};
use crate::store::version::{Step, Version};

use super::deadline::{Begin, Link, Tx};
use super::statements::failed;

/// The longest time that an update of the tables may take. A step can build an index over a large table.
const STEPS_WITHIN: Duration = Duration::from_secs(3600);

/// The steps, in order.
pub(super) const STEPS: [Step; 6] = [
    Step { text: include_str!("../../../sql/postgres/0001.sql"), works_from: 1 },
    Step { text: include_str!("../../../sql/postgres/0002.sql"), works_from: 1 },
    Step { text: include_str!("../../../sql/postgres/0003.sql"), works_from: 3 },
    Step { text: include_str!("../../../sql/postgres/0004.sql"), works_from: 3 },
    Step { text: include_str!("../../../sql/postgres/0005.sql"), works_from: 3 },
    Step { text: include_str!("../../../sql/postgres/0006.sql"), works_from: 3 },
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
    Step { text: "ALTER TABLE seawall.action ADD COLUMN tomorrow text", works_from: 3 },
];

const FIRST: &str = "CREATE SCHEMA IF NOT EXISTS seawall; \
     CREATE TABLE IF NOT EXISTS seawall.schema (one boolean PRIMARY KEY, version bigint NOT NULL); \
     INSERT INTO seawall.schema VALUES (true, 0) ON CONFLICT DO NOTHING";

pub(super) async fn migrate(link: &Link, program: Version) -> Result<()> {
    let mut run = 1;
    loop {
        match try_migrate(link, program).await {
            Err(e) if e.trouble() == Trouble::Again && run < RUNS => {
                tokio::time::sleep(pause(run)).await;
                run += 1;
            }
            ended => return ended,
        }
    }
}

/// Updates the tables, if a step is missing. Only the steps may take long. The check whether a step is missing has the
/// ordinary deadline, because a program that starts while its database is silent must not wait for longer.
async fn try_migrate(link: &Link, program: Version) -> Result<()> {
    if link.reads(|until| is_up_to_date(link, program, until)).await? {
        return Ok(());
    }
    let mut tx = link.begin(Begin::Migrate, link.until()).await?;
    tx.has_until(Instant::now() + STEPS_WITHIN);
    tokio::time::timeout(STEPS_WITHIN, steps(tx, program)).await.unwrap_or_else(|_| {
        Err(StoreError::new(Trouble::Away, format!("the tables were not updated within {STEPS_WITHIN:?}")))
    })
}

/// Returns whether no step is missing. Fails if this program cannot work with the tables.
async fn is_up_to_date(link: &Link, program: Version, until: Instant) -> Result<bool> {
    let mut tx = link.begin(Begin::Read, until).await?;
    let is_up_to_date = if are_there(&mut tx).await? {
        let (found, works_from) = version(&mut tx, "SELECT version FROM seawall.schema").await?;
        program.missing(found, works_from)?.next().is_none()
    } else {
        false
    };
    tx.commit().await?;
    Ok(is_up_to_date)
}

/// Returns whether the first step was made. If so, the first step is not run at all. So a role that has no right to
/// create tables can use existing ones.
///
/// # Errors
///
/// [`Trouble::Foreign`] if the schema has tables of another program. No table is made beside them.
async fn are_there(conn: &mut PgConnection) -> Result<bool> {
    let query = sqlx::raw_sql(
        "SELECT to_regclass('seawall.schema') IS NOT NULL, current_database()::text, EXISTS (SELECT FROM pg_class c \
         JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'seawall' AND c.relkind IN ('r', 'p', 'v'))",
    );
    let row = query.fetch_one(conn).await.map_err(failed)?;
    let (are_there, has_others): (bool, bool) =
        (row.try_get(0).map_err(failed)?, row.try_get(2).map_err(failed)?);
    if !are_there && has_others {
        let database: String = row.try_get(1).map_err(failed)?;
        let said = format!(
            "the schema `seawall` of the database `{database}` has tables of another program; nothing was changed there, so \
             let the URL name another database"
        );
        return Err(StoreError::new(Trouble::Foreign, said));
    }
    Ok(are_there)
}

async fn steps(mut tx: Tx, program: Version) -> Result<()> {
    if !are_there(&mut tx).await? {
        sqlx::raw_sql(FIRST).execute(&mut *tx).await.map_err(raced)?;
    }
    let (found, works_from) = version(&mut tx, "SELECT version FROM seawall.schema FOR UPDATE").await?;
    for (made, step) in program.missing(found, works_from)? {
        sqlx::raw_sql(step.text).execute(&mut *tx).await.map_err(raced)?;
        // The column `works_from` is made by the third step.
        let text = if made < 3 {
            "UPDATE seawall.schema SET version = version + 1"
        } else {
            "UPDATE seawall.schema SET version = version + 1, works_from = $1"
        };
        let query = sqlx::query(text).persistent(false);
        let query = if made < 3 { query } else { query.bind(step.works_from) };
        query.execute(&mut *tx).await.map_err(failed)?;
    }
    tx.commit().await
}

/// Returns two versions: that of the tables, and the earliest version of the program that can work with the tables.
/// Tables that an earlier program made store only the first version, so both are the same for them.
async fn version(conn: &mut PgConnection, text: &'static str) -> Result<(i64, i64)> {
    let row = sqlx::raw_sql(text).fetch_one(&mut *conn).await.map_err(failed)?;
    let found: i64 = row.try_get(0).map_err(failed)?;
    if found < 3 {
        return Ok((found, found));
    }
    let query = sqlx::raw_sql("SELECT works_from FROM seawall.schema");
    let row = query.fetch_one(conn).await.map_err(failed)?;
    Ok((found, row.try_get(0).map_err(failed)?))
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
