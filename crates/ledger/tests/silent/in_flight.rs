//! What was under way when the database went silent: each effect is there once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use seawall_ledger::store::postgres::Postgres;
use seawall_ledger::store::{Declared, Store};
use seawall_ledger::{
    Action, AttemptOutcome, Begun, End, Known, Ledger, Operation, Performed, Report, Rules, Trouble,
};
use sqlx::PgConnection;

use crate::provider::{Fate, Provider};
use crate::relay::Silent;
use crate::world::{
    DEADLINE, PATIENCE, charge, done_once, ended, in_time, is_away, is_sent, keyed, ledger, number,
    performing, relayed, soon, until_true,
};

/// The commit with the outcome goes out, and its answer does not come.
async fn an_outcome_is_written(silent: Silent) {
    let (world, relay, store) = relayed().await;
    let provider = Provider::new().script(&[Fate::Held]);
    let ledger = ledger(store, Rules { attempt: PATIENCE, lease: PATIENCE * 2, ..keyed() }, &provider);
    let call = performing(&ledger, "k");
    is_sent(&provider, "k").await;
    relay.trap(&["seawall.action", "COMMIT"], silent);
    provider.release();
    match in_time("perform", call).await.unwrap() {
        Ok(done) => assert_eq!(done.state.end(), Some(End::Done)),
        Err(e) => assert_eq!(e.trouble(), Some(Trouble::Away), "{e}"),
    }
    let done = done_once(&world, &provider, "k").await;
    assert_eq!(relay.reached(), 1);
    assert_eq!(done.state.answer(), None);
    let story = ledger.story(done.id).await.unwrap();
    assert_eq!(story.attempts.len(), 1);
    assert_eq!(story.attempts[0].outcome, AttemptOutcome::Yes);
    assert_eq!((provider.confirms("k"), done.state.version()), (0, 2), "it knew, and had not to ask");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outcome_is_written_once_if_the_commit_was_lost() {
    an_outcome_is_written(Silent::Before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outcome_is_written_once_if_the_answer_of_the_commit_was_lost() {
    an_outcome_is_written(Silent::After).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outcome_of_a_callers_own_attempt_is_written_when_the_database_is_back() {
    let (world, relay, store) = relayed().await;
    let provider = Provider::new();
    let rules = Rules { attempt: PATIENCE, lease: PATIENCE * 2, ..keyed() };
    let ledger = ledger(store, rules, &provider);
    let Begun::Started(started) = ledger.start(&charge("k")).await.unwrap() else { panic!("it was there") };
    let id = started.action().id;
    relay.silence_all();
    is_away(&relay, "ended", started.ended(Performed::Yes(None), Report::default())).await;
    is_away(&relay, "start", ledger.start(&charge("other"))).await;
    relay.heal();
    let done = ended(&ledger, id).await;
    assert_eq!((done.state.end(), done.state.version()), (Some(End::Done), 2));
    assert_eq!((provider.performs("k"), provider.confirms("k")), (0, 0), "it knew, and had not to ask");
    drop(world);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_sends_since_its_commit_went_silent_has_failed() {
    for silent in [Silent::Before, Silent::After] {
        let (_world, relay, store) = relayed().await;
        let provider = Provider::new();
        let rules = Rules { attempt: PATIENCE, lease: PATIENCE * 2, ..keyed() };
        let ledger = ledger(store, rules, &provider);
        ledger.store().ask_time().await.unwrap();
        relay.trap(&["seawall.action", "COMMIT"], silent);
        is_away(&relay, "start", ledger.start(&charge("k"))).await;
        // The lease has not ended, so no worker has done this.
        let worker = ledger.worker(soon());
        let mut failed = None;
        let made = silent == Silent::After;
        until_true("it is not closed", async || {
            failed = ledger.find("pay", "k").await.ok();
            failed.as_ref().map_or(!made, |action| action.state.end() == Some(End::Failed))
        })
        .await;
        assert_eq!((failed.is_some(), relay.reached()), (made, 1));
        if let Some(failed) = failed {
            assert_eq!((failed.state.known(), failed.state.version()), (Known::Never, 2));
        }
        // The key is used anew, or for the first time.
        let mut begun = None;
        until_true("the key stays locked", async || {
            begun = ledger.start(&charge("k")).await.ok();
            begun.is_some()
        })
        .await;
        let Some(Begun::Started(started)) = begun else { panic!("{begun:?}") };
        started.ended(Performed::Yes(None), Report::default()).await.unwrap();
        assert_eq!((provider.performs("k"), provider.confirms("k")), (0, 0));
        drop(worker);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_whose_commit_went_silent_is_made_once() {
    for (key, silent) in [("before", Silent::Before), ("after", Silent::After)] {
        let (world, relay, store) = relayed().await;
        let provider = Provider::new();
        let ledger = ledger(store, keyed(), &provider);
        // Without this, the record would first ask for the time, in a transaction of its own.
        ledger.store().ask_time().await.unwrap();
        relay.trap(&["seawall.action", "COMMIT"], silent);
        is_away(&relay, "record", ledger.record(&charge(key))).await;
        let mut conn = world.connect().await;
        let count = "SELECT count(*) FROM seawall.action";
        let rows = number(&mut conn, count).await;
        assert_eq!(rows, if silent == Silent::After { 1 } else { 0 });
        // The server still has the transaction of the lost commit, and ends it by itself.
        until_true("the key stays locked", async || {
            let again = in_time("record", ledger.record(&charge(key))).await;
            again.is_ok_and(|action| action.key == key)
        })
        .await;
        let worker = ledger.worker(soon());
        done_once(&world, &provider, key).await;
        assert_eq!(number(&mut conn, count).await, 1);
        drop(worker);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_silent_claim_took_is_done_once() {
    tokio::join!(
        a_claim_goes_silent(&["SKIP LOCKED"], Silent::Before),
        a_claim_goes_silent(&["SKIP LOCKED"], Silent::After),
        a_claim_goes_silent(&["SKIP LOCKED", "COMMIT"], Silent::Before),
        a_claim_goes_silent(&["SKIP LOCKED", "COMMIT"], Silent::After),
    );
}

async fn a_claim_goes_silent(needles: &'static [&'static str], silent: Silent) {
    let (world, relay, store) = relayed().await;
    let provider = Provider::new();
    let ledger = ledger(store, keyed(), &provider);
    for key in ["a", "b"] {
        ledger.record(&charge(key)).await.unwrap();
    }
    relay.trap(needles, silent);
    let pay = Declared::new("pay", &["charge"]);
    is_away(&relay, "claim", ledger.store().claim(&pay, ledger.owner(), 10, Duration::from_secs(1))).await;
    let worker = ledger.worker(soon());
    for key in ["a", "b"] {
        done_once(&world, &provider, key).await;
    }
    drop(worker);
}

/// A ledger whose handler writes an order, and counts how often it ran.
fn with_handler(store: Postgres, provider: &Provider, ran: &Arc<AtomicU32>) -> Ledger<Postgres> {
    let ran = ran.clone();
    let operation = Operation::new("pay", "charge", keyed(), Arc::new(provider.clone()));
    let operation = operation.on_settled(move |conn: &mut PgConnection, action: &Action| {
        let ran = ran.clone();
        Box::pin(async move {
            ran.fetch_add(1, Ordering::Relaxed);
            let query = sqlx::query("INSERT INTO orders (id, state) VALUES ($1, 'paid')").persistent(false);
            query.bind(action.key.clone()).execute(conn).await?;
            Ok(())
        })
    });
    Ledger::builder(store).operation(operation).build().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_on_a_silent_connection_ends_and_its_order_is_written_once() {
    for (needles, silent) in [
        (&["INSERT INTO orders"][..], Silent::Before),
        (&["INSERT INTO orders"], Silent::After),
        (&["INSERT INTO orders", "COMMIT"], Silent::Before),
        (&["INSERT INTO orders", "COMMIT"], Silent::After),
    ] {
        let (world, relay, store) = relayed().await;
        let (provider, ran) = (Provider::new().script(&[Fate::Held]), Arc::default());
        let ledger = with_handler(store, &provider, &ran);
        let call = performing(&ledger, "k");
        is_sent(&provider, "k").await;
        relay.trap(needles, silent);
        provider.release();
        // The handler has a deadline of its own. Then the outcome is written without it, and waits for the row that the
        // silent transaction holds.
        let begun = Instant::now();
        let ended = tokio::time::timeout(PATIENCE, call).await.unwrap().unwrap();
        assert!(begun.elapsed() < DEADLINE * 4, "{:?}", begun.elapsed());
        let said = ended.as_ref().map_or_else(|e| e.trouble(), |_| None);
        assert!(matches!(said, None | Some(Trouble::Away | Trouble::Busy)), "{ended:?}");
        let worker = ledger.worker(soon());
        done_once(&world, &provider, "k").await;
        let mut conn = world.connect().await;
        let orders = number(&mut conn, "SELECT count(*) FROM orders WHERE id = 'k'").await;
        assert_eq!((orders, relay.reached()), (1, 1), "{needles:?} {silent:?}");
        drop(worker);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handlers_of_a_scope_run_once_if_the_answer_of_their_commit_was_lost() {
    let (world, relay, store) = relayed().await;
    let (provider, ran) = (Provider::new().script(&[Fate::Yes, Fate::Held]), Arc::default());
    let ledger = with_handler(store, &provider, &ran);
    let one = ledger.perform(&charge("one").in_scope("order", 2)).await.unwrap();
    let two = {
        let ledger = ledger.clone();
        tokio::spawn(async move { ledger.perform(&charge("two").in_scope("order", 2)).await })
    };
    is_sent(&provider, "two").await;
    relay.trap(&["INSERT INTO orders", "COMMIT"], Silent::After);
    provider.release();
    let _ = tokio::time::timeout(PATIENCE, two).await.unwrap().unwrap();
    let worker = ledger.worker(soon());
    assert_eq!(ended(&ledger, one.id).await.state.end(), Some(End::Done));
    for key in ["one", "two"] {
        done_once(&world, &provider, key).await;
    }
    drop(worker);
    assert_eq!(ran.load(Ordering::Relaxed), 2, "once for each member");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_of_a_program_that_vanished_does_not_keep_its_rows() {
    let (world, relay, store) = relayed().await;
    let provider = Provider::new();
    let vanished = ledger(store, keyed(), &provider);
    let action = vanished.record(&charge("k")).await.unwrap();
    relay.trap(&["UPDATE seawall.action", "COMMIT"], Silent::Before);
    let _ = vanished.cancel(action.id).await;
    let mut conn = world.connect().await;
    let held = "SELECT count(*) FROM seawall.action WHERE id NOT IN \
                (SELECT id FROM seawall.action FOR UPDATE SKIP LOCKED)";
    until_true("the rows stay locked", async || number(&mut conn, held).await == 0).await;
    assert_eq!(relay.reached(), 1);
    let other = ledger(world.open().await, keyed(), &provider);
    assert_eq!(other.load(action.id).await.unwrap().state.end(), None);
}
