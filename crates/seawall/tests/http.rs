//! HTTP calls against real servers that misbehave.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::time::Duration;

use seawall::{
    AnswerHead, Dependency, Effect, Idempotency, Origin, Reason, Retry, Stopped, Timeouts, When, millis, secs,
};
use seawall_lab::dead_end::Refused;
use seawall_lab::harbor::{Books, Harbor};
use seawall_lab::rogue::{Act, Answer, Load, Rogue};
use serde_json::{Value, json};

fn harbor() -> (String, Books) {
    let harbor = Harbor::bind(([127, 0, 0, 1], 0).into(), None).unwrap();
    let found = (format!("http://{}", harbor.address()), harbor.books());
    tokio::spawn(harbor.run());
    found
}

fn at(url: &str) -> Dependency {
    Dependency::builder("payments").endpoint(url).unwrap().build().unwrap()
}

fn of(rogue: &Rogue) -> Dependency {
    at(&format!("http://{}", rogue.address()))
}

#[tokio::test]
async fn a_keyed_charge_whose_reply_is_lost_is_sent_again_and_done_once() {
    let (url, books) = harbor();
    let payments = at(&url);
    let charge = json!({"amount": 1200, "currency": "EUR"});
    let request = payments.http().post("/v1/charges").idempotency_key("order-1").json(&charge);
    let answer = request.header("harbor-fault", "close-after-effect").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.effect(), answer.attempts()), (200, Effect::Applied, 2));
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["amount"], 1200);
    assert_eq!(books.snapshot().effects, 1);
}

#[tokio::test]
async fn a_plain_charge_whose_reply_is_lost_is_in_doubt_after_one_attempt() {
    let (url, books) = harbor();
    let charge = json!({"amount": 700, "currency": "EUR"});
    let request = at(&url).http().post("/v1/charges").json(&charge);
    let error = request.header("harbor-fault", "close-after-effect").send().await.unwrap_err();
    assert_eq!((error.effect(), error.attempts()), (Effect::Unknown, 1));
    assert_eq!((error.reason(), error.origin()), (Some(Reason::ConnectionLost), Origin::Dependency));
    assert_eq!(error.stopped(), Some(Stopped::NotRepeatable));
    assert!(error.place().file().ends_with("http.rs"));
    assert_eq!(books.snapshot().effects, 1);
}

#[tokio::test]
async fn an_answer_is_an_answer_whatever_its_status() {
    let (url, _) = harbor();
    let payments = at(&url);
    let missing = payments.http().get("/v1/charges/none").send().await.unwrap();
    assert_eq!((missing.status().as_u16(), missing.effect()), (404, Effect::NotApplied));
    let error = missing.error_for_status().unwrap_err();
    assert_eq!((error.status(), error.reason(), error.effect()), (Some(404), None, Effect::NotApplied));

    let busy = payments.http().post("/v1/charges").json(&json!({"amount": 1, "currency": "EUR"}));
    let busy = busy.header("harbor-fault", "status=503,retry-after=7s").send().await.unwrap();
    assert_eq!((busy.effect(), busy.stopped()), (Effect::Unknown, Some(Stopped::NotRepeatable)));
    let error = busy.error_for_status().unwrap_err();
    assert_eq!((error.effect(), error.retry_after()), (Effect::Unknown, Some(secs(7))));
    assert_eq!(error.to_string(), "payments: answered 503 (effect unknown, not repeated: not-repeatable)");
}

#[tokio::test]
async fn what_was_never_sent_is_not_applied() {
    let nobody = Refused::open().unwrap();
    let payments = at(&format!("http://{}", nobody.address()));
    let error = payments.http().post("/v1/charges").body("x").send().await.unwrap_err();
    assert_eq!((error.effect(), error.reason()), (Effect::NotApplied, Some(Reason::ConnectRefused)));
    assert_eq!(error.attempts(), 2, "anyone may repeat it");
}

#[tokio::test]
async fn a_declared_operation_reads_result_codes() {
    let (url, books) = harbor();
    let charge = at(&url)
        .operation("charge")
        .idempotency(Idempotency::Keyed)
        .timeout(Timeouts::default().connect(secs(3)).read(secs(20)).total(secs(30)))
        .answers(Effect::NotApplied, When::status(200).field("/code", ["DECLINED", "LIMIT"]))
        .build()
        .unwrap();
    let declined = json!({"amount": 402, "currency": "EUR"});
    let answer = charge.http().post("/v1/charges").idempotency_key("k").json(&declined).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.effect()), (200, Effect::NotApplied));
    assert_eq!(answer.json::<Value>().await.unwrap()["code"], "DECLINED");
    assert_eq!(books.snapshot().effects, 0);
}

