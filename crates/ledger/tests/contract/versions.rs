//! The tests, over any store, of two versions of the program that work on one ledger while an upgrade rolls. The newer
//! version makes one column more, and knows rows that need one level more.

use std::time::Duration;

use seawall_ledger::store::{Due, Store};
use seawall_ledger::{Action, By, End, Goal, Known, Ledger, Observed, Refusal, Resolution, Trouble};
use seawall_policy::Idempotency;

use crate::provider::{Fate, Provider};
use crate::suite::{PATIENCE, asking, charge, ended, pay, soon, until};
use crate::world::{TwoVersions, World, ledger};

/// How the two versions are started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    OldFirst,
    NewFirst,
    Together,
}

/// Starts both versions on a database without tables. Returns the stores of the older and the newer one.
async fn started<W: TwoVersions>(world: &W, order: Order) -> (W::Store, W::Store) {
    let (old, new) = (world.open().await, world.open_ahead().await);
    match order {
        Order::OldFirst => {
            old.migrate().await.unwrap();
            new.migrate().await.unwrap();
        }
        Order::NewFirst => {
            new.migrate().await.unwrap();
            old.migrate().await.unwrap();
        }
        Order::Together => {
            let many = world.open().await;
            let (a, b, c) = tokio::join!(old.migrate(), new.migrate(), many.migrate());
            for migrated in [a, b, c] {
                migrated.unwrap();
            }
        }
    }
    // A start that finds everything done changes nothing.
    old.migrate().await.unwrap();
    new.migrate().await.unwrap();
    assert_eq!(old.print_key().await.unwrap(), new.print_key().await.unwrap(), "one key for all");
    assert_eq!((old.knows() + 1, version::<W>(world).await), (new.knows(), (7, 3)));
    (old, new)
}

/// Reads the version of the tables, and the earliest version of a program that can work with them.
async fn version<W: World>(world: &W) -> (i64, i64) {
    let mut conn = world.connect().await;
    let schema = W::ACTIONS.replace("action", "schema");
    let last = format!("SELECT CAST(max(version) AS TEXT) FROM {schema}");
    let last = if schema.contains('.') { last } else { format!("SELECT max(version) FROM {schema}") };
    let version = W::number(&mut conn, &last).await;
    let from = if schema.contains('.') { "CAST(works_from AS TEXT)" } else { "works_from" };
    let from = format!("SELECT {from} FROM {schema} ORDER BY version DESC LIMIT 1");
    (version, W::number(&mut conn, &from).await)
}

pub(crate) async fn started_in_any_order_both_record_claim_and_finish<W: TwoVersions>() {
    for order in [Order::OldFirst, Order::NewFirst, Order::Together] {
        let world = W::without_tables().await;
        let (old, new) = started(&world, order).await;
        let provider = Provider::new();
        let ledgers = [old, new].map(|store| ledger(store, asking(Idempotency::Keyed), &provider));
        // Each finishes by itself what it records, with statements that were prepared before the other one migrated.
        for (name, ledger) in ["old", "new"].iter().zip(&ledgers) {
            let done = ledger.perform(&charge(&format!("performed by {name}"))).await.unwrap();
            assert_eq!(done.state.end(), Some(End::Done), "{order:?}");
        }
        // Each finishes what the other one records.
        for (recorder, worker, key) in [(0, 1, "old to new"), (1, 0, "new to old")] {
            let recorded = ledgers[recorder].record(&charge(key)).await.unwrap();
            let worker = ledgers[worker].worker(soon());
            let done = ended(&ledgers[recorder], recorded.id).await;
            assert_eq!(done.state.end(), Some(End::Done), "{order:?}");
            assert_eq!(worker.drain(PATIENCE).await, 0);
        }
        // Both work at the same time.
        let workers = [ledgers[0].worker(soon()), ledgers[1].worker(soon())];
        let mut ids = Vec::new();
        for number in 0..30 {
            let key = format!("k{number}");
            ids.push(ledgers[number % 2].record(&charge(&key)).await.unwrap().id);
        }
        for (number, id) in ids.into_iter().enumerate() {
            let done = ended(&ledgers[number % 2], id).await;
            let key = format!("k{number}");
            assert_eq!((done.state.end(), provider.performs(&key)), (Some(End::Done), 1), "{order:?}");
        }
        drop(workers);
    }
}

