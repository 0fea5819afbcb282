//! One caller's connection: its bytes, and what others need to know of it.
//!
//! hyper reads heads leniently where RFC 9112 lets it: with both `Transfer-Encoding` and `Content-Length` it takes the
//! first and drops the second. A proxy between the caller and us may have read it the other way round, and that
//! difference is how requests are smuggled. hyper has dropped the evidence by the time that it calls us, so the
//! raw head is looked at here, on its way in.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use seawall_client::Clock;
use seawall_client::connect::{Meter, Peek, Probe, Stream};
use seawall_policy::Time;

/// What is known of a caller's connection outside of its task.
#[derive(Debug)]
pub(crate) struct Caller {
    meter: Arc<Meter>,
    probe: Probe,
    phase: AtomicU8,
    /// When the phase began, or when what is under way must be over; nanoseconds of the clock.
    marked: AtomicU64,
    /// The head that comes next has two readings.
    ambiguous: AtomicBool,
    /// Streams under way on HTTP/2.
    multiplexed: AtomicBool,
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

    /// Whether the head just read had two readings.
    pub(crate) fn take_ambiguous(&self) -> bool {
        self.ambiguous.load(Relaxed) && self.ambiguous.swap(false, Relaxed)
    }

    /// When the connection ends, it ends with a reset: what was sent is not whole.
    pub(crate) fn reset_at_the_end(&self) {
        if !self.multiplexed.load(Relaxed) {
            self.meter.reset_on_drop(true);
        }
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
                self.phase.store(IDLE, Relaxed);
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
    /// What came of a head that is not complete.
    partial: Vec<u8>,
    head_limit: usize,
}

impl CallerIo {
    pub(crate) fn new(stream: Stream, meter: Arc<Meter>, probe: Probe, clock: Clock, head_limit: usize) -> CallerIo {
        let caller = Caller {
            meter,
            probe,
            phase: AtomicU8::new(IDLE),
            marked: AtomicU64::new(clock.now().as_nanos()),
            ambiguous: AtomicBool::new(false),
            multiplexed: AtomicBool::new(false),
        };
        CallerIo { stream, caller: Arc::new(caller), clock, partial: Vec::new(), head_limit }
    }

    pub(crate) fn caller(&self) -> Arc<Caller> {
        Arc::clone(&self.caller)
    }

    /// HTTP/2 frames its messages itself; there is no head to look at.
    pub(crate) fn multiplex(&self) {
        self.caller.multiplexed.store(true, Relaxed);
    }

    /// Looks at what was just read while no call is under way: the beginning of a head, or more of one.
    fn look_at(&mut self, fresh: &[u8]) {
        let complete = if self.partial.is_empty() {
            let end = head_end(fresh);
            if end.is_none() {
                self.caller.phase.store(HEAD, Relaxed);
                self.caller.marked.store(self.clock.now().as_nanos(), Relaxed);
                self.partial.extend_from_slice(fresh);
                return;
            }
            frames_twice(&fresh[..end.unwrap_or(0)])
        } else {
            let room = self.head_limit.saturating_sub(self.partial.len());
            self.partial.extend_from_slice(&fresh[..fresh.len().min(room)]);
            let Some(end) = head_end(&self.partial) else { return };
            let twice = frames_twice(&self.partial[..end]);
            self.partial = Vec::new();
            twice
        };
        if complete {
            self.caller.ambiguous.store(true, Relaxed);
        }
    }
}

/// Where the empty line is that ends a head. Lines may end without a carriage return: the parser takes those, too.
fn head_end(bytes: &[u8]) -> Option<usize> {
    memchr::memchr_iter(b'\n', bytes).find_map(|at| match bytes.get(at + 1..) {
        Some([b'\n', ..]) => Some(at + 2),
        Some([b'\r', b'\n', ..]) => Some(at + 3),
        _ => None,
    })
}

/// Whether a head gives its body's length in both ways.
fn frames_twice(head: &[u8]) -> bool {
    let has = |name: &[u8]| {
        memchr::memchr_iter(b'\n', head).any(|at| {
            let line = &head[at + 1..];
            line.len() > name.len() && line[..name.len()].eq_ignore_ascii_case(name)
        })
    };
    has(b"transfer-encoding") && has(b"content-length")
}

impl Read for CallerIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.caller.phase.load(Relaxed) == CALL || this.caller.multiplexed.load(Relaxed) {
            return Pin::new(&mut this.stream).poll_read(cx, buf);
        }
        // A head: through a buffer of our own, since what was put into hyper's cannot be looked at.
        let mut bytes = [0_u8; HEAD_PIECE];
        let room = buf.remaining().min(HEAD_PIECE);
        let mut piece = tokio::io::ReadBuf::new(&mut bytes[..room]);
        std::task::ready!(tokio::io::AsyncRead::poll_read(Pin::new(&mut this.stream), cx, &mut piece))?;
        if !piece.filled().is_empty() {
            this.look_at(piece.filled());
        }
        buf.put_slice(piece.filled());
        Poll::Ready(Ok(()))
    }
}

/// So much of a head is read at once; most are shorter.
const HEAD_PIECE: usize = 2048;

impl Write for CallerIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Write::poll_write(Pin::new(&mut self.stream), cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Write::poll_write_vectored(Pin::new(&mut self.stream), cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        Write::is_write_vectored(&self.stream)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Write::poll_flush(Pin::new(&mut self.stream), cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.caller.meter.resets_on_drop() {
            // No orderly end before the reset.
            return Poll::Ready(Ok(()));
        }
        Write::poll_shutdown(Pin::new(&mut self.stream), cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_head_is_found() {
        assert_eq!(head_end(b"GET / HTTP/1.1\r\nhost: a\r\n\r\nrest"), Some(27));
        assert_eq!(head_end(b"GET / HTTP/1.1\nhost: a\n\nrest"), Some(24));
        assert_eq!(head_end(b"GET / HTTP/1.1\r\nhost: a\r\n"), None);
        assert_eq!(head_end(b""), None);
    }

    #[test]
    fn two_lengths_are_seen_in_any_order_and_case() {
        for head in [
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-length: 5\r\nTRANSFER-ENCODING: x\r\n\r\n",
            "POST / HTTP/1.1\ncontent-length: 5\ntransfer-encoding: x\n\n",
        ] {
            assert!(frames_twice(head.as_bytes()), "{head}");
        }
        for head in [
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nx: transfer-encoding content-length\r\ncontent-length: 5\r\n\r\n",
        ] {
            assert!(!frames_twice(head.as_bytes()), "{head}");
        }
    }
}
