//! Claims find their rows by the index, however many rows wait.
//!
//! The full size, a million waiting rows, takes minutes, most of them for inserting:
//!
//! ```sh
//! SEAWALL_BACKLOG=1000000 cargo test -p seawall-ledger --test contract backlog -- --nocapture
//! ```

use std::time::{Duration, Instant};

use seawall_ledger::Owner;
use seawall_ledger::store::Store;
use seawall_ledger::store::postgres::Postgres;
use seawall_ledger::store::sqlite::Sqlite;
use seawall_policy::Idempotency;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row};

use crate::provider::Provider;
use crate::suite::{charge, pay};
use crate::world::{PostgresWorld, SqliteWorld, World, ledger, quick};

/// Copies the one row that waits until there are `rows` of them.
async fn backlog<W: World>(world: &W, rows: u64) {
    let mut conn = world.connect().await;
    // The ids are in the order of recording, as those of version 7 are. Each row is due a moment after the one before.
    let (id, due, series) = if W::ACTIONS.contains('.') {
        (
            "(lpad(to_hex(n.n), 8, '0') || '-0000-7000-8000-' || lpad(to_hex(n.n), 12, '0'))::uuid",
            "due_at - interval '2 seconds' + n.n * interval '1 microsecond'",
            format!("generate_series(1, {rows}) AS n(n)"),
        )
    } else {
        let counted = format!("SELECT 1 AS n UNION ALL SELECT n + 1 FROM n LIMIT {rows}");
        (
            "printf('%08x-0000-7000-8000-%012x', n.n, n.n)",
            "due_at - 2000000 + n.n",
            format!("(WITH RECURSIVE n(n) AS ({counted}) SELECT n FROM n) AS n"),
        )
    };
    let table = W::ACTIONS;
    let text = format!(
        "INSERT INTO {table} (id, dependency, operation, key, request, created_at, version, goal, effect, \
         open_attempts, attempts, maybe_sent, logged, asks, absences, fence, begun_at, next_at, \
         cancel_gen, cancel_gen_early, cancel_open, cancel_tries, due_at) \
         SELECT {id}, dependency, operation, 'b' || n.n, request, created_at, version, goal, effect, \
         open_attempts, attempts, maybe_sent, logged, asks, absences, fence, begun_at, next_at, \
         cancel_gen, cancel_gen_early, cancel_open, cancel_tries, {due} \
         FROM {table}, {series} WHERE key = 'seed'"
    );
    W::execute(&mut conn, &text).await;
    W::execute(&mut conn, "ANALYZE").await;
}

/// The shortest time of several claims. Slower ones were delayed by other work of the machine.
async fn claim_time<S: Store>(store: &S) -> Duration {
    let mut shortest = Duration::MAX;
    for _ in 0..30 {
        let start = Instant::now();
        let claimed = store.claim(&pay(), Owner(9), 4, Duration::from_secs(3600)).await.unwrap();
        shortest = shortest.min(start.elapsed());
        assert_eq!(claimed.len(), 4);
    }
    shortest
}

async fn a_backlog_costs_nothing<W: World>(world: W) -> f64 {
    let rows: u64 = std::env::var("SEAWALL_BACKLOG").map_or(20_000, |text| text.parse().unwrap());
    let store = world.open().await;
    let one = ledger(store.clone(), quick(Idempotency::Keyed), &Provider::new());
    one.record(&charge("seed")).await.unwrap();
    backlog(&world, 300).await;
    let few = claim_time(&store).await;
    let mut conn = world.connect().await;
    W::execute(&mut conn, &format!("DELETE FROM {} WHERE key <> 'seed'", W::ACTIONS)).await;
    W::execute(&mut conn, &format!("UPDATE {} SET due_at = next_at", W::ACTIONS)).await;
    backlog(&world, rows).await;
    let many = claim_time(&store).await;
    let ratio = many.as_secs_f64() / few.as_secs_f64();
    println!("a claim with 300 rows waiting {few:?}, with {rows} {many:?}: {ratio:.2} times");
    ratio
}

