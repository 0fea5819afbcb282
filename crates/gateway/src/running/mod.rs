//! The state of a running gateway: the compiled configuration that is in force, and what all workers and the admin API
//! share.

pub mod changes;
pub mod compiled;
pub mod counters;
pub(crate) mod durable;
pub(crate) mod here;
pub(crate) mod operations;
pub(crate) mod parked;
pub mod process;
pub(crate) mod router;
pub(crate) mod tokens;
pub(crate) mod via;
