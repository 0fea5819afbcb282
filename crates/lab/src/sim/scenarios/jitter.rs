//! Backoff and jitter: N clients want to write one row, each with optimistic concurrency control.
//!
//! A client reads the row's version, and then writes on condition that the version is still the same. The write fails
//! if another client has written in between; then the client begins again after a wait. The time in the network, each
//! way, is drawn from a normal distribution (mean 10 ms, standard deviation 2 ms). The setup is that of M. Brooker,
//! *Exponential Backoff and Jitter* (AWS Architecture Blog, 2015): without randomness in the waits, clients that failed
//! at the same time repeat at the same time.

use seawall_policy::Time;

use super::scenario::{Findings, Scenario, Study};
use crate::sim::agenda::{Agenda, Event, mixed};
use crate::sim::chance::{Spread, Stream, Whose, seconds};
use crate::sim::figures::{Figure, Value};
use crate::sim::knobs::{Knob, Misuse, Takes};
use crate::sim::seeds;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "jitter",
    question: "N clients contend for one row: how many writes, and how long, until all are through?",
    source: "M. Brooker, \"Exponential Backoff and Jitter\", AWS Architecture Blog, 2015",
    seeds: 200,
    callers: Ok(()),
    knobs: &[
        Knob { name: "base", default: "5", takes: Takes::Number(0.1, 10_000.0), what: "first bound, in ms" },
        Knob {
            name: "cap",
            default: "2000",
            takes: Takes::Number(0.1, 1e6),
            what: "the largest bound, in ms",
        },
        Knob { name: "delay", default: "10", takes: Takes::Number(0.0, 10_000.0), what: "mean delay, in ms" },
        Knob {
            name: "spread",
            default: "2",
            takes: Takes::Number(0.0, 10_000.0),
            what: "its deviation, in ms",
        },
    ],
    run,
};

/// The rule by which a client waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    None,
    Exponential,
    Equal,
    Full,
    Decorrelated,
}

const RULES: [(Rule, &str); 5] = [
    (Rule::None, "none"),
    (Rule::Exponential, "exp"),
    (Rule::Equal, "equal"),
    (Rule::Full, "full"),
    (Rule::Decorrelated, "decorr"),
];

#[derive(Clone, Copy)]
struct Setup {
    clients: u32,
    base: f64,
    cap: f64,
    network: Spread,
}

fn run(study: &Study<'_>) -> Result<Findings, Misuse> {
    let counts = study.callers.map_or(vec![10, 100], |callers| vec![callers]);
    let milli = |name: &str| study.knobs.number(name) / 1000.0;
    let setup = |clients| Setup {
        clients,
        base: milli("base"),
        cap: milli("cap"),
        network: Spread::Normal(milli("delay"), milli("spread")),
    };
    if study.knobs.number("delay") == 0.0 && study.knobs.number("spread") == 0.0 {
        return Err(Misuse::new(
            "a network without any delay would never let time pass; the nearest is delay=0.001",
        ));
    }
    let cases: Vec<(u32, Rule, &str)> =
        counts.iter().flat_map(|count| RULES.map(|(rule, name)| (*count, rule, name))).collect();
    let each = study.seeds as usize;
    let ran = seeds::each(cases.len() * each, study.threads, study.progress, |index| {
        let (clients, rule, _) = cases[index / each];
        contend(setup(clients), rule, study.seed + (index % each) as u64)
    });
    let columns = vec!["writes", "ms until the last is through"];
    let mut findings = Findings { columns, ..Findings::default() };
    for ((clients, _, name), runs) in cases.iter().zip(ran.chunks(each)) {
        let rows: Vec<Vec<f64>> = runs.iter().map(|ran| vec![ran.writes as f64, ran.millis]).collect();
        findings.figures.push(Figure::columns(format!("aws_jitter/{clients}_{name}"), &rows));
    }
    for ran in &ran {
        findings.hash = mixed(findings.hash, ran.hash);
        findings.events += ran.events;
    }
    let own = findings.figures.clone();
    for clients in counts.iter().filter(|clients| **clients >= 50) {
        let figure = |rule: &str| {
            let name = format!("aws_jitter/{clients}_{rule}");
            let found = own.iter().find(|figure| figure.name == name).expect("each rule was run");
            (found.numbers()[0].mean, found.numbers()[1].mean)
        };
        findings
            .figures
            .push(Figure::new(format!("aws_jitter/ordering_{clients}"), Value::Holds(ordered(&figure))));
    }
    Ok(findings)
}

