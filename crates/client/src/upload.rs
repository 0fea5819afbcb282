//! Sends a request on an HTTP/1.1 connection: its head, and its body as it comes.
//!
//! A head is written into a buffer of the thread, and the socket takes it in the same poll. So a connection has a
//! buffer of its own only while the socket is full.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::Body;
use tokio::io::AsyncWrite;

use crate::body::{BodyError, Outgoing};
use crate::connect::Stream;

/// A piece of a body up to this length, in bytes, is copied behind the bytes that wait to be sent. A longer piece is
/// sent without a copy.
const COPIED: usize = 2048;
/// The maximum size, in bytes, of a send buffer that a thread keeps for its next request. A larger buffer is freed.
const KEPT: usize = 64 << 10;

thread_local! {
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// How a body's length is declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sized {
    /// There is no body. No field of the head says so, because requests with this method usually have no body.
    Nothing,
    /// The number of bytes is declared.
    Length(u64),
    /// The body is sent in chunks, and its length is not declared.
    Chunks,
}

/// Why a request could not be sent whole.
#[derive(Debug)]
pub(crate) enum Unfinished {
    /// The connection broke.
    Io(io::Error),
    /// The caller's body broke, or its length is not the declared one.
    Body(BodyError),
}

/// A request on its way out.
#[derive(Default)]
pub(crate) struct Upload {
    /// The part of the body that is still to come; `None` if nothing is.
    source: Option<UploadSource>,
    /// Bytes that are ready to be sent. The socket has already taken the first `taken` of them.
    out: Vec<u8>,
    /// The number of bytes of `out` that the socket has taken.
    taken: usize,
    /// A piece of the body that is sent after `out` without being copied. It is empty if there is none. If `ends_chunk`
    /// is set, this piece is the content of a chunk, and the line end that belongs to the chunk is sent after it.
    piece: Bytes,
    ends_chunk: bool,
    /// Whether everything that was handed to the socket was also flushed.
    flushed: bool,
    /// Whether the caller had no part of the body ready when the body was last polled.
    waits: bool,
}

struct UploadSource {
    body: Outgoing,
    sized: Sized,
    /// The number of bytes of the body that the caller must still deliver to reach the declared length. It is 0 for a
    /// body without a declared length.
    left: u64,
}

impl Upload {
    /// Begins a new request. `head` is a function that appends the request's head to a buffer. `body` is sent after the
    /// head.
    pub(crate) fn begin(&mut self, body: Outgoing, sized: Sized, head: impl FnOnce(&mut Vec<u8>)) {
        let mut out = SPARE.take();
        out.clear();
        head(&mut out);
        (self.out, self.taken) = (out, 0);
        (self.flushed, self.waits) = (false, false);
        let left = match sized {
            Sized::Length(length) => length,
            Sized::Nothing | Sized::Chunks => 0,
        };
        self.source = None;
        match body {
            Outgoing::Full(None) => {}
            Outgoing::Full(Some(bytes)) => self.add(bytes, false),
            kept @ Outgoing::Kept { .. } => self.source = Some(UploadSource { body: kept, sized, left }),
        }
    }

    /// Returns whether everything was handed to the socket and flushed. It is `false` before the first request.
    pub(crate) fn is_over(&self) -> bool {
        self.flushed && !self.has_more()
    }

    /// Returns whether the body waits for more from its caller.
    pub(crate) fn waits_for_caller(&self) -> bool {
        self.waits
    }

    fn has_more(&self) -> bool {
        self.source.is_some() || self.taken < self.out.len() || !self.piece.is_empty()
    }

    /// Gives up the part of the request that the socket has not taken. Returns whether there was such a part.
    pub(crate) fn stop(&mut self) -> bool {
        let unfinished = self.has_more();
        self.source = None;
        self.waits = false;
        self.piece = Bytes::new();
        self.give_back();
        unfinished
    }

