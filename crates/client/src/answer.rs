//! The body of an answer, as it streams through.
//!
//! The connection goes back to its pool with the last byte, or is reset when the body is dropped before: a caller who
//! left gives the other side's work up at once. The read timeout counts only while somebody waits for the other side;
//! a slow reader on our side is not the server's fault.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use seawall_policy::{Reason, Time};

use crate::Clock;
use crate::line::{LOOKS, Line};
use crate::pool::Pool;
use crate::shared::Slot;
use crate::trunk::Stream;
use crate::watch::{Lapse, Timer, Watch};

/// An answer's body broke after its head was passed on: a timeout, or the connection was lost.
#[derive(Debug)]
pub struct Truncated {
    reason: Reason,
}

impl Truncated {
    /// `read-timeout`, `total-timeout` or `connection-lost`.
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
    /// All of it came with the head.
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
    /// Read already, to be passed first.
    ahead: VecDeque<Frame<Bytes>>,
    incoming: Incoming,
    over: bool,
    /// The consumer was away since the last frame.
    resumed: bool,
    watch: Watch,
    way: Way,
    _slot: Option<Slot>,
}

enum Way {
    Line { line: Option<Box<Line>>, pool: Arc<Pool>, clock: Clock },
    Trunk { timer: Timer, frames: u64, _stream: Stream },
}

impl AnswerBody {
    /// A body at hand.
    #[must_use]
    pub fn whole(bytes: Bytes) -> AnswerBody {
        AnswerBody(Kind::Whole((!bytes.is_empty()).then_some(bytes)))
    }

    pub(crate) fn on_line(
        line: Box<Line>,
        mut incoming: Incoming,
        watch: Watch,
        pool: Arc<Pool>,
        clock: Clock,
        now: Time,
    ) -> AnswerBody {
        // What came with the head can be had without waiting, and mostly that is all.
        let mut first = None;
        let mut over = incoming.is_end_stream();
        let mut quiet = Context::from_waker(Waker::noop());
        if !over && let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut incoming).poll_frame(&mut quiet) {
            over = incoming.is_end_stream();
            first = Some(frame);
        }
        if over && first.as_ref().is_none_or(Frame::is_data) {
            pool.put(line, now);
            return AnswerBody(Kind::Whole(first.and_then(|frame| frame.into_data().ok())));
        }
        let ahead = first.into_iter().collect();
        let way = Way::Line { line: Some(line), pool, clock };
        AnswerBody::flowing(ahead, incoming, over, watch, way)
    }

    pub(crate) fn on_trunk(incoming: Incoming, watch: Watch, timer: Timer, stream: Stream) -> AnswerBody {
        let over = incoming.is_end_stream();
        if over {
            return AnswerBody(Kind::Whole(None));
        }
        let way = Way::Trunk { timer, frames: 0, _stream: stream };
        AnswerBody::flowing(VecDeque::new(), incoming, over, watch, way)
    }

    fn flowing(
        ahead: VecDeque<Frame<Bytes>>,
        incoming: Incoming,
        over: bool,
        watch: Watch,
        way: Way,
    ) -> AnswerBody {
        let flowing = Flowing { ahead, incoming, over, resumed: true, watch, way, _slot: None };
        AnswerBody(Kind::Flowing(Box::new(flowing)))
    }

    /// Whether there is more of it to come.
    pub(crate) fn is_flowing(&self) -> bool {
        match &self.0 {
            Kind::Whole(_) => false,
            Kind::Flowing(flowing) => !flowing.over,
        }
    }

    /// Keeps the call's place in the concurrency limit until the last byte.
    pub(crate) fn hold(&mut self, slot: Option<Slot>) {
        match &mut self.0 {
            Kind::Whole(_) => drop(slot),
            Kind::Flowing(flowing) => flowing._slot = slot,
        }
    }

    /// Reads up to `bound` bytes ahead, without taking them from the consumer. `Some` with the whole body if it is no
    /// longer than that.
    ///
    /// # Errors
    /// The body broke on the way.
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
        for _ in 0..LOOKS {
            if let Way::Line { line: Some(line), .. } = &mut self.way {
                line.drive();
            }
            // What comes on a line comes by driving it, so nobody needs to be woken for it.
            let mut quiet = Context::from_waker(Waker::noop());
            let context = if matches!(self.way, Way::Line { .. }) { &mut quiet } else { &mut *cx };
            if let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(context) {
                return Poll::Ready(self.passed(frame));
            }
            let waits = match &self.way {
                Way::Line { line: Some(line), .. } => line.listen(cx.waker()),
                Way::Line { line: None, .. } | Way::Trunk { .. } => true,
            };
            if waits {
                return self.poll_watch(cx);
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn passed(
        &mut self,
        frame: Option<Result<Frame<Bytes>, hyper::Error>>,
    ) -> Option<Result<Frame<Bytes>, Truncated>> {
        match frame {
            Some(Ok(frame)) => {
                self.resumed = true;
                if let Way::Trunk { frames, .. } = &mut self.way {
                    *frames += 1;
                }
                if self.incoming.is_end_stream() {
                    self.over = true;
                    self.finish();
                }
                Some(Ok(frame))
            }
            Some(Err(_)) => Some(Err(self.broken(Reason::ConnectionLost))),
            None => {
                self.over = true;
                self.finish();
                None
            }
        }
    }

    fn poll_watch(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Truncated>>> {
        if std::mem::take(&mut self.resumed) {
            self.watch.resume();
        }
        let lapse = match &mut self.way {
            Way::Line { line: Some(line), .. } => {
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

    /// The last byte is here: the connection is free for the next request, if HTTP says so.
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
            // In the middle of an exchange: dropped with a reset.
            *line = None;
        }
        Truncated { reason }
    }
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
            Kind::Flowing(flowing) => {
                let ahead: usize = flowing.ahead.iter().filter_map(Frame::data_ref).map(Bytes::len).sum();
                match flowing.incoming.size_hint().exact() {
                    Some(rest) => SizeHint::with_exact(rest + ahead as u64),
                    None => SizeHint::default(),
                }
            }
        }
    }
}
