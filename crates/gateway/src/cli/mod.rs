//! The command line. Each command has a file of its own; their names and exit codes are defined here.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage or configuration. If the reader of the output closes it early (`|
//! head`), that is no error. Colour is used only on terminals.

mod actions;
mod breaker;
mod check;
mod explain;
mod failure;
mod harbor;
mod logs;
mod manual;
mod remote;
mod simulate;
mod status;
mod terminal;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::config;
use crate::serve;
use breaker::Setting;
use failure::Failure;
use remote::RemoteGateway;

/// Stands between a backend and the systems it does not own.
///
/// Seawall sends an application's HTTP calls on to external services, under deadlines, breakers and limits. It repeats
/// a call only where that is safe, and says in every answer what is known of the call's effect: applied, not-applied
/// or unknown.
#[derive(Debug, Parser)]
#[command(name = "seawall", version, subcommand_required = true, arg_required_else_help = true)]
#[command(
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.\nTry it: seawall serve --demo"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway
    ///
    /// SIGHUP or a changed file reloads the configuration, whole or not at all. On SIGTERM the gateway finishes
    /// accepted work and ends.
    Serve {
        #[command(flatten)]
        file: ConfigFile,
        /// Run in front of a provider that misbehaves on request; needs no file and no network
        #[arg(long, conflicts_with = "config")]
        demo: bool,
    },
    /// Check the configuration, and print the settings in force for every operation
    Check {
        #[command(flatten)]
        file: ConfigFile,
        /// Also look into the ledger that the file names, and say which open actions are of operations that the file
        /// does not declare. Nothing is changed there
        #[arg(long)]
        ledger: bool,
    },
    /// Print the JSON Schema of the configuration, for editors
    Schema,
    /// Say what a reason means, why it happens and what to do
    ///
    /// REASON is a word of the headers `seawall-reason`, `seawall-retry-stopped` or `seawall-effect`, a word of a log
    /// line, or an HTTP status. Without it, all words are listed.
    Explain {
        /// The reason to explain, for example in `seawall explain breaker-open`, `explain unknown`, `explain 503` or
        /// `explain callers left`
        reason: Vec<String>,
    },
    /// Show what a running gateway sees, one line for each dependency, the worst first
    Status {
        /// Print what the admin side answers, in JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        gateway: RemoteGateway,
    },
    /// Open or close a dependency's breaker by hand, or let the results of calls decide again
    Breaker {
        /// The dependency whose breaker is set
        dependency: String,
        /// What the breaker is set to
        #[arg(value_enum)]
        state: Setting,
        /// Change only the breaker of this endpoint; endpoints are numbered from 0. Without it, the breakers of all
        /// endpoints are changed
        #[arg(long, value_name = "N")]
        endpoint: Option<usize>,
        /// Why the breaker is changed; the text is kept, logged, and shown beside the breaker's state
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        gateway: RemoteGateway,
    },
    /// Look after the actions of the ledger: list them, show one, retry, cancel or resolve them
    ///
    /// The commands talk to the admin side of a running gateway. Who changed an action, when and why is kept with it.
    Actions {
        #[command(subcommand)]
        command: actions::Actions,
    },
    /// Make failures on demand
    Lab {
        #[command(subcommand)]
        command: Lab,
    },
    /// Print a completion script for a shell
    Completions {
        /// The shell that the script is for
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Print the manual page, in roff (`seawall man | man -l -`)
    Man,
}

#[derive(Debug, Subcommand)]
enum Lab {
    /// Run a payment provider that misbehaves on request and keeps its own books (GET /books)
    Harbor {
        /// Where it listens; port 0 takes a free port
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8402")]
        listen: SocketAddr,
        /// A TOML file that says which faults come when, and how often
        #[arg(long, value_name = "FILE")]
        script: Option<PathBuf>,
    },
    /// Simulate storms in virtual time, with the real policies and up to a hundred thousand callers
    Simulate(simulate::SimulateArguments),
}

#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration file
    #[arg(
        short = 'c',
        long = "config",
        id = "config",
        value_name = "FILE",
        default_value = "./seawall.toml"
    )]
    path: PathBuf,
}

/// Runs the program: reads the arguments, does what they say, and returns the exit code.
#[must_use]
pub fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            terminal::complain(&failure.message);
            ExitCode::from(failure.code)
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve { file, demo } => {
            logs::begin();
            crate::panics::watch();
            serve::run(&serve::Options { config: file.path, demo })
                .map_err(|error| Failure { code: error.exit_code(), message: error.to_string() })
        }
        Command::Check { file, ledger } => check::run(&file.path, ledger),
        Command::Schema => {
            let schema = serde_json::to_string_pretty(&config::schema()).expect("it is JSON already");
            terminal::print(&format!("{schema}\n"))
        }
        Command::Explain { reason } => explain::run(&reason),
        Command::Status { json, gateway } => status::run(&gateway, json),
        Command::Breaker { dependency, state, endpoint, reason, gateway } => {
            breaker::run(&gateway, &dependency, state, endpoint, &reason)
        }
        Command::Actions { command } => actions::run(command),
        Command::Lab { command: Lab::Harbor { listen, script } } => harbor::run(listen, script.as_deref()),
        Command::Lab { command: Lab::Simulate(arguments) } => simulate::run(&arguments),
        Command::Completions { shell } => terminal::print(&manual::completions(Arguments::command(), shell)),
        Command::Man => terminal::print(&manual::page(Arguments::command())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }
}
