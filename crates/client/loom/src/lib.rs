//! The client's sharing, under a checker that tries every order in which threads can meet.
#![cfg(loom)]
#![allow(dead_code, reason = "the files are the client's, and hold more than is modelled here")]

#[path = "../../src/shared.rs"]
mod shared;
mod sync;

mod clock;
pub mod models;
