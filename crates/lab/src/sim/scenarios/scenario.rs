//! A scenario: what it asks, how it is run, and what it finds.

use crate::sim::figures::Figure;
use crate::sim::fleet::Seawall;
use crate::sim::knobs::{Knob, Knobs, Misuse};
use crate::sim::report::Course;
use crate::sim::seeds::Progress;

/// A scenario.
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// The question it asks.
    pub question: &'static str,
    /// Where the expected answer comes from.
    pub source: &'static str,
    /// The number of seeds by default.
    pub seeds: u32,
    /// Whether the number of callers can be chosen. If it cannot, the error says why.
    pub callers: Result<(), &'static str>,
    /// Its own settings.
    pub knobs: &'static [Knob],
    pub(super) run: fn(&Study<'_>) -> Result<Findings, Misuse>,
}

/// How a run is asked for.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The number of callers, if it was chosen. Otherwise the scenario's own number is used.
    pub callers: Option<u32>,
    /// The number of seeds.
    pub seeds: Option<u32>,
    /// The first seed; the others follow it.
    pub seed: u64,
    /// The number of threads. Results do not depend on it.
    pub threads: usize,
    /// The scenario's own settings, by name.
    pub set: Vec<(String, String)>,
    /// Seawall's own settings, for the arms that run it.
    pub seawall: Seawall,
    /// Whether it is kept how each arm went, second by second, for plots.
    pub plots: bool,
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
    /// The figures, in the order of the scenario's page.
    pub figures: Vec<Figure>,
    /// The hash over the events of all runs, in the order of the runs.
    pub hash: u64,
    /// The number of events of all runs.
    pub events: u64,
    /// What the numbers of a list mean, in their order.
    pub columns: Vec<&'static str>,
    /// How each arm went, second by second, if that was asked for and there is something to show.
    pub courses: Vec<Course>,
}

impl Scenario {
    /// Runs the scenario.
    ///
    /// # Errors
    /// If what was asked for is not valid.
    pub fn run(&self, ask: &Ask, progress: Progress<'_>) -> Result<Findings, Misuse> {
        (self.run)(&self.study(ask, progress)?)
    }

    /// What was asked for, checked.
    pub(super) fn study<'a>(&self, ask: &Ask, progress: Progress<'a>) -> Result<Study<'a>, Misuse> {
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
