//! The body of an answer. Its consumer gets it piece by piece, while it arrives from the server.
//!
//! A body is complete only when its framing says so: on HTTP/1.1 [`seawall_wire::Body`] counts the bytes, and on HTTP/2
//! the stream must have ended with END_STREAM. A connection that ends earlier does not complete the body.
//!
//! When the last byte has come, the connection goes back to its pool. If the body is dropped earlier, the connection is
//! reset, so that the server stops its work as soon as the caller leaves. The read timeout counts only while the caller
//! waits for the server, because a caller that reads slowly is not the server's fault.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use seawall_policy::{Ending, Reason, Time};

use crate::clock::Clock;
use crate::endings;
use crate::line::{Broke, Line};
use crate::pool::Pool;
use crate::shared::Slot;
use crate::trunk::TrunkStream;
use crate::watch::{Lapse, Timer, Watch};

/// The error of an answer's body that broke after the answer's head had come: a timeout passed, the connection was
/// lost, or the bytes were not valid.
#[derive(Debug)]
pub struct Truncated {
    reason: Reason,
}

impl Truncated {
    /// Returns why the body broke: `read-timeout`, `total-timeout`, `connection-lost` or `bad-answer`.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }
}

impl fmt::Display for Truncated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the answer's body broke: {}", self.reason)
    }
}

impl std::error::Error for Truncated {}

/// The body of an answer.
#[derive(Debug)]
pub struct AnswerBody(Kind);

enum Kind {
    /// All bytes of the body have come. The bytes stay here until the consumer takes them. `None` if the body is empty,
    /// or if its bytes were taken already.
    Whole(Option<Bytes>),
    Flowing(Box<Flowing>),
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Whole(bytes) => write!(f, "Whole({} bytes)", bytes.as_ref().map_or(0, Bytes::len)),
            Kind::Flowing(_) => f.write_str("Flowing"),
        }
    }
}

struct Flowing {
    /// Frames that were read from the connection already. The consumer gets them before anything else is read from it.
    ahead: VecDeque<Frame<Bytes>>,
    over: bool,
    /// Whether the read timeout must begin anew at the next wait for the server. This is set when a frame is returned.
    /// The time until the consumer asks for the next frame is not the server's fault.
    resumed: bool,
    watch: Watch,
    way: Way,
    _slot: Option<Slot>,
}

enum Way {
    /// An HTTP/1.1 connection. `line` is `None` once the body has ended, because this value then no longer owns the
    /// connection.
    Line {
        line: Option<Box<Line>>,
        pool: Arc<Pool>,
        clock: Clock,
    },
    Trunk {
        incoming: Incoming,
        timer: Timer,
        frames: u64,
        _stream: TrunkStream,
    },
}

impl AnswerBody {
    /// Makes a body whose bytes are all known already.
    #[must_use]
    pub fn whole(bytes: Bytes) -> AnswerBody {
        AnswerBody(Kind::Whole((!bytes.is_empty()).then_some(bytes)))
    }

    /// Makes the body of an answer over HTTP/1.1. `first` is the part of the body that was read together with the
    /// answer's head. This part is often the whole body. In that case the connection goes back to the pool immediately.
    pub(crate) fn on_line(
        mut line: Box<Line>,
        first: Vec<u8>,
        watch: Watch,
        pool: Arc<Pool>,
        clock: Clock,
        now: Time,
    ) -> AnswerBody {
        let first = (!first.is_empty()).then(|| Bytes::from(first));
        let over = line.body().is_over();
        let trailers = line.take_trailers();
        if over && trailers.is_none() {
            pool.put(line, now);
            return AnswerBody(Kind::Whole(first));
        }
        let mut ahead: VecDeque<_> = first.map(Frame::data).into_iter().collect();
        ahead.extend(trailers.map(Frame::trailers));
        let line = if over {
            pool.put(line, now);
            None
        } else {
            Some(line)
        };
        AnswerBody::flowing(ahead, over, watch, Way::Line { line, pool, clock })
    }

    /// Makes the body of an answer over HTTP/2.
    pub(crate) fn on_trunk(
        incoming: Incoming,
        watch: Watch,
        timer: Timer,
        stream: TrunkStream,
    ) -> AnswerBody {
        if incoming.is_end_stream() {
            return AnswerBody(Kind::Whole(None));
        }
        let way = Way::Trunk { incoming, timer, frames: 0, _stream: stream };
        AnswerBody::flowing(VecDeque::new(), false, watch, way)
    }

