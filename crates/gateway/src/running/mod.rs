//! What is in force: the configuration, compiled, and what every worker and the admin side share of it.

pub mod changes;
pub mod compiled;
pub mod counters;
pub(crate) mod operations;
pub(crate) mod parked;
pub mod process;
pub(crate) mod router;
pub(crate) mod tokens;
pub(crate) mod via;
