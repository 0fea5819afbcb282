//! `seawall lab simulate`: simulates storms in virtual time.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::path::{Path, PathBuf};

use seawall_lab::sim::figures::{Ordered, to_json};
use seawall_lab::sim::knobs::{Misuse, unknown};
use seawall_lab::sim::report;
use seawall_lab::sim::scenarios::question::{self, Dependency, What};
use seawall_lab::sim::scenarios::{self, Ask, Findings, Scenario, Seawall};
use seawall_policy::Timeouts;
use serde::Serialize;

use super::failure::Failure;
use super::terminal;
use crate::config;
use crate::running::compiled::guard_settings;

#[derive(Debug, clap::Args)]
#[command(after_help = "Start with: seawall lab simulate --list
Then:       seawall lab simulate metastable --report storm.html
Your own:   seawall lab simulate -c seawall.toml --dependency payments --what \"slow 10x 60s\"")]
pub(super) struct SimulateArguments {
    /// The scenario; `--list` names them all
    scenario: Option<String>,
    /// List the scenarios, with the question that each asks and the settings that it takes
    #[arg(long)]
    list: bool,
    /// A configuration file. The arms that run Seawall use its settings
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The dependency of the configuration whose settings are used
    #[arg(long, value_name = "NAME")]
    dependency: Option<String>,
    /// What goes wrong: "hang 30s", "slow 10x 60s", "errors 20% 60s", "refuse 30s"
    #[arg(long, value_name = "TEXT", conflicts_with = "scenario")]
    what: Option<String>,
    /// The number of callers, instead of the scenario's own
    #[arg(long, value_name = "N")]
    callers: Option<u32>,
    /// The number of seeds; more seeds make the intervals narrower
    #[arg(long, value_name = "K")]
    seeds: Option<u32>,
    /// The first seed; the others follow it
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// The number of runs at the same time; results do not depend on it [default: the machine's cores]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Change one of the scenario's own settings
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Write an HTML page with plots to this file
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

pub(super) fn run(arguments: &SimulateArguments) -> Result<(), Failure> {
    if arguments.list {
        return terminal::print(&list());
    }
    let mut ask = ask(arguments)?;
    let (scenario, findings) = match &arguments.what {
        Some(what) => {
            let what: What = what.parse().map_err(misuse)?;
            let path = arguments.config.as_deref().unwrap_or(Path::new("./seawall.toml"));
            let dependency = dependency(path, arguments.dependency.as_deref())?;
            let scenario = &question::SCENARIO;
            (scenario, question::ask(&dependency, what, &ask, &progress(scenario.name)))
        }
        None => {
            let scenario = scenarios::find(named(arguments)?).map_err(misuse)?;
            if let Some(path) = &arguments.config {
                ask.seawall = dependency(path, arguments.dependency.as_deref())?.seawall;
            } else if arguments.dependency.is_some() {
                return Err(Failure::misuse(
                    "--dependency names a dependency of a configuration: add -c FILE",
                ));
            }
            (scenario, scenario.run(&ask, &progress(scenario.name)))
        }
    };
    clear_progress();
    let findings = findings.map_err(misuse)?;
    if let Some(path) = &arguments.report {
        let page = report::page(scenario, &about(scenario, &ask, &findings), &findings);
        std::fs::write(path, page)
            .map_err(|error| Failure::failed(format!("{}: cannot be written: {error}", path.display())))?;
        if !arguments.json {
            terminal::complain(&format!("{}: written\n", path.display()));
        }
    }
    let out =
        if arguments.json { as_json(scenario, &ask, &findings) } else { as_table(scenario, &ask, &findings) };
    terminal::print(&out)
}

fn named(arguments: &SimulateArguments) -> Result<&str, Failure> {
    arguments.scenario.as_deref().ok_or_else(|| {
        let names: Vec<&str> = scenarios::ALL.iter().map(|scenario| scenario.name).collect();
        Failure::misuse(format!(
            "which scenario? There are: {} (`--list` says more); or ask about your own settings with --what",
            names.join(", ")
        ))
    })
}

/// Reads a configuration file, and returns the settings of one dependency as a simulation needs them. `name` is the
/// dependency's name. It may be `None` if the file has only one dependency.
fn dependency(path: &Path, name: Option<&str>) -> Result<Dependency, Failure> {
    let env = |name: &str| std::env::var(name).ok();
    let loaded = config::load(path, &env)
        .map_err(|report| Failure::misuse(report.render(terminal::colour_on_errors())))?;
    let all = &loaded.settings.dependencies;
    let names: Vec<&str> = all.iter().map(|dependency| dependency.name.as_str()).collect();
    let found = match name {
        Some(name) => {
            all.iter().find(|known| known.name == name).ok_or_else(|| unknown("dependency", name, &names))
        }
        None => match all.as_slice() {
            [only] => Ok(only),
            _ => {
                let why = format!("which dependency? Say --dependency NAME; there are: {}", names.join(", "));
                return Err(Failure::misuse(format!("{}: {why}", path.display())));
            }
        },
    };
    let found = found.map_err(|why| Failure::misuse(format!("{}: {why}", path.display())))?;
    let Timeouts { read, total, .. } = found.fallback.timeout;
    let retry = &found.fallback.retry;
    let guards = guard_settings(found, loaded.settings.gateway.instances);
    Ok(Dependency {
        name: found.name.clone(),
        seawall: Seawall { guards, attempts: retry.attempts_in_force(), backoff: retry.backoff, total },
        read,
    })
}

fn misuse(why: Misuse) -> Failure {
    Failure::misuse(why.to_string())
}

fn ask(arguments: &SimulateArguments) -> Result<Ask, Failure> {
    let set = arguments.set.iter().map(|text| match text.split_once('=') {
        Some((name, value)) => Ok((name.trim().to_owned(), value.trim().to_owned())),
        None => Err(Failure::misuse(format!("--set takes NAME=VALUE: `{text}`"))),
    });
    let own = Ask::default();
    Ok(Ask {
        callers: arguments.callers,
        seeds: arguments.seeds,
        seed: arguments.seed,
        threads: arguments.threads.unwrap_or(own.threads).max(1),
        set: set.collect::<Result<_, _>>()?,
        plots: arguments.report.is_some(),
        ..own
    })
}

/// Returns a function that is told how many runs are done and how many there are, and writes that to standard error. It
/// writes nothing if standard error is not a terminal. `name` is the scenario's name.
fn progress(name: &'static str) -> impl Fn(usize, usize) + Sync {
    let shown = std::io::stderr().is_terminal();
    move |done, runs| {
        if shown {
            let _ = write!(std::io::stderr().lock(), "\r{name}: {done} of {runs} runs");
        }
    }
}

fn clear_progress() {
    if std::io::stderr().is_terminal() {
        let _ = write!(std::io::stderr().lock(), "\r\x1b[2K");
    }
}

fn list() -> String {
    let mut out = String::new();
    for scenario in scenarios::ALL.iter().copied().chain([&question::SCENARIO]) {
        let _ = writeln!(out, "{}\n    {}\n    {}", scenario.name, scenario.question, scenario.source);
        for knob in scenario.knobs {
            let default = if knob.default.is_empty() { "the study's own" } else { knob.default };
            let _ = writeln!(out, "    --set {}={default}   {} ({})", knob.name, knob.what, knob.takes);
        }
        out.push('\n');
    }
    out.push_str(
        "Try: seawall lab simulate metastable --report storm.html\n     \
         seawall lab simulate -c seawall.toml --dependency NAME --what \"slow 10x 60s\"   (this is `what`)\n",
    );
    out
}

#[derive(Serialize)]
struct Told<'a> {
    scenario: &'a str,
    callers: Option<u32>,
    seed: u64,
    seeds: u32,
    /// The value of a figure may be a list of numbers. This says what each number of such a list means, in order.
    columns: &'a [&'a str],
    figures: Ordered,
    /// Half the width of each figure's 95 % confidence interval.
    intervals: Ordered,
    events: u64,
    event_hash: String,
}

