//! `cargo xtask bench simulate`: measures how fast the simulator is, and how much memory it needs.
//!
//! The gateway's program is started as a user would start it (`seawall lab simulate`). There are two measurements, each
//! on one thread:
//!
//! - The number of events per second in the scenario `metastable`, where many callers repeat their calls to an
//!   overloaded provider.
//! - The time and the memory for a hundred thousand callers, each with its own guards, over 130 simulated seconds at
//!   70% load.

use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::process::{Outcome, cargo, run, target};

/// The options of `cargo xtask bench simulate`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// The cargo profile of the measured program: `release`, or `dev`, which optimizes only the simulator.
    #[arg(long, default_value = "release")]
    profile: String,
}

/// Builds the program, makes both measurements and prints the figures.
pub(crate) fn simulate(options: &Options) -> Outcome<()> {
    run(cargo().args(["build", "--locked", "--package", "seawall-gateway", "--profile", &options.profile]))?;
    let storms = measured(options, &["metastable", "--seeds", "3"])?;
    println!(
        "storms of `metastable`, 100 callers: {} events in {:.2} s: {:.1} million events a second; {} MiB at most",
        storms.events,
        storms.seconds,
        storms.events as f64 / storms.seconds / 1e6,
        storms.peak_kib / 1024
    );
    let fleet = measured(options, &["client-count", "--callers", "100000", "--seeds", "1"])?;
    println!(
        "100 000 callers over 130 s at 70 % load, {} policies one after the other: {:.2} s, {} MiB at most",
        fleet.arms,
        fleet.seconds,
        fleet.peak_kib / 1024
    );
    Ok(())
}

struct Measured {
    events: u64,
    arms: usize,
    seconds: f64,
    peak_kib: u64,
}

fn measured(options: &Options, arguments: &[&str]) -> Outcome<Measured> {
    let folder = if options.profile == "dev" { "debug" } else { options.profile.as_str() };
    let program = target().join(folder).join("seawall");
    let began = Instant::now();
    let mut child = Command::new(&program)
        .args(["lab", "simulate"])
        .args(arguments)
        .args(["--threads", "1", "--json"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    let status = format!("/proc/{}/status", child.id());
    // The output is only a few KiB and fits into the pipe, so it does not have to be read while the program runs.
    let mut peak_kib = 0;
    while child.try_wait().map_err(|error| error.to_string())?.is_none() {
        peak_kib = peak_kib.max(high_water(&fs::read_to_string(&status).unwrap_or_default()));
        thread::sleep(Duration::from_millis(5));
    }
    let seconds = began.elapsed().as_secs_f64();
    let out = child.wait_with_output().map_err(|error| error.to_string())?;
    let told: Value =
        serde_json::from_slice(&out.stdout).map_err(|error| format!("no JSON came: {error}"))?;
    let events = told["events"].as_u64().ok_or("no events were told")?;
    let arms = told["figures"].as_object().map_or(0, serde_json::Map::len);
    Ok(Measured { events, arms, seconds, peak_kib })
}

/// Returns the peak of the resident memory in KiB from the text of a process's status file; 0 if the text has no such
/// line.
fn high_water(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_read_of_a_process_status() {
        assert_eq!(high_water("Name:\tseawall\nVmHWM:\t  123456 kB\nVmRSS:\t 1 kB\n"), 123_456);
        assert_eq!(high_water(""), 0);
    }
}
