//! The critical load: above it, an overload never ends once it has begun, because repeats keep it alive.
//!
//! While all attempts time out, each call makes `a` attempts. If `aρ ≥ 1`, where `ρ` is the load, the server never
//! works off its queue. So the critical load is `1/a`. The scenario finds it by halving an interval of loads. Each step
//! simulates the load in the middle of the interval: for 20 seconds the provider has only a twentieth of its capacity,
//! and so gets a backlog. Then the step looks whether this backlog shrinks or grows.

use super::arms::count;
use super::scenario::{Findings, Scenario, Study};
use super::storm::{self, BASE, JITTER, Storm, peer, per_request, per_success};
use crate::sim::figures::{Estimate, Figure, Value};
use crate::sim::fleet::Policy;
use crate::sim::fleet::peer::PeerPolicy;
use crate::sim::knobs::{Knob, Misuse, Takes};
use crate::sim::seeds;
use crate::sim::world::record::Record;
use crate::sim::world::run::run as play;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "critical-load",
    question: "Above which load does an overload that has begun never end?",
    source: "N. Bronson et al., HotOS 2021; closed form 1/a",
    seeds: 3,
    callers: Ok(()),
    knobs: &[
        storm::TRIES,
        Knob {
            name: "budget",
            default: "0.1",
            takes: Takes::Number(0.0, 2.0),
            what: "tokens earned with each request, or success",
        },
    ],
    run,
};

/// The search ends when the interval of loads is no wider than this.
const FINE: f64 = 0.005;

fn run(study: &Study<'_>) -> Result<Findings, Misuse> {
    let storm = Storm {
        callers: study.callers.unwrap_or(BASE.callers),
        left: 0.05,
        lasts: 20.0,
        horizon: 440.0,
        ..BASE
    };
    let tries = study.knobs.number("tries") as u32;
    let share = study.knobs.number("budget");
    let jittered = || PeerPolicy::tries(tries, JITTER);
    let percent = (share * 1000.0).round() / 10.0;
    let arms: [(String, Policy); 4] = [
        (format!("{tries} tries"), peer(jittered())),
        (format!("req budget {percent}%"), peer(jittered().budget(per_request(share)))),
        (format!("succ budget {percent}%"), peer(jittered().budget(per_success(share, 10.0)))),
        ("seawall".into(), storm.seawall(&study.seawall)),
    ];
    let each = study.seeds as usize;
    let found = seeds::each(arms.len() * each, study.threads, study.progress, |index| {
        search(storm, &arms[index / each].1, study.seed + (index % each) as u64)
    });
    let mut findings = Findings::default();
    for ((name, _), runs) in arms.iter().zip(found.chunks(each)) {
        let loads: Vec<f64> = runs.iter().map(|(load, _)| *load).collect();
        findings
            .figures
            .push(Figure::new(format!("critical_load/{name}"), Value::Number(Estimate::of(&loads))));
        runs.iter().for_each(|(_, records)| count(&mut findings, records));
    }
    Ok(findings)
}

/// Returns the critical load, and the records of all runs that were needed to find it. The critical load is the middle
/// between the highest load at which the provider recovers and the lowest at which it does not.
fn search(storm: Storm, policy: &Policy, seed: u64) -> (f64, Vec<Record>) {
    let (mut recovers, mut never) = (0.02, 0.99);
    let mut records = Vec::new();
    while never - recovers > FINE {
        let load = (recovers + never) / 2.0;
        let mut record = play(Storm { load, ..storm }.world(policy.clone()), seed);
        *(if shrinks(&record, storm.over()) { &mut recovers } else { &mut never }) = load;
        record.seconds = Vec::new();
        records.push(record);
    }
    ((recovers + never) / 2.0, records)
}

/// Returns whether the provider has recovered or will recover. The time after the trouble is divided into three equal
/// parts. The provider will recover if the backlog is smaller in the last part than in the middle one.
fn shrinks(record: &Record, over: usize) -> bool {
    if record.recovery(over).is_some() {
        return true;
    }
    let end = record.seconds.len();
    let third = (end - over) / 3;
    let waiting = |from, to| record.sum(from, to, |second| f64::from(second.waiting));
    waiting(end - third, end) < waiting(end - 2 * third, end - third)
}
