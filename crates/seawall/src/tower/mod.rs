//! One layer for any tower service: deadline, breaker, limit, budget and repeats around it.
//!
//! The obvious layer keeps a permit from `poll_ready` until `call`. A caller that asks and never calls then holds a
//! slot for ever, and a service that is cloned between the two spends one slot twice, or two for one. Here readiness is
//! only that of the service below. The guards are asked when the call runs, and its future holds what they gave: when
//! the future is dropped, that goes back.
//!
//! `call` uses the very service that said it is ready, and leaves a clone in its place. Repeats use clones of their own, and
//! wait until those are ready.
//!
//! A [`Protocol`] tells the layer what it must know of requests and answers: [`Each`] for requests of any kind,
//! [`Http`] for `http` services (tonic's channels among them), and `Reqwest` for reqwest's client.

#[cfg(feature = "http")]
mod http;
mod protocol;
#[cfg(feature = "reqwest")]
mod reqwest;
mod service;

#[cfg(feature = "http")]
pub use self::http::{BodyCopy, Cloned, Http, Never};
pub use self::protocol::{Each, Protocol};
#[cfg(feature = "reqwest")]
pub use self::reqwest::Reqwest;
pub use self::service::{Guard, GuardFuture, GuardLayer};