fn as_json(scenario: &Scenario, ask: &Ask, findings: &Findings) -> String {
    let (figures, intervals) = to_json(&findings.figures);
    let told = Told {
        scenario: scenario.name,
        callers: ask.callers,
        seed: ask.seed,
        seeds: ask.seeds.unwrap_or(scenario.seeds),
        columns: &findings.columns,
        figures,
        intervals,
        events: findings.events,
        event_hash: format!("{:016x}", findings.hash),
    };
    let mut text = serde_json::to_string_pretty(&told).expect("numbers and names");
    text.push('\n');
    text
}

fn as_table(scenario: &Scenario, ask: &Ask, findings: &Findings) -> String {
    let mut out = format!("{}\n{}\n\n", scenario.name, scenario.question);
    let names = findings.figures.iter().map(|figure| figure.name.chars().count());
    let width = names.max().unwrap_or(0);
    for figure in &findings.figures {
        let _ = writeln!(out, "{:width$}  {}", figure.name, report::in_words(figure));
    }
    if !findings.columns.is_empty() {
        let _ = writeln!(out, "\nlists are: {}", findings.columns.join(" · "));
    }
    let _ = writeln!(out, "\n{}", about(scenario, ask, findings));
    out
}

fn about(scenario: &Scenario, ask: &Ask, findings: &Findings) -> String {
    let seeds = ask.seeds.unwrap_or(scenario.seeds);
    let last = ask.seed + u64::from(seeds) - 1;
    let given: Vec<String> = ask.set.iter().map(|(name, value)| format!("{name}={value}, ")).collect();
    let callers = ask.callers.map_or(String::new(), |callers| format!("{callers} callers, "));
    format!(
        "{callers}{}± is the 95 % confidence interval over {seeds} seeds ({} to {last}); {} events, hash {:016x}",
        given.concat(),
        ask.seed,
        findings.events,
        findings.hash
    )
}
