//! The settings of the guards of one dependency, and the keys under which the guards are kept.

use std::sync::Arc;

use crate::breaker::BreakerSettings;
use crate::budget::BudgetSettings;
use crate::cooling::CoolingSettings;
use crate::limit::LimitSettings;
use crate::queue::QueueSettings;

/// The settings of the guards of one dependency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuardSettings {
    /// The settings of each endpoint's breaker, and of the breakers of its keys.
    pub breaker: BreakerSettings,
    /// The settings of each endpoint's cooling. Each key with a breaker of its own has a cooling of its own, too.
    pub cooling: CoolingSettings,
    /// The settings of each endpoint's limit, and of the limits of its keys.
    pub limit: LimitSettings,
    /// The queue before each limit. Default: no queue.
    pub queue: QueueSettings,
    /// The maximum number of keys at one endpoint that have a breaker of their own; all further keys share one breaker.
    /// Default 1024: a partner has tens of shards and hundreds of tenants, and a thousand breakers take about a
    /// megabyte.
    pub breaker_keys: u32,
    /// The maximum number of keys at one endpoint that have a limit of their own; all further keys share one limit.
    /// Default 1024.
    pub limit_keys: u32,
    /// The settings of the dependency's retry budget.
    pub budget: BudgetSettings,
    /// The number of copies of the calling program that run. Default 1. A repeat that may make the provider do the work
    /// twice is made only if failures are rare at the endpoint, or if the breaker's window holds at most two of them.
    /// With more than 100 copies, failures must be rare, because one such repeat by each copy is much work.
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

/// The keys under which a call's breaker and limit are kept. A call without a key uses the endpoint's own guard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// The key of the breaker; `None` for the endpoint's own breaker.
    pub breaker: Option<Arc<str>>,
    /// The key of the limit; `None` for the endpoint's own limit.
    pub limit: Option<Arc<str>>,
}

impl Keys {
    /// No keys: the endpoint's own guards.
    pub const NONE: Keys = Keys { breaker: None, limit: None };
}
