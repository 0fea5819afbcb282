//! Handlers on PostgreSQL that wait for a lock of the application, and what else goes on meanwhile.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use seawall_ledger::store::postgres::{Postgres, Settings};
use seawall_ledger::{End, Ledger, NewAction, Operation, Trouble};
use seawall_policy::Idempotency;
use sqlx::postgres::PgPoolOptions;

use crate::provider::Provider;
use crate::suite::{PATIENCE, charge, ended, soon};
use crate::world::{PostgresWorld, World, quick};

/// How fast everything else has to be while handlers wait. They give up a lock, and with it a connection, after 5 s.
const PROMPT: Duration = Duration::from_secs(4);

async fn prompt<T>(what: &str, work: impl Future<Output = Result<T, seawall_ledger::Error>>) -> T {
    let done = tokio::time::timeout(PROMPT, work).await.unwrap_or_else(|_| panic!("{what} waits"));
    done.unwrap_or_else(|e| panic!("{what}: {e}"))
}

/// Three dependencies: the handler of `pay` writes an order, that of `mail` does nothing, and `sms` has none.
async fn three(world: &PostgresWorld, provider: &Provider) -> Ledger<Postgres> {
    let remote = Arc::new(provider.clone());
    let operation =
        |dependency: &str| Operation::new(dependency, "charge", quick(Idempotency::Keyed), remote.clone());
    Ledger::builder(world.open().await)
        .operation(
            operation("pay").on_settled(|conn, action| PostgresWorld::write_order(conn, &action.key, "paid")),
        )
        .operation(operation("mail").on_settled(|_, _| Box::pin(async { Ok(()) })))
        .operation(operation("sms"))
        .build()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handlers_that_wait_for_a_lock_leave_connections_for_everything_else() {
    let world = PostgresWorld::new().await;
    let provider = Provider::new();
    let ledger = three(&world, &provider).await;
    let mut locking = world.connect().await;
    PostgresWorld::execute(&mut locking, "BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE").await;
    let mut waiting = Vec::new();
    for number in 0..20 {
        waiting.push(ledger.record(&charge(&format!("k{number}"))).await.unwrap().id);
    }
    let worker = ledger.worker(soon());
    // Three of the four places are taken by handlers of `pay`.
    let blocked = "SELECT count(*)::text FROM pg_locks WHERE NOT granted AND relation = 'orders'::regclass";
    let mut watching = world.connect().await;
    let end = Instant::now() + PATIENCE;
    loop {
        let handlers = PostgresWorld::number(&mut watching, blocked).await;
        assert!(handlers <= 3, "{handlers} handlers have a connection");
        let sent = (0..20).all(|number| provider.performs(&format!("k{number}")) == 1);
        if handlers == 3 && sent {
            break;
        }
        assert!(Instant::now() < end, "only {handlers} handlers wait");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for number in 0..3 {
        prompt("load", ledger.load(waiting[0])).await;
        prompt("find", ledger.find("pay", "k1")).await;
        assert_eq!(prompt("counts", ledger.counts("pay")).await.stuck, 0);
        for dependency in ["mail", "sms"] {
            let new = NewAction { dependency: dependency.to_owned(), ..charge(&format!("other{number}")) };
            let done = prompt(dependency, ledger.perform(&new)).await;
            assert_eq!(done.state.end(), Some(End::Done), "{dependency}");
        }
    }
    PostgresWorld::execute(&mut locking, "COMMIT").await;
    for id in waiting {
        assert_eq!(ended(&ledger, id).await.state.end(), Some(End::Done));
    }
    assert_eq!(PostgresWorld::number(&mut watching, "SELECT count(*)::text FROM orders").await, 20);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_that_is_too_small_for_the_settings_is_refused() {
    let world = PostgresWorld::new().await;
    let pool =
        |connections| PgPoolOptions::new().max_connections(connections).connect_lazy(&world.url).unwrap();
    let refused = Postgres::on(pool(3), Settings::default()).await.unwrap_err();
    assert_eq!(refused.trouble(), Trouble::Refused);
    assert!(refused.to_string().contains("at most 3 connections"), "{refused}");
    assert!(refused.to_string().contains("at least 4"), "{refused}");
    let store = Postgres::on(pool(4), Settings::default()).await.unwrap();
    let ledger = crate::world::ledger(store, quick(Idempotency::Keyed), &Provider::new());
    assert_eq!(ledger.perform(&charge("k")).await.unwrap().state.end(), Some(End::Done));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_without_a_free_connection_is_busy_and_not_away() {
    let world = PostgresWorld::new().await;
    let pool = PgPoolOptions::new().max_connections(4).connect_lazy(&world.url).unwrap();
    let mut settings = Settings::default();
    settings.answer_within = Duration::from_secs(2);
    let store = Postgres::on(pool.clone(), settings).await.unwrap();
    let ledger = crate::world::ledger(store, quick(Idempotency::Keyed), &Provider::new());
    let mut taken = Vec::new();
    for _ in 0..4 {
        taken.push(pool.acquire().await.unwrap());
    }
    let (found, one, two) = (charge("found"), charge("one"), charge("two"));
    // The records of one batch fail together, and do not wait one after the other.
    let (found, one, two) = tokio::time::timeout(PROMPT, async {
        tokio::join!(ledger.find("pay", &found.key), ledger.record(&one), ledger.record(&two))
    })
    .await
    .unwrap();
    for busy in [found.unwrap_err(), one.unwrap_err(), two.unwrap_err()] {
        assert_eq!(busy.trouble(), Some(Trouble::Busy), "{busy}");
        assert!(busy.to_string().contains("busy: all 4 connections of the pool are in use"), "{busy}");
    }
    drop(taken);
    assert_eq!(ledger.perform(&charge("k")).await.unwrap().state.end(), Some(End::Done));
}
