//! A thousand callers wait for ten actions, over two gateways on one PostgreSQL: what that costs the database.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::time::{Duration, Instant};

use support::scratch::{Server, StatementCounter};
use support::{Caller, Gateway, dependency, harbor, soon};

const ACTIONS: usize = 10;
/// The callers of each gateway.
const CALLERS: usize = 500;

/// Waits until all places of waiting callers are taken: then a caller who comes is answered before its time.
async fn until_full(gateway: &Gateway, path: &str) {
    let wait = Duration::from_millis(500);
    soon("a thousand callers", async {
        loop {
            let asked = Instant::now();
            gateway.ask("GET", &format!("{path}?wait=500ms"), &[], "").await;
            if asked.elapsed() < wait {
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_thousand_callers_cost_the_database_less_than_eighty_statements_a_second() {
    let (address, _books) = harbor();
    let url = Server::shared().database();
    let operation = r#"
[[dependency.pay.operation]]
name = "charge"
match = "POST /v1/charges"
idempotency = "keyed"
durable = true
credentials = "none"
keep_headers = ["harbor-fault"]
confirm = { request = "GET /v1/charges?key={key}", after = "60s", applied = { status = 200, json = { "/status" = "succeeded" } }, cancelled = { status = 200, json = { "/status" = "refunded" } }, absent = { status = 404, json = { "/error/code" = 404 } } }
"#;
    let text =
        format!("[ledger]\nwaiters = {CALLERS}\nurl = \"{url}\"\n{}", dependency("pay", address, operation));
    let gateways = [Gateway::start(&text).await, Gateway::start(&text).await];
    for gateway in &gateways {
        gateway.until_said("the ledger is open").await;
    }
    // The replies are lost, and the provider is asked only after a minute.
    let mut paths = Vec::new();
    for number in 0..ACTIONS {
        let key = format!("order-{number}");
        let headers = [
            ("idempotency-key", &*key),
            ("content-type", "application/json"),
            ("harbor-fault", "close-after-effect"),
        ];
        let body = r#"{"amount":1200,"currency":"EUR"}"#;
        let heard = gateways[0].ask("POST", "/pay/v1/charges", &headers, body).await;
        assert_eq!(heard.header("seawall-effect"), Some("unknown"), "{heard:?}");
        paths.push(heard.header("location").unwrap().to_owned());
    }
    let mut callers = tokio::task::JoinSet::new();
    for number in 0..2 * CALLERS {
        let (address, path) = (gateways[number % 2].address(), paths[number / 2 % ACTIONS].clone());
        callers.spawn(async move {
            let mut caller = Caller::connect(address).await;
            // The one who looks whether all places are taken may have the last of them.
            loop {
                caller.send("GET", &format!("{path}?wait=60s"), &[], "").await;
                let heard = caller.hear_patiently().await;
                match heard.verdict() {
                    (200, "applied", "1", "") => return Instant::now(),
                    (200, "unknown", "1", "") => {}
                    _ => panic!("{heard:?}"),
                }
            }
        });
    }
    for gateway in &gateways {
        until_full(gateway, &paths[0]).await;
    }
    let counter = StatementCounter::of(&url);
    let counted = counter.per_second(Duration::from_secs(2)).await;
    println!("{counted:.1} statements a second");
    assert!(counted <= 80.0, "{counted}");
    // Both gateways look for changes, so no caller has been left alone.
    assert!(counted >= 4.0, "{counted}");

    let written = Instant::now();
    for path in &paths {
        let headers = [("content-type", "application/json")];
        let heard =
            gateways[0].ask("POST", &format!("{path}/observe"), &headers, r#"{"effect":"applied"}"#).await;
        assert_eq!(heard.status, Some(200), "{heard:?}");
    }
    let mut waited: Vec<Duration> = Vec::new();
    while let Some(woken) = soon("a caller", callers.join_next()).await {
        waited.push(woken.unwrap().saturating_duration_since(written));
    }
    waited.sort_unstable();
    println!("p99 of waking: {:?}, from before the first of the ten writes", waited[waited.len() * 99 / 100]);
}
