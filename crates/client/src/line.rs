//! One HTTP/1.1 connection, driven by the task that uses it.
//!
//! The task that makes an exchange reads and writes the connection itself. Usually, each connection has a task of its
//! own, and other tasks reach it through channels. That would cost two wake-ups and two queue operations for each
//! request. An idle connection is not polled, but checked before it is used again.
//!
//! A connection is free for another request if four facts hold: the server keeps the connection, the answer is
//! complete, nothing was read beyond the answer, and the whole request was sent. Each fact is known from a field of the
//! line, and none from a library.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use seawall_policy::Time;
use seawall_wire::{AnswerHead, Asked, Body, Framing, HeadEnd, Limits, Misread};
use tokio::io::{AsyncRead, ReadBuf};

use crate::body::{BodyError, Outgoing};
use crate::clock::Clock;
use crate::connect::{AbsoluteForm, Connection, Meter, Peek, Probe, Stream};
use crate::upload::{Sized, Unfinished, Upload};
use crate::watch::{Lapse, Timer, Watch};

/// The maximum number of bytes that one system call reads: 15 KiB. Bytes that a slow caller has not taken yet are kept
/// in a buffer, whose size doubles when bytes do not fit. Such a buffer often holds a few bytes when a read adds 15
/// KiB, and both fit into 16 KiB. With reads of 16 KiB, the buffer would have to double to 32 KiB.
const READ_BYTES: usize = 15 << 10;

thread_local! {
    /// All bytes are read into this buffer of the thread first, and are copied from here to where they are needed. So a
    /// connection needs memory of its own only for bytes that cannot be used yet, such as the beginning of a head.
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

pub(crate) struct Line {
    io: Stream,
    upload: Upload,
    /// Bytes that were read and not used yet: the beginning of a head, or bytes that no exchange has asked for.
    ahead: Vec<u8>,
    head_end: HeadEnd,
    /// The number of bytes of the interim answers (1xx) that came before the head that is being read.
    interim: usize,
    /// The part of the answer's body that is still to come.
    body: Body,
    /// Whether the server wants to keep the connection open, and nothing has gone wrong on the connection.
    keep: bool,
    limits: Limits,
    pub(crate) meter: Arc<Meter>,
    probe: Probe,
    tls: bool,
    pub(crate) timer: Timer,
    absolute_form: Option<AbsoluteForm>,
    pub(crate) born: Time,
    pub(crate) idle_since: Time,
    /// How long the connection had been idle when a check last found it open. Zero if no check has found it open since
    /// its last exchange.
    pub(crate) seen_open: Duration,
    /// Whether the connection has carried an exchange before.
    pub(crate) used: bool,
}

/// A request that is sent on a line.
pub(crate) struct Request<W> {
    /// Writes the head, with its final empty line. If the connection goes to a forwarding proxy, the head names the
    /// whole URL, and otherwise only the path.
    pub(crate) head: W,
    pub(crate) body: Outgoing,
    pub(crate) sized: Sized,
    pub(crate) asked: Asked,
}

/// The head of an answer, and the bytes that came with it.
pub(crate) struct Answered {
    pub(crate) head: AnswerHead,
    /// The part of the body that came with the head.
    pub(crate) first: Vec<u8>,
}

/// The reason why an exchange has no answer.
#[derive(Debug)]
pub(crate) enum LineFailure {
    Broke(Broke),
    /// The read timeout or the deadline passed.
    Lapsed(Lapse),
}

/// How a connection broke in an exchange.
#[derive(Debug)]
pub(crate) enum Broke {
    /// The server ended the connection before the answer was complete.
    Ended,
    /// The connection failed.
    Io(io::Error),
    /// The bytes that came are not a valid answer.
    Misread(Misread),
    /// The caller's body broke.
    Body(BodyError),
}

impl fmt::Display for Broke {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broke::Ended => f.write_str("the connection was closed before the answer was whole"),
            Broke::Io(error) => write!(f, "the connection broke: {error}"),
            Broke::Misread(why) => write!(f, "the answer is malformed: {why}"),
            Broke::Body(error) => write!(f, "the request's body broke: {error}"),
        }
    }
}