pub(crate) async fn an_older_program_goes_on_while_a_newer_one_migrates<W: TwoVersions>() {
    let world = W::without_tables().await;
    let old = world.open().await;
    old.migrate().await.unwrap();
    let provider = Provider::new();
    let ledger = ledger(old, asking(Idempotency::Keyed), &provider);
    let worker = ledger.worker(soon());
    // All statements were used, and are kept as prepared ones.
    let before = ledger.record(&charge("before")).await.unwrap();
    assert_eq!(ended(&ledger, before.id).await.state.end(), Some(End::Done));
    let mut conn = world.connect().await;
    W::execute(&mut conn, W::BEGIN).await;
    let waits = ledger.record_in(&mut conn, &charge("while it waits")).await.unwrap();
    let migrating = {
        let new = world.open_ahead().await;
        tokio::spawn(async move { new.migrate().await })
    };
    tokio::time::sleep(Duration::from_millis(50)).await;
    W::execute(&mut conn, "COMMIT").await;
    migrating.await.unwrap().unwrap();
    let after = ledger.record(&charge("after")).await.unwrap();
    for id in [waits.id, after.id] {
        assert_eq!(ended(&ledger, id).await.state.end(), Some(End::Done));
    }
    assert_eq!(ledger.load(before.id).await.unwrap().state.end(), Some(End::Done));
    drop(worker);
}

async fn now_needs_newer<W: World>(world: &W, action: &Action) {
    let mut conn = world.connect().await;
    W::execute(&mut conn, W::BEGIN).await;
    let id = action.id;
    W::execute(&mut conn, &format!("UPDATE {} SET needs = 2 WHERE id = '{id}'", W::ACTIONS)).await;
    W::execute(&mut conn, "COMMIT").await;
}

fn refused<T: std::fmt::Debug>(result: Result<T, seawall_ledger::Error>) {
    assert_eq!(result.unwrap_err().refusal(), Some(Refusal::NeedsNewer));
}

/// Checks that the older program refuses each wish for this action.
async fn refuses_wishes<W: World>(world: &W, old: &Ledger<W::Store>, action: &Action) {
    let by = By::new("ann", "because");
    let id = action.id;
    refused(old.settle(id).await);
    refused(old.cancel(id).await);
    refused(old.retry(id, &by).await);
    refused(old.resolve(id, Resolution::Applied, &by).await);
    refused(old.observe(id, Observed::Applied(None), &by).await);
    let mut conn = world.connect().await;
    W::execute(&mut conn, W::BEGIN).await;
    refused(old.settle_in(&mut conn, id).await);
    W::execute(&mut conn, "ROLLBACK").await;
    W::execute(&mut conn, W::BEGIN).await;
    refused(old.cancel_in(&mut conn, id).await);
    W::execute(&mut conn, "ROLLBACK").await;
    assert_eq!(&old.load(id).await.unwrap(), action, "and people can look at it");
}

pub(crate) async fn a_row_that_needs_more_is_left_to_the_newer_program<W: TwoVersions>() {
    let world = W::without_tables().await;
    let (old, new) = started(&world, Order::NewFirst).await;
    let provider = Provider::new();
    let [old, new] = [old, new].map(|store| ledger(store, asking(Idempotency::Keyed), &provider));
    let newer = old.record(&charge("newer")).await.unwrap();
    now_needs_newer(&world, &newer).await;
    let newer = old.load(newer.id).await.unwrap();
    assert_eq!(newer.state.needs(), 2);

    let worker = old.worker(soon());
    let other = old.record(&charge("other")).await.unwrap();
    assert_eq!(ended(&old, other.id).await.state.end(), Some(End::Done));
    let waited = old.run_within(newer.id, Duration::from_millis(100)).await.unwrap();
    assert_eq!((waited, provider.performs("newer")), (newer.clone(), 0));
    // The same request finds it, and changes nothing.
    assert_eq!(old.record(&charge("newer")).await.unwrap(), newer);
    assert_eq!(
        old.store().due(&[pay()], Duration::from_secs(3600)).await.unwrap(),
        [Due::default()],
        "the older one waits for nothing"
    );
    assert_ne!(new.store().due(&[pay()], Duration::from_secs(3600)).await.unwrap(), [Due::default()]);
    refuses_wishes(&world, &old, &newer).await;

    let newer_worker = new.worker(soon());
    let done = ended(&old, newer.id).await;
    assert_eq!((done.state.end(), done.state.needs(), provider.performs("newer")), (Some(End::Done), 2, 1));
    assert_eq!(worker.drain(PATIENCE).await, 0);
    // The newer one also takes it back.
    let mut conn = world.connect().await;
    W::execute(&mut conn, W::BEGIN).await;
    new.cancel_in(&mut conn, newer.id).await.unwrap();
    W::execute(&mut conn, "COMMIT").await;
    assert_eq!(ended(&old, newer.id).await.state.end(), Some(End::Cancelled));
    assert_eq!(provider.effects("newer"), 0);
    drop(newer_worker);
}

