//! Computes medians, and ratios between figures of the same round, and makes the tables that show them.

use std::fmt::Write;
use std::fs;

use serde_json::{Value, json};

use super::cell::{Bench, Cell, Scenario, shown};
use super::measure::Memory;
use super::proxies::Arm;
use crate::process::Outcome;

/// Returns the heading of a report: the machine, the versions and the command. A reader needs them to judge a figure
/// and to measure it again.
pub(super) fn heading(bench: &Bench) -> Outcome<String> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let mut text = format!(
        "machine: {cores} cores, {}, Linux {}\ncommand: cargo xtask {}\n",
        model.trim_start_matches([' ', '\t', ':']),
        read("/proc/sys/kernel/osrelease").trim(),
        std::env::args().skip(1).collect::<Vec<_>>().join(" "),
    );
    if let Some(program) = &bench.programs.seawall {
        let _ = writeln!(text, "program: {}", shown(program));
    }
    for arm in bench.arms.iter().filter(|arm| **arm != Arm::Direct) {
        let _ = writeln!(text, "{}: {}", arm.name(), arm.version(&bench.programs)?);
    }
    let _ = write!(text, "rounds: {}, seconds a cell: {}", bench.rounds, bench.seconds);
    Ok(text)
}

/// Returns all tables of a report as text, in this order:
///
/// - one for each scenario;
/// - one with the idle memory of each proxy with one worker;
/// - one with the geometric mean of each proxy's CPU time as a ratio to HAProxy's, if HAProxy was measured;
/// - one with the CPU time of the gateway as a ratio to an earlier gateway's, if an earlier one was measured.
///
/// After the tables, one line for each result with an error shows its first error.
pub(super) fn tables(scenarios: &[Scenario], arms: &[Arm], cells: &[Cell]) -> String {
    let mut text = String::new();
    for (index, scenario) in scenarios.iter().enumerate() {
        let mut rows = vec![
            ["", "CPU-µs", "x haproxy", "req/s", "p50 +ms", "p99 +ms", "RSS MiB", "PSS MiB", "errors"]
                .map(str::to_owned)
                .to_vec(),
        ];
        rows.extend(arms.iter().map(|arm| row(index, *arm, cells)));
        let _ = write!(text, "\n{}\n{}", scenario.name, aligned(&rows));
    }
    let mut rows = vec![["at rest, 1 worker", "RSS MiB", "PSS MiB"].map(str::to_owned).to_vec()];
    for arm in arms.iter().filter(|arm| **arm != Arm::Direct) {
        let idle = cells.iter().filter(|cell| cell.arm == *arm && scenarios[cell.scenario].workers == 1);
        let figure = |field: fn(Memory) -> u64| mib(median(idle.clone().map(|cell| field(cell.idle) as f64)));
        rows.push(vec![arm.name().to_owned(), figure(|m| m.rss_kib), figure(|m| m.pss_kib)]);
    }
    let _ = write!(text, "\n{}", aligned(&rows));
    if arms.contains(&Arm::Haproxy) {
        let mut rows = vec![["CPU x haproxy", "geometric mean"].map(str::to_owned).to_vec()];
        for arm in arms.iter().filter(|arm| **arm != Arm::Direct) {
            let mean =
                geometric_mean((0..scenarios.len()).filter_map(|s| ratio(s, *arm, Arm::Haproxy, cells)));
            rows.push(vec![arm.name().to_owned(), optional(mean)]);
        }
        let _ = write!(text, "\n{}", aligned(&rows));
    }
    if arms.contains(&Arm::Before) {
        let grown = |scenario| ratio(scenario, Arm::Seawall, Arm::Before, cells);
        let mut rows = vec![["CPU of seawall", "x before"].map(str::to_owned).to_vec()];
        let names = scenarios.iter().enumerate();
        rows.extend(names.map(|(index, scenario)| vec![scenario.name.to_owned(), optional(grown(index))]));
        let mean = geometric_mean((0..scenarios.len()).filter_map(grown));
        rows.push(vec!["geometric mean".to_owned(), optional(mean)]);
        let _ = write!(text, "\n{}", aligned(&rows));
    }
    let errors = cells.iter().filter_map(|cell| Some((cell, cell.seen.first_error.as_ref()?)));
    for (cell, error) in errors {
        let _ = writeln!(
            text,
            "\nerror in round {}, {}, {}: {error}",
            cell.round + 1,
            scenarios[cell.scenario].name,
            cell.arm.name()
        );
    }
    text
}

fn row(scenario: usize, arm: Arm, cells: &[Cell]) -> Vec<String> {
    let mine = || cells.iter().filter(move |cell| cell.scenario == scenario && cell.arm == arm);
    let rate = median(mine().map(|cell| cell.seen.requests as f64 / cell.seen.seconds));
    let errors: u64 = mine().map(|cell| cell.seen.errors).sum();
    let latency = |field: fn(&Cell) -> u64| {
        let ms = median(mine().filter_map(|cell| {
            // The table shows by how much a proxy lengthens the latency: its latency minus the latency without a proxy
            // in the same round. In the row without a proxy, the latency itself is shown.
            let base = if arm == Arm::Direct { 0 } else { field(beside(cell, Arm::Direct, cells)?) };
            Some((field(cell) as f64 - base as f64) / 1e6)
        }));
        ms.map_or(
            "-".to_owned(),
            |ms| if arm == Arm::Direct { format!("({ms:.3})") } else { format!("{ms:.3}") },
        )
    };
    let (mut cpu, mut rss, mut pss) = ("-".to_owned(), "-".to_owned(), "-".to_owned());
    if arm != Arm::Direct {
        cpu = median(mine().map(Cell::cpu_us_per_request)).map_or("-".to_owned(), |us| format!("{us:.1}"));
        rss = mib(median(mine().map(|cell| cell.peak.rss_kib as f64)));
        pss = mib(median(mine().map(|cell| cell.peak.pss_kib as f64)));
    }
    vec![
        arm.name().to_owned(),
        cpu,
        optional(ratio(scenario, arm, Arm::Haproxy, cells)),
        rate.map_or("-".to_owned(), |rate| format!("{rate:.0}")),
        latency(|cell| cell.seen.p50_ns),
        latency(|cell| cell.seen.p99_ns),
        rss,
        pss,
        errors.to_string(),
    ]
}

