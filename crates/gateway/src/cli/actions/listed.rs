//! Which actions are meant, and their list.

use clap::{Args, ValueEnum};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::super::failure::Failure;
use super::super::remote::{Remote, RemoteGateway};
use crate::admin::{ActionPage, ActionRow};

/// Which actions.
#[derive(Clone, Debug, Default, Args)]
pub(in crate::cli) struct Filter {
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
pub(in crate::cli) enum Cause {
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
    pub(super) fn is_empty(&self) -> bool {
        let Filter { dependency, operation, cause, older, newer } = self;
        dependency.is_none() && operation.is_none() && cause.is_none() && older.is_none() && newer.is_none()
    }

    /// Returns the query of the admin API.
    pub(super) fn query(&self, state: Option<String>) -> String {
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

pub(super) fn pair(name: &str, value: &str) -> String {
    format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC))
}

/// Returns the word for a value of an option.
pub(super) fn word<V: ValueEnum>(value: V) -> String {
    value.to_possible_value().map(|it| it.get_name().to_owned()).unwrap_or_default()
}

pub(super) fn parsed<T: serde::de::DeserializeOwned>(
    gateway: &RemoteGateway,
    answer: &str,
) -> Result<T, Failure> {
    serde_json::from_str(answer).map_err(|error| {
        Failure::failed(format!("{}: the answer is not that of a gateway: {error}", gateway.admin))
    })
}

/// Fetches at most `limit` actions, page by page. Returns them, and whether there are more.
pub(super) fn fetch(
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
