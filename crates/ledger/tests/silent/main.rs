//! A PostgreSQL that goes silent, behind a relay: every call ends within the deadline and a second, the work goes on over
//! new connections, and the provider gets each action once.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]
#![allow(dead_code, unreachable_pub, reason = "shared with other tests, each of which uses its part")]

mod ahead;
mod calls;
mod in_flight;
#[path = "../support/provider.rs"]
mod provider;
mod relay;
mod restart;
#[path = "../support/scratch.rs"]
mod scratch;
mod world;
