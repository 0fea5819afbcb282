//! `kill -9` with 200 calls in flight. No call is sent again blindly, nothing takes effect twice, and every outcome
//! becomes known.
//!
//! The usual durable engines send all calls again after such a kill. Here the provider is asked first about each call
//! whose attempt has no known ending. If a provider cannot be asked but knows keys, the call is sent to it again with
//! the same key and the same bytes.

use std::process::Stdio;
use std::time::{Duration, Instant};

use seawall::ledger::{Confirm, Durable, End, Ledger, Store, WorkerSettings};
use seawall::{Dependency, Idempotency, Timeouts, When, millis, secs};
use seawall_lab::harbor::{Books, Harbor};
use seawall_ledger::store::Filter;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::orders::Engine;
use crate::{Place, program};

/// The environment variable that tells a process to make the calls. The test itself runs without it.
pub(crate) const FLIGHT: &str = "SEAWALL_FLIGHT";

const CALLS: usize = 200;
const LEASE: Duration = Duration::from_secs(9);
const QUIET: Duration = Duration::from_secs(2);
/// The maximum time that the ledger may take beyond the lease and the quiet time.
const MARGIN: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
enum Provider {
    /// It can be asked what became of a charge.
    Asked,
    /// It knows idempotency keys.
    Keyed,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Flight {
    url: String,
    harbor: String,
    provider: Provider,
    records: bool,
}

fn declared(flight: &Flight) -> Durable {
    let idempotency = match flight.provider {
        Provider::Asked => Idempotency::None,
        Provider::Keyed => Idempotency::Keyed,
    };
    let harbor = Dependency::builder("harbor")
        .endpoint(flight.harbor.as_str())
        .unwrap()
        .timeout(Timeouts::default().connect(secs(5)).read(secs(7)).total(secs(8)))
        .build()
        .unwrap();
    let charge = harbor.operation("charge").idempotency(idempotency).build().unwrap();
    let charge = charge.durable("POST /v1/charges").key_header("Idempotency-Key");
    let charge = charge.lease(LEASE).quiet(QUIET).network(millis(200)).pause(millis(200));
    let charge = charge.backoff(millis(50), millis(500));
    match flight.provider {
        Provider::Keyed => charge.key_lifetime(seawall::secs(3600)).build().unwrap(),
        Provider::Asked => charge
            .confirm(
                Confirm::by("GET /v1/charges?key={key}")
                    .after(millis(50))
                    .applied(When::status(200))
                    .absent(When::status(404).field("/error/code", [404])),
            )
            .build()
            .unwrap(),
    }
}

/// The body of the process that records actions and works on them until it is killed.
pub(crate) async fn fly(flight: &str) {
    let flight: Flight = serde_json::from_str(flight).unwrap();
    match flight.url.starts_with("sqlite:") {
        true => work::<sqlx::Sqlite>(flight).await,
        false => work::<sqlx::Postgres>(flight).await,
    }
}

async fn work<E: Engine>(flight: Flight) {
    let shelves = E::open(&flight.url, None).await.unwrap();
    let charge = declared(&flight);
    let ledger = Ledger::builder(shelves.store).operation(&charge).build().unwrap();
    let charges = charge.actions(&ledger).unwrap();
    if flight.records {
        let mut tx = shelves.pool.begin_with(E::BEGIN).await.unwrap();
        for number in 0..CALLS {
            let body = json!({ "amount": 100 + number });
            charges.record(&mut tx, &format!("call-{number}"), &body).await.unwrap();
        }
        tx.commit().await.unwrap();
    }
    let mut settings = WorkerSettings::default();
    (settings.concurrency, settings.claim, settings.scan) = (256, 256, millis(200));
    let _worker = ledger.worker(settings);
    println!("works");
    std::future::pending().await
}

async fn start(flight: &Flight) -> Child {
    let (path, words) = program();
    let mut command = Command::new(path);
    command.args(words).env(FLIGHT, serde_json::to_string(flight).unwrap()).kill_on_drop(true);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        if line.ends_with("works") {
            return child;
        }
    }
    panic!("the process ended before it worked");
}

async fn wait(what: &str, mut until: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + secs(90);
    while !until().await {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(millis(20)).await;
    }
}

async fn killed_in_flight<E: Engine>(place: Place, provider: Provider) {
    let script =
        format!("[[fault]]\nmatch = 'POST /v1/charges'\nfault = 'hang-after-effect'\ntimes = {CALLS}");
    let harbor = Harbor::bind(([127, 0, 0, 1], 0).into(), Some(script.parse().unwrap())).unwrap();
    let (at, books) = (format!("http://{}", harbor.address()), harbor.books());
    let _harbor = tokio::spawn(harbor.run());
    let flight = Flight { url: place.url.clone(), harbor: at, provider, records: true };

    let mut first = start(&flight).await;
    wait("all calls are in flight", async || books.snapshot().effects == CALLS as u64).await;
    first.kill().await.unwrap();
    let killed = Instant::now();
    let _second = start(&Flight { records: false, ..flight }).await;

    let shelves = E::open(&place.url, None).await.unwrap();
    let done = async || {
        let filter = Filter::first(1000);
        let all = shelves.store.list(&filter).await.unwrap();
        assert_eq!(all.len(), CALLS);
        all.iter().filter(|action| action.state.end() == Some(End::Done)).count()
    };
    wait("all are resolved", async || done().await == CALLS).await;
    let took = killed.elapsed();
    println!("{CALLS} calls resolved {took:?} after the kill; lease {LEASE:?}, quiet {QUIET:?}");
    // The bound has three times the margin, because other tests run on the same machine.
    assert!(took < LEASE + QUIET + 3 * MARGIN, "{took:?}");
    judge(&books, provider);
}

fn judge(books: &Books, provider: Provider) {
    let books = books.snapshot();
    assert_eq!((books.effects, books.charges.len()), (CALLS as u64, CALLS));
    assert_eq!(books.by_key.len(), CALLS, "a key of its own for each, and no other");
    assert_eq!(books.bytes_mismatch, 0, "sent again with other bytes");
    for (key, count) in &books.by_key {
        assert_eq!(count.effects, 1, "{key}");
        match provider {
            Provider::Asked => assert_eq!(count.requests, 1, "{key} was sent again blindly"),
            Provider::Keyed => assert!(count.requests >= 2, "{key} was not sent again"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_with_calls_in_flight_resends_nothing_where_it_can_ask_on_sqlite() {
    killed_in_flight::<sqlx::Sqlite>(Place::sqlite(), Provider::Asked).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_with_calls_in_flight_resends_nothing_where_it_can_ask_on_postgres() {
    killed_in_flight::<sqlx::Postgres>(Place::postgres(), Provider::Asked).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_with_calls_in_flight_resends_the_same_under_the_same_key_on_sqlite() {
    killed_in_flight::<sqlx::Sqlite>(Place::sqlite(), Provider::Keyed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_with_calls_in_flight_resends_the_same_under_the_same_key_on_postgres() {
    killed_in_flight::<sqlx::Postgres>(Place::postgres(), Provider::Keyed).await;
}
