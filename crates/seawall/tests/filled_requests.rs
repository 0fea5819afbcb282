//! What a provider reads of confirms, cancels and lists whose headers and bodies are filled from the action.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::time::{Duration, Instant};

use seawall::ledger::protocol::{Delivery, Found, Stamp, State, Undone};
use seawall::ledger::reconcile::{ListAsk, Window, Zone};
use seawall::ledger::stored::{AnswerOf, StoredAnswer};
use seawall::ledger::{Action, Cancel, Confirm, Durable, DurableBuilder, Ledger, Listing, Sqlite, Store};
use seawall::{Dependency, Idempotency, When};
use seawall_lab::rogue::{Act, Answer, Heard, Rogue};
use seawall_ledger::machine::Row;
use serde_json::{Value, json};
use tempfile::TempDir;

/// 2026-11-26T15:00:00Z, which is midnight in Seoul.
const MIDNIGHT: Stamp = Stamp::from_micros(1_795_705_200_000_000);

/// A provider that gives one answer to every request and keeps what it has read, and a ledger.
struct Bench {
    rogue: Rogue,
    payments: Dependency,
    store: Sqlite,
    _file: TempDir,
}

impl Bench {
    async fn open(answer: &Value) -> Bench {
        let answer = answer.to_string();
        let rogue = Rogue::builder().each(move |_, _| Act::Answer(Answer::ok(answer.clone())));
        let rogue = rogue.bind().unwrap();
        let url = format!("http://{}", rogue.address());
        let payments = Dependency::builder("payments").endpoint(url).unwrap();
        let payments = payments.header("authorization", "Bearer secret").unwrap().build().unwrap();
        let file = tempfile::tempdir().unwrap();
        let store = Sqlite::open(&file.path().join("ledger.db")).await.unwrap();
        store.migrate().await.unwrap();
        Bench { rogue, payments, store, _file: file }
    }

    fn charge(&self) -> DurableBuilder {
        let charge = self.payments.operation("charge").idempotency(Idempotency::Keyed).build().unwrap();
        charge.durable("POST /v1/charges").header("x-merchant", "m-7; a=\"b\" & 100%")
    }

    /// Performs the charge, and returns its row as if it had been sent at midnight.
    async fn performed(&self, charge: &Durable, body: &Value) -> Action {
        let ledger = Ledger::builder(self.store.clone()).operation(charge).build().unwrap();
        let outcome = charge.actions(&ledger).unwrap().perform("k\"1", body).await.unwrap();
        let mut row = outcome.action().clone();
        let columns = row.state.row();
        assert!(columns.first_sent_at.is_some());
        row.state = State::of_row(Row { first_sent_at: Some(MIDNIGHT), ..columns }).unwrap();
        row
    }

    fn last(&self) -> Heard {
        self.rogue.read(|counts| counts.heard.last().unwrap().clone())
    }
}

fn delivery(row: &Action) -> Delivery<'_> {
    Delivery { action: row, number: 1, deadline: Instant::now() + Duration::from_secs(60) }
}

/// The row once the provider has answered a question so.
fn answered(row: &Action, answer: &Value) -> Action {
    let body = answer.to_string().into_bytes();
    let answer =
        StoredAnswer { of: AnswerOf::Confirm, status: 200, headers: http::HeaderMap::new(), body }.encode();
    let mut row = row.clone();
    row.state = State::of_row(Row { answer: Some(answer), ..row.state.row() }).unwrap();
    row
}

fn confirm() -> Confirm {
    Confirm::by("GET /v1/charges/{request:/order}?key={key}&day={sent:%Y%m%d@Asia/Seoul}")
        .header("x-merchant", "{request-header:x-merchant}")
        .applied(When::status(200))
}

/// The value of each header that the declarations set.
fn declared(heard: &Heard) -> [Option<&str>; 3] {
    ["x-merchant", "x-day", "content-type"].map(|name| heard.header(name))
}

