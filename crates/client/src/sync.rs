//! The lock and the atomics for shared state. The loom models (`crates/client/loom`) replace this file by their own.

pub(crate) use parking_lot::Mutex;
