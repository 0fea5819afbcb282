//! A TCP stream that counts the bytes that pass through it, and that can send a reset when it is dropped.

use std::io::{self, IoSlice, Read};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;

use super::socket::{Meter, Probe, Socket};
use super::turn::{Outbox, Posted};

/// A TCP stream that counts its bytes.
///
/// Reads go through tokio's own read half, because that saves system calls. If a read returned fewer bytes than there
/// was room for, the socket is empty. Tokio's read half knows this, and reads again only when new bytes have come.
#[derive(Debug)]
pub(super) struct Counted {
    reader: OwnedReadHalf,
    socket: Arc<Socket>,
    meter: Arc<Meter>,
    outbox: Arc<Outbox>,
    /// Whether another program made the connection to us. When the stream is dropped, some bytes may still wait to be
    /// sent. What happens to them depends on this value:
    ///
    /// - On a connection that another program made, they are part of an answer, and are sent.
    /// - On a connection that we made, they are part of a request that nobody wants any more or that counts as unsent.
    ///   They are not sent.
    accepted: bool,
}

impl Counted {
    /// Wraps a connection that we made.
    pub(super) fn dialed(tcp: TcpStream) -> Counted {
        Counted::new(tcp, false)
    }

    /// Wraps a connection that another program made to us.
    pub(super) fn accepted(tcp: TcpStream) -> Counted {
        Counted::new(tcp, true)
    }

    fn new(tcp: TcpStream, accepted: bool) -> Counted {
        let (reader, half) = tcp.into_split();
        let (socket, meter) = (Socket::new(half), Arc::<Meter>::default());
        let outbox = Arc::new(Outbox::new(Arc::clone(&socket), Arc::clone(&meter)));
        Counted { reader, socket, meter, outbox, accepted }
    }

    pub(super) fn meter(&self) -> Arc<Meter> {
        Arc::clone(&self.meter)
    }

    pub(super) fn probe(&self) -> Probe {
        self.socket.probe()
    }

    fn tcp(&self) -> &TcpStream {
        self.reader.as_ref()
    }

    /// Waits until the socket is writable, and calls `write`. The result is the number of bytes that the socket has
    /// taken over. The meter counts these bytes, too. Fails if the socket fails.
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
    /// Sends all bytes that still wait in the outbox: bytes that were taken, but are sent only at the end of the event
    /// loop's turn. Becomes ready when all of them are sent, or when sending fails.
    fn poll_outbox(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match self.outbox.send() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                sent => return Poll::Ready(sent),
            }
            ready!(self.tcp().poll_write_ready(cx))?;
        }
    }

    /// Takes one message. It is sent immediately, or together with others when the event loop has run all ready tasks.
    /// Returns the number of bytes that were taken. Fails if the socket fails.
    fn poll_post(&self, cx: &mut Context<'_>, message: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_post_all(cx, &[IoSlice::new(message)])
    }

    /// Takes a message in pieces. It is sent immediately, or together with others when the event loop has run all ready
    /// tasks. Returns the number of bytes that were taken. This may be the length of the first piece only. Fails if the
    /// socket fails.
    fn poll_post_all(&self, cx: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut rest = pieces.iter().filter(|piece| !piece.is_empty());
        let Some(first) = rest.next() else { return Poll::Ready(Ok(0)) };
        loop {
            match self.outbox.post(first, cx.waker()) {
                Posted::Taken => break,
                // A single piece is written by `send`, which costs the kernel less than `writev`.
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
            // The bytes that still wait are sent, as many as the socket takes immediately. The rest is lost, since
            // nobody will poll this stream again.
            let _ = self.outbox.send();
        }
        self.outbox.discard();
        if self.meter.resets_on_drop() {
            // This fails only if the connection has ended already. Then there is nothing to reset.
            let _ = SockRef::from(self.tcp()).set_linger(Some(Duration::ZERO));
        }
    }
}

impl AsyncRead for Counted {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.meter.forces_read() {
            match (&*SockRef::from(this.tcp())).read(buf.initialize_unfilled()) {
                Ok(bytes) => {
                    buf.advance(bytes);
                    this.meter.add_read(bytes);
                    return Poll::Ready(Ok(()));
                }
                // The kernel has no bytes for us yet. This is no error: the code after this `match` reads again through
                // tokio, which wakes this task when bytes come.
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
        // Bytes that wait for the end of this turn of the event loop count as flushed. They are sent at its end without
        // a further flush.
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
