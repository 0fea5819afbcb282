//! What a rogue can do with a request that it has read, and with a connection that is idle.

use std::time::Duration;

use bytes::Bytes;

use super::load::Load;

/// What a rogue does with one request. The closure that the test gives to the rogue chooses it.
#[derive(Clone, Debug)]
pub enum Act {
    /// Sends this answer.
    Answer(Answer),
    /// Closes the connection normally, without an answer. On HTTP/2 this ends every stream of the connection.
    Close,
    /// HTTP/1.1: resets the connection. HTTP/2: sends RST_STREAM with INTERNAL_ERROR.
    Reset,
    /// Never answers. The rogue records when the caller leaves.
    Hang,
    /// Waits for this time, and then does the given act. If the caller leaves during the wait, the departure is
    /// recorded and the act is not done.
    After(Duration, Box<Act>),
    /// Writes these bytes as they are, and then keeps, closes or resets the connection. On HTTP/2 they are written
    /// between two frames.
    Raw(Bytes, Then),
    /// HTTP/2: sends RST_STREAM with REFUSED_STREAM, which says that the request was not processed. HTTP/1.1 has no
    /// such signal, so the connection is closed. In both cases the request is not counted as processed.
    Refuse,
    /// HTTP/2: sends GOAWAY with this last stream id. Streams with a higher id are not counted as processed. All other
    /// streams continue as their acts say, unless `then` ends the connection.
    ///
    /// HTTP/1.1: closes the connection.
    GoAway {
        /// The highest id of the streams that were, or may have been, processed.
        last: u32,
        /// What happens to the connection after the GOAWAY.
        then: Then,
    },
}

/// What happens to the connection after an act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// The connection stays open.
    Keep,
    /// The connection is closed normally.
    Close,
    /// The connection is reset.
    Reset,
}

/// An answer in HTTP: a status, header fields and a body.
#[derive(Clone, Debug)]
pub struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) load: Load,
    pub(super) then: Then,
}

impl Answer {
    /// Returns an answer with this status and an empty body. It has no header fields but those that the rogue adds,
    /// such as `content-length`.
    #[must_use]
    pub fn status(status: u16) -> Answer {
        Answer { status, headers: Vec::new(), load: Load::bytes(""), then: Then::Keep }
    }

    /// Returns an answer with status 200 and this body.
    #[must_use]
    pub fn ok(body: impl Into<Bytes>) -> Answer {
        Answer { load: Load::bytes(body), ..Answer::status(200) }
    }

    /// Adds a header field. The rogue itself adds the fields that say how long the body is, such as `content-length`.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Answer {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the body. The default is an empty body.
    #[must_use]
    pub fn load(self, load: Load) -> Answer {
        Answer { load, ..self }
    }

    /// Sets what happens to an HTTP/1.1 connection after the answer. The caller is not warned: [`Then::Close`] adds no
    /// `connection: close` to the answer. The default is [`Then::Keep`]. HTTP/2 connections are always kept.
    #[must_use]
    pub fn then(self, then: Then) -> Answer {
        Answer { then, ..self }
    }
}

impl From<Answer> for Act {
    fn from(answer: Answer) -> Act {
        Act::Answer(answer)
    }
}

/// What a rogue does with an HTTP/1.1 connection that is idle. A connection is idle from the end of an answer until the
/// next request arrives. A new connection is idle too, until its first byte comes (see the builder's `welcome`).
///
/// If a request arrives within the given time, it is served as usual. If the time is zero, the rogue acts immediately
/// and does not look for a request.
#[derive(Clone, Debug, Default)]
pub enum Idle {
    /// Waits for the next request.
    #[default]
    Keep,
    /// Closes the connection after this time.
    Close(Duration),
    /// Resets the connection after this time.
    Reset(Duration),
    /// Sends these bytes after this time, although no request came. Afterwards the connection is kept, closed or reset.
    Say(Duration, Bytes, Then),
}

impl Idle {
    /// Returns an idle rule that sends a 408 after this time, although no request came. Many servers do this on a
    /// connection that was idle for too long, and many of them close the connection afterwards.
    #[must_use]
    pub fn stale_408(after: Duration, then: Then) -> Idle {
        let bytes = "HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        Idle::Say(after, Bytes::from_static(bytes.as_bytes()), then)
    }

    pub(super) fn after(&self) -> Option<Duration> {
        match self {
            Idle::Keep => None,
            Idle::Close(after) | Idle::Reset(after) | Idle::Say(after, ..) => Some(*after),
        }
    }
}
