//! Decides.
mod backoff;
mod time;

pub use backoff::{Backoff, Draw};
pub use time::Time;
