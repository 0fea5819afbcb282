//! What all requests to the admin side share.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::http::StatusCode;

use super::changes::OperatorChanges;
use super::problem::AdminProblem;
use super::token::AdminToken;
use crate::durable::side::LedgerSide;
use crate::running::process::Running;

/// The state that all requests to the admin side share.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) running: Arc<Running>,
    pub(super) token: AdminToken,
    pub(super) changes: OperatorChanges,
    pub(super) ledger: Arc<LedgerSide>,
}

/// The two addresses of the connection on which a request came in: the caller's address and the gateway's own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    /// Our end of the connection.
    pub(super) local: SocketAddr,
    /// The caller's end of the connection.
    pub(super) peer: SocketAddr,
}

impl Desk {
    pub(super) fn no_dependency(&self, name: &str) -> AdminProblem {
        let compiled = self.running.compiled.load();
        let known: Vec<&str> = compiled.dependencies.iter().map(|d| d.settings.name.as_str()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        AdminProblem::new(StatusCode::NOT_FOUND, format!("there is no dependency `{name}`; there is {known}"))
    }
}
