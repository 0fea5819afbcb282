//! Settings of actions that concern the whole gateway: where they are recorded, and how they are compared with the
//! provider's own list.
//!
//! The declarations of a durable operation are in the crate `seawall-actions`, which also checks them.

use std::time::Duration;

use seawall_actions::Listing;
use seawall_ledger::OnUnknown;

use super::hidden::Secret;

/// `[ledger]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Ledger {
    /// The URL of the ledger's database: `sqlite:FILE` or `postgres://…`. Default `sqlite:seawall.db`.
    pub url: Secret,
    /// How long a claim on an action holds. Default 2 min.
    pub lease: Duration,
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
