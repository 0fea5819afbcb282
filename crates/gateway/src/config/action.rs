//! Settings of actions that concern the gateway alone: where they are recorded, what is taken over from a caller's
//! request, and how they are compared with the provider's own list.
//!
//! The declarations of a durable operation are in the crate `seawall-actions`, which also checks them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, Uri};
use seawall_actions::{KeySource, Listing};
use seawall_ledger::OnUnknown;

use super::hidden::Secret;

/// `[ledger]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Ledger {
    /// The URL of the ledger's database: `sqlite:FILE` or `postgres://…`. Default `sqlite:seawall.db`.
    pub url: Secret,
    /// How long a claim on an action holds. Default 2 min.
    pub lease: Duration,
    /// The maximum length of the body of a durable request, in bytes. Default 1 MiB.
    pub request_max: usize,
    /// The maximum length of an answer's body that is recorded, in bytes. A longer answer is passed on to the caller
    /// whole, and no part of it is recorded. Default 256 KiB.
    pub answer_max: usize,
    /// The maximum number of callers that wait for actions at the same time. Default 1000.
    pub waiters: usize,
    /// How long an action waits if no gateway declares its operation any longer. After that time it is stuck: a person
    /// must look at it. Default 24 h.
    pub undeclared_after: Duration,
    /// The webhook that is told of stuck actions; `None` if there is none.
    pub on_stuck: Option<OnStuck>,
}

/// `[ledger] on_stuck`: the webhook that is told of stuck actions.
#[derive(Clone, Debug, PartialEq)]
pub struct OnStuck {
    /// Where messages are sent, by POST.
    pub url: Uri,
    /// The file with the secret by which messages are signed.
    pub secret_file: PathBuf,
}

/// Which callers of a dependency share the keys of its durable operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyScope {
    /// Each caller has keys of its own. The caller's name stands before the key, both in the ledger and in what is sent
    /// to the provider.
    Client,
    /// All callers share all keys.
    Shared,
}

/// Roles of the ledger's database. The value of a role is the name of the caller for which the role acts, or `None` if
/// it acts for no caller.
pub type SqlRoles = BTreeMap<String, Option<String>>;

/// The words of the setting `key_scope`, each with its meaning.
pub(super) const KEY_SCOPES: [(&str, KeyScope); 2] =
    [("client", KeyScope::Client), ("shared", KeyScope::Shared)];

/// What the gateway takes over from the request of a durable operation's caller.
#[derive(Clone, Debug, PartialEq)]
pub struct Taken {
    /// Where the key comes from. Default: the header `idempotency-key`.
    pub key: KeySource,
    /// The names of the headers that are recorded with the request, and sent with it each time that it is sent. They
    /// are:
    ///
    /// - the headers of the setting `keep_headers`, `content-type` and `content-encoding`;
    /// - the headers from which a confirm, a cancel or a key of several parts is filled.
    ///
    /// None of them carries credentials. If one header alone is the key, it is not among them, since the key is
    /// recorded itself.
    pub headers: Vec<HeaderName>,
    /// The roles of the ledger's database that may act on the operation with plain SQL. `None` if every role that may
    /// execute the ledger's functions may do so.
    pub sql_roles: Option<SqlRoles>,
    /// Whether the provider needs credentials. If so, the configuration file must have them, since a caller's
    /// credentials are never recorded. Default `true`.
    pub credentials: bool,
}

/// The words of the setting `on_unknown`. Each stands with its meaning: what is done if nobody knows whether the action
/// took effect.
pub(super) const ON_UNKNOWN: [(&str, OnUnknown); 4] = [
    ("repeat", OnUnknown::Repeat),
    ("confirm", OnUnknown::Confirm),
    ("cancel", OnUnknown::Cancel),
    ("hold", OnUnknown::Hold),
];

/// The settings of `[dependency.NAME.reconcile]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Reconcile {
    /// The time between two comparisons. Default 24 h.
    pub every: Duration,
    /// The provider's time zone, an IANA name. Default UTC.
    pub zone: String,
    /// How the provider's list is requested and read.
    pub listing: Listing,
}
