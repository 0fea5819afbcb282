//! `cargo xtask bench gateway`: measures what a request costs, compared with other proxies in the same run.
//!
//! Every round runs all proxies one after the other in each scenario, in an order that rotates from round to round. A
//! ratio is taken between two figures of the same round and scenario, and the median of these ratios over the rounds is
//! shown. The obvious way would be to compare absolute figures of different days, but they depend on the machine and on
//! the hour.
//!
//! With one worker, the proxy runs alone on core 0, and the load generator and the upstream share core 1. With two
//! workers, the proxy, the load generator and the upstream share both cores.

use std::fs;
use std::path::PathBuf;

use super::cell::{Bench, Cell, Scenario, build};
use super::proxies::{Arm, Programs};
use super::report;
use crate::needs;
use crate::process::{Outcome, free_port, target};

/// The options of `cargo xtask bench gateway`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Run only one round, with two seconds for each proxy in each scenario.
    #[arg(long)]
    quick: bool,
    /// The proxies with which the gateway is compared, in this order. The tables show the CPU time of each as a ratio
    /// to HAProxy's.
    #[arg(long, value_delimiter = ',', default_value = "haproxy,nginx,envoy")]
    peers: Vec<String>,
    /// The number of seconds in which requests are counted, for each proxy in each scenario and round [default: 5].
    #[arg(long)]
    seconds: Option<f64>,
    /// The number of rounds [default: 3].
    #[arg(long)]
    rounds: Option<usize>,
    /// Run only the scenarios whose name contains this text. If the option is given more than once, a scenario needs to
    /// contain only one of the texts.
    #[arg(long)]
    scenario: Vec<String>,
    /// Write every figure of every round to this file, in addition to the tables.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Measure without the gateway of this tree, and do not build it.
    #[arg(long)]
    without_seawall: bool,
    /// The path of an earlier gateway's program. It is measured in the same rounds as the gateway of this tree.
    #[arg(long, value_name = "PROGRAM")]
    before: Option<PathBuf>,
    /// Install missing tools; for root this is the default.
    #[arg(long)]
    yes: bool,
}

const SCENARIOS: [Scenario; 7] = [
    Scenario { name: "1 connection, 100 B", connections: 1, path: "/100", workers: 1, rate: None },
    Scenario { name: "64 connections, 100 B", connections: 64, path: "/100", workers: 1, rate: None },
    Scenario { name: "512 connections, 100 B", connections: 512, path: "/100", workers: 1, rate: None },
    Scenario { name: "64 connections, 10 KiB", connections: 64, path: "/10k", workers: 1, rate: None },
    Scenario {
        name: "64 connections, 100 B, 2 workers",
        connections: 64,
        path: "/100",
        workers: 2,
        rate: None,
    },
    Scenario {
        name: "512 connections, 100 B, 2 workers",
        connections: 512,
        path: "/100",
        workers: 2,
        rate: None,
    },
    Scenario { name: "3000/s open loop, 100 B", connections: 64, path: "/100", workers: 1, rate: Some(3000) },
];

/// Builds the programs, measures all proxies, and prints the tables. With `--json` it also writes the figures to a
/// file.
pub(crate) fn gateway(options: &Options) -> Outcome<()> {
    let peers = options.peers.iter().map(|name| Arm::peer(name)).collect::<Outcome<Vec<_>>>()?;
    let wanted: Vec<&str> = peers.iter().map(|arm| arm.name()).collect();
    needs::provide(&needs::for_bench(&wanted), options.yes)?;

    let bench = Bench::prepare(options, peers)?;
    let heading = report::heading(&bench)?;
    println!("{heading}");
    let cells = bench.measure()?;
    print!("{}", report::tables(&bench.scenarios, &bench.arms, &cells));
    if let Some(file) = &options.json {
        let text = report::json(&heading, &bench.scenarios, &cells).to_string();
        fs::write(file, text).map_err(|e| format!("{}: {e}", file.display()))?;
    }
    Ok(())
}

impl Bench {
    fn prepare(options: &Options, peers: Vec<Arm>) -> Outcome<Bench> {
        let mut arms = vec![Arm::Direct];
        let mut seawall = None;
        // The load generator must not be so slow that it limits the measured rate, so it is always a release build.
        build("xtask")?;
        if !options.without_seawall {
            build("seawall-gateway")?;
            seawall = Some(target().join("release").join("seawall"));
            arms.push(Arm::Seawall);
        }
        arms.extend(options.before.as_ref().map(|_| Arm::Before));
        arms.extend(peers);
        let (rounds, seconds) = if options.quick { (1, 2.0) } else { (3, 5.0) };
        let parts = &options.scenario;
        let wanted = |s: &Scenario| parts.is_empty() || parts.iter().any(|part| s.name.contains(part));
        let scenarios: Vec<_> = SCENARIOS.into_iter().filter(wanted).collect();
        if scenarios.is_empty() {
            let names: Vec<_> = SCENARIOS.iter().map(|s| s.name).collect();
            let parts = parts.join("` or `");
            return Err(format!("no scenario contains `{parts}`; there are: {}", names.join("; ")));
        }
        let folder = target().join("bench");
        fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        Ok(Bench {
            programs: Programs { seawall, before: options.before.clone() },
            arms,
            scenarios,
            seconds: options.seconds.unwrap_or(seconds),
            rounds: options.rounds.unwrap_or(rounds).max(1),
            generator: target().join("release").join("xtask"),
            folder,
        })
    }

    fn measure(&self) -> Outcome<Vec<Cell>> {
        let mut cells = Vec::new();
        for round in 0..self.rounds {
            for (index, scenario) in self.scenarios.iter().enumerate() {
                let up = free_port()?;
                let _upstream = self.upstream(scenario, up)?;
                for turn in 0..self.arms.len() {
                    let arm = self.arms[(turn + round) % self.arms.len()];
                    let cell = self.cell(round, index, arm, up)?;
                    eprintln!(
                        "round {} of {}: {}: {}: {:.1} CPU-µs, {:.0} requests/s, {} errors",
                        round + 1,
                        self.rounds,
                        scenario.name,
                        arm.name(),
                        cell.cpu_us_per_request(),
                        cell.seen.requests as f64 / cell.seen.seconds,
                        cell.seen.errors
                    );
                    cells.push(cell);
                }
            }
        }
        Ok(cells)
    }
}
