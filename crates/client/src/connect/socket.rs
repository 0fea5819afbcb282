//! A connection's socket, as it can be looked at by those who do not own it: what passed ([`Meter`]), and what it looks like
//! now ([`Probe`]).
//!
//! Whether a failed request may be repeated depends on whether a byte of it left. Counting above TLS, or
//! asking an HTTP library, answers another question: bytes that sit in a TLS buffer were not sent, and a
//! request that a library took was perhaps never written. So the count is kept here, at the system call.
//!
//! A pooled connection is looked at before it is used again. The obvious way, tokio's own readiness, is
//! what the reactor saw when it last ran: an end-of-file that arrived since is not in it. [`Probe`] asks
//! the kernel.

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

    pub(super) fn forces_read(&self) -> bool {
        self.force_read.load(Relaxed)
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

    pub(super) fn add_accepted(&self, bytes: usize) {
        self.accepted.store(self.accepted() + bytes as u64, Relaxed);
    }

    pub(super) fn add_read(&self, bytes: usize) {
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
