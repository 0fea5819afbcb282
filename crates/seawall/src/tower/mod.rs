//! One layer for any tower service: deadline, breaker, limit, budget and repeats around it.
//!
//! The obvious layer keeps a permit from `poll_ready` until `call`. But a caller that polls and never calls then holds
//! a slot for ever. And a service that is cloned between the two uses one slot twice, or two slots for one call. Here
//! readiness is only that of the wrapped service. The guards are asked when the call runs, and the call's future holds
//! the permit. When the future is dropped, the permit goes back.
//!
//! `call` uses the very service that said that it is ready, and leaves a clone in its place. Repeats use further
//! clones, and wait until these are ready.
//!
//! A [`Protocol`] tells the layer what it must know about requests and answers. There is [`Each`] for requests of any
//! kind, [`Http`] for `http` services (such as tonic's channels), and `Reqwest` for reqwest's client.

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
