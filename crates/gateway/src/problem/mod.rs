//! What Seawall answers in place of a dependency.

pub(crate) mod refusals;
