//! The connection guard over real pools, on SQLite and PostgreSQL: each of its modes, and its purpose, which is that a
//! slow partner does not empty the pool.
//!
//! `SEAWALL_FULL=1 cargo test -p seawall --all-features --test connection_guard` makes the calls last 2 s each and
//! requires of the business queries p99 < 50 ms.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

#[path = "support/databases.rs"]
mod databases;

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use seawall::held::{self, HeldTotal};
use seawall::{ConnectionHeld, Dependency, Effect, GuardedPool, Idempotency, OnHeld, Origin, Reason};
use sqlx::{Database, Executor, Pool};
use tokio::sync::{Barrier, Semaphore};

use databases::{File, postgres, postgres_pool};

fn dependency(name: &str) -> Dependency {
    Dependency::builder(name).build().expect("the defaults are good")
}

fn total(name: &str) -> HeldTotal {
    held::snapshot().totals.into_iter().find(|total| total.dependency == name).unwrap_or_default()
}

/// Makes a call while the task holds what it holds. Returns how often something was sent, and the call's result.
async fn call(partner: &Dependency) -> (u32, Result<(), seawall::Error>) {
    let sent = Cell::new(0);
    let made = partner.call(Idempotency::None, |_| {
        sent.set(sent.get() + 1);
        async { Ok::<_, io::Error>(()) }
    });
    let ended = made.await;
    (sent.get(), ended)
}

async fn each_mode<DB: Database>(pool: Pool<DB>, name: &str)
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    for on in [OnHeld::Deny, OnHeld::Warn, OnHeld::Count] {
        let partner = dependency(&format!("{name}-{on:?}"));
        let pool = GuardedPool::new(pool.clone()).on_held(on);
        let (begun_at, mut tx) = (line!(), pool.begin().await.unwrap());
        (&mut *tx).execute("INSERT INTO orders (id) VALUES (1)").await.unwrap();
        let (sent, ended) = call(&partner).await;
        match on == OnHeld::Deny {
            true => {
                let error = ended.unwrap_err();
                assert_eq!((sent, error.effect(), error.attempts()), (0, Effect::NotApplied, 0));
                assert_eq!((error.reason(), error.origin()), (Some(Reason::ConnectionHeld), Origin::Caller));
                let held: &ConnectionHeld = error.downcast_ref().unwrap();
                assert!(held.acquired().file().ends_with("connection_guard.rs"), "{held}");
                assert_eq!(held.acquired().line(), begun_at);
                assert!(held.called().file().ends_with("connection_guard.rs"), "{held}");
            }
            false => assert_eq!((sent, ended.is_ok()), (1, true)),
        }
        let total = total(partner.name());
        let denied = u64::from(on == OnHeld::Deny);
        assert_eq!((total.calls, total.denied), (1 - denied, denied), "{on:?}");
        tx.rollback().await.unwrap();

        let (sent, ended) = call(&partner).await;
        assert_eq!((sent, ended.is_ok()), (1, true), "after the rollback nothing is held");
        {
            let mut connection = pool.acquire().await.unwrap();
            (&mut *connection).execute("SELECT 1").await.unwrap();
            assert_eq!(call(&partner).await.1.is_err(), on == OnHeld::Deny);
        }
        (&*pool).execute("SELECT 1").await.unwrap();
        assert!(call(&partner).await.1.is_ok(), "a query on the pool holds nothing when it is over");
    }
}

#[tokio::test]
async fn call_inside_an_open_transaction_is_seen_in_each_mode_on_sqlite() {
    let file = File::new();
    each_mode(file.pool(5).await, "sqlite").await;
}

#[tokio::test]
async fn call_inside_an_open_transaction_is_seen_in_each_mode_on_postgres() {
    each_mode(postgres_pool(&postgres(), 5).await, "postgres").await;
}

/// Returns the time that each call takes, and the bound for the business queries, if there is one.
fn size() -> (Duration, Option<Duration>) {
    match std::env::var_os("SEAWALL_FULL") {
        Some(_) => (Duration::from_secs(2), Some(Duration::from_millis(50))),
        None => (Duration::ZERO, None),
    }
}

const CALLS: usize = 50;
const CONNECTIONS: u32 = 5;

