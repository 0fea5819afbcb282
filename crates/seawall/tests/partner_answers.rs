//! Partners whose answers do not mean what their status says, over HTTP, on a real store: what the ledger does, and what
//! is left at the provider in the end.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use seawall::ledger::protocol::{AttemptKind, AttemptOutcome, AttemptRow};
use seawall::ledger::stored::{AnswerOf, StoredAnswer};
use seawall::ledger::{
    Actions, Cancel, Confirm, DurableBuilder, End, Ledger, OnUnknown, Outcome, Sqlite, Store, Worker,
    WorkerSettings,
};
use seawall::{Dependency, Effect, Idempotency, OperationBuilder, Timeouts, When, millis, secs};
use seawall_lab::rogue::{Act, Answer, Heard, Load, Rogue};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);
const QUIET: Duration = Duration::from_millis(500);
const TOTAL: Duration = Duration::from_secs(1);

/// What the provider's books say.
#[derive(Default)]
struct Books {
    /// The keys of the charges that took effect, in the order of their arrival.
    charges: Vec<String>,
    /// When the last request for a charge arrived.
    last: Option<Instant>,
    /// The number of requests for a charge.
    posted: u32,
    /// The key and the body of each refund, whatever was answered.
    refunds: Vec<(String, Value)>,
    /// What is left of the charge.
    left: u64,
}

impl Books {
    fn charge(&mut self, heard: &Heard) {
        self.charges.push(key(heard).to_owned());
        self.left = 1000;
    }
}

fn key(heard: &Heard) -> &str {
    heard.header("idempotency-key").unwrap_or_default()
}

fn json_answer(status: u16, body: &Value) -> Act {
    let load = Load::bytes(body.to_string());
    Answer::status(status).header("content-type", "application/json").load(load).into()
}

/// A ledger with a worker, and a provider that answers as its closure says.
struct Bench {
    rogue: Rogue,
    books: Arc<Mutex<Books>>,
    store: Sqlite,
    worker: Option<Worker>,
    _file: TempDir,
}

impl Bench {
    /// Opens a provider that answers charges, questions and refunds with these three functions.
    async fn open(
        charge: impl Fn(&mut Books, &Heard) -> Act + Send + 'static,
        question: impl Fn(&mut Books) -> Act + Send + 'static,
        refund: impl Fn(&mut Books, Value) -> Act + Send + 'static,
    ) -> Bench {
        let books = Arc::new(Mutex::new(Books::default()));
        let kept = Arc::clone(&books);
        let rogue = Rogue::builder().each(move |heard, _| {
            let mut books = kept.lock().unwrap();
            match (heard.method.as_str(), heard.target.as_str()) {
                ("POST", "/v1/charges") => {
                    books.posted += 1;
                    books.last = Some(Instant::now());
                    charge(&mut books, heard)
                }
                ("GET", _) => question(&mut books),
                _ => {
                    let body: Value = serde_json::from_slice(&heard.body).unwrap();
                    books.refunds.push((key(heard).to_owned(), body.clone()));
                    refund(&mut books, body)
                }
            }
        });
        let file = tempfile::tempdir().unwrap();
        let store = Sqlite::open(&file.path().join("ledger.db")).await.unwrap();
        store.migrate().await.unwrap();
        Bench { rogue: rogue.bind().unwrap(), books, store, worker: None, _file: file }
    }

    fn operation(&self) -> OperationBuilder {
        let url = format!("http://{}", self.rogue.address());
        let payments = Dependency::builder("payments").endpoint(url).unwrap().build().unwrap();
        let timeouts = Timeouts::default().connect(millis(500)).read(millis(900)).total(Some(TOTAL));
        payments.operation("charge").idempotency(Idempotency::Keyed).timeout(timeouts)
    }

    /// Starts a ledger with a worker for the charge, with waits that suit a test.
    fn start(&mut self, charge: DurableBuilder) -> Actions<Sqlite> {
        let charge = charge.network(millis(200)).pause(millis(200)).quiet(QUIET).lease(secs(10));
        let charge = charge.backoff(millis(20), millis(100)).build().unwrap();
        let ledger = Ledger::builder(self.store.clone()).operation(&charge).build().unwrap();
        let mut settings = WorkerSettings::default();
        settings.scan = millis(50);
        self.worker = Some(ledger.worker(settings));
        charge.actions(&ledger).unwrap()
    }

