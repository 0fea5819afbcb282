//! Lists have the right rows in the right order, and read no other rows, however rare the rows of the list are.

use seawall_ledger::store::postgres::Postgres;
use seawall_ledger::store::sqlite::Sqlite;
use seawall_ledger::store::{Filter, Standing, Store};
use seawall_ledger::{Action, ActionId};
use seawall_policy::Idempotency;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgConnection, Row};

use crate::provider::Provider;
use crate::suite::charge;
use crate::world::{PostgresWorld, SqliteWorld, World, ledger, quick};

/// The number of rows in a table.
const ROWS: u64 = 6_000;

/// The size of a page.
const PAGE: u32 = 100;

/// The filters of all lists: each standing and any standing, of a frequent dependency, of one that has a single row, of
/// one that has none, and of all dependencies.
fn filters() -> Vec<Filter> {
    let dependencies = [None, Some("pay"), Some("rare"), Some("none")];
    let standings = Standing::ALL.into_iter().map(Some).chain([None]);
    standings
        .flat_map(|standing| {
            dependencies.map(|dependency| {
                let filter = Filter::first(PAGE);
                let filter = dependency.map_or(filter.clone(), |name| filter.of(name));
                standing.map_or(filter.clone(), |standing| filter.standing(standing))
            })
        })
        .collect()
}

/// Fills the table with rows of which almost all have the standing `most`, and a few have each of the others. Almost all
/// rows of the dependency `mail` are at the end of the table.
async fn fill<W: World>(world: &W, most: Standing) {
    let one = ledger(world.open().await, quick(Idempotency::Keyed), &Provider::new());
    one.record(&charge("seed")).await.unwrap();
    let (id, series) = if W::ACTIONS.contains('.') {
        (
            "(lpad(to_hex(w.n), 8, '0') || '-0000-7000-8000-' || lpad(to_hex(w.n), 12, '0'))::uuid",
            format!("generate_series(1, {ROWS}) AS n(n)"),
        )
    } else {
        let counted = format!("SELECT 1 AS n UNION ALL SELECT n + 1 FROM n LIMIT {ROWS}");
        (
            "printf('%08x-0000-7000-8000-%012x', w.n, w.n)",
            format!("(WITH RECURSIVE n(n) AS ({counted}) SELECT n FROM n) AS n"),
        )
    };
    let rare: String = Standing::ALL
        .into_iter()
        .enumerate()
        .map(|(number, standing)| format!("WHEN {number} THEN '{}' ", standing.as_str()))
        .collect();
    let table = W::ACTIONS;
    let text = format!(
        "INSERT INTO {table} (id, dependency, operation, key, request, created_at, version, goal, effect, \
         open_attempts, attempts, maybe_sent, first_sent_at, quiet_until, logged, asks, absences, fence, begun_at, \
         next_at, cancel_gen, cancel_gen_early, cancel_open, cancel_tries, due_at, ended, ended_at) \
         SELECT {id}, w.dependency, operation, 'l' || w.n, request, created_at, version, \
         CASE word WHEN 'cancelled' THEN 'cancel' ELSE 'perform' END, \
         CASE word WHEN 'unknown' THEN word WHEN 'done' THEN 'applied' ELSE 'never' END, \
         CASE word WHEN 'unknown' THEN 1 ELSE 0 END, attempts, CASE word WHEN 'unknown' THEN 1 ELSE 0 END, \
         CASE word WHEN 'unknown' THEN created_at END, CASE word WHEN 'unknown' THEN created_at END, \
         logged, asks, absences, fence, begun_at, next_at, \
         cancel_gen, cancel_gen_early, cancel_open, cancel_tries, \
         CASE WHEN word IN ('open', 'unknown') THEN due_at END, \
         CASE WHEN word NOT IN ('open', 'unknown') THEN word END, \
         CASE WHEN word NOT IN ('open', 'unknown') THEN created_at END \
         FROM {table}, (SELECT n.n, CASE n.n % 900 {rare} ELSE '{most}' END AS word, \
         CASE WHEN n.n = 4000 THEN 'rare' WHEN n.n > 5000 THEN 'mail' ELSE 'pay' END AS dependency FROM {series}) AS w \
         WHERE key = 'seed'",
        most = most.as_str(),
    );
    let mut conn = world.connect().await;
    W::execute(&mut conn, &text).await;
    W::execute(&mut conn, &format!("DELETE FROM {table} WHERE key = 'seed'")).await;
    W::execute(&mut conn, "ANALYZE").await;
}

async fn all_pages<S: Store>(store: &S, filter: &Filter) -> Vec<Action> {
    let mut filter = filter.clone();
    let mut all = Vec::new();
    loop {
        let page = store.list(&filter).await.unwrap();
        filter.after = page.last().map(|action| action.id);
        let is_last = page.len() < PAGE as usize;
        all.extend(page);
        if is_last {
            return all;
        }
    }
}

fn matches(filter: &Filter, action: &Action) -> bool {
    let standing = Standing::of(&action.state);
    let of = filter.dependency.as_ref().is_none_or(|dependency| *dependency == action.dependency);
    of && match filter.standing {
        None => true,
        Some(Standing::Open) => matches!(standing, Standing::Open | Standing::Unknown),
        Some(wanted) => standing == wanted,
    }
}

