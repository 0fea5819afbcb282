//! Shows a connection's socket to code that does not own it: the bytes that passed ([`Meter`]), and the socket's
//! present state ([`Probe`]).
//!
//! Whether a failed request may be repeated depends on whether a byte of it left this process. So bytes are counted
//! here, at the system call. A count above TLS would also have bytes that are still in a TLS buffer. A count of the
//! requests that an HTTP library has taken would have requests that were never written.
//!
//! A pooled connection is checked before it is used again. For this, [`Probe`] asks the kernel. The obvious way would
//! ask tokio whether the socket is readable. But tokio asks the kernel about all its sockets only from time to time,
//! when its thread has no other work. So it may not know of an end-of-file that has just arrived.

use std::io;
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;

/// Counts the bytes that pass through the socket of one connection. The bytes of the TLS and proxy handshakes count
/// too. To measure a request, note the count when the request begins, and compare later.
///
/// A meter also holds two switches ([`Meter::reset_on_drop`] and [`Meter::force_read`]) and a flag
/// ([`Meter::certificate_refused`]). Relaxed atomics suffice: a task reads the counts of a request after it was told of
/// the request's end, and the counts were written before that.
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
    /// Returns the number of bytes that the kernel has taken from us to send, since the connection was made.
    pub fn written(&self) -> u64 {
        self.written.load(Relaxed)
    }

    /// Returns a number that grows while there is progress in either direction: the bytes that were read, plus those
    /// that were accepted for writing.
    pub fn progress(&self) -> u64 {
        self.accepted() + self.read()
    }

    /// Returns the number of bytes that were accepted for writing. They were given to the kernel already, or they are
    /// still queued to be sent together with others.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Relaxed)
    }

    /// Returns the number of bytes that were accepted for writing but that the kernel has not taken. They still wait,
    /// or will never be written.
    pub fn unwritten(&self) -> u64 {
        self.accepted().saturating_sub(self.written())
    }

    /// Returns the number of bytes that we have taken from the kernel since the connection was made.
    pub fn read(&self) -> u64 {
        self.read.load(Relaxed)
    }

    /// Sets whether dropping the connection sends a reset instead of an orderly end, so that the server stops working
    /// immediately. Off by default.
    pub fn reset_on_drop(&self, on: bool) {
        self.reset_on_drop.store(on, Relaxed);
    }

    /// Returns whether dropping the connection sends a reset.
    pub fn resets_on_drop(&self) -> bool {
        self.reset_on_drop.load(Relaxed)
    }

    /// Sets whether each read asks the kernel, even if tokio has not noticed yet that the socket is readable. Off by
    /// default. It is on only for the one poll after a [`Probe`] has returned [`Peek::Readable`].
    pub fn force_read(&self, on: bool) {
        self.force_read.store(on, Relaxed);
    }

    pub(super) fn forces_read(&self) -> bool {
        self.force_read.load(Relaxed)
    }

    /// Returns whether the server ended a TLS 1.3 connection before it sent any byte of an answer, because it refused
    /// our certificate or because we sent none. If so, the server has not processed anything of what was sent.
    pub fn certificate_refused(&self) -> bool {
        self.certificate_refused.load(Relaxed)
    }

    pub(super) fn note_certificate_refused(&self) {
        self.certificate_refused.store(true, Relaxed);
    }

    // Each counter has one writer, the owner of the socket, so an atomic read-modify-write is not needed.
    pub(super) fn add_written(&self, bytes: usize) {
        self.written.store(self.written() + bytes as u64, Relaxed);
    }

    pub(super) fn add_accepted(&self, bytes: usize) {
        self.accepted.store(self.accepted() + bytes as u64, Relaxed);
    }

    pub(super) fn add_read(&self, bytes: usize) {
        self.read.store(self.read() + bytes as u64, Relaxed);
    }
}

/// The state of an idle connection when it is inspected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peek {
    /// The connection is open, and there is nothing to read. Only in this state may a plain connection be used again.
    Quiet,
    /// There are bytes to read. On a plain connection they belong to no request of ours. Under TLS or HTTP/2 they may
    /// be a session ticket or a PING.
    Readable,
    /// The peer has ended the connection, or our side has dropped it.
    Ended,
    /// The connection has failed, for example by a reset.
    Broken(io::ErrorKind),
}

/// Inspects a connection without reading anything from it. It does not keep the connection open.
#[derive(Debug, Clone)]
pub struct Probe {
    socket: Weak<Socket>,
}

impl Probe {
    /// Returns the connection's state. This takes one system call, which never blocks.
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

    /// Returns whether tokio has noticed that the peer reset the connection. This needs no system call. Unlike
    /// [`Probe::peek`], it also finds a reset that came after bytes which nobody has read. It also returns `true` after
    /// [`Probe::shut_down`], or if our side has dropped the connection.
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

    /// Ends the connection from outside: its owner reads an end-of-file, and can no longer write.
    pub fn shut_down(&self) {
        self.shut(Shutdown::Both);
    }

    /// Ends only the reading side: the connection's owner reads the bytes that have arrived, and then an end-of-file.
    /// The peer does not notice.
    pub fn shut_down_reading(&self) {
        self.shut(Shutdown::Read);
    }

    fn shut(&self, how: Shutdown) {
        let socket = self.socket.upgrade();
        if let Some(tcp) = socket.as_ref().and_then(|socket| socket.tcp()) {
            // This fails only if the connection has ended already.
            let _ = SockRef::from(tcp).shutdown(how);
        }
    }
}

/// The part of a TCP stream that its owner shares with every [`Probe`]. It holds tokio's write half, because the write
/// half can be shared. When tokio's write half is dropped, it sends an end-of-file, even on a connection that must end
/// with a reset. The `Drop` of this type prevents that.
#[derive(Debug)]
pub(super) struct Socket(Option<OwnedWriteHalf>);

impl Socket {
    pub(super) fn new(half: OwnedWriteHalf) -> Arc<Socket> {
        Arc::new(Socket(Some(half)))
    }

    pub(super) fn probe(self: &Arc<Socket>) -> Probe {
        Probe { socket: Arc::downgrade(self) }
    }

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
