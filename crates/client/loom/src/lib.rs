//! What the client's threads share, run under a checker that tries every order of their steps.
#![cfg(loom)]
#![allow(dead_code, reason = "the files are the client's, and hold more than is modelled here")]

#[path = "../../src/shared.rs"]
mod shared;
mod sync;

mod clock;
pub mod models;
