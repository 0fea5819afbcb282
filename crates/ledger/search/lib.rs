//! The ledger's machine, compiled a second time, with optimisation, for the search.

#![allow(dead_code, unreachable_pub, reason = "the rest of the ledger uses it")]

#[path = "../src/calendar.rs"]
pub mod calendar;
#[path = "../src/keys.rs"]
pub mod keys;
#[path = "../src/machine/mod.rs"]
pub mod machine;
