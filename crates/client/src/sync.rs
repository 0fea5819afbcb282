//! What is shared, is shared through these. The loom models (`crates/client/loom`) put their own in this place.

pub(crate) use parking_lot::Mutex;
