//! `seawall lab simulate`: storms in virtual time.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};

use seawall_lab::sim::figures::{Estimate, Figure, Ordered, Value, to_json};
use seawall_lab::sim::knobs::Misuse;
use seawall_lab::sim::scenarios::{self, Ask, Findings, Scenario};
use serde::Serialize;

use super::{Failure, terminal};

#[derive(Debug, clap::Args)]
#[command(after_help = "Start with: seawall lab simulate --list")]
pub(super) struct Arguments {
    /// Which one; `--list` names them
    scenario: Option<String>,
    /// Say which scenarios there are, and what each asks and takes
    #[arg(long)]
    list: bool,
    /// How many callers, instead of the scenario's own number
    #[arg(long, value_name = "N")]
    callers: Option<u32>,
    /// How many seeds; more narrow the intervals
    #[arg(long, value_name = "K")]
    seeds: Option<u32>,
    /// The first seed; the others follow it
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How many runs at once; results do not depend on it [default: the machine's cores]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// One of the scenario's own settings
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    if arguments.list {
        return terminal::print(&list());
    }
    let name = arguments.scenario.as_deref().ok_or_else(|| {
        let names: Vec<&str> = scenarios::ALL.iter().map(|scenario| scenario.name).collect();
        Failure::misuse(format!("which scenario? There are: {} (`--list` says more)", names.join(", ")))
    })?;
    let scenario = scenarios::find(name).map_err(misuse)?;
    let ask = ask(arguments)?;
    let findings = scenario.run(&ask, &progress(scenario.name)).map_err(misuse);
    clear_progress();
    let findings = findings?;
    let out =
        if arguments.json { as_json(scenario, &ask, &findings) } else { as_table(scenario, &ask, &findings) };
    terminal::print(&out)
}

fn misuse(why: Misuse) -> Failure {
    Failure::misuse(why.to_string())
}

fn ask(arguments: &Arguments) -> Result<Ask, Failure> {
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
        ..own
    })
}

/// Only a terminal is told how far it is.
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
    for scenario in scenarios::ALL {
        let _ = writeln!(out, "{}\n    {}\n    {}", scenario.name, scenario.question, scenario.source);
        for knob in scenario.knobs {
            let default = if knob.default.is_empty() { "the study's own" } else { knob.default };
            let _ = writeln!(out, "    --set {}={default}   {} ({})", knob.name, knob.what, knob.takes);
        }
        out.push('\n');
    }
    out.push_str("Try: seawall lab simulate erlang-b\n");
    out
}

#[derive(Serialize)]
struct Told<'a> {
    scenario: &'a str,
    callers: Option<u32>,
    seed: u64,
    seeds: u32,
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
    let seeds = ask.seeds.unwrap_or(scenario.seeds);
    let mut out = format!("{}\n{}\n\n", scenario.name, scenario.question);
    let names = findings.figures.iter().map(|figure| figure.name.chars().count());
    let width = names.max().unwrap_or(0);
    for figure in &findings.figures {
        let _ = writeln!(out, "{:width$}  {}", figure.name, in_words(figure));
    }
    let last = ask.seed + u64::from(seeds) - 1;
    let _ = writeln!(
        out,
        "\n± is the 95 % confidence interval over {seeds} seeds ({} to {last}); {} events, hash {:016x}",
        ask.seed, findings.events, findings.hash
    );
    out
}

fn in_words(figure: &Figure) -> String {
    match &figure.value {
        Value::Number(one) => estimate(one),
        Value::List(all) => all.iter().map(estimate).collect::<Vec<_>>().join(" · "),
        Value::Holds(true) => "holds".into(),
        Value::Holds(false) => "does not hold".into(),
        Value::Said(text) => text.clone(),
    }
}

fn estimate(one: &Estimate) -> String {
    let digits = match one.mean.abs() {
        large if large >= 1000.0 => 0,
        middle if middle >= 10.0 => 1,
        _ => 4,
    };
    format!("{:.digits$} ± {:.digits$}", one.mean, one.half)
}
