//! Operations that declare what their answers mean.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use seawall_lab::rogue::{Answer, Load, Rogue};
use support::{Gateway, dependency, harbor};

/// The operation of these tests, whose answers are judged by the code in their body.
fn charge() -> String {
    let operation = r#"
[[dependency.up.operation]]
name = "charge"
match = "POST /v1/charges"
answers.applied = [ { status = 200, json = { "/code" = "OK" } } ]
answers.not_applied = [ { status = 200, json = { "/code" = ["DECLINED", "LIMIT"] } } ]
answers.unknown = [ { status = 200, json = { "/code" = "PENDING" } } ]
"#;
    operation.to_owned()
}

async fn before(rogue: &Rogue) -> Gateway {
    Gateway::start(&dependency("up", rogue.address(), &charge())).await
}

#[tokio::test]
async fn the_code_in_a_200_decides_the_effect() {
    let (address, books) = harbor();
    let gateway = Gateway::start(&dependency("up", address, &charge())).await;
    let mut caller = gateway.connect().await;
    let taken = caller.ask("POST", "/up/v1/charges", &[], r#"{"amount":5}"#).await;
    assert_eq!(taken.verdict(), (200, "applied", "1", ""));
    assert_eq!(taken.json()["code"], "OK");
    let declined =
        caller.ask("POST", "/up/v1/charges", &[], r#"{"amount":5,"metadata":{"decline":true}}"#).await;
    assert_eq!(declined.verdict(), (200, "not-applied", "1", ""));
    assert_eq!(declined.json()["code"], "DECLINED");
    assert_eq!(books.snapshot().effects, 1, "the books agree with the effects");
}

#[tokio::test]
async fn a_declared_unknown_is_passed_and_not_repeated() {
    let answer = Answer::ok(r#"{"code":"PENDING"}"#).header("content-type", "application/json");
    let rogue = Rogue::builder().answer(answer).bind().unwrap();
    let gateway = before(&rogue).await;
    let headers = [("accept-encoding", "gzip, br")];
    let heard = gateway.ask("POST", "/up/v1/charges", &headers, "{}").await;
    assert_eq!(heard.verdict(), (200, "unknown", "1", ""));
    assert_eq!(heard.header("seawall-retry-stopped"), Some("not-repeatable"));
    assert_eq!(heard.text(), r#"{"code":"PENDING"}"#);
    rogue.read(|counts| {
        assert_eq!(counts.requests, 1);
        assert_eq!(counts.heard[0].header("accept-encoding"), None, "a compressed body could not be judged");
    });
    let heard = gateway.ask("GET", "/up/v1/charges", &headers, "").await;
    assert_eq!(heard.status, Some(200));
    let asked = rogue.read(|counts| counts.heard[1].header("accept-encoding").map(str::to_owned));
    assert_eq!(asked.as_deref(), Some("gzip, br"), "elsewhere the caller's own value is sent");
}

#[tokio::test]
async fn a_body_that_cannot_be_read_leaves_the_effect_unknown() {
    let code = r#"{"code":"OK"}"#;
    let table = [
        (
            "cut short",
            Answer::ok("").load(Load::bytes(code).cut_after(5)),
            (502, "unknown", "1", "connection-lost"),
        ),
        (
            "cut in chunks",
            Answer::ok("").load(Load::bytes(code).chunked().cut_after(5)),
            (502, "unknown", "1", "connection-lost"),
        ),
        (
            "compressed",
            Answer::ok("\u{1f}\u{8b}").header("content-encoding", "gzip"),
            (200, "unknown", "1", ""),
        ),
        (
            "in drips",
            Answer::ok("").load(Load::bytes(code).drip(3, std::time::Duration::from_millis(2))),
            (200, "applied", "1", ""),
        ),
        ("in chunks", Answer::ok("").load(Load::bytes(code).chunked()), (200, "applied", "1", "")),
        (
            "to the end of the connection",
            Answer::ok("").load(Load::bytes(code).until_close()),
            (200, "applied", "1", ""),
        ),
    ];
    for (name, answer, verdict) in table {
        let rogue = Rogue::builder().answer(answer).bind().unwrap();
        let heard = before(&rogue).await.ask("POST", "/up/v1/charges", &[], "{}").await;
        assert_eq!(heard.verdict(), verdict, "{name}");
        assert_eq!(rogue.read(|counts| counts.requests), 1, "{name}");
        if verdict == (200, "applied", "1", "") {
            assert_eq!(heard.text(), code, "{name}");
        }
    }
}

#[tokio::test]
async fn a_body_too_long_to_be_judged_passes_whole_and_unknown() {
    for chunked in [false, true] {
        let body = format!("{{\"pad\":\"{}\",\"code\":\"DECLINED\"}}", "x".repeat(300 << 10));
        let load = Load::bytes(body.clone());
        let load = if chunked { load.chunked() } else { load };
        let rogue = Rogue::builder().answer(Answer::ok("").load(load)).bind().unwrap();
        let heard = before(&rogue).await.ask("POST", "/up/v1/charges", &[], "{}").await;
        assert_eq!(heard.verdict(), (200, "unknown", "1", ""));
        assert!(heard.text() == body, "{} bytes came", heard.body().len());
    }
    // A body that just fits is judged.
    let body = format!("{{\"pad\":\"{}\",\"code\":\"DECLINED\"}}", "x".repeat(255 << 10));
    let rogue = Rogue::builder().answer(Answer::ok(body.clone())).bind().unwrap();
    let heard = before(&rogue).await.ask("POST", "/up/v1/charges", &[], "{}").await;
    assert_eq!(heard.verdict(), (200, "not-applied", "1", ""));
    assert!(heard.text() == body);
}

#[tokio::test]
async fn other_statuses_are_judged_by_the_table() {
    for (status, effect, stopped) in
        [(201, "applied", None), (402, "not-applied", None), (500, "unknown", Some("not-repeatable"))]
    {
        let rogue = Rogue::builder().answer(Answer::status(status)).bind().unwrap();
        let heard = before(&rogue).await.ask("POST", "/up/v1/charges", &[], "{}").await;
        assert_eq!(heard.verdict(), (status, effect, "1", ""));
        assert_eq!(heard.header("seawall-retry-stopped"), stopped);
    }
}