    fn flowing(ahead: VecDeque<Frame<Bytes>>, over: bool, watch: Watch, way: Way) -> AnswerBody {
        let flowing = Flowing { ahead, over, resumed: true, watch, way, _slot: None };
        AnswerBody(Kind::Flowing(Box::new(flowing)))
    }

    /// Returns whether more of the body is to come from the server.
    pub(crate) fn is_flowing(&self) -> bool {
        match &self.0 {
            Kind::Whole(_) => false,
            Kind::Flowing(flowing) => !flowing.over,
        }
    }

    /// Sends more of the request's body while nobody reads the answer. Some callers send their whole body before they
    /// read the answer. Without this function, nobody would take such a caller's body any more, and the caller would
    /// wait for ever.
    pub fn poll_upload(&mut self, cx: &mut Context<'_>) {
        if let Kind::Flowing(flowing) = &mut self.0
            && let Way::Line { line: Some(line), .. } = &mut flowing.way
        {
            line.go_on(cx);
        }
    }

    /// Keeps the call's place in the limit (the bound on concurrent attempts) until the last byte of the body has come.
    /// If all bytes have come already, the place is given back immediately.
    pub(crate) fn hold(&mut self, slot: Option<Slot>) {
        match &mut self.0 {
            Kind::Whole(_) => drop(slot),
            Kind::Flowing(flowing) => flowing._slot = slot,
        }
    }

    /// Reads ahead until the body ends or until more than `bound` bytes were read. Returns the whole body, or `None` if
    /// it is longer than `bound`. In both cases the consumer still gets everything that was read.
    ///
    /// # Errors
    /// If the body breaks off before its end and before more than `bound` bytes were read.
    pub(crate) async fn peek_whole(&mut self, bound: usize) -> Result<Option<Bytes>, Truncated> {
        let flowing = match &mut self.0 {
            Kind::Whole(bytes) => return Ok(Some(bytes.clone().unwrap_or_default())),
            Kind::Flowing(flowing) => flowing,
        };
        let mut read: VecDeque<Frame<Bytes>> = VecDeque::new();
        let mut size = 0;
        let whole = loop {
            match std::future::poll_fn(|cx| flowing.poll_frame(cx)).await {
                None => break true,
                Some(frame) => {
                    let frame = frame?;
                    size += frame.data_ref().map_or(0, Bytes::len);
                    read.push_back(frame);
                    if size > bound {
                        break false;
                    }
                }
            }
        };
        flowing.ahead = read;
        if !whole {
            return Ok(None);
        }
        let mut all = Vec::with_capacity(size);
        flowing.ahead.iter().filter_map(Frame::data_ref).for_each(|data| all.extend_from_slice(data));
        Ok(Some(all.into()))
    }
}

impl Flowing {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Truncated>>> {
        if let Some(frame) = self.ahead.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        if self.over {
            self.finish();
            return Poll::Ready(None);
        }
        let polled = match &mut self.way {
            Way::Line { line: Some(line), .. } => poll_line(line, &mut self.ahead, &mut self.over, cx),
            Way::Line { line: None, .. } => Poll::Ready(None),
            Way::Trunk { incoming, frames, .. } => poll_trunk(incoming, &mut self.over, cx).map(|polled| {
                *frames += 1;
                polled
            }),
        };
        let Poll::Ready(polled) = polled else { return self.poll_watch(cx) };
        Poll::Ready(match polled {
            Some(Err(reason)) => Some(Err(self.broken(reason))),
            Some(Ok(frame)) => {
                self.resumed = true;
                if self.over {
                    self.finish();
                }
                Some(Ok(frame))
            }
            None => {
                self.over = true;
                self.finish();
                None
            }
        })
    }