    fn read<R>(&self, look: impl FnOnce(&Books) -> R) -> R {
        look(&self.books.lock().unwrap())
    }

    async fn stop(self) {
        self.worker.unwrap().drain(secs(10)).await;
    }
}

/// The declaration of a charge with a look-up whose "not found" has a code.
fn asked(absent: When) -> Confirm {
    Confirm::by("GET /v1/charges?key={key}")
        .after(millis(20))
        .cancelled(When::status(200).field("/status", ["refunded"]))
        .partly(When::status(200).field("/status", ["partly_refunded"]))
        .applied(When::status(200).field("/status", ["succeeded"]))
        .absent(absent)
}

fn with_code() -> When {
    When::status(404).field("/code", ["NO_CHARGE"])
}

async fn ended(charges: &Actions<Sqlite>, outcome: Outcome) -> Outcome {
    let began = Instant::now();
    loop {
        let now = charges.load(outcome.id()).await.unwrap();
        if now.end().is_some() {
            return now;
        }
        if began.elapsed() > PATIENCE {
            let story = charges.ledger().story(outcome.id()).await.unwrap();
            panic!("it does not come to its end: {story:#?}");
        }
        tokio::time::sleep(millis(20)).await;
    }
}

/// The lines of the attempt log of one kind.
async fn lines(charges: &Actions<Sqlite>, outcome: &Outcome, kind: AttemptKind) -> Vec<AttemptRow> {
    let story = charges.ledger().story(outcome.id()).await.unwrap();
    story.attempts.into_iter().filter(|line| line.kind == kind).collect()
}

fn order() -> Value {
    json!({ "amount": 1000 })
}

fn no_refund(_: &mut Books, _: Value) -> Act {
    panic!("nothing is to be refunded")
}

#[tokio::test]
async fn a_duplicate_after_a_lagging_look_up_is_asked_about_and_is_one_effect() {
    // The look-up does not know the charge, even after the quiet time of the second request.
    let lag = TOTAL + QUIET + QUIET;
    let lagging = move |books: &mut Books| match books.posted {
        2.. if books.last.is_some_and(|last| last.elapsed() > lag) => {
            json_answer(200, &json!({ "status": "succeeded" }))
        }
        _ => json_answer(404, &json!({ "code": "NO_CHARGE" })),
    };
    let charge = |books: &mut Books, heard: &Heard| match books.charges.is_empty() {
        true => {
            books.charge(heard);
            Act::Close
        }
        false => json_answer(400, &json!({ "code": "DUPLICATE" })),
    };
    let mut bench = Bench::open(charge, lagging, no_refund).await;
    let charge =
        bench.operation().duplicate(When::status(400).field("/code", ["DUPLICATE"])).build().unwrap();
    let charge = charge.durable("POST /v1/charges").key_lifetime(secs(3600)).confirm(asked(with_code()));
    let charges = bench.start(charge.on_unknown(OnUnknown::Confirm));
    let outcome = charges.perform("k1", &order()).await.unwrap();
    let outcome = ended(&charges, outcome).await;
    assert_eq!((outcome.effect(), outcome.end()), (Effect::Applied, Some(End::Done)));
    assert_eq!(bench.read(|books| (books.charges.clone(), books.posted)), (vec!["k1".to_owned()], 2));
    let performs = lines(&charges, &outcome, AttemptKind::Perform).await;
    assert_eq!(performs[1].outcome, AttemptOutcome::Unknown, "a duplicate is no \"no\": {performs:?}");
    bench.stop().await;
}

