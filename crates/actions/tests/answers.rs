//! What the ledger is told of each answer to a request that performs an action, what is recorded of the answer, and
//! what of it can be passed on to a caller.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::{HeaderMap, Method};
use http_body_util::BodyExt;
use seawall_actions::stored::{AnswerOf, StoredAnswer, StoredRequest};
use seawall_actions::{HttpRemote, Judged, Sent};
use seawall_client::connect::Settings;
use seawall_client::{
    AnswerLimits, CallRequest, Clock, Dependency, DependencySettings, EndpointSettings, PoolSettings, Shared,
};
use seawall_lab::rogue::{Act, Answer, Load, Rogue, Then, pattern};
use seawall_ledger::machine::{Stamp, recorded};
use seawall_ledger::{Action, Delivery, NewAction, Performed, Remote};
use seawall_policy::{
    Effect, Field, Force, GuardSettings, Idempotency, Keys, Plan, Predicate, Reason, Rules, Scalar, Wish,
};

/// A provider that does one act with every request, until the test sets another.
struct Provider {
    rogue: Rogue,
    next: Arc<Mutex<Act>>,
    dependency: Arc<Dependency>,
}

/// The longest time that a call may take.
const LONGEST: Duration = Duration::from_secs(20);

impl Provider {
    fn open() -> Provider {
        let next = Arc::new(Mutex::new(Act::Close));
        let told = Arc::clone(&next);
        let rogue = Rogue::builder().each(move |_, _| told.lock().unwrap().clone()).bind().unwrap();
        let url = format!("http://{}", rogue.address()).parse().unwrap();
        let settings = DependencySettings {
            name: "payments".into(),
            endpoints: vec![EndpointSettings { url, headers: HeaderMap::new() }],
            connect: Settings::default(),
            pool: PoolSettings {
                settle: Duration::from_millis(20),
                idle: Duration::from_secs(60),
                max_idle: 8,
                max_age: Duration::from_secs(60),
            },
            deadline_header: None,
            health: None,
            answer: AnswerLimits::default(),
        };
        let mut guards = GuardSettings::default();
        guards.breaker.enabled = false;
        guards.cooling.enabled = false;
        let dependency = Dependency::new(settings, Shared::new(guards, 1), Clock::new()).unwrap();
        Provider { rogue, next, dependency: Arc::new(dependency) }
    }

    fn does(&self, act: impl Into<Act>) {
        *self.next.lock().unwrap() = act.into();
    }

    /// Returns the remote of an operation with these rules.
    fn remote(&self, rules: Rules) -> HttpRemote {
        let dependency = Arc::clone(&self.dependency);
        let connections = Arc::new(move || Some(Arc::clone(&dependency)));
        HttpRemote::new(connections, &Plan::new(rules, 1), Sent::new(None, Idempotency::Keyed), None, None)
    }
}

fn predicate(status: u16, code: Option<&str>) -> Predicate {
    let field = |code: &str| Field { pointer: "/code".into(), any_of: vec![Scalar::Text(code.into())] };
    Predicate { statuses: vec![status], fields: code.map(field).into_iter().collect() }
}

/// An operation whose answers are judged by their status.
fn plain() -> Rules {
    Rules { refuses: vec![503], ..Rules::of(Idempotency::Keyed) }
}

/// An operation whose answers with the status 200 are judged by a code in their body.
fn coded() -> Rules {
    let mut rules = plain();
    rules.answers.duplicate = vec![predicate(409, Some("SEEN")), predicate(208, None)];
    rules.answers.applied = vec![predicate(200, Some("OK"))];
    rules.answers.not_applied = vec![predicate(200, Some("DECLINED"))];
    rules
}

/// A recorded action with this key.
fn action(key: &str) -> Action {
    let request = StoredRequest {
        line: Some((Method::POST, "/v1/charges?x=1".to_owned())),
        headers: HeaderMap::from_iter([(http::header::CONTENT_TYPE, "application/json".parse().unwrap())]),
        body: b"{}".to_vec(),
    };
    let new = NewAction::new("payments", "charge", key, request.encode());
    let now = Stamp::from_micros(0);
    Action::of(&new, recorded(&seawall_ledger::machine::Rules::of(Idempotency::Keyed), now), now)
}

