//! Seawall's gateway: the program's parts, as a library so that tests can reach them.
//!
//! A request passes through these parts, in this order:
//!
//! - [`serve`] starts the workers, which accept connections.
//! - [`callers`] watches each caller's connection and decides who may call.
//! - [`request`] makes the answer to one request, with what [`running`] holds for it.
//!
//! [`config`] reads the file from which [`running`] is compiled.

pub mod admin;
mod authority;
pub mod callers;
pub mod cli;
pub mod config;
mod durable;
mod files;
mod panics;
mod paths;
mod problem;
pub mod request;
pub mod running;
pub mod serve;
mod signature;
