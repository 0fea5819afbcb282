//! Can a limit follow the capacity when half of it is lost and comes back?
//!
//! A provider can serve 500 attempts a second, and answers 503 when its queue is full. Callers send 90 % of what the
//! provider can serve. For a minute the provider has half of its capacity, so the callers have nearly twice as much to
//! send as it can serve. During this minute, a good limit sends only what the provider can serve soon, so that its
//! queue does not fill. Afterwards the limit must rise again.

use super::arms::{note, play};
use super::scenario::{Findings, Scenario, Study};
use super::storm::{AIMD, BASE, JITTER, Storm, peer};
use crate::sim::figures::Figure;
use crate::sim::fleet::Policy;
use crate::sim::fleet::Seawall;
use crate::sim::fleet::peer::PeerPolicy;
use crate::sim::knobs::{Knob, Misuse, Takes};
use crate::sim::world::World;
use crate::sim::world::record::Record;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "adaptive-limit",
    question: "Capacity halves for a minute. Does a limit find what is left, and come back?",
    source: "V. Jacobson, \"Congestion avoidance and control\", SIGCOMM 1988 (AIMD); Netflix concurrency-limits",
    seeds: 5,
    callers: Ok(()),
    knobs: &[
        Knob {
            name: "load",
            default: "0.9",
            takes: Takes::Number(0.1, 0.99),
            what: "calls offered, of capacity",
        },
        Knob {
            name: "left",
            default: "0.5",
            takes: Takes::Number(0.01, 1.0),
            what: "capacity in the minute",
        },
        Knob {
            name: "queue",
            default: "250",
            takes: Takes::Number(0.0, 1e6),
            what: "attempts that the provider lets wait before it answers 503",
        },
    ],
    run,
};

fn run(study: &Study<'_>) -> Result<Findings, Misuse> {
    let storm = Storm {
        callers: study.callers.unwrap_or(10),
        load: study.knobs.number("load"),
        left: study.knobs.number("left"),
        lasts: 60.0,
        horizon: 150.0,
        ..BASE
    };
    let mut alone = study.seawall;
    alone.guards.breaker.enabled = false;
    let arms: [(&str, Policy); 5] = [
        ("no limit, 1 try", peer(PeerPolicy::bare())),
        ("no limit, 3 tries", peer(PeerPolicy::tries(3, JITTER))),
        ("aimd at every timeout, 1 try", peer(PeerPolicy::bare().limit(AIMD))),
        ("seawall's limit alone", storm.seawall(&Seawall { attempts: 1, ..alone })),
        ("seawall", storm.seawall(&study.seawall)),
    ];
    let worlds: Vec<World> = arms
        .iter()
        .map(|(_, policy)| {
            let mut world = storm.world(policy.clone());
            world.providers[0].bound = Some(study.knobs.number("queue") as u32);
            world.watch = true;
            world
        })
        .collect();
    let columns = vec!["done well, of what could be", "waiting", "mean limit", "whole again after s"];
    let mut findings = Findings { columns, ..Findings::default() };
    for (((name, _), world), runs) in arms.iter().zip(&worlds).zip(play(study, &worlds)) {
        note(study, &mut findings, name, world, &runs);
        let rows: Vec<Vec<f64>> = runs.iter().map(|run| row(run, &storm)).collect();
        findings.figures.push(Figure::columns(format!("adaptive_limit/{name}"), &rows));
    }
    Ok(findings)
}

/// Returns four figures of one run. The first three are for the time of the trouble, without its first ten seconds:
///
/// - the number of calls that ended well, divided by the number that the provider could have served: its remaining
///   capacity or, if that is smaller, the load;
/// - the mean number of attempts that waited at the provider;
/// - the mean limit;
/// - the number of seconds from the end of the trouble until goodput stays at 95 % or more; -1 if it does not.
fn row(run: &Record, storm: &Storm) -> Vec<f64> {
    // The first ten seconds are left out, because the limit is still moving to its new value.
    let (from, to) = (storm.from as usize + 10, storm.over());
    let span = (to - from) as f64;
    let done = run.sum(from, to, |second| f64::from(second.ok)) / span;
    let could = storm.capacity() * storm.left.min(storm.load);
    let waiting = run.sum(from, to, |second| f64::from(second.waiting)) / span;
    let limit = run.sum(from, to, |second| f64::from(second.limit)) / span;
    vec![done / could, waiting, limit, run.recovery(storm.over()).unwrap_or(-1.0)]
}
