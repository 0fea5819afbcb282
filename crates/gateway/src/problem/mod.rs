//! Holds the facts of the answers that Seawall gives in place of a dependency.
//!
//! [`message`] makes headers and a body from these facts, [`reasons`] defines the status and the title of each reason,
//! and [`refusals`] logs them. None of these modules knows how an answer is written to a socket.

pub(crate) mod message;
pub(crate) mod reasons;
pub(crate) mod refusals;

use std::time::Duration;

use seawall_policy::{Effect, Reason, Stopped};

/// The facts in an answer of our own.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) reason: Reason,
    pub(crate) effect: Effect,
    pub(crate) attempts: u32,
    pub(crate) endpoint: usize,
    /// The dependency's name. `None` if the request was refused before its dependency was known.
    pub(crate) dependency: Option<String>,
    pub(crate) detail: String,
    pub(crate) retry_after: Option<Duration>,
    /// Whether the request is refused because the provider answered an earlier request with 429. The caller then gets a
    /// 429, too.
    pub(crate) too_many: bool,
    pub(crate) stopped: Option<Stopped>,
    /// Where the caller can ask what became of its action. `None` if there is no action to ask about.
    pub(crate) found_at: Option<Box<Where>>,
}

/// Where a caller can ask about an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Where {
    /// The caller can ask by the id of the action.
    Id(String),
    /// The caller can ask by the action's key. This is used if the id is not known.
    Key { dependency: String, key: String },
}

impl Problem {
    /// Makes the problem for a request that was refused before anything was attempted.
    pub(crate) fn refused(reason: Reason, dependency: Option<&str>, detail: impl Into<String>) -> Problem {
        Problem {
            reason,
            effect: Effect::NotApplied,
            attempts: 0,
            endpoint: 0,
            dependency: dependency.map(str::to_owned),
            detail: detail.into(),
            retry_after: None,
            too_many: false,
            stopped: None,
            found_at: None,
        }
    }
}
