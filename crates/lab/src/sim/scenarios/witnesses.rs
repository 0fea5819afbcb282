//! Callers that leave: is the provider hanging, or are the callers impatient?
//!
//! A caller that leaves after 50 ms proves nothing about the provider. But if all callers leave early, nobody notices
//! that a provider has stopped answering. So Seawall's guards follow some attempts to their real ending: up to two at a
//! time for each breaker. The obvious rule follows none. It counts each wait that was given up as a failure, as long as
//! the breaker's window holds no success. This rule opens the breakers of healthy providers.
//!
//! There are four studies. Three of them run the same grid of healthy providers, loads and impatient callers: with one
//! breaker for all calls, with a breaker for each key, and with the obvious rule. In the fourth study, a provider stops
//! answering in the course of the run.

use std::sync::Arc;
use std::time::Duration;

use seawall_policy::{Idempotency, Rules};

use super::scenario::{Findings, Scenario, Study};
use crate::sim::agenda::mixed;
use crate::sim::chance::Spread;
use crate::sim::figures::{Estimate, Figure, Value};
use crate::sim::fleet::{Leaving, Policy, SeawallPolicy};
use crate::sim::knobs::{Knob, Misuse, Takes};
use crate::sim::seeds;
use crate::sim::world::run::run as play;
use crate::sim::world::{Leavers, Station, World, Wrong};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "witnesses",
    question: "Most callers leave early. Does that open the breaker of a healthy provider, and is a provider that hangs noticed?",
    source: "an independent simulation of the same grid, with the rule and with the obvious one",
    seeds: 3,
    callers: Err("the grid is about one caller that makes all calls"),
    knobs: &[
        Knob {
            name: "read",
            default: "10",
            takes: Takes::Number(1.0, 120.0),
            what: "seconds without progress after which an attempt is given up",
        },
        Knob {
            name: "keys",
            default: "10",
            takes: Takes::Number(2.0, 1000.0),
            what: "keys where each has a breaker and a limit of its own",
        },
    ],
    run,
};

/// Healthy providers: their names and answer times.
const PROVIDERS: [(&str, Spread); 4] = [
    ("uniform 0.2 to 0.3 s", Spread::Uniform(0.2, 0.3)),
    ("uniform 2 to 4 s", Spread::Uniform(2.0, 4.0)),
    // The mean of a log-normal distribution with a median of 0.2 s and sigma 1: 0.2 * exp(1 / 2).
    ("lognormal, median 0.2 s, sigma 1", Spread::LogNormal(0.329_744, 1.0)),
    ("90 % 0.1 s, 10 % 5 s", Spread::Either(0.1, 0.1, 5.0)),
];
/// The loads. Each entry has the calls per second, the length of a run in seconds, and how many thirds of the seeds are
/// used: 3 means all seeds, 2 means two thirds of them.
const LOADS: [(f64, f64, u32); 4] = [(0.3, 120.0, 3), (2.0, 120.0, 3), (20.0, 60.0, 2), (100.0, 30.0, 2)];
/// The shares of calls whose callers are impatient. Every combination of provider, load, share and patience is
/// simulated.
const SHARES: [f64; 4] = [0.1, 0.5, 0.9, 0.99];
/// How many seconds an impatient caller waits.
const PATIENCE: [f64; 6] = [0.005, 0.05, 0.1, 0.25, 1.0, 3.0];

/// The second in which the provider stops answering, in the study of a provider that hangs.
const HANGS: f64 = 30.0;
/// In the study of a provider that hangs: the minimum number of seconds for which a run goes on after the provider has
/// stopped answering.
const WATCHED: f64 = 30.0;
/// About this number of calls must come after the provider has stopped answering. With few calls per second, the run
/// goes on for longer.
const WATCHED_CALLS: f64 = 36.0;
/// The number of seconds that callers wait before they leave a provider that hangs.
const RESTLESS: Spread = Spread::Uniform(0.05, 1.0);
/// The number of runs of the hanging provider for each seed. With few calls a second, single runs differ much by
/// chance.
const HANG_SEEDS: u32 = 8;

const COLUMNS: [&str; 6] =
    ["runs", "breakers opened", "patient calls", "of them refused", "smallest limit", "attempts followed"];

fn run(study: &Study<'_>) -> Result<Findings, Misuse> {
    let mut findings = Findings { columns: COLUMNS.to_vec(), ..Findings::default() };
    let keys = study.knobs.number("keys") as u32;
    grid(study, &mut findings, "witnesses", Leaving::Witnesses, 1);
    grid(study, &mut findings, "witnesses_keys", Leaving::Witnesses, keys);
    grid(study, &mut findings, "witnesses_obvious", Leaving::Obvious, 1);
    hang(study, &mut findings);
    Ok(findings)
}

/// One run of the grid.
struct Cell {
    world: World,
    provider: usize,
    seed: u64,
}

/// The results of one run of the grid.
struct Row {
    provider: usize,
    opened: bool,
    patient: f64,
    refused: f64,
    least_limit: u32,
    followed: u32,
    hash: u64,
    events: u64,
}

fn grid(study: &Study<'_>, findings: &mut Findings, name: &str, leaving: Leaving, keys: u32) {
    let cells = cells(study, leaving, keys);
    let rows = seeds::each(cells.len(), study.threads, study.progress, |index| row(&cells[index]));
    let all: Vec<&Row> = rows.iter().collect();
    findings.figures.push(sums(format!("{name}/all"), &all));
    for (provider, (told, _)) in PROVIDERS.iter().enumerate() {
        let of: Vec<&Row> = rows.iter().filter(|row| row.provider == provider).collect();
        findings.figures.push(sums(format!("{name}/{told}"), &of));
    }
    for row in &rows {
        findings.hash = mixed(findings.hash, row.hash);
        findings.events += row.events;
    }
}

