//! What the ledger concludes from answers to performs, questions and cancels, and from those that cannot be read.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use seawall::ledger::protocol::{Delivery, Found, Performed, Undone};
use seawall::ledger::stored::{AnswerOf, StoredAnswer};
use seawall::ledger::{Action, Cancel, Confirm, Durable, Ledger, Sqlite};
use seawall::{Dependency, Effect, Idempotency, When};
use seawall_lab::rogue::{Act, Answer, Load, Rogue};
use serde_json::json;

/// A provider that gives the same answer to every request, until the test sets another.
struct Provider {
    rogue: Rogue,
    next: Arc<Mutex<Answer>>,
}

impl Provider {
    fn open() -> Provider {
        let next = Arc::new(Mutex::new(Answer::status(500)));
        let told = Arc::clone(&next);
        let rogue =
            Rogue::builder().each(move |_, _| Act::Answer(told.lock().unwrap().clone())).bind().unwrap();
        Provider { rogue, next }
    }

    fn answers(&self, answer: Answer) {
        *self.next.lock().unwrap() = answer;
    }

    fn charge(&self, confirm: Confirm, cancel: Cancel) -> Durable {
        let url = format!("http://{}", self.rogue.address());
        let payments = Dependency::builder("payments").endpoint(url).unwrap().build().unwrap();
        payments
            .operation("charge")
            .idempotency(Idempotency::Keyed)
            .duplicate(When::status(409).field("/code", ["DUPLICATE"]))
            .duplicate(When::status(208))
            .answers(Effect::Applied, When::status(200).field("/status", ["succeeded"]))
            .otherwise(Effect::Unknown)
            .build()
            .unwrap()
            .durable("POST /v1/charges")
            .confirm(confirm)
            .cancel(cancel)
            .build()
            .unwrap()
    }
}

/// Each status in the body has a meaning. For all other bodies, the status of the answer decides.
fn confirm() -> Confirm {
    Confirm::by("GET /v1/charges?key={key}")
        .cancelled(When::status(200).field("/status", ["refunded"]))
        .applied(When::status(200))
        .absent(When::any().field("/error", ["no_such_charge"]))
        .absent(When::status(404))
}

fn cancel() -> Cancel {
    Cancel::by("POST /v1/refunds")
        .json(json!({ "key": "{key}" }))
        .already(When::status(409))
        .not_found(When::status(200).field("/error", ["no_such_charge"]))
}

/// Bodies that should decide but cannot be read, each with a name for what is wrong with it.
fn unreadable(status: u16) -> Vec<(&'static str, Answer)> {
    let code = "{\"status\":\"refunded\",\"error\":\"no_such_charge\"}";
    let wide: Vec<u8> = code.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let long = format!("{{\"pad\":\"{}\",{}", "x".repeat(300 << 10), &code[1..]);
    let with = |load: Load| Answer::status(status).load(load);
    vec![
        ("HTML", with(Load::bytes("<html></html>"))),
        ("UTF-16", with(Load::bytes(wide))),
        ("half", with(Load::bytes(&code.as_bytes()[..20]))),
        ("nothing", with(Load::bytes(""))),
        ("compressed", with(Load::bytes("\u{1f}\u{8b}")).header("content-encoding", "gzip")),
        ("too long", with(Load::bytes(long))),
        ("broken", with(Load::bytes(code).cut_after(10))),
    ]
}

/// Performs the charge at a provider that accepts it, and returns its row.
async fn performed(provider: &Provider, charge: &Durable) -> Action {
    let file = tempfile::tempdir().unwrap();
    let store = Sqlite::open(&file.path().join("ledger.db")).await.unwrap();
    seawall::ledger::Store::migrate(&store).await.unwrap();
    let ledger = Ledger::builder(store).operation(charge).build().unwrap();
    provider.answers(Answer::ok(PAID));
    let charges = charge.actions(&ledger).unwrap();
    let outcome = charges.perform("k1", &json!({ "amount": 1 })).await.unwrap();
    assert_eq!(outcome.effect(), Effect::Applied);
    outcome.action().clone()
}

const PAID: &str = r#"{"status":"succeeded","id":"ch_1"}"#;

fn delivery(row: &Action) -> Delivery<'_> {
    Delivery { action: row, number: 1, deadline: Instant::now() + Duration::from_secs(60) }
}

/// An answer with this status and a JSON body that has this code.
fn coded(status: u16, code: &str) -> Answer {
    Answer::status(status).load(Load::bytes(json!({ "code": code }).to_string()))
}

#[tokio::test]
async fn a_duplicate_proves_arrival_and_is_judged_first() {
    let provider = Provider::open();
    let charge = provider.charge(confirm(), cancel());
    let row = performed(&provider, &charge).await;
    let remote = charge.remote();
    for (name, answer, expected) in [
        ("declared", coded(409, "DUPLICATE"), Performed::Duplicate),
        ("by its status", Answer::status(208), Performed::Duplicate),
        (
            "by its status, with a body that means applied",
            Answer::status(208).load(Load::bytes(PAID)),
            Performed::Duplicate,
        ),
        ("another conflict", coded(409, "IN_PROGRESS"), Performed::Unknown),
        ("no JSON", Answer::status(409).load(Load::bytes("<html></html>")), Performed::Unknown),
    ] {
        provider.answers(answer);
        assert_eq!(remote.perform(delivery(&row)).await.0, expected, "{name}");
    }
    for (name, answer) in unreadable(409) {
        provider.answers(answer);
        assert_eq!(remote.perform(delivery(&row)).await.0, Performed::Unknown, "{name}");
    }
}

