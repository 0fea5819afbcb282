//! Answers of a dependency that are whole, broken, or readable in two ways. A broken answer never looks complete to its
//! caller, whatever was asked and however its bytes arrived, and the next call gets its own answer.
//!
//! Each case names a sentence of RFC 9112 (sections 2 to 7) or RFC 9113 (section 8) about recipients of an answer, or a
//! decision of our own. The dependency is a socket that writes the case's bytes. Each case is requested by GET, and by POST,
//! whose effect is unknown if the answer breaks. It is requested from an operation with declared `answers` and from one
//! without, over HTTP/1.1 and over HTTP/2, with its bytes in one segment and in several. Two good calls on the same connection
//! follow each case.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]
#![allow(missing_docs, unreachable_pub, reason = "modules of a test")]

mod support;

#[path = "answer_corpus/behind.rs"]
mod behind;
#[path = "answer_corpus/caller.rs"]
mod caller;
#[path = "answer_corpus/case.rs"]
mod case;
#[path = "answer_corpus/chunks.rs"]
mod chunks;
#[path = "answer_corpus/delivery.rs"]
mod delivery;
#[path = "answer_corpus/fields.rs"]
mod fields;
#[path = "answer_corpus/framing.rs"]
mod framing;
#[path = "answer_corpus/lane.rs"]
mod lane;
#[path = "answer_corpus/lines.rs"]
mod lines;
#[path = "answer_corpus/one.rs"]
mod one;
#[path = "answer_corpus/oracle.rs"]
mod oracle;
#[path = "answer_corpus/reading.rs"]
mod reading;
#[path = "answer_corpus/statuses.rs"]
mod statuses;
#[path = "answer_corpus/streams.rs"]
mod streams;
#[path = "answer_corpus/table.rs"]
mod table;
#[path = "answer_corpus/two.rs"]
mod two;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use caller::{Caller, Speech};
use case::{Answer, Case, Expect, Split};
use lane::Lane;
use oracle::{Facts, Fault, Kind};
use support::Gateway;
use table::Row;

/// The number of calls that are made at the same time, each to a dependency of its own.
const LANES: usize = 12;

const SECTION: &str = "[gateway]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nworkers = 2\n\
    [defaults]\nbreaker = { enabled = false }\nretry = { base = \"1ms\" }\n\
    budget = { initial = 1000, burst = 1000, per_success = 1.0 }\n\
    timeout = { read = \"5s\", total = \"8s\" }\n";

/// How a case is asked for.
#[derive(Clone, Copy, Debug)]
struct Run {
    case: usize,
    method: &'static str,
    judged: bool,
    split: Split,
    caller: Speech,
}

/// The lines that configure a dependency.
fn dependency(name: &str, address: SocketAddr, two: bool) -> String {
    let version = if two { "2" } else { "1.1" };
    let mut lines = support::dependency(name, address, &format!("http = \"{version}\""));
    for method in ["GET", "POST", "HEAD"] {
        lines.push_str(&format!(
            "[[dependency.{name}.operation]]\nname = \"judged-{method}\"\nmatch = \"{method} /judged/{{*rest}}\"\n\
             answers.not_applied = [{{ status = 200, json = {{ \"/code\" = \"DECLINED\" }} }}]\n"
        ));
    }
    lines
}

/// Every way to ask for these cases.
fn runs(cases: &[Case]) -> VecDeque<Run> {
    let mut runs = VecDeque::new();
    for (number, case) in cases.iter().enumerate() {
        for method in case.methods {
            for judged in [false, true] {
                for &split in case.splits() {
                    for caller in [Speech::One, Speech::Two] {
                        // Runs with single bytes are slow, so they are made in fewer combinations. The kind of caller
                        // makes no difference to how the bytes are read.
                        let often = judged == (*method == "POST") && caller == Speech::One;
                        if split != Split::Bytes || often {
                            runs.push_back(Run { case: number, method, judged, split, caller });
                        }
                    }
                }
            }
        }
    }
    runs
}

/// A way to make a request: a dependency of the gateway, and the socket behind it.
struct Way {
    name: String,
    lane: Arc<Lane>,
    gateway: SocketAddr,
    admin: tokio::sync::Mutex<support::Caller>,
}

impl Way {
    /// The number of broken answers of this dependency that the gateway has logged. Each body that broke has a line in the
    /// log. Of the refusals within one second, only the first has a line; the next line gives the number of the others.
    async fn noted(&self, case: &Case) -> u64 {
        if matches!(case.expect, Expect::Whole(..)) {
            return 0;
        }
        let mut admin = self.admin.lock().await;
        let view = admin.ask("GET", &format!("/api/dependencies/{}", self.name), &[], "").await.json();
        let refusals = view["last_refusals"].as_array().unwrap();
        let times: u64 = refusals.iter().map(|refusal| refusal["times"].as_u64().unwrap()).sum();
        times + view["truncated"].as_u64().unwrap()
    }

