//! Erlang's loss formula: how many calls does a concurrency limit refuse? The limit has c slots, which are called
//! permits here.
//!
//! Calls come at random times (a Poisson stream). If there is no queue, the share of refused calls depends on the
//! offered load alone, and not on the distribution of the times for which calls hold their permits (A. K. Erlang,
//! 1917). With a queue, K is the maximum number of calls that hold a permit or wait, so the queue has K − c places.
//! Queueing theory calls this model M/M/c/K. The permits come from the real [`Limit`] and the places from the real
//! [`Queue`], in virtual time.

use std::collections::VecDeque;
use std::time::Duration;

use seawall_policy::{AttemptEnd, Limit, LimitSettings, Queue, QueueSettings, Slot, Time, Waiter};

use super::scenario::{Findings, Scenario, Study};
use crate::sim::agenda::{Agenda, Event, mixed};
use crate::sim::chance::{Spread, Stream, Whose, seconds};
use crate::sim::figures::Figure;
use crate::sim::knobs::{Knob, Misuse, Takes};
use crate::sim::seeds;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "erlang-b",
    question: "How many calls does a bulkhead of c permits refuse?",
    source: "A. K. Erlang 1917 (loss formula); M/M/c/K",
    seeds: 8,
    callers: Err("the arrivals are one Poisson stream; `--set load=…` says how many calls are offered"),
    knobs: &[
        Knob { name: "permits", default: "", takes: Takes::Number(1.0, 100_000.0), what: "permits, c" },
        Knob { name: "queue", default: "0", takes: Takes::Number(0.0, 100_000.0), what: "places to wait" },
        Knob { name: "load", default: "", takes: Takes::Number(0.001, 1e6), what: "offered load in Erlang" },
        Knob { name: "holding", default: "exp", takes: Takes::Word(HOLDING), what: "holding times" },
        Knob {
            name: "calls",
            default: "300000",
            takes: Takes::Number(1000.0, 1e9),
            what: "calls for each seed",
        },
    ],
    run,
};

const HOLDING: &[&str] = &["exp", "det", "lognormal"];

/// One case of a study: a number of permits, a number of places in the queue, a load and a kind of holding times.
struct Case {
    name: String,
    permits: u32,
    places: u32,
    load: f64,
    holding: Spread,
}

fn case(permits: u32, places: u32, load: f64, holding: &'static str) -> Case {
    let name = if places == 0 {
        format!("bulkhead_erlang_b/c{permits}_a{load}_{holding}")
    } else {
        format!("bulkhead_mmck/c{permits}_K{}_a{load}", permits + places)
    };
    let holding = match holding {
        "det" => Spread::Fixed(1.0),
        "lognormal" => Spread::LogNormal(1.0, 1.0),
        _ => Spread::Exponential(1.0),
    };
    Case { name, permits, places, load, holding }
}

fn cases(study: &Study<'_>) -> Vec<Case> {
    let knobs = &study.knobs;
    if ["permits", "queue", "load", "holding"].iter().any(|name| knobs.is_set(name)) {
        let holding = HOLDING.iter().find(|word| **word == knobs.word("holding")).unwrap_or(&"exp");
        let permits = knobs.number_or("permits", 10.0) as u32;
        let load = knobs.number_or("load", 8.0);
        return vec![case(permits, knobs.number("queue") as u32, load, holding)];
    }
    vec![
        case(1, 0, 0.5, "exp"),
        case(10, 0, 8.0, "exp"),
        case(10, 0, 8.0, "det"),
        case(10, 0, 8.0, "lognormal"),
        case(10, 0, 10.0, "exp"),
        case(100, 0, 90.0, "exp"),
        case(10, 10, 8.0, "exp"),
    ]
}

fn run(study: &Study<'_>) -> Result<Findings, Misuse> {
    let (cases, calls) = (cases(study), study.knobs.number("calls") as u64);
    let each = study.seeds as usize;
    let ran = seeds::each(cases.len() * each, study.threads, study.progress, |index| {
        simulate(&cases[index / each], calls, study.seed + (index % each) as u64)
    });
    let columns = vec!["share refused", "mean wait in holding times"];
    let mut findings = Findings { columns, ..Findings::default() };
    for (case, runs) in cases.iter().zip(ran.chunks(each)) {
        let row = |ran: &Ran| match case.places {
            0 => vec![ran.refused],
            _ => vec![ran.refused, ran.mean_wait],
        };
        findings.figures.push(Figure::columns(&case.name, &runs.iter().map(row).collect::<Vec<_>>()));
    }
    for ran in &ran {
        findings.hash = mixed(findings.hash, ran.hash);
        findings.events += ran.events;
    }
    Ok(findings)
}

#[derive(Clone, Copy)]
enum Happens {
    Arrives,
    Leaves,
}

impl Event for Happens {
    fn mark(&self) -> u64 {
        *self as u64
    }
}

struct Ran {
    refused: f64,
    /// The mean wait of the calls that were not refused, as a multiple of the mean holding time.
    mean_wait: f64,
    hash: u64,
    events: u64,
}

/// Simulates one case with this number of calls, and returns what was measured. The unit of time is the mean holding
/// time, which is one second here.
fn simulate(case: &Case, calls: u64, seed: u64) -> Ran {
    let mut arrivals = Stream::of(seed, Whose::Arrivals, 0);
    let mut holding = Stream::of(seed, Whose::Provider, 0);
    let mut agenda = Agenda::new();
    let mut limit = Limit::new(LimitSettings::fixed(case.permits));
    let mut queue = Queue::new(QueueSettings { length: case.places, wait: Duration::MAX });
    let mut held: Vec<Slot> = Vec::new();
    let mut waiting: VecDeque<(Waiter, Time)> = VecDeque::new();
    let (mut begun, mut refused, mut waited) = (0_u64, 0_u64, 0.0);
    agenda.at(Time::ZERO, Happens::Arrives);
    while let Some((now, event)) = agenda.next_before(Time::NEVER) {
        match event {
            Happens::Arrives => {
                begun += 1;
                match queue.is_empty().then(|| limit.admit(false)) {
                    Some(Ok(slot)) => {
                        held.push(slot);
                        agenda.after(case.holding.draw(&mut holding), Happens::Leaves);
                    }
                    Some(Err(_)) | None => match queue.join(now) {
                        Ok((waiter, _)) => waiting.push_back((waiter, now)),
                        Err(_) => refused += 1,
                    },
                }
                if begun < calls {
                    agenda.after(seconds(arrivals.exponential() / case.load), Happens::Arrives);
                }
            }
            Happens::Leaves => {
                let slot = held.pop().expect("one leaves for each that holds a permit");
                limit.release(slot, AttemptEnd::Success);
                if let Some(waiter) = queue.next(now) {
                    let (first, since) = waiting.pop_front().expect("as many as in the queue");
                    assert_eq!(waiter, first, "first come, first served");
                    waited += now.since(since).as_secs_f64();
                    held.push(limit.admit(false).expect("a permit was just given back"));
                    agenda.after(case.holding.draw(&mut holding), Happens::Leaves);
                }
            }
        }
    }
    Ran {
        refused: refused as f64 / calls as f64,
        mean_wait: waited / (calls - refused).max(1) as f64,
        hash: agenda.hash(),
        events: agenda.taken(),
    }
}
