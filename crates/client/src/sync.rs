//! The lock of the shared state. To test it under all orders of threads, `crates/client/loom` replaces this file by a
//! lock of the tool `loom`.

pub(crate) use parking_lot::Mutex;