    /// Writes the available part of the request to the socket. Becomes ready when the socket has taken the whole
    /// request and is flushed. Fails if the connection or the caller's body breaks.
    pub(crate) fn poll(&mut self, io: &mut Stream, cx: &mut Context<'_>) -> Poll<Result<(), Unfinished>> {
        loop {
            ready!(self.poll_out(io, cx)).map_err(Unfinished::Io)?;
            let Some(source) = &mut self.source else { break };
            let frame = Pin::new(&mut source.body).poll_frame(cx);
            self.waits = frame.is_pending();
            match frame {
                Poll::Pending => {
                    ready!(Pin::new(&mut *io).poll_flush(cx)).map_err(Unfinished::Io)?;
                    return Poll::Pending;
                }
                Poll::Ready(None) => self.end(None).map_err(Unfinished::Body)?,
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(Unfinished::Body(error))),
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.next(data).map_err(Unfinished::Body)?,
                    Err(frame) => {
                        let trailers = frame.into_trailers().ok();
                        self.end(trailers.as_ref()).map_err(Unfinished::Body)?;
                    }
                },
            }
        }
        let flushed = Pin::new(io).poll_flush(cx).map_err(Unfinished::Io);
        self.flushed = matches!(flushed, Poll::Ready(Ok(())));
        flushed
    }

    /// Adds the next piece of the body. Fails if the body becomes longer than its declared length.
    fn next(&mut self, data: Bytes) -> Result<(), BodyError> {
        let Some(source) = self.source.as_mut().filter(|_| !data.is_empty()) else { return Ok(()) };
        let chunk = match source.sized {
            Sized::Chunks => true,
            Sized::Nothing | Sized::Length(_) => {
                source.left = source
                    .left
                    .checked_sub(data.len() as u64)
                    .ok_or("the request's body is longer than its content-length")?;
                false
            }
        };
        if chunk {
            seawall_wire::chunk_size(&mut self.out, data.len());
        }
        self.add(data, chunk);
        Ok(())
    }

    /// Ends the body, with `trailers` if it has any. Fails if the body is shorter than its declared length.
    fn end(&mut self, trailers: Option<&HeaderMap>) -> Result<(), BodyError> {
        let Some(UploadSource { sized, left, .. }) = self.source.take() else { return Ok(()) };
        match sized {
            Sized::Chunks => seawall_wire::last_chunk(&mut self.out, trailers),
            _ if left > 0 => return Err("the request's body is shorter than its content-length".into()),
            Sized::Nothing | Sized::Length(_) => {}
        }
        Ok(())
    }

    fn add(&mut self, data: Bytes, chunk: bool) {
        if data.len() <= COPIED {
            self.out.extend_from_slice(&data);
            if chunk {
                self.out.extend_from_slice(b"\r\n");
            }
        } else {
            self.piece = data;
            self.ends_chunk = chunk;
        }
    }

    fn poll_out(&mut self, io: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let out = &self.out[self.taken..];
            let written = match (out.is_empty(), self.piece.is_empty()) {
                (true, true) => break,
                (false, true) => ready!(Pin::new(&mut *io).poll_write(cx, out))?,
                _ => {
                    let both = [IoSlice::new(out), IoSlice::new(&self.piece)];
                    ready!(Pin::new(&mut *io).poll_write_vectored(cx, &both))?
                }
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let head = written.min(out.len());
            self.taken += head;
            self.piece.advance(written - head);
            if self.taken == self.out.len() {
                self.out.clear();
                self.taken = 0;
                if self.piece.is_empty() && std::mem::take(&mut self.ends_chunk) {
                    self.out.extend_from_slice(b"\r\n");
                }
            }
        }
        if self.source.is_none() {
            self.give_back();
        }
        Poll::Ready(Ok(()))
    }

    /// Gives the send buffer back to the thread for the next request. A buffer that is larger than `KEPT` is freed.
    fn give_back(&mut self) {
        let mut out = std::mem::take(&mut self.out);
        self.taken = 0;
        if out.capacity() > 0 && out.capacity() <= KEPT {
            out.clear();
            SPARE.set(out);
        }
    }
}
