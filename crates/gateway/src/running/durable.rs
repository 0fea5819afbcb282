//! A durable operation as it runs: how the ledger reaches its provider, and how the action's key and record are made.

use std::sync::Arc;

use seawall_actions::{AmountAt, HttpRemote, Sent};
use seawall_ledger::Rules;
use seawall_policy::{Idempotency, Plan};

use super::here;
use crate::config;

/// A durable operation, compiled.
pub(crate) struct DurableOperation {
    /// The name of its dependency, as the ledger knows it.
    pub(crate) dependency: Arc<str>,
    /// Its name, as the ledger knows it.
    pub(crate) name: Arc<str>,
    /// The ledger's rules for its actions.
    pub(crate) rules: Rules,
    /// How the provider is reached.
    pub(crate) remote: Arc<HttpRemote>,
    /// Where the request has the amount of money; `None` if none is recorded.
    pub(crate) amount: Option<AmountAt>,
    /// What is taken over from the caller's request: the key, and the headers that are recorded.
    pub(crate) taken: config::Taken,
    /// Whether the caller's name stands before the key.
    pub(crate) by_client: bool,
}
