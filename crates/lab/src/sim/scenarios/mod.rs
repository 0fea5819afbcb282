//! The named scenarios, one file each: a question that was asked in public before, and what the simulation answers.

mod adaptive_limit;
mod amplification;
mod arms;
mod client_count;
mod cooling;
mod critical_load;
mod erlang_b;
mod jitter;
mod metastable;
mod partial_outage;
pub mod question;
mod storm;
mod tail;
mod witnesses;

use std::time::Duration;

use seawall_policy::{Backoff, GuardSettings};

use super::figures::Figure;
use super::knobs::{Knob, Knobs, Misuse, unknown};
use super::report::Course;
use super::seeds::Progress;

/// A scenario.
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// The question it asks.
    pub question: &'static str,
    /// Where the expected answer comes from.
    pub source: &'static str,
    /// Seeds where nobody says how many.
    pub seeds: u32,
    /// Whether the number of callers can be chosen; why not.
    pub callers: Result<(), &'static str>,
    /// Settings of its own.
    pub knobs: &'static [Knob],
    run: fn(&Study<'_>) -> Result<Findings, Misuse>,
}

/// The scenarios, in the order in which they are listed.
pub const ALL: &[&Scenario] = &[
    &erlang_b::SCENARIO,
    &jitter::SCENARIO,
    &amplification::SCENARIO,
    &metastable::SCENARIO,
    &critical_load::SCENARIO,
    &client_count::SCENARIO,
    &partial_outage::SCENARIO,
    &tail::SCENARIO,
    &adaptive_limit::SCENARIO,
    &witnesses::SCENARIO,
    &cooling::SCENARIO,
];

/// How a run is asked for.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Callers, where the scenario's own number shall not hold.
    pub callers: Option<u32>,
    /// How many seeds.
    pub seeds: Option<u32>,
    /// The first seed; the others follow it.
    pub seed: u64,
    /// Threads; results do not depend on it.
    pub threads: usize,
    /// The scenario's own settings, by name.
    pub set: Vec<(String, String)>,
    /// Seawall's own settings, for the arms that run it.
    pub seawall: Seawall,
    /// Whether the course of each arm is kept, for plots.
    pub plots: bool,
}

/// Seawall's settings as far as a simulation needs them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seawall {
    /// Breaker, limit, budget, and how many copies run.
    pub guards: GuardSettings,
    /// Attempts in all.
    pub attempts: u32,
    /// Waits between them.
    pub backoff: Backoff,
    /// The total deadline of a call.
    pub total: Option<Duration>,
}

impl Default for Seawall {
    fn default() -> Self {
        Seawall {
            guards: GuardSettings::default(),
            attempts: 2,
            backoff: Backoff::default(),
            total: Some(Duration::from_secs(30)),
        }
    }
}

impl Default for Ask {
    fn default() -> Self {
        Ask {
            callers: None,
            seeds: None,
            seed: 1,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            set: Vec::new(),
            seawall: Seawall::default(),
            plots: false,
        }
    }
}

/// What a scenario is given.
pub(super) struct Study<'a> {
    pub(super) callers: Option<u32>,
    pub(super) seeds: u32,
    pub(super) seed: u64,
    pub(super) threads: usize,
    pub(super) knobs: Knobs,
    pub(super) seawall: Seawall,
    pub(super) plots: bool,
    pub(super) progress: Progress<'a>,
}

/// What a scenario found.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// In the order of the scenario's page.
    pub figures: Vec<Figure>,
    /// Over all events of all runs, in the order of the runs.
    pub hash: u64,
    /// Events of all runs.
    pub events: u64,
    /// What the numbers of a list are, in their order.
    pub columns: Vec<&'static str>,
    /// How each arm went, where it was asked for and there is something to see.
    pub courses: Vec<Course>,
}

/// The scenario of this name.
///
/// # Errors
/// There is none; the nearest is named.
pub fn find(name: &str) -> Result<&'static Scenario, Misuse> {
    let names: Vec<&str> = ALL.iter().map(|scenario| scenario.name).collect();
    ALL.iter()
        .find(|scenario| scenario.name == name)
        .copied()
        .ok_or_else(|| unknown("scenario", name, &names))
}

impl Scenario {
    /// Runs it.
    ///
    /// # Errors
    /// Something asked for cannot be.
    pub fn run(&self, ask: &Ask, progress: Progress<'_>) -> Result<Findings, Misuse> {
        (self.run)(&self.study(ask, progress)?)
    }

    /// What was asked for, checked.
    fn study<'a>(&self, ask: &Ask, progress: Progress<'a>) -> Result<Study<'a>, Misuse> {
        if let (Some(_), Err(why)) = (ask.callers, self.callers) {
            return Err(Misuse::new(format!("{} takes no --callers: {why}", self.name)));
        }
        bounded("--callers", ask.callers, 1_000_000)?;
        bounded("--seeds", ask.seeds, 10_000)?;
        Ok(Study {
            callers: ask.callers,
            seeds: ask.seeds.unwrap_or(self.seeds),
            seed: ask.seed,
            threads: ask.threads,
            knobs: Knobs::read(self.knobs, &ask.set)?,
            seawall: ask.seawall,
            plots: ask.plots,
            progress,
        })
    }
}

fn bounded(name: &str, asked: Option<u32>, most: u32) -> Result<(), Misuse> {
    match asked {
        Some(0) => Err(Misuse::new(format!("{name} 0 is impossible; the nearest is 1"))),
        Some(many) if many > most => {
            Err(Misuse::new(format!("{name} {many} is more than this can hold; the most is {most}")))
        }
        Some(_) | None => Ok(()),
    }
}
