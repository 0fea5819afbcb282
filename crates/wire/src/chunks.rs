//! Reads a body in chunks (RFC 9112, section 7.1) and checks each of its bytes.
//!
//! A byte that is not allowed at its position makes the body invalid. Other readers are less strict. hyper takes a
//! malformed size for the end of the body, and some readers skip unknown text after a chunk's size.

use bytes::Bytes;
use http::HeaderMap;

use crate::fields::owned;
use crate::head::{HeadEnd, Limits};
use crate::misread::Misread;

/// The maximum length of the extension of one chunk, in bytes. An extension is a text after the chunk's size; no server
/// is known to send one.
const EXTENSION: u16 = 4096;
/// The maximum number of hexadecimal digits of a chunk's size. A number of 64 bits has no more.
const DIGITS: u8 = 16;

#[derive(Debug)]
pub(crate) struct Chunks {
    state: State,
    limits: Limits,
    /// Trailers that are not complete.
    raw: Vec<u8>,
    end: HeadEnd,
    trailers: Option<HeaderMap>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The reader is in the digits of a chunk's size.
    Size {
        value: u64,
        digits: u8,
    },
    /// The reader is in the blanks between a size and the semicolon of its extension.
    Blank {
        value: u64,
    },
    /// The reader is in an extension. `bytes` is the number of bytes of the extension so far.
    Extension {
        value: u64,
        bytes: u16,
    },
    /// The reader is before the line feed that ends the line of a chunk's size.
    SizeEnd {
        value: u64,
    },
    /// The reader is in the data of a chunk. `left` is the number of bytes of the data that are still to come.
    Data {
        left: u64,
    },
    /// The reader is before the carriage return after the data.
    DataReturn,
    /// The reader is before the line feed after that carriage return.
    DataEnd,
    /// The reader is in the trailers, which follow the last chunk.
    Trailers,
    Over,
}

const SIZE: State = State::Size { value: 0, digits: 0 };

impl Chunks {
    pub(crate) fn new(limits: Limits) -> Chunks {
        Chunks { state: SIZE, limits, raw: Vec::new(), end: HeadEnd::default(), trailers: None }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.state == State::Over
    }

    pub(crate) fn take_trailers(&mut self) -> Option<HeaderMap> {
        self.trailers.take()
    }

    /// Reads the next bytes of the body. Those that are content are appended to `data`, but not the chunks' sizes and
    /// line ends. Returns how many of `bytes` belong to the body.
    ///
    /// # Errors
    /// The chunks or trailers are malformed.
    pub(crate) fn read(&mut self, bytes: &[u8], data: &mut Vec<u8>) -> Result<usize, Misread> {
        let mut at = 0;
        while at < bytes.len() {
            match self.state {
                State::Data { left } => {
                    let rest = &bytes[at..];
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    data.extend_from_slice(&rest[..here]);
                    let left = left - here as u64;
                    self.state = if left == 0 { State::DataReturn } else { State::Data { left } };
                    at += here;
                }
                State::Trailers => at += self.read_trailers(&bytes[at..])?,
                State::Over => break,
                _ => {
                    self.state = self.state.after(bytes[at])?;
                    at += 1;
                }
            }
        }
        Ok(at)
    }

    fn read_trailers(&mut self, bytes: &[u8]) -> Result<usize, Misread> {
        // Usually there are no trailers, so the first bytes after the last chunk are the empty line that ends the body.
        if self.raw.is_empty() && bytes.starts_with(b"\r\n") {
            self.state = State::Over;
            return Ok(2);
        }
        let before = self.raw.len();
        let room = self.limits.header_bytes.saturating_sub(before);
        let taken = &bytes[..bytes.len().min(room)];
        self.raw.extend_from_slice(taken);
        let Some(end) = self.end.find(&self.raw)? else {
            return if taken.len() < bytes.len() { Err(Misread::HeadTooLong) } else { Ok(taken.len()) };
        };
        let mut raw = std::mem::take(&mut self.raw);
        raw.truncate(end);
        self.trailers = trailers(&Bytes::from(raw), self.limits)?;
        self.state = State::Over;
        Ok(end - before)
    }
}

/// Returns the fields after the last chunk; `None` if there are none. A field such as `Content-Length` has no meaning
/// there (RFC 9110, section 6.5.1): it changes neither where the body ends nor whether the connection is kept. Code
/// that passes the trailers on must leave such fields out.
fn trailers(raw: &Bytes, limits: Limits) -> Result<Option<HeaderMap>, Misread> {
    let mut room = vec![httparse::EMPTY_HEADER; limits.headers];
    let parsed = httparse::parse_headers(raw, &mut room).map_err(|error| match error {
        httparse::Error::TooManyHeaders => Misread::TooManyFields,
        _ => Misread::Field,
    })?;
    let httparse::Status::Complete((length, found)) = parsed else { return Err(Misread::Field) };
    if length != raw.len() {
        return Err(Misread::Field);
    }
    let mut map = HeaderMap::with_capacity(found.len());
    for field in found {
        let (name, value) = owned(raw, field)?;
        map.append(name, value);
    }
    Ok((!map.is_empty()).then_some(map))
}

impl State {
    /// Returns the state after a byte that is not data.
    fn after(self, byte: u8) -> Result<State, Misread> {
        Ok(match (self, byte) {
            (State::Size { value, digits }, _) if byte.is_ascii_hexdigit() => {
                if digits == DIGITS {
                    return Err(Misread::ChunkSize);
                }
                State::Size { value: value << 4 | u64::from(hex(byte)), digits: digits + 1 }
            }
            (State::Size { digits: 0, .. }, _) => return Err(Misread::ChunkSize),
            (State::Size { value, .. } | State::Blank { value }, b' ' | b'\t') => State::Blank { value },
            (State::Size { value, .. } | State::Blank { value }, b';') => {
                State::Extension { value, bytes: 0 }
            }
            (State::Size { value, .. } | State::Extension { value, .. }, b'\r') => State::SizeEnd { value },
            (State::Extension { value, bytes }, b'\t' | b' '..=b'~' | 0x80..) if bytes < EXTENSION => {
                State::Extension { value, bytes: bytes + 1 }
            }
            (State::SizeEnd { value: 0 }, b'\n') => State::Trailers,
            (State::SizeEnd { value }, b'\n') => State::Data { left: value },
            (State::DataReturn, b'\r') => State::DataEnd,
            (State::DataEnd, b'\n') => SIZE,
            (State::DataReturn | State::DataEnd, _) => return Err(Misread::ChunkEnd),
            _ => return Err(Misread::ChunkSize),
        })
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}
