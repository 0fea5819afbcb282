//! Servers and simulations that fail on purpose, for tests. All servers run on loopback.
//!
//! - [`harbor`] is a payment provider that misbehaves on request and keeps its own books. The books show what the
//!   provider really did, so a test can compare this with what a caller *believes*.
//! - [`rogue`] is an upstream that breaks the rules of HTTP, or keeps them in the least convenient way. It is for tests
//!   of clients and gateways.
//! - [`sim`] simulates outages in virtual time: callers, providers, and the real policies between them.
//! - [`dead_end`] has addresses to which no connection can be made: one refuses connections, and one never answers.
//!
//! The obvious way to test a client is a mock that returns errors. A mock misses everything that happens on the
//! connection: bytes that are half written, a connection that closes between two requests, an answer that is made and
//! then lost. So everything in this crate except the simulator is a real server on a real socket.

pub mod dead_end;
pub mod harbor;
pub mod rogue;
pub mod sim;

mod wire;