async fn performed(remote: &HttpRemote, action: &Action, deadline: Instant) -> Performed {
    remote.perform(Delivery { action, number: 1, deadline }).await.0
}

/// An answer with a body that is longer than is kept by default. Its code comes last.
fn long(status: u16, code: &str) -> Answer {
    let body = format!("{{\"pad\":\"{}\",\"code\":\"{code}\"}}", "x".repeat(200 << 10));
    Answer::status(status).load(Load::bytes(body))
}

/// An answer whose body breaks after its head was read, before it is longer than is kept.
fn broken(status: u16) -> Answer {
    Answer::status(status).load(Load::pattern(120 << 10).cut_after(100 << 10))
}

fn says(status: u16, code: &str) -> Answer {
    Answer::status(status).load(Load::bytes(format!("{{\"code\":\"{code}\"}}")))
}

/// What the ledger is told, without the bytes of the answer.
#[derive(Debug, PartialEq)]
enum Tells {
    NotSent,
    /// Whether the answer is recorded.
    Yes(bool),
    /// Whether the refusal is recorded.
    No(bool),
    Duplicate,
    Unknown,
}

impl From<Performed> for Tells {
    fn from(performed: Performed) -> Tells {
        match performed {
            Performed::NotSent => Tells::NotSent,
            Performed::Yes(answer) => Tells::Yes(answer.is_some()),
            Performed::No(answer) => Tells::No(answer.is_some()),
            Performed::Duplicate => Tells::Duplicate,
            Performed::Unknown => Tells::Unknown,
        }
    }
}

#[tokio::test]
async fn each_ending_tells_the_ledger_what_is_known() {
    use Tells::{Duplicate, No, NotSent, Unknown, Yes};
    let provider = Provider::open();
    let cut = |status| says(status, "OK").load(Load::bytes("{\"code\":\"OK\"}").cut_after(5));
    let empty = |status| Answer::status(status);
    let cases: Vec<(&str, Act, [Tells; 2])> = vec![
        ("200 OK", says(200, "OK").into(), [Yes(true), Yes(true)]),
        ("200 DECLINED", says(200, "DECLINED").into(), [Yes(true), No(true)]),
        ("200 NEW", says(200, "NEW").into(), [Yes(true), Yes(true)]),
        ("200 HTML", Answer::ok("<html>").into(), [Yes(true), Unknown]),
        ("200 empty", empty(200).into(), [Yes(true), Unknown]),
        ("204", empty(204).into(), [Yes(true), Yes(true)]),
        ("208", says(208, "OK").into(), [Yes(true), Duplicate]),
        ("303", empty(303).into(), [Yes(true), Yes(true)]),
        ("400", says(400, "OK").into(), [No(true), No(true)]),
        ("402 empty", empty(402).into(), [No(true), No(true)]),
        ("408", empty(408).into(), [Unknown, Unknown]),
        ("409 SEEN", says(409, "SEEN").into(), [Unknown, Duplicate]),
        ("409 OTHER", says(409, "OTHER").into(), [Unknown, Unknown]),
        ("429", empty(429).into(), [Unknown, Unknown]),
        ("500", says(500, "OK").into(), [Unknown, Unknown]),
        ("503 refused", says(503, "OK").into(), [NotSent, NotSent]),
        // The body breaks together with the head, so there is no answer.
        ("200 cut", cut(200).into(), [Unknown, Unknown]),
        ("402 cut", cut(402).into(), [Unknown, Unknown]),
        ("200 broken", broken(200).into(), [Unknown, Unknown]),
        ("201 broken", broken(201).into(), [Unknown, Unknown]),
        ("208 broken", broken(208).into(), [Unknown, Duplicate]),
        ("402 broken", broken(402).into(), [No(false), No(false)]),
        ("503 broken", broken(503).into(), [NotSent, NotSent]),
        // The body is longer than is kept, but not too long to be judged.
        ("200 long OK", long(200, "OK").into(), [Yes(false), Yes(false)]),
        ("200 long DECLINED", long(200, "DECLINED").into(), [Yes(false), No(false)]),
        ("402 long", long(402, "OK").into(), [No(false), No(false)]),
        ("409 long SEEN", long(409, "SEEN").into(), [Unknown, Unknown]),
        ("208 long", long(208, "OK").into(), [Yes(false), Duplicate]),
        ("500 long", long(500, "OK").into(), [Unknown, Unknown]),
        ("200 endless", Answer::status(200).load(Load::endless()).into(), [Yes(false), Unknown]),
        ("201 endless", Answer::status(201).load(Load::endless()).into(), [Yes(false), Yes(false)]),
        ("402 endless", Answer::status(402).load(Load::endless()).into(), [No(false), No(false)]),
        ("closed", Act::Close, [Unknown, Unknown]),
        ("reset", Act::Reset, [Unknown, Unknown]),
        ("no HTTP", Act::Raw("SSH-2.0\r\n\r\n".into(), Then::Close), [Unknown, Unknown]),
    ];
    let remotes = [provider.remote(plain()), provider.remote(coded())];
    let row = action("k1");
    let mut wrong = Vec::new();
    for (name, act, expected) in cases {
        provider.does(act);
        for (remote, expected) in remotes.iter().zip(expected) {
            let told = Tells::from(performed(remote, &row, Instant::now() + LONGEST).await);
            if told != expected {
                wrong.push((name, told, expected));
            }
        }
    }
    assert_eq!(wrong, [], "what was told, and what was expected");
    let heard = provider.rogue.counts().requests;
    for (name, row, deadline) in [
        ("no time left", &row, Instant::now()),
        ("a key that no header takes", &action("k\n1"), Instant::now() + LONGEST),
    ] {
        assert_eq!(performed(&remotes[0], row, deadline).await, Performed::NotSent, "{name}");
    }
    assert_eq!(provider.rogue.counts().requests, heard);
}

