//! Measures one proxy in one scenario, and holds the result.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::load::Seen;
use super::measure::{self, Memory};
use super::proxies::{self, Arm, Programs};
use crate::process::{self, Outcome, Server, cargo, run};

/// One kind of load, and the number of the proxy's workers. If `rate` is set, that number of requests is sent per
/// second, whether or not earlier ones were answered. If it is `None`, each connection sends its next request when its
/// last one was answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) connections: usize,
    pub(super) path: &'static str,
    pub(super) workers: usize,
    pub(super) rate: Option<u32>,
}

impl Scenario {
    pub(super) fn proxy_cpus(&self) -> &'static str {
        if self.workers == 1 { "0" } else { "0-1" }
    }

    pub(super) fn load_cpus(&self) -> &'static str {
        if self.workers == 1 { "1" } else { "0-1" }
    }
}

/// The result of one proxy in one scenario of one round.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    pub(super) round: usize,
    pub(super) scenario: usize,
    pub(super) arm: Arm,
    pub(super) seen: Seen,
    /// The CPU time that all the proxy's processes used while requests were counted, in nanoseconds; 0 without a proxy.
    pub(super) cpu_ns: u64,
    /// The proxy's memory before the load starts. Until then, the proxy has answered only the requests that ask whether
    /// it is ready.
    pub(super) idle: Memory,
    /// The largest memory of the proxy that was seen before or during the load. The largest RSS, PSS and anonymous
    /// memory may come from different times.
    pub(super) peak: Memory,
}

impl Cell {
    pub(super) fn cpu_us_per_request(&self) -> f64 {
        self.cpu_ns as f64 / 1000.0 / (self.seen.requests.max(1)) as f64
    }
}

/// The settings that do not change during a run.
pub(super) struct Bench {
    pub(super) programs: Programs,
    pub(super) arms: Vec<Arm>,
    pub(super) scenarios: Vec<Scenario>,
    pub(super) seconds: f64,
    pub(super) rounds: usize,
    pub(super) generator: PathBuf,
    pub(super) folder: PathBuf,
}

impl Bench {
    pub(super) fn upstream(&self, scenario: &Scenario, port: u16) -> Outcome<Server> {
        let port_word = port.to_string();
        let args = ["upstream", "--port", &port_word];
        let log = self.folder.join("upstream.log");
        let mut server =
            Server::start("upstream", Some(scenario.load_cpus()), &self.generator, &args, &log, false)?;
        server.ready(port, "/100", Duration::from_secs(5))?;
        Ok(server)
    }

    pub(super) fn cell(&self, round: usize, index: usize, arm: Arm, up: u16) -> Outcome<Cell> {
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
        // After its first answer a proxy may still do start-up work, so its memory is measured 300 ms later.
        std::thread::sleep(Duration::from_millis(300));
        let group = proxy.as_ref().map(|p| p.server.group());
        let idle = group.map(Memory::of).unwrap_or_default();
        let port = proxy.as_ref().map_or(up, |p| p.port);
        let (seen, cpu_ns, peak) = self.load(scenario, port, group)?;
        Ok(Cell { round, scenario: index, arm, seen, cpu_ns, idle, peak: peak.max(idle) })
    }

    /// Runs the load generator once against this port. Returns what the generator measured, and two figures of the
    /// process group `group`, which is the proxy's: the CPU time in nanoseconds, and the largest memory. Both are taken
    /// while requests are counted. If `group` is `None`, both are 0.
    pub(super) fn load(
        &self,
        scenario: &Scenario,
        port: u16,
        group: Option<u32>,
    ) -> Outcome<(Seen, u64, Memory)> {
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

/// Measures the memory of a process group four times a second until `done` is set, and returns the largest value of
/// each figure. If `group` is `None`, all figures are 0.
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

pub(super) fn build(package: &str) -> Outcome<()> {
    eprintln!("building {package}, release");
    run(cargo().args(["build", "--locked", "--release", "--package", package]))
}

/// Returns the path as it is shown in a report: relative to the repository's root if it is inside the repository.
pub(super) fn shown(path: &Path) -> String {
    path.strip_prefix(process::root()).unwrap_or(path).display().to_string()
}
