//! One caller's connection: its bytes, and what others need to know of it.
//!
//! The bytes are followed on their way in by [`Framing`], so that a request with two readings is known as such when
//! hyper hands it over.

use std::cell::RefCell;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use parking_lot::Mutex;
use seawall_client::Clock;
use seawall_client::connect::{Meter, Peek, Probe, Stream};
use seawall_policy::Time;
use tokio::task::AbortHandle;
use tokio::time::Sleep;

use crate::frames::{Frames, Purse, enough};
use crate::framing::Framing;
use crate::streams::Streams;

/// What is known of a caller's connection outside of its task.
#[derive(Debug)]
pub(crate) struct Caller {
    meter: Arc<Meter>,
    probe: Probe,
    task: Task,
    phase: AtomicU8,
    /// When the phase began, or when what is under way must be over; nanoseconds of the clock.
    marked: AtomicU64,
    /// Requests handed over so far.
    requests: AtomicU64,
    /// From this request on, counted from 1, there are two readings of what was sent.
    doubtful_from: AtomicU64,
    /// A head has begun and is not complete.
    in_head: AtomicBool,
    /// On HTTP/2.
    streams: Option<Box<Streams>>,
    /// The connection was closed because of too many control frames.
    flooded: AtomicBool,
    /// The socket takes nothing at the moment.
    blocked: AtomicBool,
    standstill: Mutex<Standstill>,
    /// Bytes could not be written.
    write_failed: AtomicBool,
    /// So far the socket must come until it has taken the last piece of a body.
    owed: AtomicU64,
    /// A body waits until the socket has taken what hyper holds of it.
    body_waits: AtomicBool,
    body: Mutex<Option<Waker>>,
}

/// The task that a connection lives in, once it is known.
pub(crate) type Task = Arc<OnceLock<AbortHandle>>;

/// Since when nothing has moved that waits to be written, as those who look have seen it.
#[derive(Debug, Default)]
struct Standstill {
    moved: u64,
    since: Option<Time>,
}