#[tokio::test]
async fn a_refund_that_says_no_in_a_200_is_tried_under_new_keys_and_never_counts_as_returned() {
    let charge = |books: &mut Books, heard: &Heard| {
        books.charge(heard);
        json_answer(200, &json!({ "status": "succeeded", "id": "ch_1" }))
    };
    let still_there = |_: &mut Books| json_answer(200, &json!({ "status": "succeeded", "id": "ch_1" }));
    // A provider that saves its answers would repeat this one under the same key.
    let refuses = |_: &mut Books, _: Value| json_answer(200, &json!({ "code": "TRY_LATER" }));
    let mut bench = Bench::open(charge, still_there, refuses).await;
    let cancel = Cancel::by("POST /v1/refunds")
        .json(json!({ "charge": "{answer:/id}" }))
        .keyed()
        .done(When::status(200).field("/code", ["OK"]))
        .refused(When::status(200).field("/code", ["TRY_LATER"]));
    let charge = bench.operation().build().unwrap().durable("POST /v1/charges");
    let charge = charge.key_lifetime(secs(3600)).confirm(asked(with_code()).id("/id")).cancel(cancel);
    let charges = bench.start(charge.settled_by_application().attempts(5, 3, 50));
    let outcome = charges.perform("k1", &order()).await.unwrap();
    assert!(outcome.awaits_settling());
    let outcome = charges.cancel_unsettled(outcome.id()).await.unwrap();
    let outcome = ended(&charges, outcome).await;
    assert_eq!((outcome.effect(), outcome.end()), (Effect::Applied, Some(End::Stuck)));
    assert_eq!(outcome.why(), Some("the cancel failed too often"));
    let mut keys = bench.read(|books| books.refunds.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>());
    assert_eq!(keys.len(), 3, "{keys:?}");
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 3, "each of them has a key of its own: {keys:?}");
    bench.stop().await;
}

#[tokio::test]
async fn what_is_left_of_a_partly_refunded_charge_is_undone() {
    let charge = |books: &mut Books, heard: &Heard| {
        books.charge(heard);
        json_answer(200, &json!({ "status": "succeeded" }))
    };
    let question = |books: &mut Books| {
        let status = match books.left {
            0 => "refunded",
            1000 => "succeeded",
            _ => "partly_refunded",
        };
        json_answer(200, &json!({ "status": status, "id": "ch_1", "left": books.left }))
    };
    let refund = |books: &mut Books, body: Value| {
        let amount = body["amount"].as_u64().unwrap();
        match books.left.checked_sub(amount) {
            Some(left) => {
                books.left = left;
                json_answer(200, &json!({ "code": "OK" }))
            }
            None => json_answer(400, &json!({ "code": "TOO_MUCH" })),
        }
    };
    let mut bench = Bench::open(charge, question, refund).await;
    let cancel = Cancel::by("POST /v1/refunds")
        .json(json!({ "charge": "{confirm:/id}", "amount": "{confirm:/left}" }))
        .done(When::status(200).field("/code", ["OK"]));
    let charge = bench.operation().build().unwrap().durable("POST /v1/charges");
    let charge = charge.confirm(asked(with_code())).cancel(cancel);
    let charges = bench.start(charge.settled_by_application());
    let outcome = charges.perform("k1", &order()).await.unwrap();
    assert!(outcome.awaits_settling());
    // Somebody gives a part of it back, by another operation.
    bench.books.lock().unwrap().left = 700;
    let outcome = charges.cancel_unsettled(outcome.id()).await.unwrap();
    let outcome = ended(&charges, outcome).await;
    assert_eq!((outcome.effect(), outcome.end()), (Effect::NotApplied, Some(End::Cancelled)));
    let refunded = bench.read(|books| (books.left, books.refunds.clone()));
    let whole = json!({ "charge": "ch_1", "amount": 700 });
    assert_eq!(refunded, (0, vec![(String::new(), whole)]), "the rest, once");
    let questions = lines(&charges, &outcome, AttemptKind::Confirm).await;
    let said = questions.iter().map(|line| (line.outcome, line.detail.as_deref())).collect::<Vec<_>>();
    assert_eq!(said, [(AttemptOutcome::Yes, Some("partly cancelled"))]);
    bench.stop().await;
}

