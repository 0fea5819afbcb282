use seawall_ledger::{CancelKind, SettleBy};
use serde_json::json;

use super::*;
use crate::{Dependency, Idempotency, When, millis, secs};

fn operation(idempotency: Idempotency) -> crate::Operation {
    let payments = Dependency::builder("payments").endpoint("http://127.0.0.1:9").unwrap().build().unwrap();
    payments.operation("charge").idempotency(idempotency).build().unwrap()
}

fn keyed() -> DurableBuilder {
    operation(Idempotency::Keyed).durable("POST /v1/charges")
}

fn plain() -> DurableBuilder {
    operation(Idempotency::None).durable("POST /v1/charges")
}

fn confirm() -> Confirm {
    Confirm::by("GET /v1/charges?key={key}").applied(When::status(200)).absent(When::status(404))
}

fn refund(charge: &str) -> Cancel {
    Cancel::by("POST /v1/refunds").json(json!({ "charge": charge }))
}

/// Checks the mistakes that only a builder can contain. The mistakes that a configuration file can contain as well are
/// tested in `tests/wrong_declarations.rs`.
#[test]
fn what_only_a_builder_can_say_is_checked_too() {
    let rows: Vec<(DurableBuilder, &str)> = vec![
        (
            operation(Idempotency::Keyed).durable("GET /v1/charges"),
            "request: an operation is not sent with `GET`",
        ),
        (keyed().attempts(0, 1, 1), "attempts.perform: this number must be at least 1"),
        (keyed().header("authorization", "Bearer x"), "header: `authorization` carries credentials"),
        (keyed().header("x-a b", "1"), "header: this is not a header name"),
        (keyed().header("x-order", "\n"), "header: the value of `x-order` is not ASCII text"),
        (keyed().key_header("not a header"), "key_header: this is not a header name"),
        (keyed().key_header("authorization"), "key_header: `authorization` carries credentials"),
        (keyed().confirm(confirm().absences(0)), "confirm.absences: this number must be at least 1"),
        (keyed().confirm(confirm().id("id")).cancel(refund("{kye}")), "confirm.id: the JSON pointer `id`"),
    ];
    for (builder, expected) in rows {
        let said = builder.build().map(|_| ()).unwrap_err().to_string();
        assert!(said.contains(&format!("operation charge: {expected}")), "{expected}\n{said}");
    }
    let payments = Dependency::builder("payments").build().unwrap();
    let duplicate = payments.operation("charge").duplicate(When::any().field("code", ["DUPLICATE"]));
    let said = duplicate.build().map(|_| ()).unwrap_err().to_string();
    assert!(said.contains("`code` is not a JSON pointer"), "{said}");
    let nowhere = Dependency::builder("x").build().unwrap().operation("charge").build().unwrap();
    let said = nowhere.durable("POST /x").build().unwrap_err().to_string();
    assert!(said.contains("no endpoint"), "{said}");
}

#[test]
fn what_its_author_may_not_expect_is_noted() {
    let notes = |durable: DurableBuilder| {
        let durable = durable.build().unwrap();
        durable.notes().filter(|note| note.contains("a cancel whose answer is lost")).count()
    };
    assert_eq!(notes(keyed().cancel(refund("{key}"))), 1, "it ends with a person");
    assert_eq!(notes(keyed().cancel(refund("{key}").sets_a_state())), 0);
    assert_eq!(notes(keyed().cancel(refund("{key}")).confirm(confirm())), 0);
    let lost = |durable: DurableBuilder| durable.build().unwrap().notes().collect::<Vec<_>>().join("\n");
    let by_key = || keyed().cancel(refund("{key}").keyed());
    assert!(
        lost(by_key())
            .contains("cancel.keyed: a cancel whose answer is lost is not sent again: it ends with")
    );
    assert!(
        lost(by_key().confirm(confirm())).contains("the provider is asked about it (declare `key_lifetime`")
    );
    assert_eq!(notes(by_key().key_lifetime(secs(86_400))), 0);
    assert_eq!(notes(keyed().cancel(refund("{key}").keyed().sets_a_state())), 0);
    let today = lost(keyed().confirm(confirm().until_day("same-day Asia/Seoul")));
    assert!(today.contains("confirm.until: the day ends before \"not found\" can be believed"), "{today}");
    assert!(today.contains("less than 305s before midnight Asia/Seoul"), "{today}");
    assert_eq!(notes(keyed().confirm(confirm().until_day("next-day Asia/Seoul"))), 0);
    assert!(lost(keyed().key("0-9", 1..=24)).contains("key.max: a mapped key has only 73 bits of its hash"));
    assert_eq!(notes(keyed().key("A-Za-z0-9_-", 16..=256)), 0);
}

