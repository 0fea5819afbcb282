//! Reads a body to its end.

use http::HeaderMap;

use crate::chunks::Chunks;
use crate::head::Limits;
use crate::misread::Misread;

/// Where the body of a message ends. This is decided once, when the head is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    Empty,
    /// The body ends after this number of bytes.
    Length(u64),
    /// The body ends with its last chunk and the trailers after it.
    Chunked,
    /// The body ends with the connection.
    UntilClose,
}

/// A body whose bytes are still coming in.
#[derive(Debug)]
pub struct Body(State);

#[derive(Debug)]
enum State {
    Over(Option<HeaderMap>),
    Left(u64),
    Chunks(Box<Chunks>),
    UntilClose,
}

impl Body {
    /// Returns a body before its first byte.
    #[must_use]
    pub fn new(framing: Framing, limits: Limits) -> Body {
        Body(match framing {
            Framing::Empty | Framing::Length(0) => State::Over(None),
            Framing::Length(length) => State::Left(length),
            Framing::Chunked => State::Chunks(Box::new(Chunks::new(limits))),
            Framing::UntilClose => State::UntilClose,
        })
    }

    /// Reads the next bytes of the connection. Those that are content of the body are appended to `data`. Returns how
    /// many of `bytes` belong to this body; the others belong to what follows the body.
    ///
    /// # Errors
    /// The chunks or trailers are malformed, so the body cannot become whole any more.
    pub fn read(&mut self, bytes: &[u8], data: &mut Vec<u8>) -> Result<usize, Misread> {
        match &mut self.0 {
            State::Over(_) => Ok(0),
            State::Left(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                data.extend_from_slice(&bytes[..here]);
                *left -= here as u64;
                if *left == 0 {
                    self.0 = State::Over(None);
                }
                Ok(here)
            }
            State::Chunks(chunks) => {
                let used = chunks.read(bytes, data)?;
                if chunks.is_over() {
                    self.0 = State::Over(chunks.take_trailers());
                }
                Ok(used)
            }
            State::UntilClose => {
                data.extend_from_slice(bytes);
                Ok(bytes.len())
            }
        }
    }

    /// Must be called when the server has closed the connection without an error. Returns whether the body is whole: it
    /// had been read to its end before, or its framing is [`Framing::UntilClose`].
    pub fn closed(&mut self) -> bool {
        if matches!(self.0, State::UntilClose) {
            self.0 = State::Over(None);
        }
        self.is_over()
    }

    /// Returns whether the body was read to its end. Only then is the message whole.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.0, State::Over(_))
    }

    /// Returns the number of bytes that are still to come; `None` if that is not known.
    #[must_use]
    pub fn left(&self) -> Option<u64> {
        match self.0 {
            State::Over(_) => Some(0),
            State::Left(left) => Some(left),
            State::Chunks(_) | State::UntilClose => None,
        }
    }

    /// Returns the trailers after the last chunk, the first time that it is called. After that it returns `None`. It
    /// also returns `None` if there are no trailers, or if the body is not over.
    pub fn take_trailers(&mut self) -> Option<HeaderMap> {
        match &mut self.0 {
            State::Over(trailers) => trailers.take(),
            State::Left(_) | State::Chunks(_) | State::UntilClose => None,
        }
    }
}

#[cfg(test)]
#[path = "body_tests.rs"]
mod tests;