fn cells(study: &Study<'_>, leaving: Leaving, keys: u32) -> Vec<Cell> {
    let mut cells = Vec::new();
    for (provider, (_, takes)) in PROVIDERS.into_iter().enumerate() {
        for (per_second, seconds, of_three) in LOADS {
            for share in SHARES {
                for patience in PATIENCE {
                    let station = Station::unbounded(takes);
                    let policy = Policy::Seawall(Arc::new(policy(study, leaving, keys)));
                    let mut world = World::new(1, policy, per_second, station, seconds);
                    world.timeout = read(study);
                    world.keys = keys;
                    world.leavers = Some(Leavers { share, patience: Spread::Fixed(patience) });
                    world.watch = true;
                    let seeds = (study.seeds * of_three).div_ceil(3);
                    let each = (0..u64::from(seeds)).map(|number| study.seed + number);
                    cells.extend(each.map(|seed| Cell { world: world.clone(), provider, seed }));
                }
            }
        }
    }
    cells
}

fn row(cell: &Cell) -> Row {
    let record = play(cell.world.clone(), cell.seed);
    let end = record.seconds.len();
    Row {
        provider: cell.provider,
        opened: record.opened.is_some(),
        patient: record.sum(0, end, |second| f64::from(second.patient)),
        refused: record.sum(0, end, |second| f64::from(second.patient_refused)),
        least_limit: record.least_limit.unwrap_or(0),
        followed: record.followed,
        hash: record.hash,
        events: record.events,
    }
}

/// Returns a figure with one number for each of the `COLUMNS`. The smallest limit is the minimum over the runs. All
/// other numbers are sums over the runs.
fn sums(name: String, rows: &[&Row]) -> Figure {
    let sum = |of: &dyn Fn(&Row) -> f64| rows.iter().map(|row| of(row)).sum::<f64>();
    let least = rows.iter().map(|row| row.least_limit).min().unwrap_or(0);
    let numbers = [
        rows.len() as f64,
        sum(&|row| f64::from(u32::from(row.opened))),
        sum(&|row| row.patient),
        sum(&|row| row.refused),
        f64::from(least),
        sum(&|row| f64::from(row.followed)),
    ];
    Figure::new(name, Value::List(numbers.into_iter().map(Estimate::exact).collect()))
}

fn read(study: &Study<'_>) -> Duration {
    Duration::from_secs_f64(study.knobs.number("read"))
}

/// Returns the policy of the simulated callers. Their calls only read, so they may be given up at any time.
fn policy(study: &Study<'_>, leaving: Leaving, keys: u32) -> SeawallPolicy {
    let mut own = SeawallPolicy::new(&study.seawall, 1, read(study), true);
    own.plan.rules = Rules::of(Idempotency::Safe);
    own.leaving = leaving;
    own.by_key = keys > 1;
    own
}

/// Runs the study of a provider that stops answering, and adds its three figures: the number of seconds until the
/// breaker opens if all callers leave, the number if no caller leaves, and the difference.
fn hang(study: &Study<'_>, findings: &mut Findings) {
    let seeds = (study.seeds * HANG_SEEDS) as usize;
    let cases: Vec<(String, [World; 2])> = [PROVIDERS[0], PROVIDERS[1]]
        .into_iter()
        .flat_map(|provider| LOADS.map(|(per_second, ..)| (provider, per_second)))
        .map(|((told, takes), per_second)| {
            let name = format!("witnesses_hang/{told}, {per_second} calls a second");
            (name, [1.0, 0.0].map(|share| hanging(study, takes, per_second, share)))
        })
        .collect();
    let ran = seeds::each(cases.len() * seeds * 2, study.threads, study.progress, |index| {
        let (case, arm, seed) = (index / seeds / 2, index / seeds % 2, index % seeds);
        let record = play(cases[case].1[arm].clone(), study.seed + seed as u64);
        let watched = record.seconds.len() as f64 - HANGS;
        (record.opened.map_or(watched, |opened| opened - HANGS), record.hash, record.events)
    });
    for ((name, _), runs) in cases.iter().zip(ran.chunks(seeds * 2)) {
        let (leaving, patient) = runs.split_at(seeds);
        let rows: Vec<Vec<f64>> = leaving
            .iter()
            .zip(patient)
            .map(|((leaving, ..), (patient, ..))| vec![*leaving, *patient, leaving - patient])
            .collect();
        findings.figures.push(Figure::columns(name.clone(), &rows));
    }
    for (_, hash, events) in ran {
        findings.hash = mixed(findings.hash, hash);
        findings.events += events;
    }
}

fn hanging(study: &Study<'_>, takes: Spread, per_second: f64, share: f64) -> World {
    let station = Station::unbounded(takes).troubled(HANGS, f64::MAX, Wrong::Swallowed);
    let horizon = HANGS + WATCHED.max(WATCHED_CALLS / per_second);
    let mut own = policy(study, Leaving::Witnesses, 1);
    // Each call makes one attempt only. If an attempt is repeated, the breaker is told its result only after the repeat
    // has ended. So with repeats, the breaker would learn late how the calls of patient callers end.
    own.plan.attempts = 1;
    let mut world = World::new(1, Policy::Seawall(Arc::new(own)), per_second, station, horizon);
    world.timeout = read(study);
    world.leavers = Some(Leavers { share, patience: RESTLESS });
    world.watch = true;
    world
}
