//! Answers whose body should decide the effect but cannot be read: HTML, other character sets, an incomplete text, or nothing.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use seawall_lab::rogue::{Answer, Load, Rogue};
use support::{Gateway, dependency};

/// An operation whose answers are judged by the code in their body, with further lines.
fn charge(lines: &str) -> String {
    format!(
        r#"
[[dependency.up.operation]]
name = "charge"
match = "POST /v1/charges"
answers.applied = [ {{ status = 200, json = {{ "/code" = "OK" }} }} ]
answers.not_applied = [ {{ json = {{ "/code" = ["DECLINED", "LIMIT"] }} }} ]
{lines}
"#
    )
}

/// What the caller is told of one answer.
async fn told(answer: &Answer, lines: &str) -> (u16, String, String) {
    let rogue = Rogue::builder().answer(answer.clone()).bind().unwrap();
    let gateway = Gateway::start(&dependency("up", rogue.address(), &charge(lines))).await;
    let heard = gateway.ask("POST", "/up/v1/charges", &[], "{}").await;
    let (status, effect, attempts, reason) = heard.verdict();
    assert_eq!((attempts, reason), ("1", ""), "{heard:?}");
    rogue.read(|counts| assert_eq!(counts.requests, 1, "it may have been applied: it is sent once"));
    (status, effect.to_owned(), heard.text())
}

/// Makes the call with `otherwise` absent, `unknown` and `applied`.
async fn in_each_form(answer: &Answer) -> (u16, [String; 3]) {
    let (status, absent, _) = told(answer, "").await;
    let (_, unknown, _) = told(answer, "answers.otherwise = \"unknown\"").await;
    let (_, applied, _) = told(answer, "answers.otherwise = \"applied\"").await;
    (status, [absent, unknown, applied])
}

fn utf_16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

fn typed(body: impl Into<Vec<u8>>, kind: &str) -> Answer {
    Answer::ok(body.into()).header("content-type", kind)
}

#[tokio::test]
async fn a_success_that_cannot_be_read_is_unknown_unless_it_is_declared_as_applied() {
    let page = "<html><body>We are down for maintenance.</body></html>";
    let declined = r#"{"code":"DECLINED"}"#;
    let half = Answer::ok("").header("content-type", "application/json");
    let table = [
        ("HTML", typed(page, "text/html")),
        ("UTF-16", typed(utf_16(declined), "application/json; charset=utf-16")),
        ("UTF-16 with its mark", typed(utf_16(&format!("\u{feff}{declined}")), "application/json")),
        (
            "Latin-1",
            typed(b"{\"note\":\"abgelehnt f\xfcr immer\",\"code\":\"DECLINED\"}", "application/json"),
        ),
        ("half", typed(&declined[..12], "application/json")),
        ("half in chunks", half.load(Load::bytes(&declined.as_bytes()[..12]).chunked())),
        ("two texts", typed(format!("{declined}{declined}"), "application/json")),
        ("nothing", typed("", "application/json")),
    ];
    for (name, answer) in table {
        let (status, effects) = in_each_form(&answer).await;
        assert_eq!(
            (status, effects.each_ref().map(String::as_str)),
            (200, ["unknown", "unknown", "applied"]),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_success_that_says_nothing_declared_is_what_otherwise_says() {
    let review = typed(r#"{"code":"REVIEW"}"#, "application/json");
    let (status, effects) = in_each_form(&review).await;
    assert_eq!((status, effects.each_ref().map(String::as_str)), (200, ["applied", "unknown", "applied"]));
    let empty = Answer::status(204);
    let (status, effects) = in_each_form(&empty).await;
    assert_eq!(
        (status, effects.each_ref().map(String::as_str)),
        (204, ["applied", "unknown", "applied"]),
        "a 204 has no body that could be missing"
    );
}

#[tokio::test]
async fn a_success_that_was_not_read_is_unknown_whatever_is_declared_of_others() {
    let squeezed = typed("\u{1f}\u{8b}", "application/json").header("content-encoding", "gzip");
    let long =
        typed(format!("{{\"pad\":\"{}\",\"code\":\"OK\"}}", "x".repeat(300 << 10)), "application/json");
    for (name, answer) in [("compressed", squeezed), ("too long", long)] {
        let (status, effects) = in_each_form(&answer).await;
        assert_eq!((status, effects.each_ref().map(String::as_str)), (200, ["unknown"; 3]), "{name}");
    }
}

#[tokio::test]
async fn other_statuses_mean_what_they_always_did() {
    for (code, effect) in [(400, "not-applied"), (402, "not-applied"), (409, "unknown"), (502, "unknown")] {
        let page =
            Answer::status(code).load(Load::bytes("<html></html>")).header("content-type", "text/html");
        let (status, effects) = in_each_form(&page).await;
        assert_eq!((status, effects.each_ref().map(String::as_str)), (code, [effect; 3]));
    }
}

#[tokio::test]
async fn a_byte_order_mark_does_not_hide_the_code() {
    let marked = typed("\u{feff}{\"code\":\"DECLINED\"}", "application/json");
    let (_, effects) = in_each_form(&marked).await;
    assert_eq!(effects.each_ref().map(String::as_str), ["not-applied"; 3]);
    let (_, _, body) = told(&marked, "").await;
    assert!(body.starts_with('\u{feff}'), "the body passes unchanged");
}

#[tokio::test]
async fn a_promise_that_can_be_asked_about_stays_unknown() {
    let confirm = "confirm = { request = \"GET /v1/charges\", applied = { status = 200 } }";
    for (code, body) in [(202, "{}"), (202, "<html></html>"), (202, "")] {
        let answer = Answer::status(code).load(Load::bytes(body));
        for otherwise in ["", "answers.otherwise = \"unknown\"", "answers.otherwise = \"applied\""] {
            let (_, effect, _) = told(&answer, &format!("{confirm}\n{otherwise}")).await;
            assert_eq!(effect, "unknown", "{body:?} {otherwise}");
        }
    }
    let (_, effect, _) = told(&Answer::status(202), "answers.otherwise = \"applied\"").await;
    assert_eq!(effect, "applied", "without `confirm` the provider cannot be asked");
}

#[tokio::test]
async fn a_status_does_not_overrule_a_code_that_nobody_saw() {
    let refund = r#"
[[dependency.up.operation]]
name = "refund"
match = "POST /v1/refunds"
answers.applied = [ { status = 200, json = { "/code" = "OK" } } ]
answers.not_applied = [ { status = 200 } ]
"#;
    for (body, effect) in
        [("<html></html>", "unknown"), (r#"{"code":"OK"}"#, "applied"), (r#"{"code":"NO"}"#, "not-applied")]
    {
        let rogue = Rogue::builder().answer(typed(body, "application/json")).bind().unwrap();
        let gateway = Gateway::start(&dependency("up", rogue.address(), refund)).await;
        let heard = gateway.ask("POST", "/up/v1/refunds", &[], "{}").await;
        assert_eq!(heard.verdict(), (200, effect, "1", ""), "{body}");
    }
}