impl Line {
    pub(crate) fn open(
        connection: Connection,
        limits: Limits,
        tls: bool,
        clock: Clock,
        now: Time,
    ) -> Box<Line> {
        Box::new(Line {
            io: connection.io,
            upload: Upload::default(),
            ahead: Vec::new(),
            head_end: HeadEnd::default(),
            interim: 0,
            body: Body::new(Framing::Empty, limits),
            keep: true,
            limits,
            meter: connection.meter,
            probe: connection.probe,
            tls,
            timer: Timer::new(clock, Time::NEVER),
            absolute_form: connection.absolute_form,
            born: now,
            idle_since: now,
            seen_open: Duration::ZERO,
            used: false,
        })
    }

    /// Returns the number of bytes that passed in both directions. It grows while there is progress.
    pub(crate) fn progress(&self) -> u64 {
        self.meter.progress()
    }

    /// Returns whether HTTP allows another request on this connection.
    pub(crate) fn is_ready(&self) -> bool {
        self.keep && self.body.is_over() && self.ahead.is_empty() && self.has_sent_whole()
    }

    /// Returns whether the kernel has taken the whole request.
    pub(crate) fn has_sent_whole(&self) -> bool {
        self.upload.is_over() && self.meter.unwritten() == 0
    }

    /// Returns whether the request's body is incomplete, and the caller has no further part of it ready.
    pub(crate) fn waits_for_caller(&self) -> bool {
        self.upload.waits_for_caller()
    }

    /// Returns the state of the answer's body, which says how much is still to come.
    pub(crate) fn body(&self) -> &Body {
        &self.body
    }

    /// Returns whether an idle connection is still usable: it is open, and no bytes have come that no request asked
    /// for.
    ///
    /// On a plain connection, such bytes (for example a late 408) would be taken for the next answer. Under TLS, the
    /// bytes may be a session ticket. So they are read first, and the connection is usable only if they hold nothing
    /// else.
    pub(crate) fn is_quiet(&mut self) -> bool {
        const ROUNDS: usize = 4;
        for _ in 0..ROUNDS {
            match self.probe.peek() {
                // TLS may have decrypted bytes that nobody has read. They are no longer in the socket, so they are
                // looked for separately.
                Peek::Quiet => return self.is_ready() && !(self.tls && self.has_unread(false)),
                Peek::Readable if self.tls && self.is_ready() => {
                    if self.has_unread(true) {
                        return false;
                    }
                }
                Peek::Readable | Peek::Ended | Peek::Broken(_) => return false,
            }
        }
        false
    }

    /// Returns whether there is a byte to read, or the connection has ended. If `force` is set, the kernel is asked,
    /// even if the runtime has not noticed yet that there is something to read.
    fn has_unread(&mut self, force: bool) -> bool {
        self.meter.force_read(force);
        let mut byte = [0];
        let mut buffer = ReadBuf::new(&mut byte);
        let mut quiet = Context::from_waker(Waker::noop());
        let read = Pin::new(&mut self.io).poll_read(&mut quiet, &mut buffer);
        self.meter.force_read(false);
        read.is_ready()
    }

