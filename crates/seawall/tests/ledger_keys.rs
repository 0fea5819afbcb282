//! Actions at a provider that takes only keys of 16 to 256 characters of `A-Za-z0-9-_`, while the callers' keys are
//! shorter. The provider remembers keys, loses the first answer to each key, and counts the keys that it does not take.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

#[path = "support/databases.rs"]
mod databases;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use seawall::ledger::protocol::{Delivery, Naming, Performed, Stamp};
use seawall::ledger::reconcile::{Compared, Reconciler, Settings, Window, Zone, tables::Tables};
use seawall::ledger::{
    ActionError, Actions, Cancel, Confirm, DurableBuilder, End, Ledger, Listing, Outcome, Postgres,
    PostgresSettings, Sqlite, Store, WorkerSettings,
};
use seawall::{Dependency, Effect, Idempotency, Timeouts, When, millis, secs};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

/// What the provider keeps.
#[derive(Clone, Default)]
struct Books(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    /// The charges, by the key under which they came: the amount, and whether the charge was refunded.
    charges: BTreeMap<String, (Value, bool)>,
    /// The keys of refunds, each with the number of requests under it.
    refunds: BTreeMap<String, u32>,
    /// The number of effects: charges that were made and refunds that were made.
    effects: (u32, u32),
    illegal: Vec<String>,
    /// The keys that already lost an answer.
    lost: Vec<String>,
}

impl Books {
    /// Notes a key that the provider does not take.
    fn takes(&self, key: &str) -> bool {
        let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        let takes = (16..=256).contains(&key.len()) && key.bytes().all(fine);
        if !takes {
            self.0.lock().unwrap().illegal.push(key.to_owned());
        }
        takes
    }

    /// Never returns the first time that it is called with a key, so that the answer is lost.
    async fn loses_the_first_answer(&self, key: &str) {
        let first = {
            let mut kept = self.0.lock().unwrap();
            let first = !kept.lost.iter().any(|lost| lost == key);
            kept.lost.push(key.to_owned());
            first
        };
        if first {
            std::future::pending::<()>().await;
        }
    }
}

fn header_key(headers: &HeaderMap) -> String {
    headers.get("idempotency-key").map_or("", |key| key.to_str().unwrap()).to_owned()
}

fn shown(key: &str, (amount, refunded): &(Value, bool)) -> Value {
    let status = if *refunded { "refunded" } else { "succeeded" };
    json!({ "id": format!("ch_{key}"), "order": key, "amount": amount, "status": status })
}

