//! The project's own commands, such as `cargo xtask test` and `cargo xtask bench`.
//!
//! The commands are Rust and not shell scripts, so the compiler checks them, and only Rust is needed to start them. If
//! a command needs another tool, it names this tool, and installs it if the user is root or gives `--yes`.

mod bench;
mod cluster;
mod house;
mod lines;
mod needs;
mod outside;
mod process;
mod soak;
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
    /// Check everything: format, lints, tests, docs, house rules, licences, end-to-end stories.
    Test(suite::Options),
    /// Run only the end-to-end stories.
    Stories(stories::Options),
    /// Compare the simulator's results with the figures in `crates/lab/tests/known/figures.toml`, several times with
    /// different random seeds; the tests do this only once.
    Simulate {
        /// The number of first seeds: 1, 1001, 2001 and so on.
        #[arg(long, default_value_t = 5)]
        seeds: u64,
    },
    /// Let two programs and a provider work with the ledger while everything around them fails. At the end, compare the
    /// provider's books with the ledger and with the application's tables.
    Soak(soak::Options),
    /// Count the lines of production code of each crate at two commits.
    Lines(lines::Options),
    /// Measure the gateway, the ledger, the simulator, or a call.
    Bench {
        #[command(subcommand)]
        what: Measured,
    },
    /// The load generator; `bench` starts it.
    #[command(hide = true)]
    Load(bench::Load),
    /// Durable calls through a gateway; `bench ledger` starts it.
    #[command(hide = true)]
    Durable(bench::Durable),
    /// The server behind the proxies; `bench` starts it.
    #[command(hide = true)]
    Upstream {
        /// The loopback port on which the server listens.
        #[arg(long)]
        port: u16,
    },
}

#[derive(Subcommand)]
enum Measured {
    /// Compare the gateway with other proxies: CPU per request, rate, added latency, memory.
    Gateway(bench::Options),
    /// Measure the gateway's memory with callers that do not read their answers, or whose uploads make no progress.
    SlowReaders(bench::SlowOptions),
    /// Measure ordinary calls beside thousands of callers that read slowly or have stopped sending, and the memory that
    /// is still used after those callers have left
    BesideStalled(bench::BesideOptions),
    /// Measure the simulator: events per second, and a run with a hundred thousand callers.
    Simulate(bench::simulate::Options),
    /// Compare the ledger with plain SQL and other durable engines: actions per second, latency, CPU.
    Ledger(bench::ledger::Options),
    /// Measure what a large table, a long transaction and idle time cost the ledger: the time to list and to claim
    /// actions, and the number of SQL statements.
    Growth(bench::ledger::growth::Options),
    /// Compare a call in one process with other libraries: nanoseconds per call, with one thread and with two.
    Call(bench::CallOptions),
}

fn main() -> ExitCode {
    let ended = match Arguments::parse().task {
        Task::Test(options) => suite::test(&options),
        Task::Soak(options) => soak::soak(&options),
        Task::Stories(options) => stories::run(&options),
        Task::Bench { what: Measured::Gateway(options) } => bench::gateway(&options),
        Task::Bench { what: Measured::SlowReaders(options) } => bench::slow_readers(&options),
        Task::Bench { what: Measured::BesideStalled(options) } => bench::beside_stalled(&options),
        Task::Bench { what: Measured::Simulate(options) } => bench::simulate::simulate(&options),
        Task::Simulate { seeds } => suite::known_figures(seeds),
        Task::Bench { what: Measured::Ledger(options) } => bench::ledger::ledger(&options),
        Task::Bench { what: Measured::Growth(options) } => bench::ledger::growth::growth(&options),
        Task::Bench { what: Measured::Call(options) } => bench::call(&options),
        Task::Lines(options) => lines::compare(&options),
        Task::Load(load) => bench::run_load(&load),
        Task::Durable(durable) => bench::run_durable(&durable),
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
