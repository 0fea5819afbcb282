//! Requests with holes: `GET /v1/charges?key={key}`, and the JSON bodies beside them.
//!
//! A hole that cannot be filled at three in the morning is a cancel that is never sent. So every hole is known when the
//! template is read: what it takes, and where it may stand. What fills it is copied digit by digit: a number that went
//! through a float on its way could become another id.
//!
//! ```
//! use seawall_actions::template::{Purpose, RequestTemplate};
//!
//! let ask = RequestTemplate::parse("GET /v1/charges?key={key}", Purpose::Confirm).unwrap();
//! assert_eq!(ask.holes().count(), 1);
//! assert!(RequestTemplate::parse("GET /v1/charges/{answer:/id}", Purpose::Confirm).is_err());
//! ```

mod hole;
mod json;
mod raw;
mod request;
mod text;

pub(crate) use hole::stored_header;
pub use hole::{Hole, Pointer, Purpose, header_name};
pub use json::JsonTemplate;
pub use raw::Raw;
pub use request::{Filled, RequestTemplate};
pub use text::{Fill, Template, Unfilled};

#[cfg(test)]
mod tests;