#[tokio::test]
async fn each_declared_answer_of_a_cancel_has_its_meaning() {
    let provider = Provider::open();
    let all = Cancel::by("POST /v1/refunds")
        .done(When::status(200).field("/code", ["OK"]))
        .already(When::status(200).or_status(409).field("/code", ["ALREADY"]))
        .not_found(When::status(404))
        .refused(When::status(200).or_status(503).field("/code", ["NOT_NOW"]))
        .never(When::status(422));
    let refused = Cancel::by("POST /v1/refunds").refused(When::any().field("/code", ["NOT_NOW"]));
    let silent = Cancel::by("POST /v1/refunds");
    let [all, refused, silent] = [all, refused, silent].map(|cancel| provider.charge(confirm(), cancel));
    let row = performed(&provider, &all).await;
    use Undone::{Never, NoSuch, Refused, Unknown, Yes};
    for (status, code, expected) in [
        (200, "OK", [Yes, Unknown, Yes]),
        (200, "ALREADY", [Yes, Unknown, Yes]),
        (200, "NOT_NOW", [Refused, Refused, Yes]),
        (200, "REVIEW", [Unknown, Unknown, Yes]),
        (204, "", [Unknown, Unknown, Yes]),
        (201, "OK", [Unknown, Unknown, Yes]),
        (404, "NONE", [NoSuch, Unknown, Unknown]),
        (409, "ALREADY", [Yes, Unknown, Unknown]),
        (422, "TOO_LATE", [Never, Unknown, Unknown]),
        (400, "WHAT", [Unknown, Unknown, Unknown]),
        (503, "NOT_NOW", [Refused, Refused, Unknown]),
        (500, "", [Unknown, Unknown, Unknown]),
    ] {
        provider.answers(coded(status, code));
        for (charge, expected) in [&all, &refused, &silent].into_iter().zip(expected) {
            assert_eq!(charge.remote().cancel(delivery(&row)).await.0, expected, "{status} {code}");
        }
    }
    for (name, answer) in unreadable(200) {
        provider.answers(answer);
        for charge in [&all, &refused] {
            assert_eq!(charge.remote().cancel(delivery(&row)).await.0, Unknown, "{name}");
        }
    }
}

#[tokio::test]
async fn a_part_that_was_undone_leaves_an_effect() {
    let provider = Provider::open();
    let partly = Confirm::by("GET /v1/charges?key={key}")
        .cancelled(When::status(200).field("/status", ["refunded"]))
        .partly(When::status(200).field("/status", ["refunded_in_part", "refunded"]))
        .applied(When::status(200));
    let charge = provider.charge(partly, cancel());
    let row = performed(&provider, &charge).await;
    for (status, found, detail) in [
        ("refunded", "cancelled", None),
        ("refunded_in_part", "applied", Some("partly cancelled")),
        ("succeeded", "applied", None),
    ] {
        let body = json!({ "status": status, "left": 7 }).to_string();
        provider.answers(Answer::ok(body.clone()));
        let (said, report) = charge.remote().confirm(delivery(&row)).await;
        assert_eq!(report.detail.as_deref(), detail, "{status}");
        match said {
            Found::Applied(answer) => {
                let answer = StoredAnswer::decode(&answer.unwrap()).unwrap();
                assert_eq!((answer.of, answer.body), (AnswerOf::Confirm, body.into_bytes()));
                assert_eq!(found, "applied", "{status}");
            }
            said => assert_eq!((said, found), (Found::Cancelled, "cancelled"), "{status}"),
        }
    }
    for (name, answer) in unreadable(200) {
        provider.answers(answer);
        assert_eq!(charge.remote().confirm(delivery(&row)).await.0, Found::Other, "{name}");
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_neither_applied_nor_absent_nor_cancelled() {
    let provider = Provider::open();
    let charge = provider.charge(confirm(), cancel());
    let row = performed(&provider, &charge).await;
    let (call, remote) = (delivery(&row), charge.remote());
    for (name, answer) in unreadable(200) {
        provider.answers(answer);
        assert_eq!(remote.perform(call).await.0, Performed::Unknown, "{name}");
        assert_eq!(remote.confirm(call).await.0, Found::Other, "{name}");
        assert_eq!(remote.cancel(call).await.0, Undone::Unknown, "{name}");
    }
    for (name, answer) in unreadable(404) {
        provider.answers(answer);
        // Both predicates that fit this status mean the same, so the body makes no difference, unless it broke.
        let found = if name == "broken" { Found::Other } else { Found::Absent };
        assert_eq!(remote.confirm(call).await.0, found, "{name}");
    }

    for (body, undone) in
        [(r#"{"status":"refunded"}"#, Undone::Yes), (r#"{"error":"no_such_charge"}"#, Undone::NoSuch)]
    {
        // A body with a byte order mark has the same meaning as one without.
        for body in [body.to_owned(), format!("\u{feff}{body}")] {
            provider.answers(Answer::ok(body.clone()));
            // A refunded charge is recognised by its body. Any other 200 is declared as applied, which is tried before
            // "no such charge".
            let refunded = remote.confirm(call).await.0 == Found::Cancelled;
            assert_eq!(refunded, body.contains("refunded"), "{body}");
            assert_eq!(remote.cancel(call).await.0, undone, "{body}");
        }
    }
    provider.answers(Answer::ok(PAID));
    assert!(matches!(remote.perform(call).await.0, Performed::Yes(_)));
    assert!(matches!(remote.confirm(call).await.0, Found::Applied(_)));
    provider.answers(Answer::ok(r#"{"status":"in_review"}"#));
    assert_eq!(remote.perform(call).await.0, Performed::Unknown, "a new code is not applied");
}
