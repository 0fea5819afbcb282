//! A lane that is busy commits a batch and begins the next transaction in one message. What becomes of the batches if that
//! message or its answer is lost, and how long the next transaction stays open without a job.

use std::time::{Duration, Instant};

use seawall_ledger::store::postgres::Postgres;
use seawall_ledger::{Action, End, Error, Ledger, Refusal, Rules, Trouble};

use crate::provider::Provider;
use crate::relay::{Relay, Silent};
use crate::world::{PATIENCE, World, charge, ended, keyed, ledger, number, settings, soon, until_true};

const CALLERS: usize = 8;
const EACH: usize = 6;

type Calls = Vec<(String, Result<Action, Error>)>;

/// Several callers perform their actions one after the other, so that the lanes are busy. On a busy machine, the lanes may
/// still have to wait too long for their jobs. So the callers begin again until `is_over`. Returns how each call ended.
async fn busy(ledger: &Ledger<Postgres>, mut is_over: impl AsyncFnMut() -> bool) -> Calls {
    let end = Instant::now() + PATIENCE;
    let mut all = Vec::new();
    for round in 0.. {
        let caller = |caller| {
            let ledger = ledger.clone();
            async move {
                let mut calls = Vec::new();
                for number in 0..EACH {
                    let key = format!("k-{round}-{caller}-{number}");
                    let done = ledger.perform(&charge(&key)).await;
                    calls.push((key, done));
                }
                calls
            }
        };
        let callers: Vec<_> = (0..CALLERS).map(|number| tokio::spawn(caller(number))).collect();
        for caller in callers {
            all.extend(caller.await.unwrap());
        }
        if is_over().await {
            break;
        }
        assert!(Instant::now() < end, "no transaction is begun ahead");
    }
    all
}

/// The store keeps its statements prepared. Without that, no transaction is begun ahead.
async fn store(url: &str) -> Postgres {
    let mut settings = settings();
    settings.prepared = true;
    Postgres::connect(url, settings).await.unwrap()
}

async fn a_commit_is_lost(silent: Silent) {
    let world = World::new().await;
    let relay = Relay::before(&world.url).await;
    let provider = Provider::new();
    let times = (Duration::from_millis(600), Duration::from_millis(1200));
    let rules = Rules { attempt: times.0, lease: times.1, ..keyed() };
    let ledger = ledger(store(&relay.url).await, rules, &provider);
    relay.trap(&["COMMIT; BEGIN"], silent);
    let calls = busy(&ledger, async || relay.reached() == 1).await;
    let worker = ledger.worker(soon());
    for (key, call) in calls {
        if let Err(e) = call {
            assert_eq!(e.trouble(), Some(Trouble::Away), "{e}");
        }
        match ledger.find("pay", &key).await {
            Ok(found) => assert_eq!(ended(&ledger, found.id).await.state.end(), Some(End::Done), "{key}"),
            Err(e) => assert_eq!(e.refusal(), Some(Refusal::NotFound), "{e}"),
        }
        let made = usize::from(ledger.find("pay", &key).await.is_ok());
        assert_eq!(provider.effects(&key) as usize, made, "{key}");
    }
    worker.drain(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_begins_the_next_batch_is_lost() {
    a_commit_is_lost(Silent::Before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_answer_of_a_commit_that_begins_the_next_batch_is_lost() {
    a_commit_is_lost(Silent::After).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_gets_no_job_is_rolled_back() {
    let world = World::new().await;
    // The server would end an idle transaction after six seconds.
    let mut settings = settings();
    (settings.prepared, settings.answer_within) = (true, Duration::from_secs(5));
    let store = Postgres::connect(&world.url, settings).await.unwrap();
    let ledger = ledger(store, keyed(), &Provider::new());
    let mut conn = world.connect().await;
    let ahead = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
        AND state LIKE 'idle in transaction%' AND query LIKE 'COMMIT; BEGIN%'";
    let calls = busy(&ledger, async || number(&mut conn, ahead).await > 0).await;
    assert!(calls.iter().all(|(_, done)| done.is_ok()));
    let over = Instant::now();
    let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
        AND state LIKE 'idle in transaction%'";
    until_true("a transaction stays open", async || number(&mut conn, open).await == 0).await;
    assert!(over.elapsed() < Duration::from_secs(4), "the server has ended it");
}
