//! The byte stream of a connection. It is plain or uses TLS, and its bytes are counted at the socket.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::rt::ReadBufCursor;
use hyper_util::rt::TokioIo;
use rustls::ProtocolVersion;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;

use super::counted::Counted;
use super::socket::{Meter, Probe};
use super::tls::refuses_our_certificate;

/// The byte stream of one connection. It implements tokio's traits, and also hyper's for connections that hyper drives.
///
/// Each call goes directly to the plain or the TLS stream and not through a trait object, because every byte of every
/// request passes here. Plain streams write several buffers in one system call.
pub struct Stream(TokioIo<Transport>);

impl Stream {
    /// Wraps a connection that another program made to us. Returns the connection's byte stream, the `Meter` that
    /// counts the bytes, and the `Probe` that looks at the socket.
    pub fn accepted(tcp: tokio::net::TcpStream) -> (Stream, Arc<Meter>, Probe) {
        let socket = Counted::accepted(tcp);
        let (meter, probe) = (socket.meter(), socket.probe());
        (Stream::plain(socket), meter, probe)
    }

    pub(super) fn plain(socket: Counted) -> Stream {
        Stream(TokioIo::new(Transport::Plain(socket)))
    }

    pub(super) fn tls(stream: TlsStream<Counted>, meter: Arc<Meter>) -> Stream {
        let unconfirmed = stream.get_ref().1.protocol_version() == Some(ProtocolVersion::TLSv1_3);
        Stream(TokioIo::new(Transport::Tls(Box::new(Secured { stream, meter, unconfirmed }))))
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0.inner() {
            Transport::Plain(_) => "Stream(plain)",
            Transport::Tls(_) => "Stream(tls)",
        })
    }
}

/// The transport of a stream, plain or TLS. The TLS state is larger than a kilobyte, so it is boxed to keep plain
/// connections small.
enum Transport {
    Plain(Counted),
    Tls(Box<Secured>),
}

/// A TLS connection that we made. Under TLS 1.3 the server may refuse our certificate after our side of the handshake
/// has ended. This type notices such a refusal, and records it in the meter.
struct Secured {
    stream: TlsStream<Counted>,
    meter: Arc<Meter>,
    /// Whether the connection uses TLS 1.3 and nothing was read from it yet. The server may then still be busy with the
    /// handshake.
    unconfirmed: bool,
}

impl Secured {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        if std::mem::replace(&mut self.unconfirmed, false)
            && read.as_ref().is_err_and(refuses_our_certificate)
        {
            self.meter.note_certificate_refused();
        }
        Poll::Ready(read)
    }
}

macro_rules! either {
    ($transport:expr, $stream:ident => $call:expr) => {
        match $transport.get_mut() {
            Transport::Plain($stream) => {
                let $stream = Pin::new($stream);
                $call
            }
            Transport::Tls($stream) => {
                let $stream = Pin::new(&mut $stream.stream);
                $call
            }
        }
    };
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Transport::Tls(secured) => secured.poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, stream => stream.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, stream => stream.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Transport::Plain(stream) => stream.is_write_vectored(),
            Transport::Tls(secured) => secured.stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_shutdown(cx))
    }
}

impl hyper::rt::Read for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        hyper::rt::Read::poll_read(Pin::new(&mut self.get_mut().0), cx, buf)
    }
}

impl hyper::rt::Write for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(self, cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write_vectored(self, cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        AsyncWrite::is_write_vectored(self)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(self, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_shutdown(self, cx)
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.get_mut().0.inner_mut()).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(self.get_mut().0.inner_mut()).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self.get_mut().0.inner_mut()).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.inner().is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.get_mut().0.inner_mut()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.get_mut().0.inner_mut()).poll_shutdown(cx)
    }
}