#[test]
fn all_mistakes_are_told_at_once() {
    let broken = plain().on_unknown(OnUnknown::Cancel).lease(millis(1)).header("cookie", "x").build();
    assert_eq!(broken.unwrap_err().problems().count(), 3);
}

#[test]
fn a_builder_that_is_told_nothing_has_the_default_rules() {
    for idempotency in [Idempotency::Idempotent, Idempotency::Keyed, Idempotency::None] {
        let durable = operation(idempotency).durable("POST /v1/charges").build().unwrap();
        let declared = seawall_actions::Declared {
            idempotency,
            total: Some(secs(30)),
            answers: &seawall_policy::Answers::default(),
            refuses: &[],
            repeats_in_doubt: false,
            key_header: None,
            key_lifetime: None,
            confirm: None,
            cancel: None,
            durable: None,
        };
        assert_eq!(*durable.rules(), declared.default_rules(), "{idempotency:?}");
    }
}

#[test]
fn defaults_are_the_cautious_ones() {
    let on_unknown = |durable: DurableBuilder| durable.build().unwrap().rules().on_unknown;
    assert_eq!(on_unknown(keyed()), OnUnknown::Hold, "nobody said how long a key is remembered");
    assert_eq!(on_unknown(keyed().confirm(confirm())), OnUnknown::Confirm);
    assert_eq!(on_unknown(keyed().key_lifetime(secs(86_400))), OnUnknown::Repeat);
    assert_eq!(on_unknown(keyed().keys_forgotten_at("midnight Asia/Seoul")), OnUnknown::Repeat);
    assert_eq!(on_unknown(plain()), OnUnknown::Hold);
    assert_eq!(on_unknown(plain().confirm(confirm())), OnUnknown::Confirm);
    let durable = keyed().confirm(confirm()).cancel(refund("{confirm:/id}")).build().unwrap();
    let cancel = durable.rules().cancel.clone().unwrap();
    assert_eq!(
        (cancel.kind, cancel.keyed, cancel.tombstone, cancel.by_key),
        (CancelKind::Additive, false, false, false)
    );
    assert_eq!(durable.rules().attempt, secs(30), "the operation's own total timeout");
    let explicit = keyed().cancel(refund("{key}")).settled_by_application().build().unwrap();
    assert_eq!(explicit.rules().settle, SettleBy::Explicit(secs(60)), "the total timeout and 30 s");
    let by_key =
        keyed().cancel(refund("{key}").sets_a_state()).build().unwrap().rules().cancel.clone().unwrap();
    assert!(by_key.by_key && by_key.kind == CancelKind::State);
}

#[test]
fn what_cannot_be_filled_later_is_not_recorded() {
    let durable = keyed()
        .confirm(Confirm::by("GET /v1/charges/{request:/order}").applied(When::status(200)))
        .cancel(refund("{request:/order}"))
        .build()
        .unwrap();
    let record = |body: serde_json::Value| durable.remote.record("k", body.to_string().into_bytes());
    let said = record(json!({ "amount": 1 })).unwrap_err();
    assert_eq!(said, "there is nothing to fill `{request:/order}` with, now or later");
    let recorded = String::from_utf8(record(json!({ "order": 7 })).unwrap()).unwrap();
    assert_eq!(recorded, "POST /v1/charges HTTP/1.1\r\ncontent-type: application/json\r\n\r\n{\"order\":7}");
}

#[cfg(feature = "ledger-sqlite")]
#[tokio::test]
async fn an_operation_that_was_forgotten_is_found_where_the_ledger_is_built() {
    let file = tempfile::tempdir().unwrap();
    let store = Sqlite::open(&file.path().join("ledger.db")).await.unwrap();
    let payments = Dependency::builder("payments").endpoint("http://127.0.0.1:9").unwrap().build().unwrap();
    let operation = |name: &str| {
        let operation = payments.operation(name).idempotency(Idempotency::Keyed).build().unwrap();
        operation.durable("POST /v1/charges").build().unwrap()
    };
    let (declared, forgotten) = (operation("charge"), operation("payout"));
    let ledger = Ledger::builder(store).operation(&declared).build().unwrap();
    assert!(declared.actions(&ledger).is_ok());
    let found = forgotten.actions(&ledger).map(|_| ()).unwrap_err();
    assert_eq!(found.to_string(), "no operation `payout` of `payments` was declared");
}
