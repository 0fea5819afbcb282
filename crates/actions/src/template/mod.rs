//! Requests with holes: `GET /v1/charges?key={key}`, and the headers and bodies that belong to them.
//!
//! Every hole is checked when its template is read: which value it takes, and where it may stand. Otherwise a hole that
//! cannot be filled would be noticed only when a cancel is needed, and the cancel would never be sent. A value that
//! fills a hole is copied digit by digit, because a number that was converted to a float could become another id.
//!
//! Each place escapes values in its own way: the target and a form by percent-encoding, a JSON body as JSON does. A
//! header has no way to escape characters. So if a value cannot be sent in a header, the request cannot be filled, and
//! nothing is sent.
//!
//! ```
//! use seawall_actions::template::{Purpose, RequestTemplate};
//!
//! let ask = RequestTemplate::parse("GET /v1/charges?key={key}", Purpose::Confirm).unwrap();
//! assert_eq!(ask.holes().count(), 1);
//! assert!(RequestTemplate::parse("GET /v1/charges/{answer:/id}", Purpose::Confirm).is_err());
//! ```

mod date;
mod form;
mod header;
mod hole;
mod json;
mod key;
mod raw;
mod request;
mod text;

pub use date::DateFormat;
pub use form::FormTemplate;
pub use header::HeaderTemplate;
pub use hole::{Hole, Pointer, Purpose, header_name, stored_header};
pub use json::JsonTemplate;
pub use key::KeySource;
pub use raw::Raw;
pub use request::{Body, Filled, RequestTemplate};
pub use text::{Fill, Template, Unfilled};

#[cfg(test)]
mod tests;
