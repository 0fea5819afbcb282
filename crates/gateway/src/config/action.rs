//! Settings of actions that concern the whole gateway: where they are recorded, and how they are compared.
//!
//! The declarations of a durable operation are in the crate `seawall-actions`, which also checks them.

use std::time::Duration;

use seawall_actions::Listing;
use seawall_ledger::OnUnknown;

use super::hidden::Secret;

/// `[ledger]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Ledger {
    /// `sqlite:FILE` or `postgres://…`.
    pub url: Secret,
    /// How long a claim on an action holds.
    pub lease: Duration,
}

/// What to do if the effect is unknown, by the word that stands in the file.
pub(super) const ON_UNKNOWN: [(&str, OnUnknown); 4] = [
    ("repeat", OnUnknown::Repeat),
    ("confirm", OnUnknown::Confirm),
    ("cancel", OnUnknown::Cancel),
    ("hold", OnUnknown::Hold),
];

/// `[dependency.NAME.reconcile]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Reconcile {
    /// The time between two comparisons.
    pub every: Duration,
    /// The provider's time zone, an IANA name.
    pub zone: String,
    /// How to read the provider's list.
    pub listing: Listing,
}