    fn poll_watch(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Truncated>>> {
        if std::mem::take(&mut self.resumed) {
            self.watch.resume();
        }
        let lapse = match &mut self.way {
            Way::Line { line: Some(line), .. } => {
                if line.waits_for_caller() {
                    // The server may be silent because it waits for the next part of the request's body, which the
                    // caller has not delivered yet. So this time does not count for the read timeout.
                    self.watch.resume();
                }
                let progress = line.progress();
                self.watch.poll(&mut line.timer, progress, cx)
            }
            Way::Line { line: None, .. } => Poll::Pending,
            Way::Trunk { timer, frames, .. } => self.watch.poll(timer, *frames, cx),
        };
        lapse.map(|lapse| {
            Some(Err(self.broken(match lapse {
                Lapse::Read => Reason::ReadTimeout,
                Lapse::End => Reason::TotalTimeout,
            })))
        })
    }

    fn size_hint(&self) -> SizeHint {
        // A body with trailers must not report an exact length: on HTTP/1.1, only a body without a declared length can
        // have trailers.
        if self.ahead.iter().any(Frame::is_trailers) {
            return SizeHint::default();
        }
        let ahead: usize = self.ahead.iter().filter_map(Frame::data_ref).map(Bytes::len).sum();
        let left = match &self.way {
            Way::Line { line, .. } => line.as_ref().map_or(Some(0), |line| line.body().left()),
            Way::Trunk { incoming, .. } => incoming.size_hint().exact(),
        };
        left.map_or_else(SizeHint::default, |left| SizeHint::with_exact(left + ahead as u64))
    }

    /// Must be called when the body has ended. Gives the call's place in the limit back. The connection goes back to
    /// the pool if HTTP allows another request on it.
    fn finish(&mut self) {
        if let Way::Line { line, pool, clock } = &mut self.way
            && let Some(line) = line.take()
        {
            pool.put(line, clock.now());
        }
        self._slot = None;
    }

    fn broken(&mut self, reason: Reason) -> Truncated {
        self.over = true;
        if let Way::Line { line, .. } = &mut self.way {
            // The answer did not come to its end. So the connection must not be used again: dropping it here sends a
            // reset.
            *line = None;
        }
        Truncated { reason }
    }
}

/// Returns the next frame of a body over HTTP/1.1; `None` after the last one. If trailers come together with the last
/// bytes, they are put into the queue `ahead`, from which the next frame is taken.
fn poll_line(
    line: &mut Line,
    ahead: &mut VecDeque<Frame<Bytes>>,
    over: &mut bool,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, Reason>>> {
    let data = ready!(line.poll_data(cx));
    *over = line.body().is_over();
    Poll::Ready(match data {
        Some(Err(Broke::Misread(_))) => Some(Err(Reason::BadAnswer)),
        Some(Err(Broke::Ended | Broke::Io(_) | Broke::Body(_))) => Some(Err(Reason::ConnectionLost)),
        Some(Ok(data)) => {
            ahead.extend(line.take_trailers().map(Frame::trailers));
            Some(Ok(Frame::data(data)))
        }
        None => line.take_trailers().map(|trailers| Ok(Frame::trailers(trailers))),
    })
}

/// Returns the next frame of a body over HTTP/2. Returns `None` after the last frame of a complete answer, and an error
/// after the last frame of an incomplete one.
///
/// hyper says that the stream has ended both when the answer is complete and when the server has reset the stream with
/// NO_ERROR. After such a reset, the answer may be complete: a server may send the reset when it has answered before
/// the request had ended (RFC 9113, section 8.1). But the answer may also be cut off in the middle. So the answer
/// counts as complete only if END_STREAM was seen, or if the number of bytes that came is the one that the answer had
/// declared. Otherwise this returns [`Reason::ConnectionLost`].
fn poll_trunk(
    incoming: &mut Incoming,
    over: &mut bool,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, Reason>>> {
    let frame = ready!(Pin::new(&mut *incoming).poll_frame(cx));
    *over = incoming.is_end_stream();
    Poll::Ready(match frame {
        Some(Ok(frame)) => Some(Ok(frame)),
        Some(Err(error)) => Some(Err(match endings::of_stream(&error) {
            Ending::Lost(seawall_policy::Lost::BadAnswer) => Reason::BadAnswer,
            _ => Reason::ConnectionLost,
        })),
        None if *over || incoming.size_hint().exact() == Some(0) => None,
        None => Some(Err(Reason::ConnectionLost)),
    })
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Truncated;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Truncated>>> {
        match &mut self.0 {
            Kind::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Kind::Flowing(flowing) => flowing.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Whole(bytes) => bytes.is_none(),
            Kind::Flowing(flowing) => flowing.over && flowing.ahead.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Kind::Flowing(flowing) => flowing.size_hint(),
        }
    }
}
