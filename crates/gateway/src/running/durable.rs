//! A durable operation as it runs: how the ledger reaches its provider, and what is taken over from the caller's
//! request.

use std::sync::Arc;

use http::HeaderMap;
use seawall_actions::{AmountAt, HttpRemote, KeySource, Sent};
use seawall_ledger::Rules;
use seawall_policy::{Idempotency, Plan};

use super::here;
use crate::config;

/// A durable operation, compiled.
pub(crate) struct DurableOperation {
    /// The name of the operation's dependency, as the ledger knows it.
    pub(crate) dependency: Arc<str>,
    /// The name of the operation, as the ledger knows it.
    pub(crate) name: Arc<str>,
    /// The ledger's rules for actions of this operation.
    pub(crate) rules: Rules,
    /// How the provider is reached.
    pub(crate) remote: Arc<HttpRemote>,
    /// Where the request has the amount of money; `None` if none is recorded.
    pub(crate) amount: Option<AmountAt>,
    /// What is taken over from the caller's request: the key, and the headers that are recorded.
    pub(crate) taken: config::Taken,
    /// Whether the caller's name is put before the key in the ledger, so that each caller has keys of its own.
    pub(crate) by_client: bool,
}

impl std::fmt::Debug for DurableOperation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DurableOperation").field("name", &self.name).finish_non_exhaustive()
    }
}

impl DurableOperation {
    /// Compiles an operation. `plan` is the plan of its calls, and `answer_max` the maximum length of an answer that is
    /// kept, in bytes. Returns `None` if the operation is not durable.
    pub(crate) fn new(
        dependency: &config::Dependency,
        operation: &config::Operation,
        plan: &Plan,
        answer_max: usize,
    ) -> Option<DurableOperation> {
        let rules = operation.durable.clone()?;
        let by_client = dependency.key_scope == config::KeyScope::Client;
        // If the key comes from a header and the operation is keyed, that header is filled with the recorded key when
        // the request is sent. If the key comes from another part of the request, such as the body, the recorded
        // request holds the key already.
        let in_header = operation.taken.key.header().cloned();
        let keyed = operation.idempotency == Idempotency::Keyed;
        let mut sent = Sent::new(None, operation.idempotency);
        sent.headers = HeaderMap::new();
        sent.key_header = match operation.taken.key {
            KeySource::Generated => sent.key_header,
            KeySource::Request(_) => in_header.filter(|_| keyed),
        };
        let connections = here::connections(&dependency.name);
        let remote =
            HttpRemote::new(connections, plan, sent, operation.confirm.clone(), operation.cancel.clone());
        Some(DurableOperation {
            dependency: dependency.name.as_str().into(),
            name: operation.name.as_str().into(),
            rules,
            remote: Arc::new(remote.answer_max(answer_max)),
            amount: operation.amount.clone(),
            taken: operation.taken.clone(),
            by_client,
        })
    }
}
