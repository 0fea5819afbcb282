//! Request bodies: sent once, or kept so that the same bytes can be sent again.
//!
//! A body of unknown or great length is streamed, and the bytes that the caller has delivered are also kept. A repeat
//! sends the kept bytes again, and then the bytes that the caller delivers later. If more bytes would have to be kept
//! than a bound allows, all of them are dropped, and the body can no longer be repeated. The obvious way would read the
//! whole body first. But some callers read the beginning of the answer before they send the rest of the body: they
//! would wait for ever. And a large upload would fill the memory.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;

/// The error with which a caller's body breaks off while it is sent.
pub type BodyError = Box<dyn Error + Send + Sync>;

/// A body that the caller delivers piece by piece while it is sent.
pub type BodyStream = Pin<Box<dyn Body<Data = Bytes, Error = BodyError> + Send>>;

/// The body of a request. While a streaming body is sent, its bytes are kept for a repeat, up to the number that
/// [`crate::CallRequest::keep`] allows.
pub enum RequestBody {
    /// No body.
    Empty,
    /// The whole body is known before the call begins.
    Full(Bytes),
    /// The body is passed on as it comes.
    Stream(BodyStream),
}

impl std::fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RequestBody::Empty => f.write_str("Empty"),
            RequestBody::Full(bytes) => write!(f, "Full({} bytes)", bytes.len()),
            RequestBody::Stream(_) => f.write_str("Stream"),
        }
    }
}

/// Makes the body of each attempt.
#[derive(Clone)]
pub(crate) enum Source {
    Empty,
    Full(Bytes),
    Kept(Arc<Kept>),
}

pub(crate) struct Kept {
    state: Mutex<KeptState>,
}

struct KeptState {
    rest: BodyStream,
    /// The frames that the caller has delivered so far, kept for a repeat; `None` once they hold more than `bound`
    /// bytes.
    passed: Option<Vec<Frame<Bytes>>>,
    bytes: usize,
    bound: usize,
    /// Whether the caller has delivered the whole body.
    complete: bool,
    /// Whether the caller's body broke.
    broken: bool,
    /// The number of frames that all attempts together have taken from this body. While this number grows, the call
    /// makes progress.
    taken: u64,
    /// Whether the caller had no part of the body ready when the body was last polled.
    waits: bool,
}

impl Source {
    pub(crate) fn new(body: RequestBody, bound: usize) -> Source {
        match body {
            RequestBody::Empty => Source::Empty,
            RequestBody::Full(bytes) => Source::Full(bytes),
            RequestBody::Stream(rest) => {
                let complete = rest.is_end_stream();
                Source::Kept(Arc::new(Kept {
                    state: Mutex::new(KeptState {
                        rest,
                        passed: Some(Vec::new()),
                        bytes: 0,
                        bound,
                        complete,
                        broken: false,
                        taken: 0,
                        waits: false,
                    }),
                }))
            }
        }
    }

    /// Returns the body for one attempt, from its first byte.
    pub(crate) fn attempt(&self) -> Outgoing {
        match self {
            Source::Empty => Outgoing::Full(None),
            Source::Full(bytes) => Outgoing::Full((!bytes.is_empty()).then(|| bytes.clone())),
            Source::Kept(kept) => Outgoing::Kept { kept: Arc::clone(kept), next: 0 },
        }
    }

    /// Returns whether the body can be sent again from its first byte. This is not possible if the caller's body broke
    /// off, or if it is longer than the bound up to which it is kept.
    pub(crate) fn kept(&self) -> bool {
        match self {
            Source::Empty | Source::Full(_) => true,
            Source::Kept(kept) => {
                let state = kept.state.lock();
                state.passed.is_some() && !state.broken
            }
        }
    }

    /// Returns whether the caller has delivered the whole body. If so, the body can be sent without the caller.
    pub(crate) fn complete(&self) -> bool {
        match self {
            Source::Empty | Source::Full(_) => true,
            Source::Kept(kept) => kept.state.lock().complete,
        }
    }

    /// Returns whether the caller's body broke off with an error while it was sent.
    pub(crate) fn broken(&self) -> bool {
        match self {
            Source::Empty | Source::Full(_) => false,
            Source::Kept(kept) => kept.state.lock().broken,
        }
    }

    /// Returns whether the caller had no part of the body ready when the body was last polled.
    pub(crate) fn waits_for_caller(&self) -> bool {
        match self {
            Source::Empty | Source::Full(_) => false,
            Source::Kept(kept) => kept.state.lock().waits,
        }
    }

    /// Returns a number that grows while a streaming body makes progress. For a body that is empty or known as a whole,
    /// it is always 0.
    pub(crate) fn progress(&self) -> u64 {
        match self {
            Source::Empty | Source::Full(_) => 0,
            Source::Kept(kept) => kept.state.lock().taken,
        }
    }
}

/// The body of one attempt. `Upload` sends it over HTTP/1.1, and hyper sends it over HTTP/2.
pub(crate) enum Outgoing {
    Full(Option<Bytes>),
    Kept { kept: Arc<Kept>, next: usize },
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Outgoing::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Outgoing::Kept { kept, next } => kept.state.lock().poll_frame(cx, next),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Outgoing::Full(bytes) => bytes.is_none(),
            Outgoing::Kept { kept, next } => {
                let state = kept.state.lock();
                state.complete && state.passed.as_ref().is_none_or(|passed| *next >= passed.len())
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Outgoing::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Outgoing::Kept { kept, .. } => kept.state.lock().size_hint(),
        }
    }
}

impl KeptState {
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        next: &mut usize,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(kept) = self.passed.as_ref().and_then(|passed| passed.get(*next)) {
            *next += 1;
            self.taken += 1;
            return Poll::Ready(Some(Ok(copy(kept))));
        }
        if self.complete {
            return Poll::Ready(None);
        }
        let polled = self.rest.as_mut().poll_frame(cx);
        self.waits = polled.is_pending();
        match std::task::ready!(polled) {
            Some(Ok(frame)) => {
                *next += 1;
                self.taken += 1;
                self.keep(&frame);
                self.complete |= self.rest.is_end_stream();
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                self.broken = true;
                Poll::Ready(Some(Err(error)))
            }
            None => {
                self.complete = true;
                Poll::Ready(None)
            }
        }
    }

    fn keep(&mut self, frame: &Frame<Bytes>) {
        self.bytes += frame.data_ref().map_or(0, Bytes::len);
        if self.bytes > self.bound {
            self.passed = None;
        } else if let Some(passed) = &mut self.passed {
            passed.push(copy(frame));
        }
    }

    fn size_hint(&self) -> SizeHint {
        // The length of the whole body becomes `Content-Length`, if it is known exactly. The stream reports only the
        // length of what it has not delivered yet, so the number of bytes that it has delivered is added.
        match self.rest.size_hint().exact() {
            Some(rest) => SizeHint::with_exact(rest + self.bytes as u64),
            None => SizeHint::default(),
        }
    }
}

fn copy(frame: &Frame<Bytes>) -> Frame<Bytes> {
    match (frame.data_ref(), frame.trailers_ref()) {
        (Some(data), _) => Frame::data(data.clone()),
        (None, Some(trailers)) => Frame::trailers(trailers.clone()),
        (None, None) => Frame::data(Bytes::new()),
    }
}
