//! A scenario: what it asks, how it is run, and what it finds.

use crate::sim::figures::Figure;
use crate::sim::fleet::Seawall;
use crate::sim::knobs::{Knob, Knobs, Misuse};
use crate::sim::report::Course;
use crate::sim::seeds::Progress;

/// A scenario: a question to the simulator, with what is needed to run it.
pub struct Scenario {
    /// The name of the scenario on the command line.
    pub name: &'static str,
    /// The question that the scenario asks.
    pub question: &'static str,
    /// Where the expected answer comes from.
    pub source: &'static str,
    /// The number of seeds if the user chooses none.
    pub seeds: u32,
    /// Whether the user can choose the number of callers. If not, the error says why.
    pub callers: Result<(), &'static str>,
    /// The scenario's own settings.
    pub knobs: &'static [Knob],
    pub(super) run: fn(&Study<'_>) -> Result<Findings, Misuse>,
}

/// What the user asks for when a scenario is run.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The number of callers. With `None`, the scenario's own number is used.
    pub callers: Option<u32>,
    /// The number of seeds. With `None`, the scenario's own number is used.
    pub seeds: Option<u32>,
    /// The first seed; each further seed is one higher. The default is 1.
    pub seed: u64,
    /// The number of threads. Results do not depend on it. The default is the number of threads that the machine can
    /// run.
    pub threads: usize,
    /// Values for the scenario's own settings, by name. Settings that are not in the list have their defaults.
    pub set: Vec<(String, String)>,
    /// Seawall's own settings, for the arms that run Seawall.
    pub seawall: Seawall,
    /// Whether the measures of each second are kept, so that they can be plotted. The default is `false`.
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

/// The settings of one run of a scenario: what the user asked for, after it was checked. What the user did not choose
/// has the scenario's default. Only the number of callers may stay `None`; each scenario then uses its own number.
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

/// The results of a scenario.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// The figures, in the order of the scenario's page.
    pub figures: Vec<Figure>,
    /// The hash over the events of all runs, in the order of the runs.
    pub hash: u64,
    /// The number of events of all runs.
    pub events: u64,
    /// The meanings of the numbers in a figure's list, in their order. The list is empty if no figure is a list.
    pub columns: Vec<&'static str>,
    /// The measures of each simulated variant, second by second. The list is empty if plots were not asked for, or if
    /// the scenario has nothing to plot.
    pub courses: Vec<Course>,
}

impl Scenario {
    /// Runs the scenario and returns what it found.
    ///
    /// # Errors
    /// If the number of callers, the number of seeds or a setting is not valid.
    pub fn run(&self, ask: &Ask, progress: Progress<'_>) -> Result<Findings, Misuse> {
        (self.run)(&self.study(ask, progress)?)
    }

    /// Checks what the user asked for, and returns the settings of the run. What the user did not choose gets the
    /// scenario's default. Fails if the number of callers, the number of seeds or a setting is not valid.
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
