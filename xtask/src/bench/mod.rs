//! `cargo xtask bench gateway`: what a request costs, beside other proxies, in one paired run.
//!
//! Absolute figures move with the machine and with the hour, so a figure taken today says nothing
//! beside one of last week. Here every round runs all proxies one after the other in each scenario,
//! in an order that turns from round to round, and a ratio is taken within its round; what is shown is
//! the median over the rounds.
//!
//! With one worker the proxy has core 0 to itself; load generator and upstream share core 1. With two
//! workers all of them share both cores.

mod beside;
mod call;
pub(crate) mod ledger;
mod load;
mod measure;
mod proxies;
mod report;
pub(crate) mod simulate;
mod slow;
mod still;
mod upstream;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub(crate) use beside::{Options as BesideOptions, beside_stalled};
pub(crate) use call::{Options as CallOptions, call};
pub(crate) use load::{Load, run as run_load};
pub(crate) use slow::{Options as SlowOptions, slow_readers};
pub(crate) use upstream::serve as serve_upstream;

use self::load::Seen;
use self::measure::Memory;
use self::proxies::{Arm, Programs};
use crate::needs;
use crate::process::{self, Outcome, Server, cargo, free_port, run, target};

/// How a run is asked for.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// One round of two seconds a cell.
    #[arg(long)]
    quick: bool,
    /// Whom to compare with, in this order; ratios are to HAProxy.
    #[arg(long, value_delimiter = ',', default_value = "haproxy,nginx,envoy")]
    peers: Vec<String>,
    /// Seconds that count, for each proxy in each scenario and round [default: 5].
    #[arg(long)]
    seconds: Option<f64>,
    /// Rounds [default: 3].
    #[arg(long)]
    rounds: Option<usize>,
    /// Only scenarios whose name contains this; given more than once, any of them.
    #[arg(long)]
    scenario: Vec<String>,
    /// Write every figure of every round here too.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Measure only the peers.
    #[arg(long)]
    without_seawall: bool,
    /// An earlier gateway's program, measured in the same rounds.
    #[arg(long, value_name = "PROGRAM")]
    before: Option<PathBuf>,
    /// Install what is missing.
    #[arg(long)]
    yes: bool,
}

/// One load on one number of workers.
#[derive(Clone, Copy, Debug)]
struct Scenario {
    name: &'static str,
    connections: usize,
    path: &'static str,
    workers: usize,
    rate: Option<u32>,
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

impl Scenario {
    fn proxy_cpus(&self) -> &'static str {
        if self.workers == 1 { "0" } else { "0-1" }
    }

    fn load_cpus(&self) -> &'static str {
        if self.workers == 1 { "1" } else { "0-1" }
    }
}

/// What one proxy did in one scenario of one round.
#[derive(Clone, Debug)]
struct Cell {
    round: usize,
    scenario: usize,
    arm: Arm,
    seen: Seen,
    /// CPU time of all the proxy's processes in the window; 0 for the direct way.
    cpu_ns: u64,
    /// Before the first request but the one that showed it was ready.
    idle: Memory,
    /// The largest seen under load.
    peak: Memory,
}

impl Cell {
    fn cpu_us_per_request(&self) -> f64 {
        self.cpu_ns as f64 / 1000.0 / (self.seen.requests.max(1)) as f64
    }
}

/// Everything that stays the same over a run.
struct Bench {
    programs: Programs,
    arms: Vec<Arm>,
    scenarios: Vec<Scenario>,
    seconds: f64,
    rounds: usize,
    generator: PathBuf,
    folder: PathBuf,
}

/// Builds, measures, prints the tables.
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
        // The generator must not be what limits the run, so it is never a development build.
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

    fn upstream(&self, scenario: &Scenario, port: u16) -> Outcome<Server> {
        let port_word = port.to_string();
        let args = ["upstream", "--port", &port_word];
        let log = self.folder.join("upstream.log");
        let mut server =
            Server::start("upstream", Some(scenario.load_cpus()), &self.generator, &args, &log, false)?;
        server.ready(port, "/100", Duration::from_secs(5))?;
        Ok(server)
    }

    fn cell(&self, round: usize, index: usize, arm: Arm, up: u16) -> Outcome<Cell> {
        let scenario = &self.scenarios[index];
        let proxy = match arm {
            Arm::Direct => None,
            Arm::Seawall | Arm::Before | Arm::Haproxy | Arm::Nginx | Arm::Envoy => Some(proxies::start(
                arm,
                &self.programs,
                up,
                scenario.workers,
                scenario.proxy_cpus(),
                &self.folder,
            )?),
        };
        // Start-up work that goes on behind the first answer is not idle memory.
        std::thread::sleep(Duration::from_millis(300));
        let group = proxy.as_ref().map(|p| p.server.group());
        let idle = group.map(Memory::of).unwrap_or_default();
        let port = proxy.as_ref().map_or(up, |p| p.port);
        let (seen, cpu_ns, peak) = self.load(scenario, port, group)?;
        Ok(Cell { round, scenario: index, arm, seen, cpu_ns, idle, peak: peak.max(idle) })
    }

    /// Runs the generator once, and reads the accounts of the process group at both ends of its window.
    fn load(&self, scenario: &Scenario, port: u16, group: Option<u32>) -> Outcome<(Seen, u64, Memory)> {
        let warm_up = (self.seconds / 4.0).clamp(0.5, 2.0);
        let mut words = vec![
            "load".to_owned(),
            format!("--port={port}"),
            format!("--path={}", scenario.path),
            format!("--connections={}", scenario.connections),
            format!("--warm-up={warm_up}"),
            format!("--seconds={}", self.seconds),
        ];
        words.extend(scenario.rate.map(|rate| format!("--rate={rate}")));
        let log = self.folder.join("load.log");
        let mut generator =
            Server::start("load", Some(scenario.load_cpus()), &self.generator, &words, &log, true)?;
        let out = generator.stdout().ok_or("the generator has no output")?;
        let mut lines = BufReader::new(out).lines();
        let mut line = || match lines.next() {
            Some(Ok(line)) => Ok(line),
            Some(Err(e)) => Err(format!("reading the generator: {e}")),
            None => Err("the generator ended early".to_owned()),
        };
        let cpu_now = || group.map(measure::cpu_ns).unwrap_or_default();

        line()?; // "begin"
        let before = cpu_now();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let watch = scope.spawn(|| watch(group, &done));
            let last = line();
            let after = cpu_now();
            done.store(true, Ordering::Relaxed);
            let peak = watch.join().map_err(|_| "the memory watch panicked".to_owned())?;
            Ok((Seen::from_json(&last?)?, after.saturating_sub(before), peak))
        })
    }
}

/// The largest memory of a process group until told to stop, by looking four times a second.
fn watch(group: Option<u32>, done: &AtomicBool) -> Memory {
    let Some(group) = group else { return Memory::default() };
    let mut peak = Memory::default();
    let mut next = Instant::now();
    while !done.load(Ordering::Relaxed) {
        if Instant::now() >= next {
            peak = peak.max(Memory::of(group));
            next = Instant::now() + Duration::from_millis(250);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    peak
}

fn build(package: &str) -> Outcome<()> {
    eprintln!("building {package}, release");
    run(cargo().args(["build", "--locked", "--release", "--package", package]))
}

/// The folder for a run's files, relative to the root where it lies inside.
fn shown(path: &Path) -> String {
    path.strip_prefix(process::root()).unwrap_or(path).display().to_string()
}
