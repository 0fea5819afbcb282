//! One layer for any tower service. It puts deadline, breaker, limit, budget and repeats around the service.
//!
//! `poll_ready` of the layer only asks the wrapped service whether it is ready. Breaker and limit are asked when the
//! call runs. Its future then holds a place in the limit, and dropping the future gives the place back.
//!
//! The obvious layer would take the place in `poll_ready` and keep it until `call`. But then a caller that polls and
//! never calls would hold a place for ever. And if a service is cloned between `poll_ready` and `call`, two calls could
//! use one place, or one call could use two.
//!
//! `call` takes the service whose `poll_ready` succeeded, and leaves a clone of it in its place. Each repeat uses a
//! further clone, and waits until that clone is ready.
//!
//! A [`Protocol`] tells the layer what it must know about requests and answers: [`Each`] for requests of any kind,
//! [`Http`] for services of the crate `http` (such as tonic's channels), and `Reqwest` for reqwest's client.

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
