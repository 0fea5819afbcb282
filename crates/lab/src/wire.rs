//! What both servers (harbor and rogue) need below HTTP: they tell HTTP/1.1 from HTTP/2, and end a connection in a
//! chosen way.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The protocol that the caller of a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speech {
    Http1,
    Http2,
}

/// Reads the first bytes and decides which protocol the caller speaks. Returns the protocol and the bytes that were
/// read, or `None` if the caller left before the decision.
///
/// Four bytes decide: HTTP/2's preface begins with `PRI `, and HTTP/1.1 has no method of that name.
pub(crate) async fn listen_in(stream: &mut TcpStream) -> io::Result<Option<(Speech, BytesMut)>> {
    const PREFACE: &[u8] = b"PRI ";
    let mut ahead = BytesMut::with_capacity(4096);
    loop {
        if stream.read_buf(&mut ahead).await? == 0 {
            return Ok(None);
        }
        let seen = ahead.len().min(PREFACE.len());
        if ahead[..seen] != PREFACE[..seen] {
            return Ok(Some((Speech::Http1, ahead)));
        }
        if seen == PREFACE.len() {
            return Ok(Some((Speech::Http2, ahead)));
        }
    }
}

/// Ends the connection with a reset instead of a normal close.
pub(crate) fn reset(stream: TcpStream) {
    // If the zero linger time, which makes the close a reset, cannot be set, the connection has already ended, so there
    // is nothing to reset.
    let _ = stream.set_zero_linger();
    drop(stream);
}

/// A stream from which some bytes were read ahead. A reader of this stream gets these bytes first.
pub(crate) struct Rewound<S> {
    ahead: Bytes,
    stream: S,
}

impl<S> Rewound<S> {
    pub(crate) fn new(ahead: BytesMut, stream: S) -> Rewound<S> {
        Rewound { ahead: ahead.freeze(), stream }
    }

    pub(crate) fn into_stream(self) -> S {
        self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, into);
        }
        let take = self.ahead.len().min(into.remaining());
        into.put_slice(&self.ahead[..take]);
        self.ahead.advance(take);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A stream with two writers: the HTTP/2 library, and code that writes bytes of its own to the same socket. That code
/// may write only between two frames of the library; bytes inside of a frame would be read as a part of it.
#[derive(Clone)]
pub(crate) struct Shared(pub(crate) Arc<TcpStream>);

impl AsyncRead for Shared {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            std::task::ready!(self.0.poll_read_ready(cx))?;
            match self.0.try_read(into.initialize_unfilled()) {
                Ok(read) => {
                    into.advance(read);
                    return Poll::Ready(Ok(()));
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    }
}

impl AsyncWrite for Shared {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            std::task::ready!(self.0.poll_write_ready(cx))?;
            match self.0.try_write(bytes) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(socket2::SockRef::from(&*self.0).shutdown(std::net::Shutdown::Write))
    }
}
