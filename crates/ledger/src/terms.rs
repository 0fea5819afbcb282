//! On which terms applications act on the ledger with plain SQL.
//!
//! The functions `seawall.record`, `settle`, `cancel` and `outcome` run in PostgreSQL, where no configuration is. So each
//! process writes what the functions need to know beside the operations that it declares. The functions read it in the
//! caller's own transaction, also while no process of the ledger runs.

use std::collections::BTreeMap;

use serde::Serialize;

/// On which terms plain SQL acts on an operation. With [`SqlTerms::default`], each role that may execute the functions may
/// act on it, within the limits of the ledger ([`Sizes`](crate::Sizes)).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SqlTerms {
    /// The maximum number of bytes of a request; `None` if the limit of the ledger holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_max: Option<usize>,
    /// The maximum number of bytes of a key, with the client before it; `None` if the limit of the ledger holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_max: Option<usize>,
    /// Whether the name of a client stands before each key, with a colon after it. Default `false`.
    pub client_keys: bool,
    /// The roles of the database that may act on the operation, each with the client for which it acts; `None` in the place
    /// of a client if the role acts for no client. A member of a role may do what the role may do. Without a list, each
    /// role may act on the operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roles: Option<BTreeMap<String, Option<String>>>,
    /// The members of the request that lead to its key, if the request itself has its key: a key that differs from it is
    /// refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_at: Option<Vec<String>>,
    /// Why plain SQL cannot record the operation; `None` if it can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

impl SqlTerms {
    /// Returns these terms as the table has them.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("all keys of these maps are texts")
    }
}

/// An operation that a process declares, with the terms of plain SQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declaration {
    /// The name of the dependency.
    pub dependency: String,
    /// The name of the operation.
    pub operation: String,
    /// On which terms plain SQL acts on it.
    pub terms: SqlTerms,
}

impl Declaration {
    /// Declares an operation with the default terms.
    #[must_use]
    pub fn new(dependency: &str, operation: &str) -> Declaration {
        let (dependency, operation) = (dependency.to_owned(), operation.to_owned());
        Declaration { dependency, operation, terms: SqlTerms::default() }
    }
}