    /// Sends a request, waits for the head of its answer, and returns that head. Fails if the connection or the
    /// caller's body breaks, if the answer is not valid, or if the read timeout or the deadline passes.
    pub(crate) async fn exchange(
        &mut self,
        request: Request<impl FnOnce(Option<&AbsoluteForm>, &mut Vec<u8>)>,
        watch: &mut Watch,
    ) -> Result<Answered, LineFailure> {
        self.used = true;
        (self.head_end, self.interim) = (HeadEnd::default(), 0);
        // If this future is dropped from here on, the connection is dropped with it, and is reset. When the pool takes
        // the connection back, it turns the reset off.
        self.meter.reset_on_drop(true);
        let Request { head, body, sized, asked } = request;
        self.upload.begin(body, sized, |out| head(self.absolute_form.as_ref(), out));
        let mut begun = false;
        std::future::poll_fn(|cx| {
            if let Err(broke) = self.send(cx) {
                return Poll::Ready(Err(LineFailure::Broke(broke)));
            }
            if let Poll::Ready(answered) = self.poll_head(asked, cx) {
                return Poll::Ready(answered.map_err(LineFailure::Broke));
            }
            if watch.asks_what_was_sent() && self.has_sent_whole() {
                watch.sent_whole();
            }
            let progress = self.meter.progress();
            if !std::mem::replace(&mut begun, true) {
                // These are the first bytes of this request. The read timeout began shortly before them. So it need not
                // begin anew with them, and the clock need not be read.
                watch.has_seen(progress);
            }
            watch.poll(&mut self.timer, progress, cx).map(|lapse| Err(LineFailure::Lapsed(lapse)))
        })
        .await
    }

    /// Returns the next part of the answer's body; `None` after its end.
    pub(crate) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broke>>> {
        self.go_on(cx);
        while !self.body.is_over() {
            let mut data = Vec::new();
            if let Err(broke) = ready!(self.poll_more(&mut data, cx)) {
                return Poll::Ready(Some(Err(broke)));
            }
            if !data.is_empty() {
                return Poll::Ready(Some(Ok(data.into())));
            }
        }
        Poll::Ready(None)
    }

    /// Returns the trailers that follow the body, the first time that it is called after the body's end. Returns `None`
    /// if there are no trailers, or if they were returned already.
    pub(crate) fn take_trailers(&mut self) -> Option<HeaderMap> {
        self.body.take_trailers()
    }

    /// Sends the available part of a request whose answer has already begun. If the request's body breaks, sending
    /// stops, but the answer is still valid.
    pub(crate) fn go_on(&mut self, cx: &mut Context<'_>) {
        if self.send(cx).is_err() {
            self.upload.stop();
        }
    }

