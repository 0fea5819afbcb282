use serde_json::json;

use super::*;
use crate::{Dependency, Idempotency, Timeouts, When, millis, secs};

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

#[test]
fn what_can_go_wrong_at_night_is_refused_at_the_start() {
    let rows: Vec<(DurableBuilder, &str)> = vec![
        (plain().on_unknown(OnUnknown::Repeat), "a repeat could take effect twice"),
        (plain().on_unknown(OnUnknown::Confirm), "`confirm` must say how to ask"),
        (plain().on_unknown(OnUnknown::Cancel), "`cancel` must say how to undo it"),
        (keyed().settle_within(secs(40)), "settle_within: what is not settled in time is cancelled"),
        (
            keyed().cancel(refund("{key}")).settle_within(secs(10)),
            "leaves no room for an attempt of up to 30s",
        ),
        (keyed().cancel(refund("{confirm:/id}")), "`{confirm:/id}` cannot be filled: there is no `confirm`"),
        (plain().cancel(refund("{answer:/id}")), "`{answer:/id}` cannot be filled when the answer was lost"),
        (keyed().confirm(confirm()).cancel(refund("{answer:/id}")), "say where the confirm has it with `id`"),
        (
            keyed()
                .confirm(confirm().id("/id"))
                .cancel(Cancel::by("POST /v1/refunds/{answer:/id}").json(json!({ "to": "{answer:/card}" }))),
            "stands for one pointer only",
        ),
        (
            keyed().confirm(confirm()).cancel(refund("{confirm:/id}").leaves_a_tombstone()),
            "with a tombstone a cancel is sent although nothing was found",
        ),
        (keyed().confirm(Confirm::by("GET /v1/charges")), "nothing would mean \"it took effect\""),
        (keyed().confirm(confirm().id("id")), "does not begin with `/`"),
        (keyed().confirm(Confirm::by("GET /{answer:/id}")), "a confirm cannot be filled with `{answer}`"),
        (operation(Idempotency::Keyed).durable("GET /v1/charges"), "an operation is not sent with GET"),
        (operation(Idempotency::Safe).durable("POST /v1/search"), "it needs no ledger"),
        (keyed().lease(secs(30)), "lease (30s) must be longer than the total timeout (30s)"),
        (keyed().key_lifetime(secs(40)), "must fit into it"),
        (
            keyed().confirm(confirm()).quiet(secs(3)),
            "quiet (3s) is shorter than `network` and `pause` together",
        ),
        (keyed().attempts(0, 1, 1), "attempts: each must be at least 1"),
        (keyed().header("authorization", "Bearer x"), "carries credentials, which are never stored"),
        (keyed().header("x-a b", "1"), "is no header"),
        (keyed().key_header("not a header"), "is no header"),
    ];
    for (builder, expected) in rows {
        let said = builder.build().map(|_| ()).unwrap_err().to_string();
        assert!(said.contains(expected) && said.contains("operation charge: "), "{expected}\n{said}");
    }
    let endless = Dependency::builder("x").endpoint("http://127.0.0.1:9").unwrap().build().unwrap();
    let endless = endless.operation("charge").timeout(Timeouts::default().total(None));
    let said = endless.build().unwrap().durable("POST /x").build().unwrap_err().to_string();
    assert!(said.contains("a total timeout is needed"), "{said}");
    let nowhere = Dependency::builder("x").build().unwrap().operation("charge").build().unwrap();
    let said = nowhere.durable("POST /x").build().unwrap_err().to_string();
    assert!(said.contains("no endpoint"), "{said}");
}

#[test]
fn all_mistakes_are_told_at_once() {
    let broken = plain().on_unknown(OnUnknown::Cancel).lease(millis(1)).header("cookie", "x").build();
    assert_eq!(broken.unwrap_err().problems().count(), 3);
}

#[test]
fn defaults_are_the_cautious_ones() {
    let on_unknown = |durable: DurableBuilder| durable.build().unwrap().rules().on_unknown;
    assert_eq!(on_unknown(keyed()), OnUnknown::Repeat);
    assert_eq!(on_unknown(plain()), OnUnknown::Hold);
    assert_eq!(on_unknown(plain().confirm(confirm())), OnUnknown::Confirm);
    let durable = keyed().confirm(confirm()).cancel(refund("{confirm:/id}")).build().unwrap();
    let cancel = durable.rules().cancel.unwrap();
    assert_eq!(
        (cancel.kind, cancel.keyed, cancel.tombstone, cancel.by_key),
        (CancelKind::Additive, false, false, false)
    );
    assert_eq!(durable.rules().attempt, secs(30), "the operation's own total timeout");
    let by_key = keyed().cancel(refund("{key}").sets_a_state()).build().unwrap().rules().cancel.unwrap();
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
