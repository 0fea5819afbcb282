//! Makes trouble on purpose, on loopback, in small known doses.
//!
//! - [`harbor`] is a payment provider that misbehaves on request and keeps its own books. The books are what matters: a
//!   caller's *belief* about an effect is worth nothing until it is compared with what the provider did.
//! - [`rogue`] is an upstream that breaks the rules of HTTP, or keeps them in the least convenient way. It is for
//!   tests of clients and gateways.
//! - [`sim`] is trouble in virtual time: callers, providers and outages, and the real policies between them.
//! - [`dead_end`] holds addresses at which no connection comes about: one that refuses, and one that does not answer.
//!
//! The obvious way to test a client is a mock that returns errors. It misses everything that happens below: bytes that
//! were half written, a connection that closed between two requests, an answer that was made and lost. So everything
//! here but the simulator is a real server on a real socket.

pub mod dead_end;
pub mod harbor;
pub mod rogue;
pub mod sim;

mod wire;
