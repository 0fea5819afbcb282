//! Claims find their rows by the index, however many rows wait.
//!
//! The full size, a million waiting rows, takes minutes, most of them for inserting:
//!
//! ```sh
//! SEAWALL_BACKLOG=1000000 cargo test -p seawall-ledger --test contract backlog -- --nocapture
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use seawall_ledger::store::postgres::Postgres;
use seawall_ledger::store::sqlite::Sqlite;
use seawall_policy::Idempotency;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row};

use crate::provider::Provider;
use crate::suite::charge;
use crate::world::{PostgresWorld, SqliteWorld, World, ledger, quick};

/// Copies the one row that waits until there are `rows` of them.
pub(crate) async fn backlog<W: World>(world: &W, rows: u64) {
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

fn many() -> u64 {
    std::env::var("SEAWALL_BACKLOG").map_or(5_000, |text| text.parse().unwrap())
}

/// Compares what `cost` says of a claim beside few waiting rows and beside many. A scan of the table, or a sort of what
/// waits, would cost a hundred times as much.
async fn a_backlog_costs_nothing<W: World>(world: W, cost: impl AsyncFn(&W) -> u64) {
    let rows = many();
    let store = world.open().await;
    let one = ledger(store.clone(), quick(Idempotency::Keyed), &Provider::new());
    one.record(&charge("seed")).await.unwrap();
    backlog(&world, 300).await;
    let few = cost(&world).await;
    let mut conn = world.connect().await;
    W::execute(&mut conn, &format!("DELETE FROM {} WHERE key <> 'seed'", W::ACTIONS)).await;
    backlog(&world, rows).await;
    let many = cost(&world).await;
    println!("a claim with 300 rows waiting costs {few}, with {rows} {many}");
    assert!(few > 0 && many <= few * 2, "{few} and {many}");
}

/// The number of steps that SQLite's machine takes for a claim of this number of rows, which is undone after that. The
/// parameters after the sixth are `more`.
async fn steps(world: &SqliteWorld, text: String, more: &[&str], from: Option<i64>, rows: usize) -> u64 {
    let steps = Arc::new(AtomicU64::new(0));
    let counted = steps.clone();
    let mut conn = world.connect().await;
    SqliteWorld::execute(&mut conn, SqliteWorld::BEGIN).await;
    conn.lock_handle().await.unwrap().set_progress_handler(1, move || {
        counted.fetch_add(1, Ordering::Relaxed);
        true
    });
    let later = i64::MAX / 2;
    let query = sqlx::query(AssertSqlSafe(text)).bind("").bind(later).bind("pay").bind(later).bind(4).bind(1);
    let query = match from {
        Some(from) => query.bind(more[0]).bind(0).bind(from).bind(more[1]),
        None => more.iter().fold(query, |query, value| query.bind(*value)),
    };
    let claimed = query.fetch_all(&mut conn).await.unwrap();
    conn.lock_handle().await.unwrap().remove_progress_handler();
    SqliteWorld::execute(&mut conn, "ROLLBACK").await;
    assert_eq!(claimed.len(), rows);
    steps.load(Ordering::Relaxed)
}

async fn claim_steps(world: &SqliteWorld) -> u64 {
    steps(world, Sqlite::claim_text(1), &["charge"], None, 4).await
}

async fn held_steps(world: &SqliteWorld) -> u64 {
    let [all_but, failing] = Sqlite::held_texts();
    let mut conn = world.connect().await;
    let due = SqliteWorld::number(&mut conn, "SELECT due_at FROM seawall_action WHERE key = 'fresh'").await;
    let held = r#"["charge/cancel/applied", "charge/cancel/unknown"]"#;
    steps(world, all_but, &[held, "charge"], Some(due), 1).await
        + steps(world, failing.clone(), &["charge", "cancel", "unknown"], None, 1).await
        + steps(world, failing, &["charge", "cancel", "applied"], None, 4).await
}

type PgQuery<'q> = sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>;

/// The number of pages that PostgreSQL looks at for a claim of at most four rows, which is undone after that. `more` binds the
/// parameters after the fifth.
async fn claimed_pages(
    world: &PostgresWorld,
    text: &str,
    more: impl FnOnce(PgQuery<'_>) -> PgQuery<'_>,
) -> u64 {
    let [begin, ..] = Postgres::texts();
    let mut conn = world.connect().await;
    sqlx::raw_sql(begin).execute(&mut conn).await.unwrap();
    let explain = format!("EXPLAIN (ANALYZE, BUFFERS, TIMING OFF) {text}");
    let query = sqlx::query(AssertSqlSafe(explain)).persistent(false);
    let query = more(query.bind(uuid::Uuid::nil()).bind(0_i64).bind("pay").bind(4_i64).bind(1_i64));
    let plan = lines(&query.fetch_all(&mut conn).await.unwrap());
    let took = plan.lines().find(|line| line.starts_with("Execution Time")).unwrap_or_default();
    println!("{} pages, {took}", pages(&plan));
    pages(&plan)
}

async fn claim_pages(world: &PostgresWorld) -> u64 {
    let [_, claim, ..] = Postgres::texts();
    claimed_pages(world, claim, |query| query.bind(["charge"]).bind(["-infinity"])).await
}

async fn held_pages(world: &PostgresWorld) -> u64 {
    let [all_but, failing] = Postgres::held_texts();
    let due = "(SELECT due_at FROM seawall.action WHERE dependency = 'pay' AND key = 'fresh')";
    let all_but = all_but.replace("$9::timestamptz", due);
    let held = ["charge/cancel/applied", "charge/cancel/unknown"];
    claimed_pages(world, &all_but, |query| query.bind(["charge"]).bind(held).bind(0_i64)).await
        + claimed_pages(world, failing, |query| query.bind("charge").bind("cancel").bind("unknown")).await
        + claimed_pages(world, failing, |query| query.bind("charge").bind("cancel").bind("applied")).await
}

/// Reads from the description of a plan that was carried out how many pages all of it has looked at.
fn pages(plan: &str) -> u64 {
    let whole = plan.lines().find_map(|line| line.trim().strip_prefix("Buffers: shared ")).expect(plan);
    let counts = whole.split(' ').filter_map(|part| part.strip_prefix("hit=").or(part.strip_prefix("read=")));
    counts.map(|count| count.parse::<u64>().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_does_not_slow_claims_on_sqlite() {
    a_backlog_costs_nothing(SqliteWorld::new().await, claim_steps).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_does_not_slow_claims_on_postgres() {
    a_backlog_costs_nothing(PostgresWorld::new().await, claim_pages).await;
}

/// Compares what claims cost beside few and beside many rows that fail and are held: one of a new row, one of the only failing
/// row of another class, which is due after all others, and one of the many.
async fn held_rows_cost_others_nothing<W: World>(world: W, cost: impl AsyncFn(&W) -> u64) {
    let store = world.open().await;
    let one = ledger(store.clone(), quick(Idempotency::Keyed), &Provider::new());
    let table = W::ACTIONS;
    one.record(&charge("seed")).await.unwrap();
    one.record(&charge("fresh")).await.unwrap();
    let mut conn = world.connect().await;
    let mut costs = Vec::new();
    for rows in [300, many()] {
        W::execute(&mut conn, &format!("DELETE FROM {table} WHERE key LIKE 'b%'")).await;
        backlog(&world, rows).await;
        let fail = format!(
            "UPDATE {table} SET failing_since = begun_at, goal = 'cancel', \
             effect = CASE WHEN key = 'seed' THEN 'unknown' ELSE 'applied' END WHERE key <> 'fresh'"
        );
        W::execute(&mut conn, &fail).await;
        W::execute(&mut conn, "ANALYZE").await;
        costs.push(cost(&world).await);
    }
    println!("claims cost {} beside 300 failing rows, {} beside {}", costs[0], costs[1], many());
    assert!(costs[0] > 0 && costs[1] <= costs[0] * 2, "{costs:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn held_rows_do_not_slow_claims_on_sqlite() {
    held_rows_cost_others_nothing(SqliteWorld::new().await, held_steps).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn held_rows_do_not_slow_claims_on_postgres() {
    held_rows_cost_others_nothing(PostgresWorld::new().await, held_pages).await;
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
    let query = query.bind(["charge", "payout"]).bind(vec!["-infinity", "-infinity"]);
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
