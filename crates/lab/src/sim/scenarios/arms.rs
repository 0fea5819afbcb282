//! Simulates and measures the arms of a study. An arm is one of the variants that a study compares, such as the same
//! callers with and without a retry budget.

use seawall_policy::Time;

use super::scenario::{Findings, Study};
use crate::sim::agenda::mixed;
use crate::sim::figures::{Estimate, Figure, Value};
use crate::sim::knobs::Misuse;
use crate::sim::report::{Course, Line};
use crate::sim::seeds;
use crate::sim::world::World;
use crate::sim::world::record::{Record, Second};
use crate::sim::world::run::run;

/// One arm: its world, and what is measured in this world.
pub(super) struct Arm {
    pub(super) name: String,
    pub(super) world: World,
    pub(super) measure: Measure,
}

/// What is measured in one variant of the simulation. The numbers in this enum are seconds, counted from the start of
/// the run.
#[derive(Clone, Copy, Debug)]
pub(super) enum Measure {
    /// The recovery: the number of seconds from the given second, in which the trouble ends, until goodput is 95 % or
    /// more and stays so. Goodput is the share of the calls begun in a second that ended well.
    Recovery(usize),
    /// Three figures: the recovery as in [`Measure::Recovery`], the share of calls refused before the trouble, and the
    /// largest number of attempts for each call (the peak amplification). Seawall promises bounds for the last two.
    Seawall(usize),
    /// The goodput of a part of the run: from the first number on (included) to the second number (not included).
    Goodput(usize, usize),
}

/// Simulates every world with every seed of the run. Returns the records of each world, in the order of the seeds.
pub(super) fn play(study: &Study<'_>, worlds: &[World]) -> Vec<Vec<Record>> {
    let each = study.seeds as usize;
    let ran = seeds::each(worlds.len() * each, study.threads, study.progress, |index| {
        let mut world = worlds[index / each].clone();
        world.watch |= study.plots;
        run(world, study.seed + (index % each) as u64)
    });
    let mut ran = ran.into_iter();
    worlds.iter().map(|_| ran.by_ref().take(each).collect()).collect()
}

/// Adds these runs to the findings: mixes their hashes into the hash of the findings, and adds their numbers of events.
pub(super) fn count(findings: &mut Findings, runs: &[Record]) {
    for run in runs {
        findings.hash = mixed(findings.hash, run.hash);
        findings.events += run.events;
    }
}

/// Adds the runs of one variant ("arm") to the findings. If plots are wanted, also adds what they show: the means over
/// the runs, second by second.
pub(super) fn note(study: &Study<'_>, findings: &mut Findings, arm: &str, world: &World, runs: &[Record]) {
    count(findings, runs);
    if !study.plots {
        return;
    }
    let callers = world.fleet.iter().map(|group| group.callers).sum::<u32>().max(1) as f32;
    // The last three seconds are left out, since some of their calls have not ended.
    let seconds = runs.iter().map(|run| run.seconds.len().saturating_sub(3)).min().unwrap_or(0);
    let mean = |measure: &'static str, of: &dyn Fn(&Second) -> f32| {
        let at = |second: usize| runs.iter().map(|run| of(&run.seconds[second])).sum::<f32>();
        Line { measure, points: (0..seconds).map(|second| at(second) / runs.len().max(1) as f32).collect() }
    };
    let troubles = world.providers.iter().flat_map(|station| &station.troubles);
    let second = |time: Time| time.as_nanos() as f32 / 1e9;
    let trouble = troubles.fold((f32::MAX, 0.0_f32), |(from, to), trouble| {
        (from.min(second(trouble.from)), to.max(second(trouble.to)))
    });
    findings.courses.push(Course {
        arm: arm.to_owned(),
        trouble: if trouble.0 <= trouble.1 { trouble } else { (0.0, 0.0) },
        lines: vec![
            mean("goodput", &|second| second.ok as f32 / second.begun.max(1) as f32),
            mean("load on the provider", &|second| second.load as f32),
            mean("waiting at the provider", &|second| second.waiting as f32),
            mean("breakers not closed", &|second| second.open as f32 / callers),
            mean("limit", &|second| second.limit),
            mean("in flight", &|second| second.in_flight as f32),
        ],
    });
}

/// Simulates all variants ("arms"), and returns the figures of each.
pub(super) fn measure(study: &Study<'_>, arms: &[Arm]) -> Result<Findings, Misuse> {
    let worlds: Vec<World> = arms.iter().map(|arm| arm.world.clone()).collect();
    let mut findings = Findings::default();
    for (arm, runs) in arms.iter().zip(play(study, &worlds)) {
        note(study, &mut findings, &arm.name, &arm.world, &runs);
        findings.figures.extend(figures(arm, &runs));
    }
    Ok(findings)
}

fn figures(arm: &Arm, runs: &[Record]) -> Vec<Figure> {
    match arm.measure {
        Measure::Recovery(over) => vec![Figure::new(&arm.name, recovery(runs, over))],
        Measure::Goodput(from, to) => {
            let shares: Vec<f64> = runs.iter().map(|run| run.goodput(from, to)).collect();
            vec![Figure::new(&arm.name, Value::Number(Estimate::of(&shares)))]
        }
        Measure::Seawall(over) => {
            let mut all = vec![Figure::new(&arm.name, recovery(runs, over))];
            let mut more = |what: &str, of: &dyn Fn(&Record) -> f64| {
                let values: Vec<f64> = runs.iter().map(of).collect();
                let name = arm.name.replace("recovery", what);
                all.push(Figure::new(name, Value::Number(Estimate::of(&values))));
            };
            more("refused_in_health", &|run| run.refused(5, 30));
            more("peak_amplification", &|run| run.peak_amplification(5, run.seconds.len()));
            all
        }
    }
}

/// Returns the mean recovery time over the runs, counted from the second `over`, in which the trouble ends. If at least
/// one run did not recover, returns a text that says so.
pub(super) fn recovery(runs: &[Record], over: usize) -> Value {
    let each: Option<Vec<f64>> = runs.iter().map(|run| run.recovery(over)).collect();
    match each {
        Some(each) => Value::Number(Estimate::of(&each)),
        None => {
            let left = runs.first().map_or(0, |run| run.seconds.len() - over);
            Value::Said(format!("not within {left} s"))
        }
    }
}
