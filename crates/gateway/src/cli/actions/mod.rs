//! `seawall actions`: people look after the actions of the ledger. They list them, look at one, and retry, cancel or resolve
//! one or many.
//!
//! The commands talk to the admin side of a gateway, and never to the database: so each change passes the rules of the
//! ledger, and who made it is kept.

mod listed;
mod orders;
mod shown;

use std::time::SystemTime;

use clap::{Subcommand, ValueEnum};
use serde_json::Value;

use super::failure::Failure;
use super::remote::{Remote, RemoteGateway, segment};
use super::terminal;
use listed::{Filter, fetch, pair, parsed, word};
use orders::{Change, Effect};

#[derive(Debug, Subcommand)]
pub(super) enum Actions {
    /// List actions: those that are stuck first, then those with an unknown effect, then the others that are open
    List {
        #[command(flatten)]
        filter: Filter,
        /// Only actions that stand like this. Without it: stuck, unknown and open, in this order
        #[arg(long, value_enum)]
        state: Option<State>,
        /// Only the action with this key; needs --dependency. It is found wherever it stands
        #[arg(long, value_name = "KEY", requires = "dependency")]
        key: Option<String>,
        /// The most actions to list
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
        /// Print JSON: {"actions": […], "more": true}
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        gateway: RemoteGateway,
    },
    /// Show one action: what is known, its attempts, who did what with it and why, and what to do now
    Show {
        /// The action's id
        id: String,
        /// Print what the admin side answers, in JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        gateway: RemoteGateway,
    },
    /// Start stuck actions again: what is wanted stays, and the time and the number of tries begin anew
    Retry {
        #[command(flatten)]
        change: Change,
    },
    /// Cancel actions: no effect is to exist at the provider. What may exist is undone there
    Cancel {
        #[command(flatten)]
        change: Change,
        /// With filters: cancel actions that stand like this
        #[arg(long, value_enum, default_value = "stuck", conflicts_with = "ids")]
        state: Cancellable,
        /// Also cancel what the application has settled. The application does not learn of it, so correct it by hand
        #[arg(long)]
        settled: bool,
    },
    /// Say what became of stuck actions, as you have found out at the provider; the ledger takes it as a fact
    Resolve {
        #[command(flatten)]
        change: Change,
        /// Whether the effect exists at the provider
        #[arg(long, value_enum)]
        effect: Effect,
    },
}

/// Where an action stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum State {
    /// No rule says how to go on, so a person must look at it
    Stuck,
    /// Open, and nobody knows yet whether it took effect
    Unknown,
    /// Not ended; this includes what is unknown
    Open,
    /// Applied, and taken in by the application
    Done,
    /// Not applied
    Failed,
    /// Undone, or never done
    Cancelled,
    /// All actions
    All,
}

/// Where an action stands that can be cancelled by a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Cancellable {
    /// No rule says how to go on, so a person must look at it
    Stuck,
    /// Open, and nobody knows yet whether it took effect
    Unknown,
    /// Not ended; this includes what is unknown
    Open,
}

pub(super) fn run(command: Actions) -> Result<(), Failure> {
    match command {
        Actions::List { filter, state, key, limit, json, gateway } => {
            let remote = Remote::new(&gateway)?;
            let query = filter.query(state.map(word));
            let key = key.map(|key| pair("key", &key));
            let query = [Some(query).filter(|query| !query.is_empty()), key];
            let query = query.into_iter().flatten().collect::<Vec<_>>().join("&");
            let (rows, more) = fetch(&remote, &gateway, &query, limit)?;
            if json {
                let whole = serde_json::json!({ "actions": rows, "more": more });
                return terminal::print(&format!("{whole}\n"));
            }
            terminal::print(&shown::table(&rows, SystemTime::now(), terminal::colour_on_output()))?;
            if rows.is_empty() {
                terminal::complain("no such action");
            }
            if more {
                terminal::complain(&format!("there are more than {limit}: raise --limit, or filter"));
            }
            Ok(())
        }
        Actions::Show { id, json, gateway } => {
            let answer = Remote::new(&gateway)?.get(&format!("/api/actions/{}", segment(&id)))?;
            if json {
                return terminal::print(&format!("{}\n", answer.trim_end()));
            }
            let story: Value = parsed(&gateway, &answer)?;
            terminal::print(&shown::story(&story, SystemTime::now()))
        }
        Actions::Retry { change } => orders::run("retry", &change, "stuck", &serde_json::json!({})),
        Actions::Cancel { change, state, settled } => {
            orders::run("cancel", &change, &word(state), &serde_json::json!({ "settled": settled }))
        }
        Actions::Resolve { change, effect } => {
            orders::run("resolve", &change, "stuck", &serde_json::json!({ "effect": word(effect) }))
        }
    }
}
