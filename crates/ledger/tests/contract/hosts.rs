//! A URL with several servers of PostgreSQL: which one is used, what servers that are down cost, and what becomes of
//! connections to a server that has stopped taking writes.

use std::time::{Duration, Instant};

use seawall_ledger::store::Store;
use seawall_ledger::store::postgres::{Postgres, Settings};
use seawall_ledger::{Known, Owner, StoreError, Trouble};
use seawall_policy::Idempotency;
use sqlx::PgPool;

use crate::provider::Provider;
use crate::scratch::Server;
use crate::suite::{asking, charge, pay};
use crate::world::ledger;

/// The parts of a URL of the shared server: what stands before the question mark, and the folder of its socket.
fn parts(url: &str) -> (&str, &str) {
    url.split_once("?host=").expect("the tests' server has a socket")
}

fn database(url: &str) -> &str {
    parts(url).0.rsplit('/').next().unwrap()
}

/// Makes new sessions of the database read-only, or ends that, and ends all sessions that exist.
fn read_only(url: &str, on: bool) {
    let name = database(url);
    let set = format!("ALTER DATABASE {name} SET default_transaction_read_only = {on}");
    Server::shared().sql("postgres", &set);
    end_sessions(url);
}

fn end_sessions(url: &str) {
    let ends = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{}'",
        database(url)
    );
    Server::shared().sql("postgres", &ends);
}

async fn records(store: &Postgres, key: &str) -> Result<(), seawall_ledger::Error> {
    let provider = Provider::new();
    let ledger = ledger(store.clone(), asking(Idempotency::Keyed), &provider);
    let done = ledger.perform(&charge(key)).await?;
    assert_eq!(done.state.known(), Known::Applied);
    Ok(())
}

async fn claims(store: &Postgres) -> Result<(), StoreError> {
    store.claim(&pay(), Owner(7), 1, Duration::from_secs(1)).await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_are_down_or_silent_cost_nothing() {
    let url = Server::shared().database();
    let (front, socket) = parts(&url);
    // It takes connections, and never says a word.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let all = format!("{front}?host=/no/such/folder,127.0.0.1,{socket}&port=5432,{port},5432");
    let begun = Instant::now();
    let store = Postgres::connect(&all, Settings::default()).await.unwrap();
    store.migrate().await.unwrap();
    records(&store, "first").await.unwrap();
    end_sessions(&url);
    records(&store, "second").await.unwrap();
    let took = begun.elapsed();
    println!("connected, and connected again after all connections were lost, in {took:?}");
    assert!(took < Duration::from_secs(4), "no server was waited for: {took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_server_that_takes_writes_the_error_says_why_for_each() {
    let url = Server::shared().database();
    let (front, socket) = parts(&url);
    read_only(&url, true);
    let all = format!("{}?host=/no/such/folder,{socket}", front.replace("postgres@", "postgres:S3CRET@"));
    let refused = Postgres::connect(&all, Settings::default()).await.unwrap_err();
    let said = refused.to_string();
    assert_eq!(refused.trouble(), Trouble::Away);
    for words in ["no server takes writes", "/no/such/folder:5432: ", ":5432: its transactions are read-only"]
    {
        assert!(said.contains(words), "{words} is not in: {said}");
    }
    assert!(!said.contains("S3CRET"), "{said}");
    // With a single server the question is asked only if the URL wants it.
    Postgres::connect(&url, Settings::default()).await.unwrap();
    let alone = format!("{url}&target_session_attrs=read-write");
    Postgres::connect(&alone, Settings::default()).await.unwrap_err();
}

/// A connection to a server that has become read-only is closed, so that the next one may go to another server, or to the
/// same one after it has changed.
async fn connections_without_writes_are_closed(url: &str, store: Postgres) {
    store.migrate().await.unwrap();
    claims(&store).await.unwrap();
    read_only(url, true);
    let refused = claims(&store).await.unwrap_err();
    assert_eq!(refused.trouble(), Trouble::Away, "{refused}");
    let sessions = format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{}'", database(url));
    let end = Instant::now() + Duration::from_secs(10);
    while Server::shared().sql("postgres", &sessions).trim() != "0" {
        assert!(Instant::now() < end, "the session that takes no writes stays in the pool");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let set = format!("ALTER DATABASE {} SET default_transaction_read_only = off", database(url));
    Server::shared().sql("postgres", &set);
    records(&store, "after").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn read_only_sessions_of_one_server_are_closed() {
    let url = Server::shared().database();
    let store = Postgres::connect(&url, Settings::default()).await.unwrap();
    connections_without_writes_are_closed(&url, store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn read_only_sessions_of_several_servers_are_closed() {
    let url = Server::shared().database();
    let several = url.replace("?host=", "?host=/no/such/folder,");
    let store = Postgres::connect(&several, Settings::default()).await.unwrap();
    connections_without_writes_are_closed(&url, store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn read_only_sessions_of_the_applications_pool_are_closed() {
    let url = Server::shared().database();
    let options = sqlx::postgres::PgPoolOptions::new().max_connections(10).test_before_acquire(false);
    let pool: PgPool = options.connect(&url).await.unwrap();
    let store = Postgres::on(pool, Settings::default()).await.unwrap();
    connections_without_writes_are_closed(&url, store).await;
}