/// Answers "pending" until the quiet time of the request is over. Then the look-up finds nothing as often as
/// `misses` says, by a page without a code, and after that it says `then`.
fn page_of_a_load_balancer(misses: u32, then: &'static str) -> impl Fn(&mut Books) -> Act {
    let seen = Mutex::new(0);
    move |books| {
        let quiet_over = books.last.is_some_and(|last| last.elapsed() > TOTAL + QUIET + millis(200));
        let mut seen = seen.lock().unwrap();
        match (quiet_over, *seen < misses) {
            (false, _) => json_answer(200, &json!({ "status": "pending" })),
            (true, true) => {
                *seen += 1;
                Answer::status(404).load(Load::bytes("<html>no route</html>")).into()
            }
            (true, false) => json_answer(200, &json!({ "status": then })),
        }
    }
}

#[tokio::test]
async fn a_bare_404_is_not_believed_once() {
    let lost = |books: &mut Books, heard: &Heard| {
        books.charge(heard);
        Act::Close
    };
    let mut bench = Bench::open(lost, page_of_a_load_balancer(1, "succeeded"), no_refund).await;
    let charge = bench.operation().build().unwrap().durable("POST /v1/charges");
    let charges = bench.start(charge.confirm(asked(When::status(404))).on_unknown(OnUnknown::Confirm));
    let outcome = charges.perform("k1", &order()).await.unwrap();
    let outcome = ended(&charges, outcome).await;
    assert_eq!((outcome.effect(), outcome.end()), (Effect::Applied, Some(End::Done)));
    assert_eq!(bench.read(|books| (books.charges.len(), books.posted)), (1, 1));
    let questions = lines(&charges, &outcome, AttemptKind::Confirm).await;
    let [.., page, found] = &questions[..] else { panic!("{questions:?}") };
    assert_eq!((page.status, page.outcome), (Some(404), AttemptOutcome::No));
    let apart = found.recorded_at.as_micros() - page.recorded_at.as_micros();
    assert!(apart >= i64::try_from(QUIET.as_micros()).unwrap(), "{apart} us");
    bench.stop().await;
}

#[tokio::test]
async fn a_bare_404_is_believed_the_second_time() {
    let lost = |_: &mut Books, _: &Heard| Act::Close;
    let mut bench = Bench::open(lost, page_of_a_load_balancer(9, "succeeded"), no_refund).await;
    let charge = bench.operation().idempotency(Idempotency::None).build().unwrap();
    let charge = charge.durable("POST /v1/charges").confirm(asked(When::status(404)));
    let charges = bench.start(charge);
    let outcome = charges.perform("k1", &order()).await.unwrap();
    let outcome = ended(&charges, outcome).await;
    assert_eq!((outcome.effect(), outcome.end()), (Effect::NotApplied, Some(End::Failed)));
    assert_eq!(outcome.refusal(), None, "nobody refused it");
    let questions = lines(&charges, &outcome, AttemptKind::Confirm).await;
    assert!(questions.iter().filter(|line| line.outcome == AttemptOutcome::No).count() >= 2, "{questions:?}");
    bench.stop().await;
}

