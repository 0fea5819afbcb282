//! One HTTP/2 connection, shared by many exchanges.
//!
//! A separate task drives the connection, because no single exchange could drive it for all others. The server may
//! refuse a stream (REFUSED_STREAM) or say which streams it did not process (GOAWAY). In both cases it is certain that
//! the requests of these streams had no effect.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use seawall_policy::Time;
use seawall_wire::Limits;

use crate::body::{Outgoing, Source};
use crate::connect::{Connection, Meter, Peek, Probe};
use crate::watch::{Lapse, Timer, Watch};

/// The maximum number of streams in use on one connection. If a further stream is needed, another connection is opened.
/// Servers commonly allow this number (RFC 9113 recommends that they allow at least 100).
const STREAMS: u32 = 100;

/// The reason why an exchange has no answer.
pub(crate) enum TrunkFailure {
    /// The stream or the connection broke. If hyper gives the request back, it is in `returned`, and this proves that
    /// the request was not sent.
    Broke { error: hyper::Error, returned: Option<Box<Request<Outgoing>>> },
    /// The read timeout or the deadline passed.
    Lapsed(Lapse),
}

#[derive(Clone)]
pub(crate) struct Trunk {
    sender: http2::SendRequest<Outgoing>,
    pub(crate) meter: Arc<Meter>,
    probe: Probe,
    in_flight: Arc<AtomicU32>,
    pub(crate) born: Time,
}

/// The right of one exchange to use one stream of a trunk. It is dropped together with the answer's body at the latest.
/// After that, another exchange may use a stream in its place.
pub(crate) struct TrunkStream(Arc<AtomicU32>);

impl Drop for TrunkStream {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Trunk {
    pub(crate) async fn open(
        connection: Connection,
        limits: Limits,
        now: Time,
    ) -> Result<Trunk, hyper::Error> {
        let (sender, conn) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .adaptive_window(true)
            .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
            .handshake(connection.io)
            .await?;
        tokio::spawn(async move {
            if let Err(error) = conn.await {
                tracing::debug!(%error, "an HTTP/2 connection ended");
            }
        });
        Ok(Trunk {
            sender,
            meter: connection.meter,
            probe: connection.probe,
            in_flight: Arc::default(),
            born: now,
        })
    }

    /// Takes the right to use a stream. Returns `None` if all streams are in use or the connection is closed.
    pub(crate) fn take(&self) -> Option<TrunkStream> {
        if self.sender.is_closed() {
            return None;
        }
        let idle = self.in_flight.load(Ordering::Relaxed) == 0;
        if idle && matches!(self.probe.peek(), Peek::Ended | Peek::Broken(_)) {
            return None;
        }
        if self.in_flight.fetch_add(1, Ordering::Relaxed) >= STREAMS {
            self.in_flight.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(TrunkStream(Arc::clone(&self.in_flight)))
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Sends a request, waits for the head of its answer, and returns the answer. Fails if the stream or the connection
    /// breaks, or if the read timeout or the deadline passes. Only the request's own body counts as progress, not the
    /// bytes of other exchanges on the same connection.
    pub(crate) async fn exchange(
        &mut self,
        request: Request<Outgoing>,
        source: &Source,
        timer: &mut Timer,
        watch: &mut Watch,
    ) -> Result<Response<Incoming>, TrunkFailure> {
        let mut response = pin!(self.sender.try_send_request(request));
        std::future::poll_fn(|cx| {
            if let Poll::Ready(done) = response.as_mut().poll(cx) {
                return Poll::Ready(done.map_err(|mut failed| {
                    let returned = failed.take_message().map(Box::new);
                    TrunkFailure::Broke { error: failed.into_error(), returned }
                }));
            }
            watch.poll(timer, source.progress(), cx).map(|lapse| Err(TrunkFailure::Lapsed(lapse)))
        })
        .await
    }
}
