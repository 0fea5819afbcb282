//! Seawall's gateway: the program's parts, as a library so that tests can reach them.
//!
//! A request passes these parts in order. [`serve`] starts the workers that accept connections. [`callers`] holds what is
//! between a caller's socket and its request. [`request`] answers one request. [`running`] holds what the answer needs.
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