async fn charge(
    State(books): State<Books>,
    Path(in_path): Path<String>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> (StatusCode, Json<Value>) {
    let key = header_key(&headers);
    if !books.takes(&key) || !books.takes(&in_path) || key != in_path {
        return (StatusCode::BAD_REQUEST, Json(json!({ "error": "key" })));
    }
    {
        let mut kept = books.0.lock().unwrap();
        if !kept.charges.contains_key(&key) {
            kept.effects.0 += 1;
            kept.charges.insert(key.clone(), (body["amount"].clone(), false));
        }
    }
    books.loses_the_first_answer(&key).await;
    (StatusCode::OK, Json(shown(&key, &books.0.lock().unwrap().charges[&key])))
}

async fn look_up(State(books): State<Books>, RawQuery(query): RawQuery) -> (StatusCode, Json<Value>) {
    let query = query.unwrap();
    let key = query.strip_prefix("key=").unwrap();
    if !books.takes(key) {
        return (StatusCode::BAD_REQUEST, Json(json!({})));
    }
    match books.0.lock().unwrap().charges.get(key) {
        Some(charge) => (StatusCode::OK, Json(shown(key, charge))),
        None => (StatusCode::NOT_FOUND, Json(json!({}))),
    }
}

async fn refund(
    State(books): State<Books>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> (StatusCode, Json<Value>) {
    let key = header_key(&headers);
    if !books.takes(&key) {
        return (StatusCode::BAD_REQUEST, Json(json!({ "error": "key" })));
    }
    {
        let mut kept = books.0.lock().unwrap();
        let known = kept.refunds.contains_key(&key);
        *kept.refunds.entry(key.clone()).or_default() += 1;
        if !known {
            kept.effects.1 += 1;
            let order = body["order"].as_str().unwrap();
            kept.charges.get_mut(order).unwrap().1 = true;
        }
    }
    books.loses_the_first_answer(&key).await;
    (StatusCode::OK, Json(json!({})))
}

async fn list(State(books): State<Books>) -> Json<Value> {
    let kept = books.0.lock().unwrap();
    let all: Vec<Value> = kept.charges.iter().map(|(key, charge)| shown(key, charge)).collect();
    Json(json!({ "data": all }))
}

/// The provider at an address, and its books. It runs until the test's runtime ends.
async fn provider() -> (Dependency, Books) {
    let books = Books::default();
    let routes = Router::new()
        .route("/charges/{key}", post(charge))
        .route("/charges", get(look_up))
        .route("/refunds", post(refund))
        .route("/list", get(list))
        .with_state(books.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    (Dependency::builder("payments").endpoint(url.as_str()).unwrap().build().unwrap(), books)
}

fn durable(payments: &Dependency) -> DurableBuilder {
    let timeouts = Timeouts::default().connect(millis(500)).read(millis(700)).total(Some(secs(1)));
    let charge = payments.operation("charge").idempotency(Idempotency::Keyed).timeout(timeouts);
    charge
        .build()
        .unwrap()
        .durable("POST /charges/{key}")
        .key("A-Za-z0-9-_", 16..=256)
        .key_lifetime(secs(3 * 3600))
        .amount("/amount", "KRW")
        .cancel(Cancel::by("POST /refunds").json(json!({ "order": "{key}" })).keyed())
        .settled_by_application()
        .network(millis(100))
        .pause(millis(100))
        .quiet(millis(300))
        .lease(secs(5))
        .backoff(millis(20), millis(100))
}

/// Waits until the action is as `there` says.
async fn at<S: Store>(charges: &Actions<S>, outcome: Outcome, there: impl Fn(&Outcome) -> bool) -> Outcome {
    let began = Instant::now();
    loop {
        let now = charges.load(outcome.id()).await.unwrap();
        if there(&now) {
            return now;
        }
        if began.elapsed() > PATIENCE {
            let story = charges.ledger().story(outcome.id()).await.unwrap();
            panic!("in vain: {story:#?}");
        }
        tokio::time::sleep(millis(10)).await;
    }
}

/// Compares the ledger with the provider's list until nothing is pending any more, and returns the number of records on
/// which both agree, and the sum of our amounts.
async fn reconciled<S: Store + Tables>(charges: &Actions<S>, payments: &Dependency) -> (u64, Option<String>) {
    let listing = Listing::by("GET /list?from={from}&to={to}").items("/data").key("/order").id("/id");
    let listing = listing.amount("/amount").state("/status", ["succeeded"], ["refunded"]);
    let settings = Settings::of("payments", "charge", Compared::default());
    let list = payments.listing(listing).unwrap();
    let reconciler = Reconciler::new(charges.ledger().clone(), list, settings).unwrap();
    let far = Stamp::from_micros(4_000_000_000_000_000);
    let window = Window::new(&Zone::utc(), Stamp::from_micros(1_000_000_000_000_000), far).unwrap();
    let began = Instant::now();
    loop {
        let report = reconciler.run(&window, "test", false).await.unwrap();
        let totals = report.totals.clone().unwrap_or_else(|| panic!("{report:?}"));
        if totals.is_clean() {
            return (totals.agreed, totals.sum_here.map(|sum| sum.to_string()));
        }
        assert!(began.elapsed() < PATIENCE, "{totals:?}");
        tokio::time::sleep(millis(20)).await;
    }
}

async fn story<S: Store + Tables>(store: S, asked: bool) {
    store.migrate().await.unwrap();
    let (payments, books) = provider().await;
    let confirm = Confirm::by("GET /charges?key={key}")
        .after(millis(20))
        .applied(When::status(200).field("/status", ["succeeded"]))
        .cancelled(When::status(200).field("/status", ["refunded"]))
        .absent(When::status(404));
    let charge = durable(&payments);
    let charge = if asked { charge.confirm(confirm) } else { charge }.build().unwrap();
    let ledger = Ledger::builder(store).operation(&charge).build().unwrap();
    let mut settings = WorkerSettings::default();
    settings.scan = millis(30);
    let worker = ledger.worker(settings);
    let charges = charge.actions(&ledger).unwrap();

    // The first answer is lost.
    let outcome = charges.perform("order-1", &json!({ "amount": 1000 })).await.unwrap();
    let outcome = at(&charges, outcome, |outcome| outcome.effect() == Effect::Applied).await;
    let sent = outcome.sent_key().to_owned();
    assert_eq!(outcome.key(), "order-1");
    assert!(sent.starts_with("sw") && books.takes(&sent), "{sent}");
    let money = outcome.action().amount.clone().unwrap();
    assert_eq!((money.amount.to_string().as_str(), money.currency.as_str()), ("1000", "KRW"));
    // A key that the provider takes is sent as it is.
    let plain = "order-2026-11-30_2";
    let second = charges.perform(plain, &json!({ "amount": "250.50" })).await.unwrap();
    let second = at(&charges, second, |outcome| outcome.effect() == Effect::Applied).await;
    assert_eq!((second.key(), second.sent_key()), (plain, plain));
    for (key, id) in [("order-1", outcome.id()), (sent.as_str(), outcome.id()), (plain, second.id())] {
        assert_eq!(charges.find(key).await.unwrap().id(), id, "{key}");
    }
    let again = charges.perform("order-1", &json!({ "amount": 1000 })).await.unwrap();
    assert_eq!(again.id(), outcome.id());
    assert_eq!(reconciled(&charges, &payments).await, (2, Some("1250.5".to_owned())));

    // The first answer to the refund is lost, too.
    let outcome = charges.cancel_unsettled(outcome.id()).await.unwrap();
    let outcome = at(&charges, outcome, |outcome| outcome.end() == Some(End::Cancelled)).await;
    assert_eq!(outcome.effect(), Effect::NotApplied);
    let (agreed, _) = reconciled(&charges, &payments).await;
    assert_eq!(agreed, 2);
    worker.drain(secs(20)).await;

    let kept = books.0.lock().unwrap();
    assert_eq!(kept.illegal, [""; 0], "no key that the provider does not take was ever sent");
    assert_eq!(kept.effects, (2, 1), "{:?}", kept.charges);
    assert_eq!(kept.charges.keys().collect::<Vec<_>>(), [plain, sent.as_str()]);
    let refund_keys: Vec<&String> = kept.refunds.keys().collect();
    assert!(refund_keys.len() == 1 && kept.refunds[refund_keys[0]] >= 2, "{:?}", kept.refunds);
}

async fn sqlite(asked: bool) {
    let file = databases::File::new();
    story(Sqlite::open(&file.path()).await.unwrap(), asked).await;
}

async fn postgres(asked: bool) {
    let store = Postgres::connect(&databases::postgres(), PostgresSettings::default()).await.unwrap();
    story(store, asked).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn short_keys_are_mapped_and_asked_about_on_sqlite() {
    sqlite(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn short_keys_are_mapped_and_repeated_on_sqlite() {
    sqlite(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn short_keys_are_mapped_and_asked_about_on_postgres() {
    postgres(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn short_keys_are_mapped_and_repeated_on_postgres() {
    postgres(false).await;
}

#[tokio::test]
async fn a_body_without_its_amount_is_not_recorded() {
    let (payments, books) = provider().await;
    let file = databases::File::new();
    let store = Sqlite::open(&file.path()).await.unwrap();
    store.migrate().await.unwrap();
    let charge = durable(&payments).amount("/amount", "/currency").build().unwrap();
    let ledger = Ledger::builder(store).operation(&charge).build().unwrap();
    let charges = charge.actions(&ledger).unwrap();
    for (body, says) in [
        (json!({ "currency": "KRW" }), "the body has no amount at `/amount`"),
        (
            json!({ "amount": "a lot", "currency": "KRW" }),
            "the amount at `/amount` is not an exact decimal number",
        ),
        (json!({ "amount": 1 }), "the body has no currency at `/currency`"),
    ] {
        let refused: ActionError = charges.perform("order-1", &body).await.unwrap_err();
        assert!(refused.to_string().contains(says), "{refused}");
        assert_eq!(refused.effect(), Effect::NotApplied);
    }
    assert!(charges.find("order-1").await.is_err(), "nothing was recorded");
    assert_eq!(books.0.lock().unwrap().effects, (0, 0));
}

/// Two keys that are mapped to the same key are so rare that no test finds them. So the row is changed here as the ledger
/// changes it then.
#[tokio::test]
async fn an_action_whose_mapped_key_was_taken_is_sent_under_the_next_one_in_every_place() {
    let (payments, books) = provider().await;
    let file = databases::File::new();
    let store = Sqlite::open(&file.path()).await.unwrap();
    store.migrate().await.unwrap();
    let charge = durable(&payments).build().unwrap();
    let ledger = Ledger::builder(store).operation(&charge).build().unwrap();
    let charges = charge.actions(&ledger).unwrap();
    let id = charges.reserve("order-1", &json!({ "amount": 1 })).await.unwrap();
    let mut row = charges.load(id).await.unwrap().action().clone();
    let next = charge.rules().keys.sent("payments", "order-1", 1).unwrap();
    (row.naming, row.mapped_key) = (Naming::Salted(1), Some(next.clone()));
    books.0.lock().unwrap().lost.push(next.clone());
    let delivery = Delivery { action: &row, number: 1, deadline: Instant::now() + PATIENCE };
    assert!(matches!(charge.remote().perform(delivery).await.0, Performed::Yes(_)));
    let kept = books.0.lock().unwrap();
    assert_eq!((kept.charges.keys().collect::<Vec<_>>(), kept.illegal.len()), (vec![&next], 0));
}