#[tokio::test]
async fn the_provider_reads_the_bytes_as_declared() {
    let bench = Bench::open(&json!({ "id": "ch 1", "serial": 7 })).await;
    let cancel = Cancel::by("POST /v1/{key}/netcancel?at={sent:%H:%M@UTC}")
        .header("x-merchant", "{request-header:x-merchant}")
        .header("x-day", "{sent:%F %T@Asia/Seoul}")
        .form([
            ("orderId", "{request:/order}"),
            ("amount", "{request:/amount}"),
            ("tid", "{confirm:/id}"),
            ("day", "{sent:%Y%m%d@UTC}"),
            ("a&b", "for {cancel_key}"),
        ]);
    let charge = bench.charge().confirm(confirm()).cancel(cancel).build().unwrap();
    let order = "주문 7/\"a\"&b=100%\r\n\0+";
    let row = bench.performed(&charge, &json!({ "order": order, "amount": 1.10 })).await;
    let encoded = "%EC%A3%BC%EB%AC%B8%207%2F%22a%22%26b%3D100%25%0D%0A%00%2B";
    let merchant = Some("m-7; a=\"b\" & 100%");

    assert!(matches!(charge.remote().confirm(delivery(&row)).await.0, Found::Applied(_)));
    let asked = bench.last();
    assert_eq!(asked.method, "GET");
    assert_eq!(asked.target, format!("/v1/charges/{encoded}?key=k%221&day=20261127"));
    assert_eq!(declared(&asked), [merchant, None, None]);
    assert_eq!((asked.header("authorization"), asked.body_len), (Some("Bearer secret"), 0));

    let row = answered(&row, &json!({ "id": "ch 1", "serial": 7 }));
    assert_eq!(charge.remote().cancel(delivery(&row)).await.0, Undone::Yes);
    let undone = bench.last();
    assert_eq!((undone.method.as_str(), undone.target.as_str()), ("POST", "/v1/k%221/netcancel?at=15%3A00"));
    let form = Some("application/x-www-form-urlencoded");
    assert_eq!(declared(&undone), [merchant, Some("2026-11-27 00:00:00"), form]);
    let fields = format!("orderId={encoded}&amount=1.1&tid=ch%201&day=20261126&a%26b=for%20k%221%3Ac%3A");
    let body = String::from_utf8(undone.body.to_vec()).unwrap();
    assert!(body.starts_with(&fields), "{body}");
    assert_eq!(undone.header("content-length"), Some(body.len().to_string().as_str()));
    assert!(undone.headers.iter().all(|(name, _)| name != "idempotency-key"), "{undone:?}");
}

#[tokio::test]
async fn a_header_that_cannot_be_filled_is_not_sent() {
    let bench = Bench::open(&json!({ "id": "ch_1" })).await;
    let cancel = Cancel::by("POST /v1/refunds").header("x-day", "{confirm:/id}").json(json!({}));
    let charge = bench.charge().confirm(confirm()).cancel(cancel).build().unwrap();
    let row = bench.performed(&charge, &json!({ "order": "o1" })).await;
    let requests = bench.rogue.counts().requests;
    for id in ["a\r\nx-evil: 1", "a\nb", "a\0b", "주문", " a", "a "] {
        let row = answered(&row, &json!({ "id": id }));
        let (undone, report) = charge.remote().cancel(delivery(&row)).await;
        assert_eq!(undone, Undone::NotSent, "{id:?}");
        let why = report.detail.unwrap();
        assert!(why.contains("`x-day` would be filled with what no header carries"), "{why}");
        assert_eq!(bench.rogue.counts().requests, requests, "nothing was sent");
    }
    let row = answered(&row, &json!({ "id": "a;b" }));
    assert_eq!(charge.remote().cancel(delivery(&row)).await.0, Undone::Yes);
    assert_eq!(declared(&bench.last()), [None, Some("a;b"), Some("application/json")]);
}

#[tokio::test]
async fn before_the_first_send_there_is_no_date_of_it() {
    let bench = Bench::open(&json!({ "id": "ch_1" })).await;
    let cancel = Cancel::by("POST /v1/netcancel").form([("day", "{sent:%Y%m%d@Asia/Seoul}")]);
    let charge = bench.charge().confirm(confirm()).cancel(cancel).build().unwrap();
    let ledger = Ledger::builder(bench.store.clone()).operation(&charge).build().unwrap();
    let charges = charge.actions(&ledger).unwrap();
    let id = charges.reserve("k1", &json!({ "order": "o1" })).await.unwrap();
    let row = charges.load(id).await.unwrap().action().clone();
    let requests = bench.rogue.counts().requests;
    let (found, report) = charge.remote().confirm(delivery(&row)).await;
    let why = "there is nothing to fill `{sent:%Y%m%d@Asia/Seoul}` with";
    assert_eq!((found, report.detail.as_deref()), (Found::NotSent, Some(why)));
    let (undone, report) = charge.remote().cancel(delivery(&row)).await;
    assert_eq!((undone, report.detail.as_deref()), (Undone::NotSent, Some(why)));
    assert_eq!(bench.rogue.counts().requests, requests);
}