    /// Sends the part of the request that is available. Fails only if the caller's body breaks. If the connection
    /// breaks, the next read reports it.
    fn send(&mut self, cx: &mut Context<'_>) -> Result<(), Broke> {
        match self.upload.poll(&mut self.io, cx) {
            Poll::Ready(Err(Unfinished::Body(error))) => {
                self.keep = false;
                Err(Broke::Body(error))
            }
            // The server may have answered before it stopped reading, and the caller wants that answer. If there is no
            // answer, the next read finds the end of the connection and reports what went wrong.
            Poll::Ready(Err(Unfinished::Io(error))) => {
                tracing::debug!(%error, "a request could not be sent whole");
                self.upload.stop();
                self.keep = false;
                Ok(())
            }
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }

    fn poll_head(&mut self, asked: Asked, cx: &mut Context<'_>) -> Poll<Result<Answered, Broke>> {
        loop {
            let found = BUFFER.with_borrow_mut(|buffer| {
                let read = ready!(poll_read(&mut self.io, buffer, cx))?;
                Poll::Ready(self.head_in(read, asked))
            });
            let Some(mut answered) = ready!(found)? else { continue };
            if answered.head.status.as_u16() >= 400 && self.upload.stop() {
                // The server has refused the request, so the rest of the request is not sent, and the connection is not
                // kept.
                self.keep = false;
            }
            // Bytes of the body that have arrived already are read before the head is passed on: often they complete
            // the body. If the body breaks off in these bytes, the answer is reported as broken, and its head is not
            // passed on.
            if !self.body.is_over()
                && let Poll::Ready(more) = self.poll_more(&mut answered.first, cx)
            {
                more?;
            }
            return Poll::Ready(Ok(answered));
        }
    }

    /// Returns the head of an answer; `None` if the head is not complete yet. Its bytes are those in `ahead`, which
    /// came earlier, and those in `read`.
    fn head_in(&mut self, read: &[u8], asked: Asked) -> Result<Option<Answered>, Broke> {
        if read.is_empty() {
            return Err(Broke::Ended);
        }
        let mut ahead = std::mem::take(&mut self.ahead);
        let whole_read = ahead.is_empty();
        let bytes = if whole_read {
            read
        } else {
            ahead.extend_from_slice(read);
            &ahead
        };
        let (head, used) = self.final_head(bytes, asked).map_err(Broke::Misread)?;
        let rest = &bytes[used..];
        let Some(head) = head else {
            if whole_read {
                self.ahead = rest.to_vec();
            } else {
                // The incomplete head stays in the buffer `ahead`. If it were copied to a new buffer, a head that
                // arrives in many small pieces would be copied as a whole with each piece.
                ahead.drain(..used);
                self.ahead = ahead;
            }
            return Ok(None);
        };
        self.keep &= head.keep;
        self.body = Body::new(head.framing, self.limits);
        let mut first = Vec::new();
        if !self.body.is_over() {
            first.reserve_exact(rest.len());
        }
        let eaten = self.body.read(rest, &mut first).map_err(Broke::Misread)?;
        self.ahead = rest[eaten..].to_vec();
        Ok(Some(Answered { head, first }))
    }

    /// Reads the heads of the interim answers (1xx), and then the head of the final answer. Returns the final head, and
    /// the number of bytes up to its end. If the final head is not complete yet, returns `None`, and the number of
    /// bytes of the interim answers. Fails if a head is not valid.
    fn final_head(&mut self, bytes: &[u8], asked: Asked) -> Result<(Option<AnswerHead>, usize), Misread> {
        let mut at = 0;
        loop {
            let rest = &bytes[at..];
            if !seawall_wire::may_begin(rest) {
                return Err(Misread::NotHttp);
            }
            let end = self.head_end.find(rest)?;
            if self.interim + end.unwrap_or(rest.len()) > self.limits.header_bytes {
                return Err(Misread::HeadTooLong);
            }
            let Some(end) = end else { return Ok((None, at)) };
            let head = seawall_wire::answer(&rest[..end], asked, self.limits)?;
            at += end;
            if !head.status.is_informational() {
                return Ok((Some(head), at));
            }
            if head.status == StatusCode::SWITCHING_PROTOCOLS {
                // The server has answered 101, to switch the protocol. If this answer were passed on, the caller's
                // connection would change to a protocol that nobody here reads.
                return Err(Misread::Switched);
            }
            self.interim += end;
            self.head_end = HeadEnd::default();
        }
    }

    /// Reads once from the connection, and appends the bytes of the answer's body to `data`. Becomes ready when
    /// something was read. Fails if the connection ends before the body does.
    fn poll_more(&mut self, data: &mut Vec<u8>, cx: &mut Context<'_>) -> Poll<Result<(), Broke>> {
        BUFFER.with_borrow_mut(|buffer| {
            let read = ready!(poll_read(&mut self.io, buffer, cx))?;
            if read.is_empty() {
                return Poll::Ready(if self.body.closed() { Ok(()) } else { Err(Broke::Ended) });
            }
            // Exactly the memory for the bytes that were read is reserved. Nearly all of them are content and will be
            // appended, so a larger reservation would only waste memory.
            data.reserve_exact(read.len());
            let eaten = self.body.read(read, data).map_err(Broke::Misread)?;
            self.ahead.extend_from_slice(&read[eaten..]);
            Poll::Ready(Ok(()))
        })
    }
}

/// Waits until bytes can be read, and returns them. At the connection's end, returns no bytes. Fails if the connection
/// fails.
fn poll_read<'b>(
    io: &mut Stream,
    buffer: &'b mut [u8],
    cx: &mut Context<'_>,
) -> Poll<Result<&'b [u8], Broke>> {
    let mut read = ReadBuf::new(buffer);
    ready!(AsyncRead::poll_read(Pin::new(io), cx, &mut read)).map_err(Broke::Io)?;
    let length = read.filled().len();
    Poll::Ready(Ok(&buffer[..length]))
}