#[tokio::test]
async fn a_refusal_is_given_back_with_its_body() {
    let long = format!("{{\"code\":\"{}\"}}", "x".repeat(200 << 10));
    let refuses = move |books: &mut Books, _: &Heard| match books.posted {
        1 => json_answer(402, &json!({ "code": "CARD_DECLINED" })),
        2 => {
            Answer::status(401).header("content-type", "text/plain").load(Load::bytes("wrong API key")).into()
        }
        3 => json_answer(200, &json!({ "code": "LIMIT" })),
        _ => Answer::status(400).load(Load::bytes(long.clone())).into(),
    };
    let mut bench = Bench::open(refuses, |_| Act::Close, no_refund).await;
    let charge = bench.operation().answers(Effect::NotApplied, When::status(200).field("/code", ["LIMIT"]));
    let charges = bench.start(charge.build().unwrap().durable("POST /v1/charges"));
    for (name, status, content_type, body) in [
        ("k1", 402, Some("application/json"), r#"{"code":"CARD_DECLINED"}"#),
        ("k2", 401, Some("text/plain"), "wrong API key"),
        ("k3", 200, Some("application/json"), r#"{"code":"LIMIT"}"#),
    ] {
        let outcome = charges.perform(name, &order()).await.unwrap();
        let outcome = ended(&charges, outcome).await;
        assert_eq!((outcome.effect(), outcome.end()), (Effect::NotApplied, Some(End::Failed)));
        let refusal = outcome.refusal().unwrap();
        let told = |refusal: &StoredAnswer| {
            let content_type = refusal.headers.get("content-type").map(|it| it.to_str().unwrap().to_owned());
            let body = String::from_utf8(refusal.body.clone()).unwrap();
            (refusal.of, refusal.status, content_type, body)
        };
        let expected = (AnswerOf::Refusal, status, content_type.map(str::to_owned), body.to_owned());
        assert_eq!(told(&refusal), expected);
        assert!(
            outcome.answer().is_none() && outcome.json::<Value>().is_none(),
            "{name}: no answer that says yes"
        );
        let performs = lines(&charges, &outcome, AttemptKind::Perform).await;
        let logged = StoredAnswer::decode(performs[0].answer.as_ref().unwrap()).unwrap();
        assert_eq!(told(&logged), expected);
        let again = charges.perform(name, &order()).await.unwrap();
        assert_eq!(told(&again.refusal().unwrap()), expected, "the same key and body again");
    }
    let outcome = charges.perform("k4", &order()).await.unwrap();
    assert_eq!((outcome.effect(), outcome.end()), (Effect::NotApplied, Some(End::Failed)));
    assert_eq!(outcome.refusal(), None, "it is too long");
    let performs = lines(&charges, &outcome, AttemptKind::Perform).await;
    assert_eq!((performs[0].status, performs[0].answer.as_ref()), (Some(400), None));
    assert_eq!(bench.read(|books| books.posted), 4);
    bench.stop().await;
}

#[tokio::test]
async fn what_may_surprise_is_said_once_when_it_is_declared() {
    let bench = Bench::open(|_, _| Act::Close, |_| Act::Close, no_refund).await;
    let refund = || Cancel::by("POST /v1/refunds").json(json!({ "key": "{key}" })).sets_a_state();
    let plain = || bench.operation().build().unwrap().durable("POST /v1/charges");
    let refusals = |builder: OperationBuilder| {
        builder.answers(Effect::NotApplied, When::status(402)).build().unwrap().durable("POST /v1/charges")
    };
    let declared = || refusals(bench.operation());
    let duplicate = || refusals(bench.operation().duplicate(When::status(409)));
    let (trusts, risks) = ("answers: every 4xx means", "cancel: every 2xx answer");
    let (page, one, person) = (
        "confirm.absent: a status alone means \"not found\", so it is believed only after two answers",
        "confirm.absent: a status alone means \"not found\", and one such answer is believed",
        "duplicate: after such an answer a person decides",
    );
    for (durable, expected) in [
        (plain(), vec![trusts]),
        (declared(), vec![]),
        (plain().refusal_binds([422]), vec![]),
        (duplicate(), vec![person]),
        (duplicate().confirm(asked(with_code())), vec![]),
        (declared().confirm(asked(When::status(404))), vec![page]),
        (declared().confirm(asked(When::status(404)).absences(1)), vec![one]),
        (declared().confirm(asked(When::status(404)).absences(2)), vec![]),
        (declared().cancel(refund()), vec![risks]),
        (declared().cancel(refund().done(When::status(200))), vec![]),
        (declared().cancel(refund().refused(with_code())), vec![]),
        (plain().cancel(refund()).confirm(asked(When::status(404))), vec![trusts, page, risks]),
    ] {
        let durable = durable.build().unwrap();
        let notes: Vec<&str> = durable.notes().collect();
        assert_eq!(notes.len(), expected.len(), "{expected:?}\n{notes:#?}");
        for says in expected {
            assert!(
                notes.iter().any(|note| note.starts_with(&format!("operation charge: {says}"))),
                "{notes:#?}"
            );
        }
    }
    let wanted = |confirm: Confirm| {
        declared().confirm(confirm).build().unwrap().rules().confirm.clone().unwrap().absences
    };
    assert_eq!(wanted(asked(with_code())), 1);
    assert_eq!(wanted(asked(with_code()).absent(When::status(410))), 2);
    assert_eq!(wanted(asked(When::status(404)).absences(1)), 1);
    assert_eq!(wanted(asked(with_code()).absences(3)), 3);
}
