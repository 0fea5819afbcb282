//! Fills the table of actions with rows that were never performed.

use seawall_ledger::ActionId;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};

use crate::Outcome;

/// Inserts `rows` rows into an empty table. Almost all have the standing `most`; of each 100 000 rows, one has each of
/// the others. Ten rows in the middle of the table belong to the dependency `rare`, and all others to `pay`.
pub(crate) async fn fill(url: &str, rows: u64, most: &str) -> Outcome<()> {
    let postgres = !url.starts_with("sqlite:");
    let (table, id, series) = if postgres {
        (
            "seawall.action",
            "(lpad(to_hex(n), 8, '0') || '-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid",
            format!("SELECT n FROM generate_series(1, {rows}) AS s(n)"),
        )
    } else {
        let counted = format!("SELECT 1 AS n UNION ALL SELECT n + 1 FROM n LIMIT {rows}");
        (
            "seawall_action",
            "printf('%08x-0000-7000-8000-%012x', n, n)",
            format!("WITH RECURSIVE n(n) AS ({counted}) SELECT n FROM n"),
        )
    };
    let (now, request) =
        if postgres { ("now()", r"'\x7b7d'::bytea") } else { ("1700000000000000", "x'7b7d'") };
    let later = if postgres { "now() + interval '1 day'" } else { "9000000000000000" };
    let open = "word IN ('open', 'unknown')";
    let text = format!(
        "INSERT INTO {table} (id, dependency, operation, key, request, created_at, version, needs, goal, effect, \
         open_attempts, attempts, maybe_sent, first_sent_at, quiet_until, logged, asks, absences, fence, begun_at, \
         next_at, cancel_gen, cancel_gen_early, cancel_open, cancel_tries, due_at, ended, ended_at) \
         SELECT {id}, CASE WHEN n > {half} AND n <= {half} + 10 THEN 'rare' ELSE 'pay' END, 'charge', 'key-' || n, \
         {request}, {now}, 1, 1, CASE word WHEN 'cancelled' THEN 'cancel' ELSE 'perform' END, \
         CASE word WHEN 'unknown' THEN word WHEN 'done' THEN 'applied' ELSE 'never' END, \
         CASE word WHEN 'unknown' THEN 1 ELSE 0 END, 0, CASE word WHEN 'unknown' THEN 1 ELSE 0 END, \
         CASE word WHEN 'unknown' THEN {now} END, CASE word WHEN 'unknown' THEN {now} END, \
         0, 0, 0, 0, {now}, {now}, 0, false, 0, 0, \
         CASE WHEN {open} THEN {later} END, CASE WHEN NOT {open} THEN word END, CASE WHEN NOT {open} THEN {now} END \
         FROM (SELECT n, CASE n % 100000 WHEN 1 THEN 'open' WHEN 2 THEN 'unknown' WHEN 3 THEN 'stuck' \
         WHEN 4 THEN 'done' WHEN 5 THEN 'failed' WHEN 6 THEN 'cancelled' ELSE '{most}' END AS word \
         FROM ({series}) AS numbers) AS rows_to_insert",
        half = rows / 2,
    );
    if postgres {
        let mut conn = PgConnection::connect(url).await?;
        sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut conn).await?;
        sqlx::raw_sql("VACUUM ANALYZE seawall.action").execute(&mut conn).await?;
    } else {
        let mut conn = url.parse::<SqliteConnectOptions>()?.connect().await?;
        sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut conn).await?;
    }
    Ok(())
}

/// Returns the id of the row in the middle of a table that has this number of rows.
pub(crate) fn middle(rows: u64) -> ActionId {
    let half = u128::from(rows / 2);
    ActionId::from_u128(half << 96 | 0x7000_8000_u128 << 48 | half)
}