/// How long a query waits for a connection before it fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// Makes 50 orders on 5 connections, each with a slow call, and runs business queries while all 50 calls are in flight.
async fn calls_in_flight<DB: Database>(pool: Pool<DB>, name: &'static str)
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    for<'c> &'c Pool<DB>: Executor<'c, Database = DB>,
{
    let (time, bound) = size();
    let pool = GuardedPool::new(pool).on_held(OnHeld::Deny);
    let partner = dependency(name);
    let (started, gate) = (Arc::new(Barrier::new(CALLS + 1)), Arc::new(Semaphore::new(0)));
    let answered = Arc::new(AtomicUsize::new(0));
    let orders: Vec<_> = (0..CALLS)
        .map(|order| {
            let (pool, partner) = (pool.clone(), partner.clone());
            let (started, gate, answered) = (Arc::clone(&started), Arc::clone(&gate), Arc::clone(&answered));
            tokio::spawn(async move {
                let mut tx = pool.begin().await.unwrap();
                let id = order + 100;
                let insert = sqlx::AssertSqlSafe(format!("INSERT INTO orders (id) VALUES ({id})"));
                (&mut *tx).execute(sqlx::raw_sql(insert)).await.unwrap();
                tx.commit().await.unwrap();
                let slow = partner.call(Idempotency::None, |_| async {
                    started.wait().await;
                    tokio::time::sleep(time).await;
                    gate.acquire().await.unwrap().forget();
                    Ok::<_, io::Error>(())
                });
                slow.await.unwrap();
                answered.fetch_add(1, Ordering::Relaxed);
                let mut tx = pool.begin().await.unwrap();
                let update = sqlx::AssertSqlSafe(format!("UPDATE orders SET state = 'paid' WHERE id = {id}"));
                (&mut *tx).execute(sqlx::raw_sql(update)).await.unwrap();
                tx.commit().await.unwrap();
            })
        })
        .collect();
    started.wait().await;
    let (mut took, began) = (Vec::new(), Instant::now());
    while took.len() < 200 || began.elapsed() < time.mul_f32(0.9) {
        let asked = Instant::now();
        let query = (&*pool).execute("SELECT count(*) FROM orders");
        tokio::time::timeout(PATIENCE, query).await.expect("there is a connection").unwrap();
        took.push(asked.elapsed());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(answered.load(Ordering::Relaxed), 0, "all calls are still in flight");
    gate.add_permits(CALLS);
    for order in orders {
        order.await.unwrap();
    }
    assert_eq!(total(name), HeldTotal::default(), "no connection was held");
    took.sort_unstable();
    let p99 = took[took.len() * 99 / 100];
    println!("{name}: {} business queries beside {CALLS} calls: p99 {p99:?}", took.len());
    if let Some(bound) = bound {
        assert!(p99 < bound, "p99 {p99:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_calls_leave_the_pool_to_business_queries_on_sqlite() {
    let file = File::new();
    calls_in_flight(file.pool(CONNECTIONS).await, "in-flight-sqlite").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_calls_leave_the_pool_to_business_queries_on_postgres() {
    calls_in_flight(postgres_pool(&postgres(), CONNECTIONS).await, "in-flight-postgres").await;
}

/// What the guard prevents: if the same calls are made inside of transactions, they empty the pool.
#[tokio::test]
async fn calls_inside_transactions_empty_the_pool_and_are_counted() {
    let file = File::new();
    let pool = GuardedPool::new(file.pool(2).await).on_held(OnHeld::Count);
    let partner = dependency("emptied");
    let (started, gate) = (Arc::new(Barrier::new(3)), Arc::new(Semaphore::new(0)));
    let holders: Vec<_> = (0..2)
        .map(|_| {
            let (pool, partner) = (pool.clone(), partner.clone());
            let (started, gate) = (Arc::clone(&started), Arc::clone(&gate));
            tokio::spawn(async move {
                let tx = pool.begin().await.unwrap();
                let slow = partner.call(Idempotency::None, |_| async {
                    started.wait().await;
                    gate.acquire().await.unwrap().forget();
                    Ok::<_, io::Error>(())
                });
                slow.await.unwrap();
                tx.commit().await.unwrap();
            })
        })
        .collect();
    started.wait().await;
    let waited = Instant::now();
    assert!(pool.try_acquire().is_none(), "both connections wait for the partner");
    while waited.elapsed() < Duration::from_millis(20) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    gate.add_permits(2);
    for holder in holders {
        holder.await.unwrap();
    }
    let seen = total("emptied");
    assert_eq!((seen.calls, seen.denied), (2, 0));
    assert!(seen.waited >= Duration::from_millis(40), "two connections for 20 ms each: {:?}", seen.waited);
}