/// Returns the result of `arm` in the same round and scenario as `cell`; `None` if `arm` was not measured there.
fn beside<'a>(cell: &Cell, arm: Arm, cells: &'a [Cell]) -> Option<&'a Cell> {
    cells.iter().find(|c| c.arm == arm && c.round == cell.round && c.scenario == cell.scenario)
}

/// Returns the CPU time per request of `arm`, divided by that of `base` in the same round, as the median over the
/// rounds. This is `None` if `arm` or `base` is [`Arm::Direct`], where there is no proxy whose CPU time could be
/// measured. It is also `None` if `base` or `arm` was not measured in this scenario.
fn ratio(scenario: usize, arm: Arm, base: Arm, cells: &[Cell]) -> Option<f64> {
    if arm == Arm::Direct {
        return None;
    }
    let mine = cells.iter().filter(|cell| cell.scenario == scenario && cell.arm == arm);
    median(mine.filter_map(|cell| {
        let base = beside(cell, base, cells)?.cpu_us_per_request();
        (base > 0.0).then(|| cell.cpu_us_per_request() / base)
    }))
}

pub(super) fn median(figures: impl Iterator<Item = f64>) -> Option<f64> {
    let mut sorted: Vec<f64> = figures.collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

fn geometric_mean(figures: impl Iterator<Item = f64>) -> Option<f64> {
    let logs: Vec<f64> = figures.map(f64::ln).collect();
    (!logs.is_empty()).then(|| (logs.iter().sum::<f64>() / logs.len() as f64).exp())
}

fn optional(figure: Option<f64>) -> String {
    figure.map_or("-".to_owned(), |figure| format!("{figure:.2}"))
}

fn mib(kib: Option<f64>) -> String {
    kib.map_or("-".to_owned(), |kib| format!("{:.1}", kib / 1024.0))
}

/// Returns a table as text; all rows must have the same number of cells. The first column is aligned to the left, the
/// others to the right.
pub(super) fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = format!("  {:<width$}", row[0], width = widths[0]);
        for (word, width) in row.iter().zip(&widths).skip(1) {
            let _ = write!(line, "  {word:>width$}");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Returns every figure of every round as JSON.
pub(super) fn json(heading: &str, scenarios: &[Scenario], cells: &[Cell]) -> Value {
    let memory = |m: Memory| json!({ "rss_kib": m.rss_kib, "pss_kib": m.pss_kib });
    let rows: Vec<Value> = cells
        .iter()
        .map(|cell| {
            json!({
                "round": cell.round + 1,
                "scenario": scenarios[cell.scenario].name,
                "arm": cell.arm.name(),
                "cpu_ns": cell.cpu_ns,
                "cpu_us_per_request": cell.cpu_us_per_request(),
                "idle": memory(cell.idle),
                "peak": memory(cell.peak),
                "load": cell.seen.to_json(),
            })
        })
        .collect();
    json!({ "heading": heading.lines().collect::<Vec<_>>(), "cells": rows })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::load::Seen;

    fn cell(round: usize, arm: Arm, cpu_us: u64, p50_ns: u64) -> Cell {
        let seen = Seen { requests: 10, seconds: 1.0, p50_ns, ..Seen::default() };
        let idle = Memory::default();
        Cell { round, scenario: 0, arm, seen, cpu_ns: cpu_us * 10_000, idle, peak: idle }
    }

    #[test]
    fn ratio_is_taken_within_a_round() {
        // The machine was half as fast in the second round, but the ratio is the same in both rounds.
        let cells = [
            cell(0, Arm::Haproxy, 10, 0),
            cell(0, Arm::Nginx, 8, 0),
            cell(1, Arm::Haproxy, 20, 0),
            cell(1, Arm::Nginx, 16, 0),
        ];
        assert_eq!(ratio(0, Arm::Nginx, Arm::Haproxy, &cells), Some(0.8));
        assert_eq!(ratio(0, Arm::Haproxy, Arm::Nginx, &cells), Some(1.25));
        assert_eq!(ratio(0, Arm::Direct, Arm::Haproxy, &cells), None);
    }

    #[test]
    fn added_time_is_over_the_direct_way_of_the_same_round() {
        let cells = [cell(0, Arm::Direct, 0, 1_000_000), cell(0, Arm::Nginx, 5, 3_500_000)];
        assert_eq!(row(0, Arm::Nginx, &cells)[4], "2.500");
        assert_eq!(row(0, Arm::Direct, &cells)[4], "(1.000)");
    }

    #[test]
    fn medians_and_means() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median([1.0, 2.0].into_iter()), Some(1.5));
        assert_eq!(median([].into_iter()), None);
        let mean = geometric_mean([0.5, 2.0].into_iter()).unwrap();
        assert!((mean - 1.0).abs() < 1e-12);
    }
}
