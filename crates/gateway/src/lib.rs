//! Seawall's gateway: the program's parts, as a library so that tests can reach them.
//!
//! The way of one request leads downhill: [`serve`] starts the workers that accept connections, [`callers`] holds what is
//! between a caller's socket and its request, [`request`] answers one request, and [`running`] holds what it is answered with.
//! [`config`] reads the file that is compiled there.

pub mod admin;
mod authority;
pub mod callers;
pub mod cli;
pub mod config;
mod files;
mod panics;
mod paths;
mod problem;
pub mod request;
pub mod running;
pub mod serve;