    /// Requests a case, and then makes two good calls.
    async fn run(&self, number: usize, run: Run, case: &Case) -> (String, Vec<Fault>) {
        let mut caller = Caller::new(self.gateway, run.caller);
        let before = self.noted(case).await;
        self.lane.set(case.answer.clone(), run.split);
        let path = if run.judged { "judged" } else { "plain" };
        let target = format!("/{}/{path}/{number}", self.name);
        let seen = caller.ask(run.method, &target, &self.lane).await;
        self.lane.until_played().await;
        let noted = self.noted(case).await - before;
        let requests = self.lane.requests();
        let facts = Facts { method: run.method, judged: run.judged, requests, noted };
        let mut faults = oracle::judge(case, &seen, &facts);
        for next in 0..2 {
            let body = format!("{{\"code\":\"GOOD\",\"of\":\"{number}-{next}\"}}");
            self.lane.set(good(&body, &case.answer), Split::Together);
            // A busy machine may report the end of a connection late. A GET is then repeated, but a POST would fail.
            let gets = case.ends_connection() || (number + next).is_multiple_of(2);
            let method = if gets { "GET" } else { "POST" };
            let seen = caller.ask(method, &format!("{target}/{next}"), &self.lane).await;
            faults.extend(oracle::judge_good(&seen, &body));
            self.lane.until_played().await;
        }
        (oracle::told(&seen).1, faults)
    }
}

/// A good answer in the version of HTTP that the dependency speaks.
fn good(body: &str, like: &Answer) -> Answer {
    let case = match like {
        Answer::One(_) => {
            Case::one("", "", format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()), body)
        }
        Answer::Two(_) => Case::two("", "", [two::head(&[(":status", "200")]), two::data(body).end()]),
    };
    case.answer
}

/// Takes run after run until none is left.
async fn work(
    way: Arc<Way>,
    queue: Arc<Mutex<VecDeque<Run>>>,
    cases: Arc<Vec<Case>>,
    rows: Arc<Mutex<Vec<Row>>>,
) {
    loop {
        let (number, run) = {
            let mut queue = queue.lock().unwrap();
            let Some(run) = queue.pop_front() else { return };
            (queue.len(), run)
        };
        let (at, whole) = (Arc::clone(&way), Arc::clone(&cases));
        let done = tokio::spawn(async move { at.run(number, run, &whole[run.case]).await }).await;
        let (outcome, faults) = done.unwrap_or_else(|error| {
            let text = format!("the run ended in the middle: {error}");
            ("no end".to_owned(), vec![Fault { kind: Kind::Silent, text }])
        });
        let Run { method, judged, split, caller, .. } = run;
        let judged = if judged { "judged" } else { "plain" };
        let words = format!("{method} {judged} {split:?} caller {caller:?}");
        rows.lock().unwrap()[run.case].add(&words, outcome, faults);
    }
}

/// Plays all cases and returns a row for each. All of them are of one version of HTTP.
async fn play(cases: Vec<Case>) -> Vec<Row> {
    let two = cases.iter().any(|case| matches!(case.answer, Answer::Two(_)));
    let (mut text, mut lanes) = (SECTION.to_owned(), Vec::new());
    for number in 0..LANES {
        let name = format!("up-{number}");
        let (lane, address) = Lane::open(two).await;
        text.push_str(&dependency(&name, address, two));
        lanes.push((name, lane));
    }
    let gateway = Gateway::start_with(&text).await;
    let rows = Arc::new(Mutex::new(cases.iter().map(Row::of).collect::<Vec<_>>()));
    let cases = Arc::new(cases);
    let queue = Arc::new(Mutex::new(runs(&cases)));
    let mut workers = tokio::task::JoinSet::new();
    for (name, lane) in lanes {
        let admin = tokio::sync::Mutex::new(support::Caller::connect(gateway.admin()).await);
        let way = Way { name, lane, gateway: gateway.address(), admin };
        workers.spawn(work(Arc::new(way), Arc::clone(&queue), Arc::clone(&cases), Arc::clone(&rows)));
    }
    while let Some(worker) = workers.join_next().await {
        worker.unwrap();
    }
    std::mem::take(&mut *rows.lock().unwrap())
}

/// Plays the cases, prints the table, and checks that the four counts are zero. With the environment variable `CASES`, plays
/// only those cases whose name contains its value.
async fn hold(mut cases: Vec<Case>) {
    if let Ok(only) = std::env::var("CASES") {
        cases.retain(|case| case.id.contains(&only));
    }
    let rows = play(cases).await;
    rows.iter().for_each(|row| print!("{row}"));
    let sum = |kind| rows.iter().map(|row| row.count(kind)).sum::<usize>();
    let runs: usize = rows.iter().map(Row::runs).sum();
    let failed = rows.iter().filter(|row| !row.is_good()).count();
    let [complete, mixed, silent, misjudged] =
        [Kind::CompleteThoughBroken, Kind::MixedUp, Kind::Silent, Kind::Misjudged].map(sum);
    println!(
        "{} cases, {runs} runs: {complete} complete though broken, {mixed} mixed up, {silent} without a status or a reset \
         and a log line, {misjudged} misjudged; {failed} cases failed",
        rows.len(),
    );
    assert_eq!((complete, mixed, silent, misjudged), (0, 0, 0, 0), "see the table");
}

#[tokio::test]
async fn broken_answers_over_http1_are_never_complete_and_good_ones_never_mixed_up() {
    let sections = [
        lines::cases(),
        statuses::cases(),
        fields::cases(),
        framing::cases(),
        chunks::cases(),
        behind::cases(),
    ];
    hold(sections.concat()).await;
}

#[tokio::test]
async fn broken_answers_over_http2_are_never_complete_and_good_ones_never_mixed_up() {
    hold(streams::cases()).await;
}
