//! What Seawall answers in place of a dependency: the facts, apart from how they are shown.
//!
//! [`message`] makes headers and a body of them, [`reasons`] knows the status and title of each reason, and [`refusals`] logs
//! them. None of these knows how an answer is written.

pub(crate) mod message;
pub(crate) mod reasons;
pub(crate) mod refusals;

use std::time::Duration;

use seawall_policy::{Effect, Reason, Stopped};

/// What an answer of our own says.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) reason: Reason,
    pub(crate) effect: Effect,
    pub(crate) attempts: u32,
    pub(crate) endpoint: usize,
    /// None before a dependency was found.
    pub(crate) dependency: Option<String>,
    pub(crate) detail: String,
    pub(crate) retry_after: Option<Duration>,
    /// The provider said it first, by 429, and so do we.
    pub(crate) too_many: bool,
    pub(crate) stopped: Option<Stopped>,
}

impl Problem {
    /// Refused before anything was attempted.
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
        }
    }
}