#[tokio::test]
async fn a_success_that_cannot_be_read_counts_only_where_it_is_declared_to() {
    let page = Answer::ok("<html></html>").header("content-type", "text/html");
    let review = Answer::ok(r#"{"code":"REVIEW"}"#);
    for (otherwise, of_page, of_review) in [
        (None, Effect::Unknown, Effect::Applied),
        (Some(Effect::Unknown), Effect::Unknown, Effect::Unknown),
        (Some(Effect::Applied), Effect::Applied, Effect::Applied),
    ] {
        for (answer, effect) in [(&page, of_page), (&review, of_review)] {
            let rogue = Rogue::builder().answer(answer.clone()).bind().unwrap();
            let charge = of(&rogue).operation("charge");
            let charge = charge.answers(Effect::NotApplied, When::status(200).field("/code", ["DECLINED"]));
            let charge = match otherwise {
                Some(effect) => charge.otherwise(effect),
                None => charge,
            };
            let answer = charge.build().unwrap().http().post("/").body("x").send().await.unwrap();
            assert_eq!((answer.status().as_u16(), answer.effect()), (200, effect), "{otherwise:?}");
        }
    }
    let refused = at("http://127.0.0.1:9").operation("charge").otherwise(Effect::NotApplied).build();
    assert!(refused.unwrap_err().to_string().contains("no proof of \"not applied\""));
}

#[test]
fn limits_of_an_answers_head_lie_within_their_bounds() {
    let with = |header_bytes, headers| {
        let builder = Dependency::builder("x").endpoint("http://127.0.0.1:9").unwrap();
        builder
            .answer_head(AnswerHead::default().header_bytes(header_bytes).headers(headers))
            .build()
            .map_err(|misuse| misuse.to_string())
    };
    assert_eq!(AnswerHead::default(), AnswerHead::default().header_bytes(256 << 10).headers(100));
    assert!(with(1 << 10, 1).is_ok() && with(1 << 20, 1000).is_ok());
    let said = with(1023, 1001).unwrap_err();
    assert!(
        said.contains("answer_head: header_bytes is 1023; it must lie between 1024 and 1048576"),
        "{said}"
    );
    assert!(said.contains("answer_head: headers is 1001; it must lie between 1 and 1000"), "{said}");
}

#[tokio::test]
async fn a_read_timeout_is_unknown_for_a_charge_and_nothing_for_a_read() {
    let rogue = Rogue::builder().each(|_, _| Act::Hang).bind().unwrap();
    let timeouts = Timeouts::default().connect(secs(3)).read(millis(50)).total(secs(20));
    let builder = Dependency::builder("slow").endpoint(format!("http://{}", rogue.address())).unwrap();
    let slow = builder.timeout(timeouts).retry(Retry::off()).build().unwrap();
    let charge = slow.http().post("/").body("x").send().await.unwrap_err();
    assert_eq!((charge.effect(), charge.reason()), (Effect::Unknown, Some(Reason::ReadTimeout)));
    let read = slow.http().get("/").send().await.unwrap_err();
    assert_eq!((read.effect(), read.reason()), (Effect::NotApplied, Some(Reason::ReadTimeout)));
    let own = slow.http().get("/").within(Duration::ZERO).send().await.unwrap_err();
    assert!(matches!(own.reason(), Some(Reason::NoTimeLeft | Reason::BreakerOpen)), "{own}");
}

#[tokio::test]
async fn a_body_that_breaks_is_an_error_with_the_effect_of_its_head() {
    let half = Load::pattern(1000).drip(250, Duration::from_millis(20)).cut_after(500);
    let rogue = Rogue::builder().answer(Answer::status(200).load(half)).bind().unwrap();
    let answer = of(&rogue).http().post("/").body("x").send().await.unwrap();
    assert_eq!(answer.effect(), Effect::Applied);
    let error = answer.bytes().await.unwrap_err();
    assert_eq!((error.effect(), error.reason()), (Effect::Applied, Some(Reason::ConnectionLost)));
}

#[tokio::test]
async fn an_endless_answer_is_not_collected() {
    let rogue = Rogue::builder().answer(Answer::status(200).load(Load::endless())).bind().unwrap();
    let builder = Dependency::builder("x").endpoint(format!("http://{}", rogue.address())).unwrap();
    let endless = builder.answer_limit(100_000).build().unwrap();
    let error = endless.http().get("/").send().await.unwrap().bytes().await.unwrap_err();
    assert!(error.to_string().contains("longer than 100000 bytes"), "{error}");
    let mut streamed = endless.http().get("/").send().await.unwrap();
    let mut read = 0;
    while read < 300_000 {
        read += streamed.chunk().await.unwrap().unwrap().len();
    }
}

#[tokio::test]
async fn requests_carry_what_was_said() {
    let rogue = Rogue::builder().bind().unwrap();
    let builder = Dependency::builder("x").endpoint(format!("http://{}/base", rogue.address())).unwrap();
    let builder = builder.header("authorization", "Bearer secret").unwrap();
    let api = builder.deadline_header("x-deadline-ms").unwrap().build().unwrap();
    let request = api.http().put("/things").query("name", "a b&c").query("n", "1");
    request.header("x-own", "yes").json(&json!({"a": 1})).send().await.unwrap();
    let heard = rogue.counts().heard.first().cloned().unwrap();
    assert_eq!((heard.method.as_str(), heard.target.as_str()), ("PUT", "/base/things?name=a%20b%26c&n=1"));
    assert_eq!(heard.header("authorization"), Some("Bearer secret"));
    assert_eq!(heard.header("content-type"), Some("application/json"));
    assert_eq!(heard.header("x-own"), Some("yes"));
    let left: u64 = heard.header("x-deadline-ms").unwrap().parse().unwrap();
    assert!((20_000..=30_000).contains(&left), "{left}");
}

#[tokio::test]
async fn a_mistake_in_a_request_is_told_when_it_is_sent() {
    let rogue = Rogue::builder().bind().unwrap();
    let api = of(&rogue);
    let nowhere = Dependency::builder("nowhere").build().unwrap();
    for (request, says) in [
        (api.http().get("charges"), "begin with `/`"),
        (api.http().get("https://other.example/"), "begin with `/`"),
        (api.http().get("/a b"), "the path is none"),
        (api.http().get("/").header("host", "x"), "made by Seawall"),
        (api.http().get("/").header("a b", "x"), "not a header's name"),
        (api.http().get("/").header("a", "\n"), "may not"),
        (api.http().post("/").idempotency_key(""), "key is empty"),
        (nowhere.http().get("/"), "no endpoint"),
    ] {
        let error = request.send().await.unwrap_err();
        assert_eq!((error.reason(), error.origin()), (Some(Reason::BadRequest), Origin::Caller), "{error}");
        assert_eq!((error.effect(), error.attempts()), (Effect::NotApplied, 0), "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
    assert_eq!(rogue.counts().heard.len(), 0);
}

#[tokio::test]
async fn the_second_endpoint_takes_over_what_was_never_sent_and_nothing_else() {
    let nobody = Refused::open().unwrap();
    let lost = Rogue::builder().each(|_, _| Act::Close).bind().unwrap();
    let second = Rogue::builder().bind().unwrap();
    for (first, answered) in [(nobody.address(), true), (lost.address(), false)] {
        let builder = Dependency::builder("two").endpoint(format!("http://{first}")).unwrap();
        let two = builder.endpoint(format!("http://{}", second.address())).unwrap().build().unwrap();
        let sent = two.http().post("/").body("x").send().await;
        assert_eq!(sent.is_ok(), answered);
        match sent {
            Ok(answer) => assert_eq!((answer.endpoint(), answer.attempts()), (1, 2)),
            Err(error) => assert_eq!((error.effect(), error.attempts()), (Effect::Unknown, 1)),
        }
    }
    assert_eq!(second.counts().heard.len(), 1);
}

#[test]
fn one_dependency_serves_one_runtime_after_the_other() {
    let servers = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (url, books) = servers.block_on(async { harbor() });
    let payments = at(&url);
    for _ in 0..3 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            for _ in 0..2 {
                payments.http().get("/v1/ping").send().await.unwrap().bytes().await.unwrap();
            }
        });
    }
    assert_eq!(books.snapshot().requests, 6, "none was sent twice over a dead runtime's connection");
}
