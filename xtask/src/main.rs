//! The project's own commands: `cargo xtask test` and `cargo xtask bench`.
//!
//! They are not shell scripts, so the compiler checks them, and they need only Rust to start. If a command needs
//! something else, it says so, and installs it if it is allowed to.

mod bench;
mod house;
mod lines;
mod needs;
mod process;
mod stories;
mod suite;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's own commands.")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Format, lints, tests, docs, house rules, licences, end-to-end stories.
    Test(suite::Options),
    /// The end-to-end stories alone.
    Stories(stories::Options),
    /// The simulator's known figures, with several first seeds; the tests use only one.
    Simulate {
        /// How many first seeds, 1000 apart.
        #[arg(long, default_value_t = 5)]
        seeds: u64,
    },
    /// Lines of production code for each crate, at two commits.
    Lines(lines::Options),
    /// Measurements.
    Bench {
        #[command(subcommand)]
        what: Measured,
    },
    /// Used by `bench`: the load generator.
    #[command(hide = true)]
    Load(bench::Load),
    /// Used by `bench`: the server behind the proxies.
    #[command(hide = true)]
    Upstream {
        /// Loopback port to listen on.
        #[arg(long)]
        port: u16,
    },
}

#[derive(Subcommand)]
enum Measured {
    /// The gateway beside other proxies: CPU per request, rate, added latency, memory.
    Gateway(bench::Options),
    /// The gateway's memory with callers that do not read their answers, or whose uploads make no progress.
    SlowReaders(bench::SlowOptions),
    /// Good calls beside thousands of callers that read slowly or have stopped sending, and the memory that is left
    /// after these
    BesideStalled(bench::BesideOptions),
    /// The simulator: events a second, and a hundred thousand callers.
    Simulate(bench::simulate::Options),
    /// The ledger beside plain SQL and other durable engines: actions a second, latency, CPU.
    Ledger(bench::ledger::Options),
    /// A call in one process beside other libraries: nanoseconds, one thread and two.
    Call(bench::CallOptions),
}

fn main() -> ExitCode {
    let ended = match Arguments::parse().task {
        Task::Test(options) => suite::test(&options),
        Task::Stories(options) => stories::run(&options),
        Task::Bench { what: Measured::Gateway(options) } => bench::gateway(&options),
        Task::Bench { what: Measured::SlowReaders(options) } => bench::slow_readers(&options),
        Task::Bench { what: Measured::BesideStalled(options) } => bench::beside_stalled(&options),
        Task::Bench { what: Measured::Simulate(options) } => bench::simulate::simulate(&options),
        Task::Simulate { seeds } => suite::known_figures(seeds),
        Task::Bench { what: Measured::Ledger(options) } => bench::ledger::ledger(&options),
        Task::Bench { what: Measured::Call(options) } => bench::call(&options),
        Task::Lines(options) => lines::compare(&options),
        Task::Load(load) => bench::run_load(&load),
        Task::Upstream { port } => bench::serve_upstream(port),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}
