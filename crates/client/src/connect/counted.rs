//! The socket itself: counts what passes, can be looked at from outside, can be dropped with a reset.
//!
//! Whether a failed request may be repeated depends on whether a byte of it left. Counting above TLS, or
//! asking an HTTP library, answers another question: bytes that sit in a TLS buffer were not sent, and a
//! request that a library took was perhaps never written. So the count is kept here, at the system call.
//!
//! A pooled connection is looked at before it is used again. The obvious way, tokio's own readiness, is
//! what the reactor saw when it last ran: an end-of-file that arrived since is not in it. [`Probe`] asks
//! the kernel.

use std::io::{self, IoSlice, Read};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use socket2::SockRef;

use super::turn::{Outbox, Posted};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// What passed through one connection's socket, TLS and proxy handshakes included: take the count when a
/// request begins, and compare. Also two switches. Everything is relaxed: whoever learns of a request's
/// end learns it after the write.
#[derive(Debug, Default)]
pub struct Meter {
    written: AtomicU64,
    accepted: AtomicU64,
    read: AtomicU64,
    reset_on_drop: AtomicBool,
    force_read: AtomicBool,
    certificate_refused: AtomicBool,
}

impl Meter {
    /// Bytes that the kernel took from us since the connection was made.
    pub fn written(&self) -> u64 {
        self.written.load(Relaxed)
    }

    /// A number that grows while there is progress in either direction: what was read, and what was taken to be written.
    pub fn progress(&self) -> u64 {
        self.accepted() + self.read()
    }

    /// Bytes that were taken to be written, now or at the end of the thread's turn.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Relaxed)
    }

    /// Bytes that were to be written, and that the kernel has not taken: they wait, or never will be.
    pub fn unwritten(&self) -> u64 {
        self.accepted().saturating_sub(self.written())
    }

    /// Bytes that we took from the kernel since the connection was made.
    pub fn read(&self) -> u64 {
        self.read.load(Relaxed)
    }

    /// When on, dropping the connection sends a reset instead of an orderly end, so that the other side
    /// stops working at once. Off at first.
    pub fn reset_on_drop(&self, on: bool) {
        self.reset_on_drop.store(on, Relaxed);
    }

    /// Whether dropping the connection sends a reset.
    pub fn resets_on_drop(&self) -> bool {
        self.reset_on_drop.load(Relaxed)
    }

    /// While on, each read asks the kernel, even where the reactor has not seen the socket become
    /// readable. For the one poll after a [`Probe`] said [`Peek::Readable`]. Off at first.
    pub fn force_read(&self, on: bool) {
        self.force_read.store(on, Relaxed);
    }

    /// Whether the server ended a TLS 1.3 connection, before any byte of an answer, because of our certificate or the lack of
    /// one. It has then taken nothing of what was sent.
    pub fn certificate_refused(&self) -> bool {
        self.certificate_refused.load(Relaxed)
    }

    pub(super) fn note_certificate_refused(&self) {
        self.certificate_refused.store(true, Relaxed);
    }

    // Each counter has one writer, the owner of the socket, so no read-modify-write is needed.
    pub(super) fn add_written(&self, bytes: usize) {
        self.written.store(self.written() + bytes as u64, Relaxed);
    }

    fn add_accepted(&self, bytes: usize) {
        self.accepted.store(self.accepted() + bytes as u64, Relaxed);
    }

    fn add_read(&self, bytes: usize) {
        self.read.store(self.read() + bytes as u64, Relaxed);
    }
}

/// What an idle connection looks like right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peek {
    /// Open, with nothing to read: the only state in which a plain connection may be used again.
    Quiet,
    /// Something waits to be read. On a plain connection an answer to nothing; under TLS or HTTP/2 it may
    /// be a session ticket or a PING.
    Readable,
    /// The other side has ended the connection, or our side has dropped it.
    Ended,
    /// The connection is in error, as after a reset.
    Broken(io::ErrorKind),
}

/// Looks at a connection without taking anything from it, whoever owns it. Does not keep it open.
#[derive(Debug, Clone)]
pub struct Probe {
    socket: Weak<Socket>,
}

impl Probe {
    /// One system call, never blocks.
    pub fn peek(&self) -> Peek {
        let Some(socket) = self.socket.upgrade() else { return Peek::Ended };
        let Some(tcp) = socket.tcp() else { return Peek::Ended };
        let tcp = SockRef::from(tcp);
        let mut byte = [MaybeUninit::uninit(); 1];
        loop {
            match tcp.peek(&mut byte) {
                Ok(0) => return Peek::Ended,
                Ok(_) => return Peek::Readable,
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return Peek::Quiet,
                    io::ErrorKind::Interrupted => {}
                    kind => return Peek::Broken(kind),
                },
            }
        }
    }
}

impl Probe {
    /// Whether the peer has reset the connection, as far as the reactor has seen. Unlike [`Probe::peek`] it also sees that
    /// behind bytes that nobody has read, and costs no system call. Ours may have been ended with [`Probe::shut_down`], too.
    pub fn is_reset(&self) -> bool {
        let Some(socket) = self.socket.upgrade() else { return true };
        let Some(tcp) = socket.tcp() else { return true };
        let ready = std::pin::pin!(tcp.ready(Interest::READABLE | Interest::WRITABLE));
        match std::future::Future::poll(ready, &mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(ready)) => ready.is_read_closed() && ready.is_write_closed(),
            Poll::Ready(Err(_)) => true,
            Poll::Pending => false,
        }
    }

    /// Ends the connection from outside: its owner reads an end-of-file and can write no more.
    pub fn shut_down(&self) {
        self.shut(Shutdown::Both);
    }

    /// Its owner reads what has arrived, and then an end-of-file; the other side sees nothing of it.
    pub fn shut_down_reading(&self) {
        self.shut(Shutdown::Read);
    }

    fn shut(&self, how: Shutdown) {
        let socket = self.socket.upgrade();
        if let Some(tcp) = socket.as_ref().and_then(|socket| socket.tcp()) {
            // Fails only where the connection is gone already.
            let _ = SockRef::from(tcp).shutdown(how);
        }
    }
}

