//! How the guards of one dependency decide, and under which keys they are kept.

use std::sync::Arc;

use crate::breaker::BreakerSettings;
use crate::budget::BudgetSettings;
use crate::cooling::CoolingSettings;
use crate::limit::LimitSettings;
use crate::queue::QueueSettings;

/// How the guards of one dependency decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuardSettings {
    /// Each endpoint's breaker, or each key's.
    pub breaker: BreakerSettings,
    /// Each endpoint's cooling; where breakers are kept for keys, each key's.
    pub cooling: CoolingSettings,
    /// Each endpoint's limit, or each key's.
    pub limit: LimitSettings,
    /// The queue before each limit. Default: none.
    pub queue: QueueSettings,
    /// The number of keys at an endpoint that have a breaker of their own; those beyond share one. Default 1024: a partner has tens
    /// of shards and hundreds of tenants, and a thousand breakers take about a megabyte.
    pub breaker_keys: u32,
    /// The number of keys that have a limit of their own. Default 1024.
    pub limit_keys: u32,
    /// The dependency's retry budget.
    pub budget: BudgetSettings,
    /// How many copies of this caller run. Default 1; above 100, slow failures are repeated only on evidence.
    pub instances: u32,
}

impl Default for GuardSettings {
    fn default() -> Self {
        GuardSettings {
            breaker: BreakerSettings::default(),
            cooling: CoolingSettings::default(),
            limit: LimitSettings::default(),
            queue: QueueSettings::default(),
            breaker_keys: 1024,
            limit_keys: 1024,
            budget: BudgetSettings::default(),
            instances: 1,
        }
    }
}

/// Under which keys a call's breaker and limit are kept; by default, and where the call has no such key, the endpoint's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// The breaker's.
    pub breaker: Option<Arc<str>>,
    /// The limit's.
    pub limit: Option<Arc<str>>,
}

impl Keys {
    /// None: the endpoint's own guards.
    pub const NONE: Keys = Keys { breaker: None, limit: None };
}
