//! The byte stream of a caller's connection, between the socket and hyper.
//!
//! On HTTP/1, [`Framing`] sees all bytes before hyper does. So when hyper passes a request on, the gateway knows
//! whether a proxy before it may have read the request in another way than hyper. On HTTP/2, control frames are
//! counted, so that no caller can send too many of them ([`Purse`]).

use std::cell::RefCell;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use seawall_client::Clock;
use seawall_client::connect::{Meter, Probe, Stream};
use tokio::time::Sleep;

use super::{CALL, Caller, HEAD, Task};
use crate::callers::frames::{Frames, Purse, enough};
use crate::callers::framing::Framing;
use crate::callers::unread::Retold;

/// The byte stream of a caller's connection. hyper reads from this stream and writes to it.
pub(crate) struct CallerIo {
    stream: Stream,
    caller: Arc<Caller>,
    clock: Clock,
    follows: Follows,
    /// Set when an answer was sent before its request had ended. Until this timer fires, the rest of the request is
    /// read and thrown away.
    lingers: Option<Pin<Box<Sleep>>>,
    /// The gateway's own answer while it is written in place of an answer that hyper made by itself. `None` at all
    /// other times.
    retold: Option<Box<Retold>>,
}

/// The parser that sees the bytes of a connection: it finds requests on HTTP/1, and frames on HTTP/2.
enum Follows {
    Requests(Framing),
    Frames {
        inbound: Frames,
        outbound: Frames,
        purse: Purse,
        /// Set when the caller has sent too many control frames. Until this timer fires, nothing is read or written, so
        /// that the caller has time to read the reason.
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
        let caller = Caller::new(meter, probe, task, now, http2);
        let follows = if http2 {
            let (inbound, outbound) = (Frames::inbound(), Frames::outbound());
            Follows::Frames { inbound, outbound, purse: Purse::new(now), enough: None }
        } else {
            Follows::Requests(Framing::new(head_limit))
        };
        CallerIo { stream, caller: Arc::new(caller), clock, follows, lingers: None, retold: None }
    }

    pub(crate) fn caller(&self) -> Arc<Caller> {
        Arc::clone(&self.caller)
    }

    /// Reads bytes from the socket through a buffer of our own, shows them to the parser in `follows`, and writes them
    /// to `buf`, which is hyper's buffer. Fails if the socket fails, or if the connection must end because the caller
    /// has sent too many control frames.
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

    /// Sends a GOAWAY frame to a caller that sends too many control frames, and sets the time at which the connection
    /// ends. The GOAWAY frame is left out if another frame is only half written.
    fn say_enough(&mut self, cx: &mut Context<'_>) {
        self.caller.flooded.store(true, Relaxed);
        let Follows::Frames { inbound, outbound, enough: until, .. } = &mut self.follows else { return };
        if outbound.is_between() {
            // If the socket is full, this GOAWAY frame is lost. That does no harm: the socket is full only if the
            // caller does not read, and then the caller would not read this frame either.
            let _ = Write::poll_write(Pin::new(&mut self.stream), cx, &enough(inbound.last_stream()));
            let _ = Write::poll_flush(Pin::new(&mut self.stream), cx);
        }
        *until = Some(Box::pin(tokio::time::sleep(HEAR)));
    }

    /// If the caller has sent too many control frames, waits until the caller has had time to read the GOAWAY frame,
    /// and then returns an error, which ends the connection. Otherwise returns `Ok` immediately.
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

    /// Reads and throws away the rest of a request whose answer was sent before the request had ended. Becomes ready
    /// when the caller has closed the connection, or after two seconds.
    ///
    /// The kernel resets a connection that is closed with unread bytes, and the reset can destroy the answer before the
    /// caller has read it (RFC 9112, section 9.6). So the gateway first ends its own direction of the connection, and
    /// then reads here.
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

    /// Counts the frames in those bytes of `pieces` that the socket has taken, since bodies that are sent earn tokens.
    /// Does nothing on HTTP/1.
    fn follow_written(&mut self, written: &Poll<io::Result<usize>>, pieces: &[IoSlice<'_>]) {
        let Follows::Frames { outbound, purse, .. } = &mut self.follows else { return };
        let &Poll::Ready(Ok(mut left)) = written else { return };
        for piece in pieces {
            let here = left.min(piece.len());
            outbound.read(&piece[..here], |frame| purse.went(frame));
            left -= here;
        }
    }

    /// Writes our own answer in place of hyper's refusal of a head. Is pending until all of our answer is written. Then
    /// returns the length of hyper's refusal, because hyper must believe that its own bytes were written. Returns 0 if
    /// there is no answer to write in this way.
    fn poll_retold(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        while let Some(retold) = &mut self.retold {
            if retold.rest().is_empty() {
                let stands_for = retold.stands_for;
                self.retold = None;
                return Poll::Ready(Ok(stands_for));
            }
            let written = Write::poll_write(Pin::new(&mut self.stream), cx, retold.rest());
            if let Poll::Ready(Ok(more)) = &written {
                retold.written += more;
            }
            std::task::ready!(self.noted(written))?;
        }
        Poll::Ready(Ok(0))
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

    /// Copies what the parser has found in the caller's bytes into `caller`, where it can be read from outside the
    /// connection's task. If a head has begun, also notes the present time there, from which the time for the head
    /// counts. Does nothing on HTTP/2.
    fn note_framing(&self) {
        let Follows::Requests(framing) = &self.follows else { return };
        let caller = &self.caller;
        if let Some(number) = framing.doubtful_from() {
            caller.fragment.store(framing.is_fragment(), Relaxed);
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

/// How long the caller may take to stop sending a request whose answer was sent before the request had ended. After
/// this time the connection is closed.
const LINGER: Duration = Duration::from_secs(2);
/// How long a caller may take to read that it has sent too many control frames, before its connection is closed.
const HEAR: Duration = Duration::from_millis(500);
/// The maximum number of bytes that one system call reads. The size of hyper's buffer is a power of two, and hyper
/// doubles the buffer when one read fills it. This number is one less than 16 KiB, so a read cannot fill a buffer of 16
/// KiB and make it grow.
const PIECE_BYTES: usize = (16 << 10) - 1;

thread_local! {
    /// The buffer into which bytes are read from the socket before they are copied to hyper's buffer. It is needed
    /// because the bytes in hyper's own buffer cannot be looked at.
    static PIECE: RefCell<[u8; PIECE_BYTES]> = const { RefCell::new([0; PIECE_BYTES]) };
}

impl Write for CallerIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.has_enough() {
            return Poll::Ready(Ok(buf.len()));
        }
        if self.caller.phase.load(Relaxed) != CALL
            && matches!(self.follows, Follows::Requests(_))
            && self.retold.is_none()
        {
            self.retold = Retold::of(buf).map(Box::new);
            if let Some(retold) = &self.retold {
                self.caller.unread.store(retold.status.as_u16(), Relaxed);
            }
        }
        if self.retold.is_some() {
            return self.poll_retold(cx);
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
            // This connection must end with a reset. So the socket is not shut down in order here: the caller would see
            // that orderly end before the reset.
            return Poll::Ready(Ok(()));
        }
        if self.lingers.is_none() {
            let ended = Write::poll_shutdown(Pin::new(&mut self.stream), cx);
            std::task::ready!(self.noted(ended))?;
        }
        self.poll_linger(cx)
    }
}
