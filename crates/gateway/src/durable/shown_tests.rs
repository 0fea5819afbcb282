use std::time::Duration;

use http::HeaderValue;
use seawall_ledger::machine::Row;
use seawall_ledger::{CancelRules, ConfirmRules, NewAction, NotApplied, Owner};
use seawall_policy::Idempotency;

use super::*;

const RECORDED: Stamp = Stamp::from_micros(1_700_000_000_123_999);

fn rules() -> Rules {
    Rules::of(Idempotency::Keyed)
}

/// Returns an action that was just recorded, with the columns that `change` has changed.
fn with(change: impl FnOnce(&mut Row)) -> Action {
    let new = NewAction::new("pay", "charge", "ana:order-7", b"POST /secret HTTP/1.1\r\n\r\n".to_vec());
    let mut row = seawall_ledger::machine::recorded(&rules(), RECORDED).row();
    change(&mut row);
    Action::of(&new, State::of_row(row).unwrap(), RECORDED)
}

fn sent(row: &mut Row) {
    row.maybe_sent = 1;
    row.attempts = 1;
    row.logged = 1;
    row.first_sent_at = Some(RECORDED);
    row.quiet_until = Some(RECORDED.saturating_add(Duration::from_secs(150)));
}

fn unknown(row: &mut Row) {
    sent(row);
    row.effect = seawall_ledger::machine::Effect::Unknown;
    row.open_attempts = 1;
}

fn applied(row: &mut Row) {
    sent(row);
    row.effect = seawall_ledger::machine::Effect::Applied;
}

fn refused(row: &mut Row) {
    sent(row);
    row.effect = seawall_ledger::machine::Effect::NotApplied;
    row.reason = Some(NotApplied::Refused);
}

fn shown(of: &Action, rules: Option<&Rules>) -> Value {
    action(of, View { key: "order-7", rules, undeclared: rules.is_none() })
}

#[test]
fn what_is_recorded_is_shown_without_the_request() {
    let of = with(|_| {});
    let value = shown(&of, Some(&rules()));
    let expected = json!({
        "id": of.id.to_string(), "dependency": "pay", "operation": "charge", "key": "order-7",
        "sent_key": "ana:order-7", "goal": "perform", "effect": "unknown", "settled": false, "state": "open",
        "end": null, "why": null, "created_at": "2023-11-14T22:13:20.123Z", "settle_by": null,
        "next": { "what": "it is sent", "at": "2023-11-14T22:13:20.123Z" }, "answer": null,
    });
    assert_eq!(value, expected);
    assert!(!value.to_string().contains("secret"));
}

#[test]
fn nothing_that_is_open_is_shown_as_not_applied() {
    let cases: [(Action, &str, &str); 7] = [
        (with(|_| {}), "open", "unknown"),
        (with(unknown), "unknown", "unknown"),
        (with(applied), "open", "applied"),
        (with(refused), "open", "unknown"),
        (
            with(|row| {
                refused(row);
                row.ended = Some(End::Failed);
            }),
            "failed",
            "not-applied",
        ),
        (
            with(|row| {
                unknown(row);
                row.ended = Some(End::Stuck);
            }),
            "stuck",
            "unknown",
        ),
        (
            with(|row| {
                row.goal = Goal::Cancel;
                row.ended = Some(End::Cancelled);
            }),
            "cancelled",
            "not-applied",
        ),
    ];
    for (of, state, effect) in cases {
        let value = shown(&of, Some(&rules()));
        assert_eq!(
            (value["state"].as_str(), value["effect"].as_str()),
            (Some(state), Some(effect)),
            "{of:?}"
        );
    }
}