const IDLE: u8 = 0;
const HEAD: u8 = 1;
const CALL: u8 = 2;
/// Idle since some moment after the last look.
const FREED: u8 = 3;
/// It was told that it is to be closed.
const LEAVING: u8 = 4;

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

    /// When the connection ends, it ends with a reset: what was sent is not whole.
    pub(crate) fn reset_at_the_end(&self) {
        self.meter.reset_on_drop(true);
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

    /// The streams of an HTTP/2 connection.
    pub(crate) fn streams(&self) -> Option<&Streams> {
        self.streams.as_deref()
    }

    /// Whether the connection was closed because of too many control frames.
    pub(crate) fn was_flooded(&self) -> bool {
        self.flooded.load(Relaxed)
    }

    /// Looks after a connection from outside: a head that takes too long, a call that is long past its end because its
    /// caller does not read, a caller that has left or takes nothing, an idle connection.
    pub(crate) fn look_after(&self, now: Time, limits: &Patience) {
        let still = self.stands_still(now);
        if still > limits.unread {
            return self.end();
        }
        if let Some(streams) = &self.streams {
            return self.look_after_streams(streams, still, now, limits);
        }
        let marked = Time::from_nanos(self.marked.load(Relaxed));
        match self.phase.load(Relaxed) {
            HEAD if now.since(marked) > limits.head => self.end(),
            CALL if self.probe.is_reset() => self.left(),
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

    fn look_after_streams(&self, streams: &Streams, still: Duration, now: Time, limits: &Patience) {
        let busy = streams.look_after(now, limits);
        let (phase, marked) = (self.phase.load(Relaxed), Time::from_nanos(self.marked.load(Relaxed)));
        let since = now.since(marked);
        let turn = |phase| {
            self.phase.store(phase, Relaxed);
            self.marked.store(now.as_nanos(), Relaxed);
        };
        match phase {
            // Nobody is left to whom what waits could matter.
            _ if !busy && still > limits.grace => self.end(),
            HEAD if self.in_head.load(Relaxed) => {
                if since > limits.head {
                    self.end();
                }
            }
            _ if self.in_head.load(Relaxed) => turn(HEAD),
            LEAVING if busy => turn(LEAVING),
            LEAVING if since > limits.grace => self.probe.shut_down(),
            LEAVING => {}
            _ if busy => turn(CALL),
            IDLE => {
                if since > limits.idle || (limits.draining && since > limits.settle) {
                    streams.leave();
                    turn(LEAVING);
                }
            }
            _ => turn(IDLE),
        }
    }

    /// For how long the socket has taken nothing of what waits to be written. Of a body's piece it must take all.
    fn stands_still(&self, now: Time) -> Duration {
        let owes = self.owes();
        if !owes && !self.blocked.load(Relaxed) && self.meter.unwritten() == 0 {
            self.standstill.lock().since = None;
            return Duration::ZERO;
        }
        let moved = if owes { self.owed.load(Relaxed) } else { self.meter.written() };
        let mut seen = self.standstill.lock();
        if seen.moved != moved {
            *seen = Standstill { moved, since: None };
        }
        now.since(*seen.since.get_or_insert(now))
    }

    /// The caller is gone. hyper does not look at the socket while an upload stands still, so it is not told by that.
    fn left(&self) {
        if let Some(task) = self.task.get() {
            task.abort();
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
    /// The same for a stream.
    pub(crate) late: Duration,
    /// For taking a piece of an answer.
    pub(crate) unread: Duration,
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
    follows: Follows,
    /// Until when the rest of a request is read that was answered before it had ended.
    lingers: Option<Pin<Box<Sleep>>>,
}

/// What is followed of a connection's bytes.
enum Follows {
    Requests(Framing),
    Frames {
        inbound: Frames,
        outbound: Frames,
        purse: Purse,
        /// There were too many: nothing is read or written any more until this ends, so that the caller hears why.
        enough: Option<Pin<Box<Sleep>>>,
    },
}

impl CallerIo {
    pub(crate) fn new(
        stream: Stream,
        meter: Arc<Meter>,
        probe: Probe,
        task: Task,
        clock: Clock,
        head_limit: usize,
        http2: bool,
    ) -> CallerIo {
        let now = clock.now();
        let caller = Caller {
            meter,
            probe,
            task,
            phase: AtomicU8::new(IDLE),
            marked: AtomicU64::new(now.as_nanos()),
            requests: AtomicU64::new(0),
            doubtful_from: AtomicU64::new(u64::MAX),
            in_head: AtomicBool::new(false),
            streams: http2.then(Box::default),
            flooded: AtomicBool::new(false),
            blocked: AtomicBool::new(false),
            standstill: Mutex::default(),
            write_failed: AtomicBool::new(false),
            owed: AtomicU64::new(0),
            body_waits: AtomicBool::new(false),
            body: Mutex::default(),
        };
        let follows = if http2 {
            let (inbound, outbound) = (Frames::inbound(), Frames::outbound());
            Follows::Frames { inbound, outbound, purse: Purse::new(now), enough: None }
        } else {
            Follows::Requests(Framing::new(head_limit))
        };
        CallerIo { stream, caller: Arc::new(caller), clock, follows, lingers: None }
    }

    pub(crate) fn caller(&self) -> Arc<Caller> {
        Arc::clone(&self.caller)
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
        match &mut self.follows {
            Follows::Requests(framing) => {
                framing.read(piece.filled());
                self.note_framing();
            }
            Follows::Frames { inbound, purse, .. } => {
                inbound.read(piece.filled(), |frame| purse.came(frame));
                self.caller.in_head.store(inbound.is_in_head(), Relaxed);
                if purse.is_empty(|| self.clock.now()) {
                    self.say_enough(cx);
                    return self.poll_enough(cx);
                }
            }
        }
        buf.put_slice(piece.filled());
        Poll::Ready(Ok(()))
    }

    /// Tells the caller that it sends too many control frames, where a frame may begin.
    fn say_enough(&mut self, cx: &mut Context<'_>) {
        self.caller.flooded.store(true, Relaxed);
        let Follows::Frames { inbound, outbound, enough: until, .. } = &mut self.follows else { return };
        if outbound.is_between() {
            // It is lost where the socket is full, and then nobody reads.
            let _ = Write::poll_write(Pin::new(&mut self.stream), cx, &enough(inbound.last_stream()));
            let _ = Write::poll_flush(Pin::new(&mut self.stream), cx);
        }
        *until = Some(Box::pin(tokio::time::sleep(HEAR)));
    }

    /// After too many control frames: nothing for a while, and then the end.
    fn poll_enough(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Follows::Frames { enough: Some(until), .. } = &mut self.follows else {
            return Poll::Ready(Ok(()));
        };
        std::task::ready!(until.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::other("too many control frames")))
    }

    fn has_enough(&self) -> bool {
        matches!(self.follows, Follows::Frames { enough: Some(_), .. })
    }

    /// Reads and throws away what the caller still sends of a request that was answered before it had ended.
    ///
    /// A connection that is closed with bytes unread is reset by the kernel, and the reset can destroy the answer before the
    /// caller has read it (RFC 9112, section 9.6). So our side is ended first, and then the caller gets some time to hear that.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !matches!(&self.follows, Follows::Requests(framing) if framing.is_in_body()) {
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

    /// Follows what the socket has taken of these pieces.
    fn follow_written(&mut self, written: &Poll<io::Result<usize>>, pieces: &[IoSlice<'_>]) {
        let Follows::Frames { outbound, purse, .. } = &mut self.follows else { return };
        let &Poll::Ready(Ok(mut left)) = written else { return };
        for piece in pieces {
            let here = left.min(piece.len());
            outbound.read(&piece[..here], |frame| purse.went(frame));
            left -= here;
        }
    }

    fn noted<T>(&self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.caller.blocked.store(written.is_pending(), Relaxed);
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
        let Follows::Requests(framing) = &self.follows else { return };
        let caller = &self.caller;
        if let Some(number) = framing.doubtful_from() {
            caller.doubtful_from.store(number, Relaxed);
        }
        let in_head = framing.is_in_head();
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
        if this.has_enough() {
            return this.poll_enough(cx);
        }
        PIECE.with_borrow_mut(|piece| this.poll_read_seen(cx, buf, piece))
    }
}

/// How long a caller may take to hear that its request was answered, and to stop sending it.
const LINGER: Duration = Duration::from_secs(2);
/// How long a caller may take to hear that it has sent too many control frames.
const HEAR: Duration = Duration::from_millis(500);
/// The most that is read by one system call: one less than a power of two, since hyper's buffer grows to the next one with
/// each read that fills it.
const PIECE_BYTES: usize = (16 << 10) - 1;

thread_local! {
    /// What is read passes through here on its way to hyper, since what was put into hyper's buffer cannot be looked at.
    static PIECE: RefCell<[u8; PIECE_BYTES]> = const { RefCell::new([0; PIECE_BYTES]) };
}

impl Write for CallerIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.has_enough() {
            return Poll::Ready(Ok(buf.len()));
        }
        let written = Write::poll_write(Pin::new(&mut self.stream), cx, buf);
        self.follow_written(&written, &[IoSlice::new(buf)]);
        self.noted(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.has_enough() {
            return Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()));
        }
        let written = Write::poll_write_vectored(Pin::new(&mut self.stream), cx, bufs);
        self.follow_written(&written, bufs);
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
