//! Retries over several tiers multiply.
//!
//! If each of `t` tiers makes `r` attempts for a call, one call makes `r^t` attempts at the last tier when that tier is
//! down. Three tiers with three attempts each make 27 attempts there. With a budget at the top tier alone there are
//! still nine. If every tier has a budget that successes pay for, there is one.

use std::time::Duration;

use super::arms::{count, play};
use super::scenario::{Findings, Scenario, Study};
use super::storm::{peer, per_request, per_success};
use crate::sim::chance::Spread;
use crate::sim::figures::Figure;
use crate::sim::fleet::peer::{Budget, PeerPolicy, Waits};
use crate::sim::fleet::{Policy, SeawallPolicy};
use crate::sim::knobs::{Knob, Misuse, Takes};
use crate::sim::world::record::Record;
use crate::sim::world::{Station, Tier, World};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "retry-amplification",
    question: "Three tiers retry. How many attempts reach the leaf for one call of a user?",
    source: "Google SRE book, chapter 22; M. Brooker, \"Fixing retries with token buckets and circuit breakers\"",
    seeds: 3,
    callers: Ok(()),
    knobs: &[
        Knob { name: "tiers", default: "3", takes: Takes::Number(1.0, 5.0), what: "tiers that call on" },
        Knob { name: "tries", default: "3", takes: Takes::Number(1.0, 5.0), what: "attempts of each tier" },
        Knob {
            name: "failing",
            default: "",
            takes: Takes::Number(0.0, 1.0),
            what: "share of the leaf's answers that fail",
        },
        Knob {
            name: "budget",
            default: "0.1",
            takes: Takes::Number(0.0, 2.0),
            what: "tokens earned with each request, or success",
        },
    ],
    run,
};

/// The number of calls per second.
const PER_SECOND: f64 = 1000.0;
/// The number of seconds before anything is counted.
const WARM: f64 = 20.0;
/// The length of the run, in seconds.
const LASTS: f64 = 40.0;

/// The retry rule that a tier runs.
#[derive(Clone, Copy, PartialEq)]
enum Rule {
    Once,
    Retries,
    Budgeted(Budget),
    Seawall,
}

struct Setup {
    name: String,
    /// The rule of each tier, the top tier first.
    tiers: Vec<Rule>,
    failing: f64,
}

fn run(study: &Study<'_>) -> Result<Findings, Misuse> {
    let setups = setups(study);
    let worlds: Vec<World> = setups.iter().map(|setup| world(study, setup)).collect();
    let columns = vec!["attempts at the leaf for each call", "success of users"];
    let mut findings = Findings { columns, ..Findings::default() };
    for (setup, runs) in setups.iter().zip(play(study, &worlds)) {
        count(&mut findings, &runs);
        let row = |run: &Record| {
            let (from, to) = (WARM as usize, LASTS as usize - 1);
            let begun = run.sum(from, to, |second| f64::from(second.begun));
            vec![run.sum(from, to, |second| f64::from(second.load)) / begun, run.goodput(from, to)]
        };
        findings.figures.push(Figure::columns(&setup.name, &runs.iter().map(row).collect::<Vec<_>>()));
    }
    Ok(findings)
}

fn setups(study: &Study<'_>) -> Vec<Setup> {
    let tiers = study.knobs.number("tiers") as usize;
    let share = study.knobs.number("budget");
    let percent = (share * 1000.0).round() / 10.0;
    let shape = vec![study.knobs.word("tries"); tiers].join("x");
    let (request, success) = (Rule::Budgeted(per_request(share)), Rule::Budgeted(per_success(share, 10.0)));
    let top = |first: Rule, rest: Rule| {
        let mut all = vec![rest; tiers];
        all[0] = first;
        all
    };
    let setup = |name: String, tiers: Vec<Rule>, own: f64| {
        let failing = study.knobs.number_or("failing", own);
        Setup { name: format!("retry_amp/{name}_q{failing}"), tiers, failing }
    };
    let every = |kind: &str| format!("{shape} budget every tier, deposit per {kind} {percent}%");
    let mut all = vec![
        setup(format!("{shape} no budget"), vec![Rule::Retries; tiers], 0.5),
        setup(format!("{shape} no budget"), vec![Rule::Retries; tiers], 1.0),
        setup(format!("{shape} budget top only (succ {percent}%)"), top(success, Rule::Retries), 1.0),
        setup(every("request"), vec![request; tiers], 0.5),
        setup(every("request"), vec![request; tiers], 1.0),
        setup(every("success"), vec![success; tiers], 0.5),
        setup(every("success"), vec![success; tiers], 1.0),
        setup(format!("top only + budget req {percent}%"), top(request, Rule::Once), 0.5),
        setup(format!("top only + budget succ {percent}%"), top(success, Rule::Once), 0.5),
        setup("seawall at every tier".into(), vec![Rule::Seawall; tiers], 0.5),
        setup("seawall at every tier".into(), vec![Rule::Seawall; tiers], 1.0),
    ];
    if study.knobs.is_set("failing") {
        let mut names: Vec<String> = Vec::new();
        all.retain(|setup| {
            let new = !names.contains(&setup.name);
            names.push(setup.name.clone());
            new
        });
    }
    all
}

fn world(study: &Study<'_>, setup: &Setup) -> World {
    let tries = study.knobs.number("tries") as u32;
    let policy = |rule: Rule| -> Policy {
        match rule {
            Rule::Once => peer(PeerPolicy::bare()),
            Rule::Retries => peer(PeerPolicy::tries(tries, Waits::Immediate)),
            Rule::Budgeted(budget) => peer(PeerPolicy::tries(tries, Waits::Immediate).budget(budget)),
            Rule::Seawall => {
                let own = SeawallPolicy::new(&study.seawall, 1, Duration::from_secs(1), true);
                Policy::Seawall(std::sync::Arc::new(own))
            }
        }
    };
    let instances = study.callers.unwrap_or(20);
    let quick = Station::unbounded(Spread::Exponential(0.001));
    let leaf = Station { fails: setup.failing, ..quick.clone() };
    let mut world = World::new(instances, policy(setup.tiers[0]), PER_SECOND, leaf, LASTS);
    world.middle = setup.tiers[1..]
        .iter()
        .map(|rule| Tier { instances, policy: policy(*rule), station: quick.clone() })
        .collect();
    world
}