// On an idle machine, a claim with a million waiting rows should take at most twice the time. A scan of the table would
// take a hundred times as long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_does_not_slow_claims_on_sqlite() {
    assert!(a_backlog_costs_nothing(SqliteWorld::new().await).await < 5.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_does_not_slow_claims_on_postgres() {
    assert!(a_backlog_costs_nothing(PostgresWorld::new().await).await < 5.0);
}

/// SQLite's description of the plan of a claim.
async fn claim_plan_on_sqlite(world: &SqliteWorld) -> String {
    let text = format!("EXPLAIN QUERY PLAN {}", Sqlite::claim_text(2));
    let query = sqlx::query(AssertSqlSafe(text)).bind("").bind(0).bind("").bind(0).bind(1).bind(1);
    let query = query.bind("").bind("");
    let rows = query.fetch_all(&mut world.connect().await).await.unwrap();
    rows.iter().map(|row| row.get::<String, _>("detail")).collect::<Vec<_>>().join("\n")
}

/// PostgreSQL's description of the plan of a claim, in a transaction that begins as those of the ledger do.
async fn claim_plan_on_postgres(world: &PostgresWorld) -> String {
    let [begin, claim, ..] = Postgres::texts();
    let mut conn = world.connect().await;
    sqlx::raw_sql(begin).execute(&mut conn).await.unwrap();
    let query = sqlx::query(AssertSqlSafe(format!("EXPLAIN {claim}"))).persistent(false);
    let query = query.bind(uuid::Uuid::nil()).bind(0_i64).bind("pay").bind(32_i64).bind(1_i64);
    let query = query.bind(["charge", "payout"]);
    lines(&query.fetch_all(&mut conn).await.unwrap())
}

/// PostgreSQL's description of the plan of a statement that it keeps for any values.
async fn kept_plan(world: &PostgresWorld, begin: &str, text: &str) -> String {
    let mut conn = world.connect().await;
    let prepare =
        format!("{begin}; SET LOCAL plan_cache_mode = force_generic_plan; PREPARE explained AS {text}");
    sqlx::raw_sql(AssertSqlSafe(prepare)).execute(&mut conn).await.unwrap();
    let values = text.split('$').skip(1).map(|rest| {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<usize>().unwrap()
    });
    let nulls = vec!["NULL"; values.max().unwrap()].join(", ");
    let explain = format!("EXPLAIN EXECUTE explained({nulls})");
    lines(&sqlx::raw_sql(AssertSqlSafe(explain)).fetch_all(&mut conn).await.unwrap())
}

fn lines(plan: &[PgRow]) -> String {
    plan.iter().map(|row| row.get::<String, _>(0)).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_are_planned_over_the_index_of_due_rows() {
    let world = SqliteWorld::new().await;
    let store = world.open().await;
    let one = ledger(store.clone(), quick(Idempotency::Keyed), &Provider::new());
    one.record(&charge("seed")).await.unwrap();
    backlog(&world, 5_000).await;
    let plan = claim_plan_on_sqlite(&world).await;
    assert!(plan.contains("seawall_action_due (dependency=? AND operation=? AND due_at<?)"), "{plan}");
    // Only the rows that were found for each operation are sorted.
    assert!(!plan.contains("SCAN seawall_action"), "{plan}");

    let world = PostgresWorld::new().await;
    let store = world.open().await;
    let one = ledger(store.clone(), quick(Idempotency::Keyed), &Provider::new());
    one.record(&charge("seed")).await.unwrap();
    backlog(&world, 5_000).await;
    let plan = claim_plan_on_postgres(&world).await;
    assert!(plan.contains("Index Scan using action_due") && plan.contains("action_pkey"), "{plan}");
    assert!(!plan.contains("Seq Scan"), "{plan}");
    // Only the names of the operations are sorted.
    assert_eq!(plan.matches("Sort  (").count(), 1, "{plan}");
}

/// In a table that was never analyzed, the usual plan is a scan: the planner believes that the table is small, and the
/// plan is kept when the table has grown.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_find_their_rows_by_id_in_a_new_table_too() {
    let world = PostgresWorld::new().await;
    let _migrated = world.open().await;
    let [begin, _, changes, change] = Postgres::texts();
    // The change of one row is found by its id in an application's transaction, too.
    for (begin, text) in [("BEGIN", change), (begin, changes)] {
        let plan = kept_plan(&world, begin, text).await;
        assert!(plan.contains("Index Scan using action_pkey"), "{plan}");
        assert!(!plan.contains("Seq Scan"), "{plan}");
    }
}
