//! Requests with holes: `GET /v1/charges?key={key}`, and the JSON bodies that belong to them.
//!
//! Every hole is checked when its template is read: which value it takes, and where it may stand. Otherwise a hole that
//! cannot be filled would be noticed only when a cancel is needed, and the cancel would never be sent. A value that
//! fills a hole is copied digit by digit, because a number that was converted to a float could become another id.
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
