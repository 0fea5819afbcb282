//! One caller's connection: its bytes, and what others need to know of it.
//!
//! The bytes are followed on their way in by [`Framing`], so that a request with two readings is known as such when
//! hyper hands it over.

use std::cell::RefCell;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use parking_lot::Mutex;
use seawall_client::Clock;
use seawall_client::connect::{Meter, Peek, Probe, Stream};
use seawall_policy::Time;
use tokio::time::Sleep;

use crate::framing::Framing;

/// What is known of a caller's connection outside of its task.
#[derive(Debug)]
pub(crate) struct Caller {
    meter: Arc<Meter>,
    probe: Probe,
    phase: AtomicU8,
    /// When the phase began, or when what is under way must be over; nanoseconds of the clock.
    marked: AtomicU64,
    /// Requests handed over so far.
    requests: AtomicU64,
    /// From this request on, counted from 1, there are two readings of what was sent.
    doubtful_from: AtomicU64,
    /// That is so because of a `#` in its target.
    fragment: AtomicBool,
    /// A head has begun and is not complete.
    in_head: AtomicBool,
    /// Streams under way on HTTP/2.
    multiplexed: AtomicBool,
    /// Bytes could not be written.
    write_failed: AtomicBool,
    /// So far the socket must come until it has taken the last piece of a body.
    owed: AtomicU64,
    /// A body waits until the socket has taken what hyper holds of it.
    body_waits: AtomicBool,
    body: Mutex<Option<Waker>>,
}

const IDLE: u8 = 0;
const HEAD: u8 = 1;
const CALL: u8 = 2;
/// Idle since some moment after the last look.
const FREED: u8 = 3;

impl Caller {
    /// A head has been read; what follows must be over at `end_by`.
    pub(crate) fn call_begins(&self, end_by: Time) {
        self.phase.store(CALL, Relaxed);
        self.marked.store(end_by.as_nanos(), Relaxed);
    }

    /// The answer is handed over to be written. The clock is not asked: whoever looks next notes the time.
    pub(crate) fn call_over(&self) {
        self.phase.store(FREED, Relaxed);
    }

    /// Counts a request that hyper hands over, and says whether it has two readings. HTTP/1 only: there, requests come
    /// in the order in which they were read, and from one task.
    pub(crate) fn next_is_doubtful(&self) -> bool {
        let number = self.requests.load(Relaxed) + 1;
        self.requests.store(number, Relaxed);
        number >= self.doubtful_from.load(Relaxed)
    }

    /// Whether the first request that has two readings has them for a `#` in its target.
    pub(crate) fn sent_fragment(&self) -> bool {
        self.fragment.load(Relaxed)
    }

    /// When the connection ends, it ends with a reset: what was sent is not whole.
    pub(crate) fn reset_at_the_end(&self) {
        if !self.multiplexed.load(Relaxed) {
            self.meter.reset_on_drop(true);
        }
    }

    /// A piece of a body of this length is handed to be written.
    pub(crate) fn owe(&self, bytes: usize) {
        self.owed.store(self.meter.accepted() + bytes as u64, Relaxed);
    }

    /// Whether the socket has not taken the last piece yet.
    pub(crate) fn owes(&self) -> bool {
        self.meter.accepted() < self.owed.load(Relaxed)
    }

    /// Wakes this task when the socket has taken more.
    pub(crate) fn wake_when_taken(&self, task: &Waker) {
        *self.body.lock() = Some(task.clone());
        self.body_waits.store(true, Relaxed);
    }

    /// The socket has taken more, or failed.
    fn has_taken(&self) {
        if self.body_waits.load(Relaxed) {
            self.body_waits.store(false, Relaxed);
            if let Some(task) = self.body.lock().take() {
                task.wake();
            }
        }
    }

    /// Whether bytes that were to be written never were. Asked when the connection is over.
    pub(crate) fn lost_bytes(&self) -> bool {
        self.write_failed.load(Relaxed) || self.owes() || self.meter.unwritten() > 0
    }

    #[cfg(test)]
    pub(crate) fn written(&self) -> u64 {
        self.meter.written()
    }

    pub(crate) fn is_multiplexed(&self) -> bool {
        self.multiplexed.load(Relaxed)
    }

    /// Looks after a connection from outside: a head that takes too long, a call that is long past its end because its
    /// caller does not read, an idle one while draining.
    pub(crate) fn look_after(&self, now: Time, limits: &Patience) {
        if self.is_multiplexed() {
            return;
        }
        let marked = Time::from_nanos(self.marked.load(Relaxed));
        match self.phase.load(Relaxed) {
            HEAD if now.since(marked) > limits.head => self.end(),
            CALL if now > marked.saturating_add(limits.grace) => self.end(),
            IDLE => {
                let tired = now.since(marked) > limits.idle;
                let leaving = limits.draining && now.since(marked) > limits.settle;
                if (tired || leaving) && self.probe.peek() == Peek::Quiet {
                    self.probe.shut_down_reading();
                }
            }
            FREED => {
                let next = if self.in_head.load(Relaxed) { HEAD } else { IDLE };
                self.phase.store(next, Relaxed);
                self.marked.store(now.as_nanos(), Relaxed);
            }
            _ => {}
        }
    }

    fn end(&self) {
        self.meter.reset_on_drop(true);
        self.probe.shut_down();
    }
}

/// How long a connection may take for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// From a head's first byte to its last.
    pub(crate) head: Duration,
    /// Beyond the deadline of a call.
    pub(crate) grace: Duration,
    /// Between two calls.
    pub(crate) idle: Duration,
    /// Between two calls, while draining.
    pub(crate) settle: Duration,
    pub(crate) draining: bool,
}