#[test]
fn what_happens_next_is_told_with_its_time() {
    let confirms = Rules {
        confirm: Some(ConfirmRules::default()),
        on_unknown: OnUnknown::Confirm,
        cancel: Some(CancelRules::default()),
        ..rules()
    };
    let explicit = Rules { settle: SettleBy::Explicit(Duration::from_secs(180)), ..rules() };
    let at = |seconds: u64| RECORDED.saturating_add(Duration::from_secs(seconds));
    let stuck = |row: &mut Row| {
        unknown(row);
        row.ended = Some(End::Stuck);
    };
    let done = |row: &mut Row| {
        applied(row);
        row.ended = Some(End::Done);
    };
    let audited = |row: &mut Row| {
        refused(row);
        row.reason = Some(NotApplied::Absent);
        row.ended = Some(End::Failed);
        row.audit_at = Some(at(60));
    };
    let under_way = |row: &mut Row| {
        unknown(row);
        row.owner = Some(Owner(7));
        row.leased_until = Some(at(120));
        row.in_flight = Some(1);
    };
    let waits = |row: &mut Row| {
        applied(row);
        row.settle_by = Some(at(180));
    };
    let cancelling = |row: &mut Row| {
        unknown(row);
        row.goal = Goal::Cancel;
        row.next_at = at(10);
    };
    let cases: [(Action, Option<&Rules>, &str, Option<Stamp>); 11] = [
        (with(done), Some(&confirms), "nothing: it has ended", None),
        (with(stuck), Some(&confirms), "a person must look at it", None),
        (with(audited), Some(&confirms), "the provider is asked once more", Some(at(60))),
        (with(unknown), None, "until its operation is declared again", None),
        (with(under_way), Some(&confirms), "a request is under way", Some(at(120))),
        (with(unknown), Some(&confirms), "the provider is asked", Some(RECORDED)),
        (with(unknown), Some(&rules()), "a person must find out", Some(RECORDED)),
        (with(sent), Some(&confirms), "it is sent again", Some(RECORDED)),
        (with(waits), Some(&explicit), "waits to be settled, and is cancelled", Some(at(180))),
        (with(cancelling), Some(&confirms), "asked what there is to cancel", Some(at(10))),
        (with(cancelling), Some(&rules()), "no cancel is declared", Some(at(10))),
    ];
    for (of, rules, says, when) in cases {
        let next = &shown(&of, rules)["next"];
        assert!(next["what"].as_str().unwrap().contains(says), "{next} is not: {says}");
        assert_eq!(next["at"].as_str().map(str::to_owned), when.map(time), "{says}");
    }
}

#[test]
fn the_timeline_has_every_request_and_every_word_of_people() {
    let row = AttemptRow {
        kind: AttemptKind::Confirm,
        number: 2,
        generation: 0,
        fence: 1,
        recorded_at: RECORDED,
        send_by: RECORDED,
        after_quiet: true,
        ended_at: None,
        outcome: AttemptOutcome::NotSent,
        status: Some(404),
        detail: Some("absent".to_owned()),
        answer: Some(b"secret".to_vec()),
    };
    let said = Mark {
        at: RECORDED,
        who: "ana".into(),
        what: "observe".into(),
        why: "applied: evt_7".into(),
        via: Some("a token".into()),
        was: None,
        became: None,
    };
    let of = Story { action: with(unknown), attempts: vec![row], marks: vec![said] };
    let value = story(&of, View { key: "order-7", rules: None, undeclared: true });
    let at = "2023-11-14T22:13:20.123Z";
    let attempts = json!([{
        "number": 2, "kind": "confirm", "recorded_at": at, "ended_at": null, "outcome": "not-sent", "status": 404,
        "detail": "absent",
    }]);
    assert_eq!(value["attempts"], attempts);
    let marks = json!([{ "at": at, "who": "ana", "what": "observe", "why": "applied: evt_7" }]);
    assert_eq!(value["marks"], marks);
}

#[test]
fn the_providers_answer_is_shown_as_it_came() {
    let of = |media: &'static str, body: &[u8]| {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
        headers.append("x-id", HeaderValue::from_static("1"));
        headers.append("x-id", HeaderValue::from_static("2"));
        let kept = StoredAnswer { of: AnswerOf::Reply, status: 201, headers, body: body.to_vec() };
        let of = with(|row| {
            applied(row);
            row.answer = Some(kept.encode());
        });
        shown(&of, None)["answer"].clone()
    };
    let expected = json!({
        "of": "perform", "status": 201, "headers": { "content-type": "application/json", "x-id": ["1", "2"] },
        "body": { "id": 7, "amount": 10.5 },
    });
    assert_eq!(of("application/json", br#"{"id": 7, "amount": 10.50}"#), expected);
    let body = |media, body: &[u8]| of(media, body)["body"].clone();
    assert_eq!(body("application/problem+json; charset=utf-8", b"[1]"), json!([1]));
    assert_eq!(body("text/plain", b"[1]"), json!("[1]"));
    assert_eq!(body("application/json", b"{half"), json!("{half"));
    let exact = r#"{"id": 123456789012345678901234567890}"#;
    assert_eq!(body("application/json", exact.as_bytes()), json!(exact), "no digit is lost");
    let long = format!("\"{}\"", "x".repeat(JSON_MAX));
    assert_eq!(body("application/json", long.as_bytes()), json!(long));
    assert_eq!(body("application/json", b"\xff"), Value::Null);
    assert_eq!(body("application/json", b""), Value::Null);
    let none = with(|row| {
        applied(row);
        row.answer = Some(b"{}".to_vec());
    });
    assert_eq!(shown(&none, None)["answer"], Value::Null);
}

#[test]
fn times_beyond_the_calendar_are_its_ends() {
    assert_eq!(time(Stamp::from_micros(0)), "1970-01-01T00:00:00.000Z");
    assert!(time(Stamp::from_micros(i64::MAX)).starts_with("9999-12-"));
    assert!(time(Stamp::from_micros(i64::MIN)).starts_with("-009999-"));
}