/// Returns whether the simulation puts the rules for waits in the same order as the published simulation did. `figure`
/// gives two means for the name of a rule: the number of writes, and the time until the last client is through. For
/// example, full jitter (`full`) must need less than half of the writes of plain doubling (`exp`), and less than half
/// of its time.
fn ordered(figure: &dyn Fn(&str) -> (f64, f64)) -> bool {
    let [none, exp, equal, full, decorr] = ["none", "exp", "equal", "full", "decorr"].map(figure);
    let near = (full.0 / equal.0 - 1.0).abs() < 0.1;
    full.0 < 0.5 * exp.0
        && full.1 < equal.1
        && equal.1 < 0.5 * exp.1
        && near
        && equal.0.max(full.0) < decorr.0
        && decorr.0 < exp.0
        && exp.0 < none.0
}

#[derive(Clone, Copy)]
enum Happens {
    Reads(u32),
    HasRead(u32, u32),
    Writes(u32, u32),
    HasWritten(u32, bool),
}

impl Event for Happens {
    fn mark(&self) -> u64 {
        let (kind, client, more) = match *self {
            Happens::Reads(client) => (0, client, 0),
            Happens::HasRead(client, version) => (1, client, version),
            Happens::Writes(client, version) => (2, client, version),
            Happens::HasWritten(client, ok) => (3, client, u32::from(ok)),
        };
        u64::from(client) | kind << 30 | u64::from(more) << 32
    }
}

struct Ran {
    writes: u64,
    millis: f64,
    hash: u64,
    events: u64,
}

struct Client {
    stream: Stream,
    failed: i32,
    /// The length of the last wait, in seconds. Only the decorrelated rule uses it.
    wait: f64,
}

impl Client {
    fn wait(&mut self, rule: Rule, setup: &Setup) -> f64 {
        self.failed += 1;
        let bound = (setup.base * 2_f64.powi(self.failed.min(60))).min(setup.cap);
        let unit = self.stream.unit();
        match rule {
            Rule::None => 0.0,
            Rule::Exponential => bound,
            Rule::Equal => bound / 2.0 + unit * bound / 2.0,
            Rule::Full => unit * bound,
            Rule::Decorrelated => {
                self.wait = (setup.base + unit * (self.wait * 3.0 - setup.base)).min(setup.cap);
                self.wait
            }
        }
    }
}

fn contend(setup: Setup, rule: Rule, seed: u64) -> Ran {
    let mut network = Stream::of(seed, Whose::Network, 0);
    let mut agenda = Agenda::new();
    let client = |number: u32| Client {
        stream: Stream::of(seed, Whose::Caller, u64::from(number)),
        failed: 0,
        wait: setup.base,
    };
    let mut clients: Vec<Client> = (0..setup.clients).map(client).collect();
    let (mut version, mut writes, mut done_at) = (0_u32, 0_u64, Time::ZERO);
    for number in 0..setup.clients {
        agenda.after(setup.network.draw(&mut network), Happens::Reads(number));
    }
    while let Some((now, event)) = agenda.next_before(Time::NEVER) {
        let delay = setup.network.draw(&mut network);
        match event {
            Happens::Reads(client) => agenda.after(delay, Happens::HasRead(client, version)),
            Happens::HasRead(client, read) => agenda.after(delay, Happens::Writes(client, read)),
            Happens::Writes(client, read) => {
                writes += 1;
                let ok = read == version;
                version += u32::from(ok);
                agenda.after(delay, Happens::HasWritten(client, ok));
            }
            Happens::HasWritten(_, true) => done_at = now,
            Happens::HasWritten(client, false) => {
                let wait = clients[client as usize].wait(rule, &setup);
                agenda.after(seconds(wait) + delay, Happens::Reads(client));
            }
        }
    }
    Ran { writes, millis: done_at.as_nanos() as f64 / 1e6, hash: agenda.hash(), events: agenda.taken() }
}
