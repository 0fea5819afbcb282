//! Seawall's gateway: the program's parts, as a library so that tests can reach them.
//!
//! One request walks through [`serve`] (listeners, workers), `worker` (one core), `handle` (top to bottom) and comes
//! back as a `reply`. [`config`] reads the file, [`running`] compiles it.

pub mod admin;
mod arrival;
mod authority;
mod caller;
pub mod cli;
pub mod config;
pub mod counters;
mod demo;
mod descriptors;
mod ebb;
mod files;
#[doc(hidden)]
mod frames;
pub mod framing;
mod gate;
mod handle;
mod headers;
mod inbound;
mod operations;
mod outbound;
mod panics;
mod parked;
mod paths;
mod refusals;
pub mod reload;
mod reply;
pub mod running;
pub mod serve;
#[cfg(test)]
mod stopwatch;
mod streams;
mod tokens;
mod via;
mod worker;

pub use headers::{duration, grpc_timeout};
