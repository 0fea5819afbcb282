//! The client's sharing, under a checker that tries every order in which threads can meet.
#![cfg(loom)]
#![allow(dead_code, reason = "the files are the client's, and hold more than is modelled here")]

#[path = "../../src/shared.rs"]
mod shared;
mod sync;

pub mod models;

use seawall_policy::Time;

/// Stands still: what is modelled is order, not time.
#[derive(Clone, Copy, Debug)]
pub struct Clock;

impl Clock {
    pub(crate) fn now(&self) -> Time {
        Time::from_millis(1_000)
    }
}