/// Sends the action's request as a caller of its own, and judges the outcome.
async fn judged(provider: &Provider, remote: &HttpRemote, action: &Action) -> Judged {
    let wish = Wish { within: Some(LONGEST), no_repeats: true, ..Wish::default() };
    let prepare = async { remote.request_of(action).ok() };
    let call = provider.dependency.call_prepared(remote.perform_plan(), Keys::NONE, wish, prepare);
    remote.judge(call.await.unwrap(), provider.dependency.clock()).await
}

#[tokio::test]
async fn a_request_is_made_of_the_record_and_the_key() {
    let provider = Provider::open();
    let remote = provider.remote(plain());
    let CallRequest { method, path, headers, .. } = remote.request_of(&action("k1")).unwrap();
    assert_eq!((method, path.as_str()), (Method::POST, "/v1/charges?x=1"));
    assert_eq!(headers["idempotency-key"], "k1");
    assert_eq!(headers["content-type"], "application/json");
    for (name, row, why) in [
        ("key", action("k\n1"), "the key is no header's value"),
        ("line", Action { request: b"{}".to_vec(), ..action("k1") }, "nothing says where a body alone goes"),
        ("path", Action { request: b"GET {} HTTP/1.1\r\n\r\n".to_vec(), ..action("k1") }, "the path is none"),
    ] {
        let told = remote.request_of(&row).unwrap_err();
        assert!(told.starts_with(why), "{name}: {told}");
    }
    provider.does(says(200, "OK"));
    let judged = judged(&provider, &remote, &action("k1")).await;
    assert_eq!((judged.finish.effect, judged.report.status), (Effect::Applied, Some(200)));
    let heard = provider.rogue.counts().heard;
    assert_eq!((heard[0].header("idempotency-key"), &heard[0].body[..]), (Some("k1"), &b"{}"[..]));
}

