//! What a rogue does with a request that it has read, and with a connection that is idle.

use std::time::Duration;

use bytes::Bytes;

use super::load::Load;

/// What a rogue does with one request.
#[derive(Clone, Debug)]
pub enum Act {
    /// Answers.
    Answer(Answer),
    /// Closes the connection normally, without an answer. On HTTP/2 this ends every stream of the connection.
    Close,
    /// HTTP/1.1: resets the connection. HTTP/2: sends RST_STREAM with INTERNAL_ERROR.
    Reset,
    /// Never answers, and records when the caller leaves.
    Hang,
    /// Waits, and then acts. If the caller leaves during the wait, this is recorded.
    After(Duration, Box<Act>),
    /// Writes these bytes as they are. On HTTP/2 they land between two frames.
    Raw(Bytes, Then),
    /// HTTP/2: sends RST_STREAM with REFUSED_STREAM, which says that the request was not processed. So the request is
    /// not counted as processed. HTTP/1.1 has no such signal, so the connection is closed.
    Refuse,
    /// HTTP/2: sends GOAWAY with this last stream id. Streams with a higher id were not processed, and are counted so.
    /// Streams up to it continue as their acts say, unless `then` ends the connection. HTTP/1.1: closes the connection.
    GoAway {
        /// The highest stream id that was, or may have been, processed.
        last: u32,
        /// What happens to the connection.
        then: Then,
    },
}

/// What happens to the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It stays open.
    Keep,
    /// It is closed normally.
    Close,
    /// It is reset.
    Reset,
}

/// An answer in HTTP.
#[derive(Clone, Debug)]
pub struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) load: Load,
    pub(super) then: Then,
}

impl Answer {
    /// An answer with this status and without a body.
    #[must_use]
    pub fn status(status: u16) -> Answer {
        Answer { status, headers: Vec::new(), load: Load::bytes(""), then: Then::Keep }
    }

    /// An answer with status 200 and this body.
    #[must_use]
    pub fn ok(body: impl Into<Bytes>) -> Answer {
        Answer { load: Load::bytes(body), ..Answer::status(200) }
    }

    /// Adds a header field. The fields that frame the body are always written, in addition to these.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Answer {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn load(self, load: Load) -> Answer {
        Answer { load, ..self }
    }

    /// Sets what happens to an HTTP/1.1 connection after the answer. The head of the answer does not announce it. The
    /// default is [`Then::Keep`]. HTTP/2 connections are always kept.
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

/// What is done with an HTTP/1.1 connection that is idle: after an answer and before the next request or, as a
/// `welcome`, before the first byte. If a request has arrived when the time ends, it is served as usual. With a time of
/// zero the rogue acts immediately and does not look for a request.
#[derive(Clone, Debug, Default)]
pub enum Idle {
    /// Waits for the next request.
    #[default]
    Keep,
    /// Closes after this long.
    Close(Duration),
    /// Resets after this long.
    Reset(Duration),
    /// Sends these unasked bytes after this long. Then the connection is kept, closed or reset.
    Say(Duration, Bytes, Then),
}

impl Idle {
    /// What many servers send on a connection that was idle for too long: a 408 that answers no request. Many then
    /// close.
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
