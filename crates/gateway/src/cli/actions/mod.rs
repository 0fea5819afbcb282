//! `seawall actions`: people look after the actions of the ledger. They list them, look at one, and retry, cancel or resolve
//! one or many.
//!
//! The commands talk to the admin side of a gateway, and never to the database: so each change passes the rules of the
//! ledger, and who made it is kept.

mod orders;
mod shown;

use std::time::SystemTime;

use clap::{Args, Subcommand, ValueEnum};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::failure::Failure;
use super::remote::{Remote, RemoteGateway, segment};
use super::terminal;
use crate::admin::{ActionPage, ActionRow};
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

/// Which actions.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Filter {
    /// Only actions of this dependency
    #[arg(long, value_name = "NAME")]
    dependency: Option<String>,
    /// Only actions of this operation
    #[arg(long, value_name = "NAME")]
    operation: Option<String>,
    /// Only actions that are stuck for this cause
    #[arg(long, value_enum)]
    cause: Option<Cause>,
    /// Only actions that were recorded at least this long ago, such as 30m, 12h or 7d
    #[arg(long, value_name = "AGE")]
    older: Option<String>,
    /// Only actions that were recorded less than this long ago
    #[arg(long, value_name = "AGE")]
    newer: Option<String>,
}

/// The kinds of reasons for which an action is stuck.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Cause {
    /// The provider was asked, or the request sent again, as long as declared, and nothing was learned
    Unanswered,
    /// No cancel succeeded
    NotCancelled,
    /// A time limit of the provider has passed
    TooLate,
    /// The operation declares no way to go on
    NoWay,
    /// The operation declares that an unknown effect is left to a person
    LeftToAPerson,
    /// The provider says that the effect cannot be undone
    CannotBeUndone,
    /// No gateway declares the operation any longer
    Undeclared,
}

impl Filter {
    fn is_empty(&self) -> bool {
        let Filter { dependency, operation, cause, older, newer } = self;
        dependency.is_none() && operation.is_none() && cause.is_none() && older.is_none() && newer.is_none()
    }

    /// Returns the query of the admin API.
    fn query(&self, state: Option<String>) -> String {
        let cause = self.cause.map(word);
        let pairs = [
            ("state", &state),
            ("dependency", &self.dependency),
            ("operation", &self.operation),
            ("cause", &cause),
            ("older", &self.older),
            ("newer", &self.newer),
        ];
        let set = pairs.iter().filter_map(|(name, value)| Some(pair(name, value.as_deref()?)));
        set.collect::<Vec<_>>().join("&")
    }
}

fn pair(name: &str, value: &str) -> String {
    format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC))
}

/// Returns the word for a value of an option.
fn word<V: ValueEnum>(value: V) -> String {
    value.to_possible_value().map(|it| it.get_name().to_owned()).unwrap_or_default()
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

fn parsed<T: serde::de::DeserializeOwned>(gateway: &RemoteGateway, answer: &str) -> Result<T, Failure> {
    serde_json::from_str(answer).map_err(|error| {
        Failure::failed(format!("{}: the answer is not that of a gateway: {error}", gateway.admin))
    })
}

/// Fetches at most `limit` actions, page by page. Returns them, and whether there are more.
fn fetch(
    remote: &Remote,
    gateway: &RemoteGateway,
    query: &str,
    limit: usize,
) -> Result<(Vec<ActionRow>, bool), Failure> {
    let mut rows: Vec<ActionRow> = Vec::new();
    let mut after: Option<String> = None;
    loop {
        // One more is asked for, to learn whether there are more.
        let wanted = limit.saturating_add(1).saturating_sub(rows.len()).min(500);
        let next = after.map(|after| format!("&{}", pair("after", &after))).unwrap_or_default();
        let and = if query.is_empty() { "" } else { "&" };
        let answer = remote.get(&format!("/api/actions?{query}{and}limit={wanted}{next}"))?;
        let page: ActionPage = parsed(gateway, &answer)?;
        rows.extend(page.actions);
        if rows.len() > limit {
            rows.truncate(limit);
            return Ok((rows, true));
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok((rows, false)),
        }
    }
}
