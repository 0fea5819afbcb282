//! `seawall serve`: start, workers, reload, drain.

mod demo;
mod drain;
mod ebb;
mod error;
mod listeners;
mod reload;
mod signals;
mod start;
pub(crate) mod worker;

pub use error::StartError;
pub use start::{Options, run, work_here};
