//! Claims beside a long transaction: old entries of the index do not slow them, and rows that are committed late are
//! found.

use std::time::{Duration, Instant};

use seawall_ledger::store::postgres::Postgres;
use seawall_ledger::store::{Declared, Store};
use seawall_ledger::{Action, Owner};
use seawall_policy::Idempotency;

use crate::plans::backlog;
use crate::provider::Provider;
use crate::suite::{PATIENCE, charge};
use crate::world::{PostgresWorld, World, ledger, quick};

async fn claim(store: &Postgres) -> Vec<Action> {
    let pay = Declared::new("pay", &["charge"]);
    store.claim(&pay, Owner(9), 4, Duration::from_secs(3600)).await.unwrap()
}

async fn poll(store: &Postgres) {
    store.due(&[Declared::new("pay", &["charge"])], Duration::from_secs(1)).await.unwrap();
}

/// Returns the time that a claim takes.
async fn claim_time(store: &Postgres) -> Duration {
    let start = Instant::now();
    claim(store).await;
    start.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_entries_do_not_slow_claims_and_late_rows_are_found() {
    let world = PostgresWorld::new().await;
    let store = world.open().await;
    world.declare_charge().await;
    let one = ledger(store.clone(), quick(Idempotency::Keyed), &Provider::new());
    one.record(&charge("seed")).await.unwrap();
    // While this transaction is open, no entry can be taken out of the index.
    let mut long = world.connect().await;
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM seawall.schema";
    PostgresWorld::execute(&mut long, begin).await;
    backlog(&world, 20_000).await;
    let mut conn = world.connect().await;
    let done =
        "UPDATE seawall.action SET due_at = NULL, ended = 'done', effect = 'applied' WHERE key LIKE 'b%'";
    PostgresWorld::execute(&mut conn, done).await;
    // An application records an action and commits it later. The row is due before all others.
    let mut late = world.connect().await;
    let record = "BEGIN; SELECT seawall.record('pay', 'charge', 'late', '{}'); \
         UPDATE seawall.action SET due_at = due_at - interval '1 minute' WHERE key = 'late'";
    PostgresWorld::execute(&mut late, record).await;

    assert_eq!(claim(&store).await.len(), 1, "the seed");
    for _ in 0..3 {
        poll(&store).await;
    }
    // This one has never polled, so its claims read all entries. Other work of the machine can delay a claim, but
    // shortens none. So the shortest of all is compared, and there are more claims if the machine is busy.
    let unbounded = world.open().await;
    let (mut without, mut with) = (Duration::MAX, Duration::MAX);
    let end = Instant::now() + PATIENCE;
    let mut rounds = 0;
    while rounds < 4 || with * 2 >= without {
        assert!(Instant::now() < end, "{with:?} and {without:?}");
        without = without.min(claim_time(&unbounded).await);
        with = with.min(claim_time(&store).await);
        rounds += 1;
    }
    println!("a claim beside 20 000 old entries: {without:?} without a bound, {with:?} with one");

    PostgresWorld::execute(&mut late, "COMMIT").await;
    for _ in 0..100 {
        poll(&store).await;
        if let [action] = claim(&store).await.as_slice() {
            assert_eq!(action.key, "late");
            return;
        }
    }
    panic!("the row that was committed late was not found");
}
