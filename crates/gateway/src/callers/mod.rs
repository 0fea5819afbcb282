//! The part of the gateway that applications connect to: it watches their connections, decides who may call, and finds
//! where each message ends.

pub(crate) mod arrival;
pub(crate) mod caller;
pub(crate) mod descriptors;
pub(crate) mod door;
pub(crate) mod exchange;
pub(crate) mod frames;
pub mod framing;
pub(crate) mod gate;
pub(crate) mod patience;
#[cfg(test)]
pub(crate) mod stopwatch;
pub(crate) mod streams;
mod unread;
