//! HTTP/1.1 messages, read strictly and written plainly. Bytes go in and facts come out: no IO, no clock, no task.
//!
//! This crate reads by strict rules, and bytes that break them are a [`Misread`]. Most libraries read an answer
//! leniently. If there are two lengths, they take one of them. They ignore a coding that they do not know. They read a
//! chunk size with a sign as zero. In each of these cases a broken answer looks whole, and a payment that never
//! happened looks paid. These are the rules:
//!
//! - Lines end with a carriage return and a line feed. Neither stands alone anywhere in a head, a chunk's line or a
//!   trailer.
//! - A body has one `Content-Length` of digits, or one `Transfer-Encoding: chunked`, or neither, but never both.
//!   HTTP/1.0 has no `Transfer-Encoding`.
//! - A chunk size is 1 to 16 hexadecimal digits.
//! - A field name stands directly before its colon. A field's value does not go on in the next line.
//!
//! [`Framing`] decides where a message ends, once, when its head is read. [`Body`] then follows the bytes and says when
//! the message is whole. No other code decides where a message ends.
//!
//! ```
//! use seawall_wire::{Asked, Body, Framing, HeadEnd, Limits, answer};
//!
//! let bytes = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nyes\r\n0\r\n\r\n";
//! let end = HeadEnd::default().find(bytes)?.expect("the head is complete");
//! let head = answer(&bytes[..end], Asked::Other, Limits::default())?;
//! assert_eq!((head.status.as_u16(), head.framing), (200, Framing::Chunked));
//!
//! let mut body = Body::new(head.framing, Limits::default());
//! let mut data = Vec::new();
//! body.read(&bytes[end..], &mut data)?;
//! assert!(body.is_over());
//! assert_eq!(data, b"yes");
//! # Ok::<(), seawall_wire::Misread>(())
//! ```

mod answer;
mod body;
mod chunks;
mod fields;
mod head;
mod misread;
mod write;

pub use answer::{AnswerHead, Asked, answer, may_begin};
pub use body::{Body, Framing};
pub use fields::decimal;
pub use head::{HeadEnd, Limits};
pub use misread::Misread;
pub use write::{chunk_size, field, last_chunk, length};
