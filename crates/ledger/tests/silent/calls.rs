//! Calls while the database is silent, and connections of the pool that are silent.

use std::time::{Duration, Instant};

use seawall_ledger::store::postgres::Postgres;
use seawall_ledger::store::{Declared, Filter, Store};
use seawall_ledger::{NewAction, Owner, Rules, SettleBy};
use sqlx::postgres::PgPoolOptions;

use crate::provider::Provider;
use crate::relay::{Relay, Silent};
use crate::world::{DEADLINE, World, charge, fill_pool, in_time, is_away, keyed, ledger, relayed, settings};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_ends_while_the_database_is_silent() {
    let (world, relay, store) = relayed().await;
    let provider = Provider::new();
    let rules = Rules { settle: SettleBy::Explicit(Duration::from_secs(60)), ..keyed() };
    let ledger = ledger(store, rules, &provider);
    let known = ledger.perform(&charge("known")).await.unwrap();
    let open = ledger.record(&charge("open")).await.unwrap();
    let scoped = ledger.record(&charge("scoped").in_scope("order", 1)).await.unwrap();
    fill_pool(&ledger).await;
    relay.silence_all();

    let (new, page) = (charge("new"), Filter::first(10));
    let pay = Declared::new("pay", &["charge"]);
    tokio::join!(
        Box::pin(is_away(&relay, "load", ledger.load(known.id))),
        Box::pin(is_away(&relay, "find", ledger.find("pay", "known"))),
        Box::pin(is_away(&relay, "list", ledger.list(&page))),
        Box::pin(is_away(&relay, "counts", ledger.counts("pay"))),
        Box::pin(is_away(&relay, "story", ledger.story(known.id))),
        Box::pin(is_away(&relay, "record", ledger.record(&new))),
        Box::pin(is_away(&relay, "reserve", ledger.reserve(&new))),
        Box::pin(is_away(&relay, "perform", ledger.perform(&new))),
        Box::pin(is_away(&relay, "run", ledger.run(open.id))),
        Box::pin(is_away(&relay, "run within", ledger.run_within(open.id, Duration::from_secs(3)))),
        Box::pin(is_away(&relay, "settle", ledger.settle(known.id))),
        Box::pin(is_away(&relay, "settle a scope", ledger.settle(scoped.id))),
        Box::pin(is_away(&relay, "cancel", ledger.cancel(open.id))),
        Box::pin(is_away(&relay, "claim", ledger.store().claim(&pay, Owner(7), 10, Duration::from_secs(1)))),
        Box::pin(is_away(
            &relay,
            "poll",
            ledger.store().due(std::slice::from_ref(&pay), Duration::from_secs(1))
        )),
        Box::pin(is_away(&relay, "time", ledger.store().ask_time())),
    );
    is_away(&relay, "once more", ledger.load(known.id)).await;
    // Many callers at the same time have the same deadline, although the pool has few connections.
    let calls: Vec<_> = (0..40)
        .map(|_| {
            let (ledger, relay) = (ledger.clone(), relay.clone());
            tokio::spawn(async move { is_away(&relay, "one of many", ledger.find("pay", "known")).await })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }

    relay.heal();
    let calls: Vec<_> = (0..40)
        .map(|_| {
            let ledger = ledger.clone();
            tokio::spawn(async move { in_time("after it", ledger.find("pay", "known")).await.unwrap() })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    in_time("settle", ledger.settle(known.id)).await.unwrap();
    in_time("run", ledger.run(open.id)).await.unwrap();
    assert_eq!(provider.performs("new"), 0, "no intent, no effect");
    drop(world);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_connections_of_the_pool_cost_no_caller_an_error() {
    let (_world, relay, store) = relayed().await;
    let provider = Provider::new();
    let ledger = ledger(store, keyed(), &provider);
    let known = ledger.perform(&charge("known")).await.unwrap();
    fill_pool(&ledger).await;
    relay.silence();
    let calls: Vec<_> = (0..20)
        .map(|number| {
            let ledger = ledger.clone();
            tokio::spawn(async move {
                let new = NewAction { key: format!("k{number}"), ..charge("") };
                in_time("perform", ledger.perform(&new)).await.unwrap();
                in_time("load", ledger.load(known.id)).await.unwrap();
            })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    for number in 0..20 {
        assert_eq!(provider.performs(&format!("k{number}")), 1);
    }
    // One call has found out for all of them.
    let begun = Instant::now();
    fill_pool(&ledger).await;
    assert!(begun.elapsed() < DEADLINE / 2, "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connecting_to_a_silent_database_ends() {
    let world = World::new().await;
    let relay = Relay::before(&world.url).await;
    relay.silence_all();
    is_away(&relay, "connect", Postgres::connect(&relay.url, settings())).await;
    // The pool of an application may be more patient than the ledger.
    let patient = PgPoolOptions::new().max_connections(4).acquire_timeout(Duration::from_secs(30));
    let pool = patient.connect_lazy(&relay.url).unwrap();
    is_away(&relay, "on a pool", Postgres::on(pool.clone(), settings())).await;
    relay.heal();
    let store = in_time("on a pool", Postgres::on(pool, settings())).await.unwrap();
    relay.silence_all();
    is_away(&relay, "find", store.find("pay", "k")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_statement_ends_its_call_alone() {
    let (_world, relay, store) = relayed().await;
    let ledger = ledger(store, keyed(), &Provider::new());
    let known = ledger.perform(&charge("known")).await.unwrap();
    for silent in [Silent::Before, Silent::After] {
        relay.trap(&["FROM seawall.action"], silent);
        is_away(&relay, "load", ledger.load(known.id)).await;
        in_time("load", ledger.load(known.id)).await.unwrap();
    }
    assert_eq!(relay.reached(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_starts_does_not_wait_for_a_silent_database() {
    let (_world, relay, store) = relayed().await;
    for silent in [Silent::Before, Silent::After] {
        relay.trap(&["to_regclass"], silent);
        is_away(&relay, "migrate", store.migrate()).await;
        in_time("migrate", store.migrate()).await.unwrap();
    }
    assert_eq!(relay.reached(), 2);
}
