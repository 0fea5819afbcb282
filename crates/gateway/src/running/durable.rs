//! A durable operation as it runs: how the ledger reaches its provider, and what is taken over from the caller's
//! request.

use std::sync::Arc;

use http::HeaderMap;
use seawall_actions::template::{Hole, Purpose, RequestTemplate};
use seawall_actions::{AmountAt, HttpRemote, KeySource, Sent};
use seawall_ledger::{Rules, SqlTerms};
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
    /// The place in the request where its amount of money is read; `None` if no amount is recorded.
    pub(crate) amount: Option<AmountAt>,
    /// What is taken over from the caller's request: the key, and the headers that are recorded.
    pub(crate) taken: config::Taken,
    /// Whether the caller's name is put before the key in the ledger, so that each caller has keys of its own.
    pub(crate) by_client: bool,
    /// What the SQL functions of the ledger may do with actions of this operation, and for which roles of the database.
    pub(crate) sql: SqlTerms,
}

impl std::fmt::Debug for DurableOperation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DurableOperation").field("name", &self.name).finish_non_exhaustive()
    }
}

impl DurableOperation {
    /// Compiles an operation. `plan` is the plan of its calls, and `ledger` has the limits of what is recorded. Returns
    /// `None` if the operation is not durable.
    pub(crate) fn new(
        dependency: &config::Dependency,
        operation: &config::Operation,
        plan: &Plan,
        ledger: &config::Ledger,
    ) -> Option<DurableOperation> {
        let rules = operation.durable.clone()?;
        let by_client = dependency.key_scope == config::KeyScope::Client;
        // If the key comes from a header and the operation is keyed, that header is filled with the recorded key when
        // the request is sent. If the key comes from another part of the request, such as the body, the recorded
        // request holds the key already.
        let in_header = operation.taken.key.header().cloned();
        let keyed = operation.idempotency == Idempotency::Keyed;
        // An action that is recorded by SQL has only a body. So the pattern must name the one path that the body is
        // sent to.
        let target = RequestTemplate::parse(&operation.pattern.to_string(), Purpose::Perform).ok();
        let target = target.filter(|_| operation.pattern.is_one_path());
        let sql = sql_terms(operation, target.is_some(), by_client, ledger);
        let mut sent = Sent::new(target, operation.idempotency);
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
            remote: Arc::new(remote.answer_max(ledger.answer_max)),
            amount: operation.amount.clone(),
            taken: operation.taken.clone(),
            by_client,
            sql,
        })
    }
}

/// Returns what the SQL functions of the ledger may do with actions of an operation. `has_target` says whether the
/// pattern names the one path that a body is sent to.
fn sql_terms(
    operation: &config::Operation,
    has_target: bool,
    client_keys: bool,
    ledger: &config::Ledger,
) -> SqlTerms {
    let confirm = operation.confirm.iter().map(|confirm| &confirm.request);
    let cancel = operation.cancel.iter().map(|cancel| &cancel.request);
    let needs_headers = confirm
        .chain(cancel)
        .any(|request| request.holes().any(|hole| matches!(hole, Hole::RequestHeader(_))));
    let refused = if !has_target {
        Some(
            "a body alone does not say where it goes: the operation's `match` has a variable part, or another method than POST, PUT, PATCH and DELETE",
        )
    } else if needs_headers {
        Some("a body alone has no headers, and the operation's `confirm` or `cancel` is filled from one")
    } else {
        None
    };
    SqlTerms {
        request_max: Some(ledger.request_max),
        key_max: None,
        client_keys,
        roles: operation.taken.sql_roles.clone(),
        key_at: operation.taken.key.field(),
        refused: refused.map(str::to_owned),
    }
}
