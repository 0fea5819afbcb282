//! What a worker costs while nothing is due: the statements that PostgreSQL counts, and that SQLite's file does not
//! change.

use std::sync::Arc;
use std::time::{Duration, Instant};

use seawall_ledger::store::Store;
use seawall_ledger::{Ledger, Operation, Worker, WorkerSettings};
use seawall_policy::Idempotency;

use crate::provider::Provider;
use crate::scratch::StatementCounter;
use crate::world::{PostgresWorld, SqliteWorld, World, quick};

/// For how long the statements are counted.
const COUNTED: Duration = Duration::from_secs(6);

/// A ledger with `dependencies` dependencies, each of which has two operations.
fn with_dependencies<S: Store>(store: S, dependencies: usize) -> Ledger<S> {
    let provider = Arc::new(Provider::new());
    let mut builder = Ledger::builder(store);
    for number in 0..dependencies {
        for name in ["charge", "payout"] {
            let rules = quick(Idempotency::Keyed);
            builder = builder.operation(Operation::new(format!("d{number}"), name, rules, provider.clone()));
        }
    }
    builder.build().unwrap()
}

fn idle_worker<S: Store>(store: S, dependencies: usize) -> Worker {
    with_dependencies(store, dependencies).worker(WorkerSettings::default())
}

async fn statements_per_second(dependencies: usize) -> f64 {
    let world = PostgresWorld::new().await;
    let worker = idle_worker(world.open().await, dependencies);
    let counter = StatementCounter::of(&world.url);
    counter.rests().await;
    let counted = counter.per_second(COUNTED).await;
    worker.drain(Duration::ZERO).await;
    println!("{dependencies} dependencies: {counted:.2} statements a second");
    counted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_process_asks_postgres_once_a_second_for_all_dependencies() {
    let (one, many) = tokio::join!(statements_per_second(1), statements_per_second(20));
    assert!(one > 0.5 && one <= 1.5, "{one}");
    assert!(many > 0.5 && many <= 1.5, "{many}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_process_does_not_write_to_sqlite() {
    let world = SqliteWorld::new().await;
    let mut settings = WorkerSettings::default();
    // Many polls pass while the test waits.
    settings.scan = Duration::from_millis(20);
    let worker = with_dependencies(world.open().await, 20).worker(settings);
    let mut conn = world.connect().await;
    // A worker that starts writes a few times: the first step of the clean-up, the clock, the names of its operations. On
    // a busy machine these writes may come late. So this looks for one second without a write. If polls wrote, there
    // would be no such second. The number changes with each commit of another connection.
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let before = (SqliteWorld::number(&mut conn, "PRAGMA data_version").await, world.log_bytes());
        tokio::time::sleep(Duration::from_millis(1000)).await;
        let after = (SqliteWorld::number(&mut conn, "PRAGMA data_version").await, world.log_bytes());
        if after == before {
            break;
        }
        assert!(Instant::now() < end, "an idle process writes: {before:?}, then {after:?}");
    }
    worker.drain(Duration::ZERO).await;
}
