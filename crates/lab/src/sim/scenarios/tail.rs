//! The tail at scale: a request that calls many servers, its leaves, waits for the slowest of them.
//!
//! If one leaf in a hundred stalls, a root request that calls a hundred leaves stalls with a probability of 63 %. A
//! second request to another replica of a leaf, sent only when the leaf is late, costs little and removes nearly all of
//! these stalls (J. Dean, L. A. Barroso, *The Tail at Scale*, CACM 2013).

use seawall_policy::Time;

use super::scenario::{Findings, Scenario, Study};
use crate::sim::agenda::{Agenda, Event, mixed};
use crate::sim::chance::{Spread, Stream, Whose, seconds};
use crate::sim::figures::Figure;
use crate::sim::knobs::{Knob, Misuse, Takes};
use crate::sim::seeds;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "tail",
    question: "A request waits for a hundred leaves. How often is it slow, with and without hedges?",
    source: "J. Dean, L. A. Barroso, \"The Tail at Scale\", CACM 2013",
    seeds: 8,
    callers: Err("roots do not meet each other; `--set fan=…` says how many leaves one waits for"),
    knobs: &[
        Knob {
            name: "stalls",
            default: "0.01",
            takes: Takes::Number(0.0, 1.0),
            what: "share of leaves that stall",
        },
        Knob { name: "fan", default: "100", takes: Takes::Number(1.0, 100_000.0), what: "leaves of a root" },
        Knob {
            name: "hedge",
            default: "",
            takes: Takes::Number(0.0, 10.0),
            what: "seconds after which another replica is asked too",
        },
        Knob { name: "roots", default: "3000", takes: Takes::Number(10.0, 1e7), what: "roots for each seed" },
    ],
    run,
};

/// The answer time of a healthy leaf, which is a server that the root request calls.
const LEAF: Spread = Spread::Exponential(0.005);
/// The answer time of a leaf that stalls.
const STALL: Spread = Spread::Uniform(1.0, 2.0);
/// The number of seconds from which a root request counts as slow.
const SLOW: f64 = 1.0;

fn run(study: &Study<'_>) -> Result<Findings, Misuse> {
    let knobs = &study.knobs;
    let (stalls, fan) = (knobs.number("stalls"), knobs.number("fan") as u32);
    let roots = knobs.number("roots") as u32;
    let hedges = [None, Some(knobs.number_or("hedge", 0.015))];
    let each = study.seeds as usize;
    let ran = seeds::each(hedges.len() * each, study.threads, study.progress, |index| {
        play(stalls, fan, hedges[index / each], roots, study.seed + (index % each) as u64)
    });
    let columns = vec!["share of slow roots", "extra leaf requests"];
    let mut findings = Findings { columns, ..Findings::default() };
    for (hedge, runs) in hedges.iter().zip(ran.chunks(each)) {
        let after = hedge.map_or("None".to_owned(), |after| after.to_string());
        let rows: Vec<Vec<f64>> = runs.iter().map(|ran| vec![ran.slow, ran.extra]).collect();
        findings
            .figures
            .push(Figure::columns(format!("tail_at_scale/p{stalls} fan{fan} hedge{after}"), &rows));
    }
    for ran in &ran {
        findings.hash = mixed(findings.hash, ran.hash);
        findings.events += ran.events;
    }
    Ok(findings)
}

#[derive(Clone, Copy)]
enum Happens {
    Answers(u32),
    Hedges(u32),
}

impl Event for Happens {
    fn mark(&self) -> u64 {
        match *self {
            Happens::Answers(leaf) => u64::from(leaf),
            Happens::Hedges(leaf) => u64::from(leaf) | 1 << 32,
        }
    }
}

struct Ran {
    /// The share of root requests that took a second or more.
    slow: f64,
    /// The number of second requests to leaves, as a share of the first requests.
    extra: f64,
    hash: u64,
    events: u64,
}

/// Simulates root requests one after the other, so that no leaf waits because of another root request. A root request
/// calls `fan` servers, its leaves, and waits for all of them. If a leaf has not answered after `hedge` seconds,
/// another replica of the leaf gets a second request; with `None` there is no second request. Returns the share of the
/// root requests that were slow, and the number of second requests as a share of all leaves.
fn play(stalls: f64, fan: u32, hedge: Option<f64>, roots: u32, seed: u64) -> Ran {
    let mut stream = Stream::of(seed, Whose::Provider, 0);
    let mut agenda = Agenda::new();
    let (mut slow, mut extra) = (0_u32, 0_u64);
    let leaf = |stream: &mut Stream| {
        let spread = if stream.chance(stalls) { STALL } else { LEAF };
        seconds(spread.seconds(stream))
    };
    for _ in 0..roots {
        let began = agenda.now();
        let mut waiting = fan;
        let mut answered = vec![false; fan as usize];
        for index in 0..fan {
            agenda.after(leaf(&mut stream), Happens::Answers(index));
            if let Some(after) = hedge {
                agenda.timer(began.saturating_add(seconds(after)), Happens::Hedges(index));
            }
        }
        while let Some((now, event)) = agenda.next_before(Time::NEVER) {
            match event {
                Happens::Answers(index) => {
                    if !std::mem::replace(&mut answered[index as usize], true) {
                        waiting -= 1;
                        if waiting == 0 {
                            slow += u32::from(now.since(began) >= seconds(SLOW));
                        }
                    }
                }
                Happens::Hedges(index) => {
                    if !answered[index as usize] {
                        extra += 1;
                        agenda.after(leaf(&mut stream), Happens::Answers(index));
                    }
                }
            }
        }
    }
    Ran {
        slow: f64::from(slow) / f64::from(roots),
        extra: extra as f64 / f64::from(roots) / f64::from(fan),
        hash: agenda.hash(),
        events: agenda.taken(),
    }
}
