//! The lock and the atomics for what is shared. The loom models (`crates/client/loom`) put their own in this place.

pub(crate) use parking_lot::Mutex;