/// A share in the TCP stream for the probe. tokio's write half is the handle that can be shared; left to
/// itself it would send an end-of-file before the close, also where a reset is wanted, hence the drop.
#[derive(Debug)]
pub(super) struct Socket(Option<OwnedWriteHalf>);

impl Socket {
    pub(super) fn tcp(&self) -> Option<&TcpStream> {
        self.0.as_ref().map(AsRef::as_ref)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Some(half) = self.0.take() {
            half.forget();
        }
    }
}

/// A TCP stream that counts.
///
/// Reads go through tokio's own read half, since that one knows that a short read has emptied the socket
/// and spares the system call that would only say so.
#[derive(Debug)]
pub(super) struct Counted {
    reader: OwnedReadHalf,
    socket: Arc<Socket>,
    meter: Arc<Meter>,
    outbox: Arc<Outbox>,
    /// Somebody else made it: what waits when it ends is an answer, and is sent. What waits on a connection of ours is a
    /// request that nobody wants any more, or that was taken for unsent.
    accepted: bool,
}

impl Counted {
    /// A connection that we made.
    pub(super) fn dialed(tcp: TcpStream) -> Counted {
        Counted::new(tcp, false)
    }

    /// A connection that was made to us.
    pub(super) fn accepted(tcp: TcpStream) -> Counted {
        Counted::new(tcp, true)
    }

    fn new(tcp: TcpStream, accepted: bool) -> Counted {
        let (reader, half) = tcp.into_split();
        let (socket, meter) = (Arc::new(Socket(Some(half))), Arc::<Meter>::default());
        let outbox = Arc::new(Outbox::new(Arc::clone(&socket), Arc::clone(&meter)));
        Counted { reader, socket, meter, outbox, accepted }
    }

    pub(super) fn meter(&self) -> Arc<Meter> {
        Arc::clone(&self.meter)
    }

    pub(super) fn probe(&self) -> Probe {
        Probe { socket: Arc::downgrade(&self.socket) }
    }

    fn tcp(&self) -> &TcpStream {
        self.reader.as_ref()
    }

    /// Writes as soon as the socket takes something.
    fn poll_write_with(
        &self,
        cx: &mut Context<'_>,
        write: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.tcp().poll_write_ready(cx))?;
            match write(self.tcp()) {
                Ok(bytes) => {
                    self.meter.add_written(bytes);
                    self.meter.add_accepted(bytes);
                    return Poll::Ready(Ok(bytes));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl Counted {
    /// Sends what waits from an earlier turn.
    fn poll_outbox(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match self.outbox.send() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                sent => return Poll::Ready(sent),
            }
            ready!(self.tcp().poll_write_ready(cx))?;
        }
    }

    /// One message, now or at the end of the turn.
    fn poll_post(&self, cx: &mut Context<'_>, message: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_post_all(cx, &[IoSlice::new(message)])
    }

    /// A message in pieces, now or at the end of the turn; perhaps only the first of them.
    fn poll_post_all(&self, cx: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut rest = pieces.iter().filter(|piece| !piece.is_empty());
        let Some(first) = rest.next() else { return Poll::Ready(Ok(0)) };
        loop {
            match self.outbox.post(first, cx.waker()) {
                Posted::Taken => break,
                // One piece goes by `send`, which costs the kernel less than `writev`.
                Posted::Direct if rest.clone().next().is_none() => {
                    return self.poll_write_with(cx, |tcp| tcp.try_write(first));
                }
                Posted::Direct => return self.poll_write_with(cx, |tcp| tcp.try_write_vectored(pieces)),
                Posted::Full => ready!(self.poll_outbox(cx))?,
            }
        }
        let mut taken = first.len();
        for piece in rest {
            match self.outbox.post(piece, cx.waker()) {
                Posted::Taken => taken += piece.len(),
                Posted::Direct | Posted::Full => break,
            }
        }
        self.meter.add_accepted(taken);
        Poll::Ready(Ok(taken))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.accepted {
            // As far as the socket takes it: there is nobody left to wait.
            let _ = self.outbox.send();
        }
        self.outbox.discard();
        if self.meter.reset_on_drop.load(Relaxed) {
            // Fails only where the connection is gone already, and then there is nothing to reset.
            let _ = SockRef::from(self.tcp()).set_linger(Some(Duration::ZERO));
        }
    }
}

impl AsyncRead for Counted {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.meter.force_read.load(Relaxed) {
            match (&*SockRef::from(this.tcp())).read(buf.initialize_unfilled()) {
                Ok(bytes) => {
                    buf.advance(bytes);
                    this.meter.add_read(bytes);
                    return Poll::Ready(Ok(()));
                }
                // The ordinary way then, which also sees to it that we are woken.
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.reader).poll_read(cx, buf))?;
        this.meter.add_read(buf.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Counted {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_post(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_post_all(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What goes out with this turn is as good as flushed: nothing waits longer than that.
        if self.outbox.is_settled() { Poll::Ready(Ok(())) } else { self.poll_outbox(cx) }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_outbox(cx))?;
        match SockRef::from(self.tcp()).shutdown(Shutdown::Write) {
            Err(error) if error.kind() != io::ErrorKind::NotConnected => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(())),
        }
    }
}