pub(crate) async fn what_a_newer_program_failed_is_used_anew_by_it_alone<W: TwoVersions>() {
    let world = W::without_tables().await;
    let (old, new) = started(&world, Order::OldFirst).await;
    let provider = Provider::new().script(&[Fate::NotSent]);
    let [old, new] = [old, new].map(|store| ledger(store, asking(Idempotency::Keyed), &provider));
    let failed = new.perform_or_close(&charge("k")).await.unwrap();
    assert_eq!((failed.state.end(), failed.state.known()), (Some(End::Failed), Known::Never));
    now_needs_newer(&world, &failed).await;
    let failed = old.load(failed.id).await.unwrap();
    refused(old.record(&charge("k")).await);
    refused(old.perform(&charge("k")).await);
    let mut conn = world.connect().await;
    W::execute(&mut conn, W::BEGIN).await;
    refused(old.record_in(&mut conn, &charge("k")).await);
    W::execute(&mut conn, "ROLLBACK").await;
    assert_eq!(old.load(failed.id).await.unwrap(), failed);
    let done = new.perform(&charge("k")).await.unwrap();
    assert_eq!((done.id, done.state.end(), done.state.needs()), (failed.id, Some(End::Done), 2));
}

pub(crate) async fn a_scope_with_a_newer_member_is_settled_by_the_newer_program<W: TwoVersions>() {
    let world = W::without_tables().await;
    let (old, new) = started(&world, Order::OldFirst).await;
    // The performs of `one`, `third`, `two`, `alive` and `failing`, in this order.
    let provider = Provider::new().script(&[Fate::Yes, Fate::Yes, Fate::Yes, Fate::Yes, Fate::No]);
    let [old, new] = [old, new].map(|store| ledger(store, asking(Idempotency::Keyed), &provider));
    // Both members are applied, before the second one needs the newer program.
    let one = old.record(&charge("one").in_scope("both", 2)).await.unwrap();
    let worker = old.worker(soon());
    until(&old, one.id, |action| action.state.known() == Known::Applied).await;
    assert_eq!(worker.drain(PATIENCE).await, 0);
    let two = new.record(&charge("two").in_scope("both", 2)).await.unwrap();
    now_needs_newer(&world, &two).await;
    let two = old.load(two.id).await.unwrap();
    refused(old.settle(one.id).await);
    refused(old.cancel(one.id).await);
    assert_eq!(old.load(one.id).await.unwrap().state.goal(), Goal::Perform, "all members or none");
    refuses_wishes(&world, &old, &two).await;
    let worker = old.worker(soon());
    let third = old.record(&charge("third")).await.unwrap();
    ended(&old, third.id).await;
    assert_eq!(old.load(two.id).await.unwrap(), two);
    let newer = new.worker(soon());
    for id in [one.id, two.id] {
        assert_eq!(ended(&old, id).await.state.end(), Some(End::Done));
    }
    assert_eq!(newer.drain(PATIENCE).await, 0);

    // A member that fails breaks its scope. The older program does not cancel the member that it may not change.
    let alive = old.record(&charge("alive").in_scope("breaks", 2)).await.unwrap();
    until(&old, alive.id, |action| action.state.known() == Known::Applied && action.state.owner().is_none())
        .await;
    now_needs_newer(&world, &alive).await;
    let failing = old.record(&charge("failing").in_scope("breaks", 2)).await.unwrap();
    assert_eq!(ended(&old, failing.id).await.state.end(), Some(End::Failed));
    assert_eq!(worker.drain(PATIENCE).await, 0);
    assert_eq!(old.load(alive.id).await.unwrap().state.goal(), Goal::Perform);
    let newer = new.worker(soon());
    assert_eq!(ended(&old, alive.id).await.state.end(), Some(End::Cancelled));
    assert_eq!(provider.effects("alive"), 0);
    drop(newer);
}

pub(crate) async fn tables_that_an_older_program_cannot_use_are_refused_in_words<W: TwoVersions>() {
    let world = W::without_tables().await;
    let (old, new) = started(&world, Order::OldFirst).await;
    let mut conn = world.connect().await;
    let schema = W::ACTIONS.replace("action", "schema");
    W::execute(&mut conn, W::BEGIN).await;
    W::execute(&mut conn, &format!("UPDATE {schema} SET works_from = 7")).await;
    W::execute(&mut conn, "COMMIT").await;
    let refused = old.migrate().await.unwrap_err();
    assert_eq!(refused.trouble(), Trouble::Foreign);
    for words in
        ["of version 7", "from version 7 can use", "this program is of version 6", "update the program"]
    {
        assert!(refused.to_string().contains(words), "{refused}");
    }
    new.migrate().await.unwrap();
}