#[tokio::test]
async fn an_answer_is_recorded_so_that_it_can_be_given_again() {
    let provider = Provider::open();
    let remote = provider.remote(coded());
    for (code, of) in [("OK", AnswerOf::Reply), ("DECLINED", AnswerOf::Refusal)] {
        let answer = says(200, code).header("x-request-id", "7").header("set-cookie", "a=b");
        provider.does(answer.header("content-type", "application/json"));
        let judged = judged(&provider, &remote, &action("k1")).await;
        let live = judged.answer.unwrap();
        assert_eq!(live.head.headers["set-cookie"], "a=b", "the caller gets it");
        let (Performed::Yes(Some(bytes)) | Performed::No(Some(bytes))) = judged.performed else {
            panic!("{:?}", judged.performed)
        };
        let stored = StoredAnswer::decode(&bytes).unwrap();
        assert_eq!((stored.of, stored.headers.len()), (of, 2));
        let (head, body) = stored.into_parts().unwrap();
        assert_eq!((head.status.as_u16(), body), (200, live.read));
        assert_eq!(head.headers["x-request-id"], "7");
        assert_eq!(head.headers["content-type"], "application/json");
    }
}

#[tokio::test]
async fn a_long_answer_is_passed_on_whole_and_not_recorded() {
    let provider = Provider::open();
    let (usual, small) = (provider.remote(plain()), provider.remote(plain()).answer_max(1000));
    for (remote, bound) in [(&usual, 128 << 10), (&small, 1000)] {
        for (length, is_kept) in [(0, true), (1, true), (bound, true), (bound + 1, false), (1 << 20, false)] {
            provider.does(Answer::status(201).load(Load::pattern(length)));
            let judged = judged(&provider, remote, &action("k1")).await;
            assert_eq!(Tells::from(judged.performed), Tells::Yes(is_kept), "{length}");
            let live = judged.answer.unwrap();
            assert_eq!(
                (live.whole().is_some(), live.broken, live.rest.is_some()),
                (is_kept, false, !is_kept)
            );
            let mut body = live.read.to_vec();
            if let Some(rest) = live.rest {
                body.extend_from_slice(&rest.collect().await.unwrap().to_bytes());
            }
            assert!(body == pattern(0, length as usize), "{} of {length} bytes", body.len());
        }
    }
    // Nobody reads the whole of this one.
    provider.does(Answer::status(201).load(Load::endless()));
    let live = judged(&provider, &usual, &action("k1")).await.answer.unwrap();
    assert!(live.read.len() > 128 << 10 && live.read.len() < 1 << 20, "{}", live.read.len());
}

#[tokio::test]
async fn a_body_that_breaks_leaves_the_effect_unknown() {
    let provider = Provider::open();
    provider.does(broken(201));
    let judged = judged(&provider, &provider.remote(plain()), &action("k1")).await;
    assert_eq!((judged.performed, judged.finish.effect), (Performed::Unknown, Effect::Applied));
    assert_eq!(judged.report.status, Some(201));
    assert!(judged.report.detail.unwrap().contains("broke"));
    let live = judged.answer.unwrap();
    assert!(live.broken && live.rest.is_none() && live.whole().is_none());
    assert!(!live.read.is_empty() && live.read == pattern(0, live.read.len()));
}

#[tokio::test]
async fn a_call_that_was_not_sent_says_why() {
    let provider = Provider::open();
    let remote = provider.remote(plain());
    let now = provider.dependency.clock().now();
    provider.dependency.shared().with(|guards| guards.force(0, Force::Open, now));
    let judged = judged(&provider, &remote, &action("k1")).await;
    assert_eq!((judged.performed, judged.ending, judged.detail), (Performed::NotSent, None, None));
    assert_eq!(judged.finish.refusal.map(|no| no.reason), Some(Reason::BreakerOpen));
    assert_eq!(judged.report.detail.as_deref(), Some("breaker-open"));
    assert!(judged.answer.is_none());
    assert_eq!(provider.rogue.counts().requests, 0);
}

#[tokio::test]
async fn an_answer_that_is_short_enough_to_be_kept_is_judged_by_its_fields() {
    let provider = Provider::open();
    let body = format!("{{\"pad\":\"{}\",\"code\":\"DECLINED\"}}", "x".repeat(400 << 10));
    provider.does(Answer::status(200).load(Load::bytes(body)));
    for (most, expected) in
        [(128 << 10, Tells::Unknown), (300 << 10, Tells::Unknown), (1 << 20, Tells::No(true))]
    {
        let remote = provider.remote(coded()).answer_max(most);
        let told = judged(&provider, &remote, &action("k1")).await.performed;
        assert_eq!(Tells::from(told), expected, "{most}");
    }
}