#[tokio::test]
async fn what_no_place_could_carry_later_is_not_recorded() {
    let bench = Bench::open(&json!({ "id": "ch_1" })).await;
    let cancel = Cancel::by("POST /v1/refunds")
        .header("x-day", "{request:/name} {confirm:/id}")
        .form([("items", "{request:/items}")]);
    let charge = bench.charge().confirm(confirm()).cancel(cancel).build().unwrap();
    let ledger = Ledger::builder(bench.store.clone()).operation(&charge).build().unwrap();
    let charges = charge.actions(&ledger).unwrap();
    let whole = json!({ "order": "o1", "name": "a", "items": 2 });
    for (field, value, says) in [
        (
            "order",
            json!(".."),
            "a segment of the path would be filled with nothing, `.` or `..`, now or later",
        ),
        ("order", json!(""), "a segment of the path would be filled with nothing, `.` or `..`, now or later"),
        (
            "name",
            json!("a\nb"),
            "the header `x-day` would be filled with what no header carries, now or later",
        ),
        ("items", json!([1]), "there is nothing to fill `{request:/items}` with, now or later"),
    ] {
        let mut body = whole.clone();
        body[field] = value;
        let said = charges.reserve("k1", &body).await.unwrap_err().to_string();
        assert!(said.contains(says), "{body}: {said}");
    }
    assert!(charges.reserve("k1", &whole).await.is_ok());
    assert_eq!(bench.rogue.counts().requests, 0);
}

#[tokio::test]
async fn lists_have_headers_and_forms_too() {
    let bench = Bench::open(&json!([])).await;
    let listing = |by: &str| Listing::by(by).key("/key").state("/status", ["ok"], [""; 0]);
    let list = listing("POST /v1/list").header("x-day", "{from}").form([("to", "{to}"), ("from", "{from}")]);
    let list = bench.payments.listing(list).unwrap();
    let window = Window::day(&Zone::utc(), "2026-11-26").unwrap();
    let ask = ListAsk { dependency: "payments".to_owned(), window, cursor: None };
    assert!(list.list(&ask).await.unwrap().records.is_empty());
    let heard = bench.last();
    let day = heard.header("x-day").unwrap();
    assert!(day.starts_with("2026-11-26T00:00:00"), "{day}");
    let body = String::from_utf8(heard.body.to_vec()).unwrap();
    assert!(body.starts_with("to=2026-11-27T00%3A00%3A00") && body.contains("&from=2026-11-26T"), "{body}");

    let both =
        listing("PUT /v1/list").header("cookie", "a").header("x-a", "{key}").json(json!({ "a": "{key}" }));
    let said = bench.payments.listing(both.form([("a", "{from}")])).err().unwrap().to_string();
    for says in
        ["list: a list is not sent with `PUT`", "headers: `cookie`", "headers: a list", "json: a list"]
    {
        assert!(said.contains(says), "{says}\n{said}");
    }
    let both = listing("POST /l?{from}{to}").json(json!({})).form([("a", "{from}")]);
    let said = bench.payments.listing(both).err().unwrap().to_string();
    assert!(said.contains("form: `json` and `form` are both given"), "{said}");
}

#[tokio::test]
async fn the_header_of_the_key_is_given_once() {
    let bench = Bench::open(&json!({})).await;
    let cancel = || Cancel::by("POST /v1/refunds").header("x-key", "{cancel_key}").keyed();
    let said =
        bench.charge().key_header("x-key").cancel(cancel()).build().map(|_| ()).unwrap_err().to_string();
    assert!(said.contains("cancel.headers: `x-key` is given twice"), "{said}");
    assert!(bench.charge().cancel(cancel()).build().is_ok());
}