pub(crate) async fn a_list_has_all_rows_that_match_and_no_others<W: World>(world: W) {
    fill(&world, Standing::Done).await;
    let store = world.open().await;
    let ids = |actions: &[Action]| actions.iter().map(|action| action.id).collect::<Vec<ActionId>>();
    let all = all_pages(&store, &Filter::first(PAGE)).await;
    assert_eq!(all.len() as u64, ROWS);
    assert!(all.is_sorted_by_key(|action| action.id));
    for filter in filters() {
        let wanted: Vec<Action> = all.iter().filter(|action| matches(&filter, action)).cloned().collect();
        assert_eq!(ids(&all_pages(&store, &filter).await), ids(&wanted), "{filter:?}");
    }
    assert!(store.list(&Filter::default()).await.unwrap().is_empty(), "a page of no rows");
}

/// The values of a filter as SQL: where the list begins, the size of a page and, if it names one, the dependency.
fn values(filter: &Filter) -> String {
    let after = filter.after.unwrap_or(ActionId::from_u128(0));
    let of = filter.dependency.iter().map(|dependency| format!(", '{dependency}'"));
    format!("'{after}', {}{}", filter.most, of.collect::<String>())
}

/// PostgreSQL's description of a list that it has executed, with a plan that it keeps for any values.
async fn executed_on_postgres(conn: &mut PgConnection, filter: &Filter) -> String {
    let [begin, text] = Postgres::list_texts(filter);
    let prepare =
        format!("{begin}; SET LOCAL plan_cache_mode = force_generic_plan; PREPARE explained AS {text}");
    sqlx::raw_sql(AssertSqlSafe(prepare)).execute(&mut *conn).await.unwrap();
    let explain = format!("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) EXECUTE explained({})", values(filter));
    let rows = sqlx::raw_sql(AssertSqlSafe(explain)).fetch_all(&mut *conn).await.unwrap();
    sqlx::raw_sql("DEALLOCATE explained; COMMIT").execute(conn).await.unwrap();
    rows.iter().map(|row: &PgRow| row.get::<String, _>(0)).collect::<Vec<_>>().join("\n")
}

/// SQLite's description of the plan of a list.
async fn plan_on_sqlite(world: &SqliteWorld, filter: &Filter) -> String {
    let text = Sqlite::list_text(filter);
    let explain = format!("EXPLAIN QUERY PLAN {text}");
    let query = sqlx::query(AssertSqlSafe(explain)).bind("").bind(PAGE).bind("pay");
    let rows = query.fetch_all(&mut world.connect().await).await.unwrap();
    rows.iter().map(|row| row.get::<String, _>("detail")).collect::<Vec<_>>().join("\n")
}

// In the first table, rows that are done are the rule. In the second one, almost all rows wait, as after an outage, and
// those that are done are rare.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_read_only_their_own_rows_on_postgres() {
    for most in [Standing::Done, Standing::Open] {
        let world = PostgresWorld::new().await;
        fill(&world, most).await;
        let mut conn = world.connect().await;
        for filter in filters() {
            let mut deep = filter.clone();
            deep.after = ActionId::parse("00001200-0000-7000-8000-000000001200");
            for filter in [filter, deep] {
                let plan = executed_on_postgres(&mut conn, &filter).await;
                let removed = plan.split("Rows Removed by Filter: ").skip(1);
                assert!(!plan.contains("Seq Scan"), "{filter:?}\n{plan}");
                // The filter is the one that ends the search for dependencies.
                assert!(removed.into_iter().all(|rest| rest.starts_with('0')), "{filter:?}\n{plan}");
                assert!(!plan.contains("external"), "a sort on disk: {filter:?}\n{plan}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_read_only_their_own_rows_on_sqlite() {
    let world = SqliteWorld::new().await;
    for filter in filters() {
        let plan = plan_on_sqlite(&world, &filter).await;
        if filter.standing.is_none() && filter.dependency.is_none() {
            assert!(plan.contains("(id>?)"), "{plan}");
            continue;
        }
        assert!(!plan.contains("SCAN seawall_action") && !plan.contains("TEMP B-TREE"), "{filter:?}\n{plan}");
        assert!(plan.contains("seawall_action_standing (dependency=? AND <expr>=? AND id>?)"), "{plan}");
        assert!(plan.contains("(id=?)") && !plan.contains("autoindex_seawall_action_1 (id>?)"), "{plan}");
    }
}

pub(crate) async fn the_versions_of_many_rows_are_read_together<W: World>(world: W) {
    let provider = Provider::new();
    let one = ledger(world.open().await, quick(Idempotency::Keyed), &provider);
    let mut ids = Vec::new();
    for number in 0..30 {
        ids.push(one.record(&charge(&format!("k{number}"))).await.unwrap().id);
    }
    let done = one.run(ids[7]).await.unwrap();
    assert!(done.state.version() > 1);
    let asked: Vec<ActionId> = ids.iter().copied().chain([ActionId::new()]).collect();
    let mut versions = one.versions(&asked).await.unwrap();
    versions.sort_unstable();
    ids.sort_unstable();
    let expected: Vec<(ActionId, u64)> =
        ids.iter().map(|id| (*id, if *id == done.id { done.state.version() } else { 1 })).collect();
    assert_eq!(versions, expected, "what does not exist is left out");
    assert_eq!(one.versions(&[]).await.unwrap(), []);
}
