//! A PostgreSQL that is restarted under a pool of connections.

use seawall_ledger::NewAction;
use seawall_ledger::store::Store;
use seawall_ledger::store::postgres::{Postgres, Settings};

use crate::provider::Provider;
use crate::scratch::Server;
use crate::world::{charge, fill_pool, keyed, ledger};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_connections_after_a_restart_cost_no_caller_an_error() {
    let server = Server::alone();
    let store = Postgres::connect(&server.database(), Settings::default()).await.unwrap();
    store.migrate().await.unwrap();
    let provider = Provider::new();
    let ledger = ledger(store, keyed(), &provider);
    let known = ledger.perform(&charge("known")).await.unwrap();
    for round in 0..2 {
        fill_pool(&ledger).await;
        server.restart();
        let calls: Vec<_> = (0..60)
            .map(|number| {
                let (ledger, key) = (ledger.clone(), format!("{round}-{number}"));
                tokio::spawn(async move {
                    let new = NewAction { key, ..charge("") };
                    match number % 6 {
                        0 => drop(ledger.load(known.id).await.unwrap()),
                        1 => drop(ledger.find("pay", "known").await.unwrap()),
                        2 => drop(ledger.story(known.id).await.unwrap()),
                        3 => drop(ledger.record(&new).await.unwrap()),
                        4 => drop(ledger.store().ask_time().await.unwrap()),
                        _ => drop(ledger.perform(&new).await.unwrap()),
                    }
                })
            })
            .collect();
        for call in calls {
            call.await.unwrap();
        }
    }
}