/// The byte stream of a caller's connection, as hyper drives it.
pub(crate) struct CallerIo {
    stream: Stream,
    caller: Arc<Caller>,
    clock: Clock,
    framing: Framing,
    /// Until when the rest of a request is read that was answered before it had ended.
    lingers: Option<Pin<Box<Sleep>>>,
}

impl CallerIo {
    pub(crate) fn new(
        stream: Stream,
        meter: Arc<Meter>,
        probe: Probe,
        clock: Clock,
        head_limit: usize,
    ) -> CallerIo {
        let caller = Caller {
            meter,
            probe,
            phase: AtomicU8::new(IDLE),
            marked: AtomicU64::new(clock.now().as_nanos()),
            requests: AtomicU64::new(0),
            doubtful_from: AtomicU64::new(u64::MAX),
            fragment: AtomicBool::new(false),
            in_head: AtomicBool::new(false),
            multiplexed: AtomicBool::new(false),
            write_failed: AtomicBool::new(false),
            owed: AtomicU64::new(0),
            body_waits: AtomicBool::new(false),
            body: Mutex::default(),
        };
        let framing = Framing::new(head_limit);
        CallerIo { stream, caller: Arc::new(caller), clock, framing, lingers: None }
    }

    pub(crate) fn caller(&self) -> Arc<Caller> {
        Arc::clone(&self.caller)
    }

    /// HTTP/2 frames its messages itself; there is no head to look at.
    pub(crate) fn multiplex(&self) {
        self.caller.multiplexed.store(true, Relaxed);
    }

    /// Reads through a buffer of our own.
    fn poll_read_seen(
        &mut self,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
        piece: &mut [u8],
    ) -> Poll<io::Result<()>> {
        let room = buf.remaining().min(piece.len());
        let mut piece = tokio::io::ReadBuf::new(&mut piece[..room]);
        std::task::ready!(tokio::io::AsyncRead::poll_read(Pin::new(&mut self.stream), cx, &mut piece))?;
        self.framing.read(piece.filled());
        self.note_framing();
        buf.put_slice(piece.filled());
        Poll::Ready(Ok(()))
    }

    /// Reads and throws away what the caller still sends of a request that was answered before it had ended.
    ///
    /// A connection that is closed with bytes unread is reset by the kernel, and the reset can destroy the answer before the
    /// caller has read it (RFC 9112, section 9.6). So our side is ended first, and then the caller gets some time to hear that.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.framing.is_in_body() {
            return Poll::Ready(Ok(()));
        }
        let lingers = self.lingers.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
        while lingers.as_mut().poll(cx).is_pending() {
            let more = PIECE.with_borrow_mut(|piece| {
                let mut piece = tokio::io::ReadBuf::new(piece);
                let read = tokio::io::AsyncRead::poll_read(Pin::new(&mut self.stream), cx, &mut piece);
                read.map(|read| read.is_ok() && !piece.filled().is_empty())
            });
            if !std::task::ready!(more) {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn noted<T>(&self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(written) = &written {
            if written.is_err() {
                self.caller.write_failed.store(true, Relaxed);
            }
            self.caller.has_taken();
        }
        written
    }

    /// Tells those outside what the framing has come to.
    fn note_framing(&self) {
        let caller = &self.caller;
        if let Some(number) = self.framing.doubtful_from() {
            caller.fragment.store(self.framing.is_fragment(), Relaxed);
            caller.doubtful_from.store(number, Relaxed);
        }
        let in_head = self.framing.is_in_head();
        caller.in_head.store(in_head, Relaxed);
        if in_head && !matches!(caller.phase.load(Relaxed), HEAD | CALL) {
            caller.marked.store(self.clock.now().as_nanos(), Relaxed);
            caller.phase.store(HEAD, Relaxed);
        }
    }
}

impl Read for CallerIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.caller.multiplexed.load(Relaxed) {
            return Pin::new(&mut this.stream).poll_read(cx, buf);
        }
        PIECE.with_borrow_mut(|piece| this.poll_read_seen(cx, buf, piece))
    }
}

/// How long a caller may take to hear that its request was answered, and to stop sending it.
const LINGER: Duration = Duration::from_secs(2);
/// The most that is read by one system call: one less than a power of two, since hyper's buffer grows to the next one with
/// each read that fills it.
const PIECE_BYTES: usize = (16 << 10) - 1;

thread_local! {
    /// What is read passes through here on its way to hyper, since what was put into hyper's buffer cannot be looked at.
    static PIECE: RefCell<[u8; PIECE_BYTES]> = const { RefCell::new([0; PIECE_BYTES]) };
}

impl Write for CallerIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Write::poll_write(Pin::new(&mut self.stream), cx, buf);
        self.noted(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Write::poll_write_vectored(Pin::new(&mut self.stream), cx, bufs);
        self.noted(written)
    }

    fn is_write_vectored(&self) -> bool {
        Write::is_write_vectored(&self.stream)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Write::poll_flush(Pin::new(&mut self.stream), cx);
        self.noted(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.caller.meter.resets_on_drop() {
            // No orderly end before the reset.
            return Poll::Ready(Ok(()));
        }
        if self.lingers.is_none() {
            let ended = Write::poll_shutdown(Pin::new(&mut self.stream), cx);
            std::task::ready!(self.noted(ended))?;
        }
        self.poll_linger(cx)
    }
}
