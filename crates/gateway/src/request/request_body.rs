//! Takes in the body of a caller's request, before and while it is sent to the dependency.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Version, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use seawall_client::{BodyError, Clock, RequestBody};
use seawall_policy::{Reason, Time};
use tokio::time::Sleep;

use crate::request::headers::strip_trailers;

/// The result of taking in a request's body.
pub(crate) enum TakenBody {
    /// The body can be sent to the dependency. The flag is set later if the body is streamed and grows longer than is
    /// allowed.
    Body(RequestBody, TooLarge),
    /// The body is longer than allowed, as its announced length or its first chunk shows. Nothing of the body may be
    /// sent.
    TooLarge,
    /// The body cannot be read to its end: the caller's connection or stream ended before it, or a chunk is malformed.
    Broken,
    /// The body did not come in time. The text names the time limits of [`Pace`], one of which was exceeded.
    Stalled(String),
}

impl TakenBody {
    /// Returns why the gateway refuses the request if its body could not be taken in: as a reason, and in words.
    /// `allowed` says in words how long a body may be.
    pub(crate) fn refusal(self, allowed: &str) -> (Reason, String) {
        match self {
            TakenBody::TooLarge => (Reason::BodyTooLarge, format!("the body is longer than {allowed}")),
            TakenBody::Stalled(why) => (Reason::CallerStalled, why),
            TakenBody::Broken | TakenBody::Body(..) => (Reason::BadRequest, "the body broke off".to_owned()),
        }
    }
}

/// The time limits for the part of a body that is read before anything is sent to the dependency.
///
/// - Between two parts of the body, no more time than `pause` may pass.
/// - When the time `pause` has passed since the gateway first had to wait, the body must also come at a minimum rate
///   ([`LEAST_RATE`]). Apache's `RequestReadTimeout` works in the same way.
/// - Everything must have come by `end_by`.
///
/// The first limit alone would not be enough: a caller that sends one byte shortly before each pause is over would keep
/// its connection for as long as it likes.
pub(crate) struct Pace {
    clock: Clock,
    pause: Duration,
    end_by: Time,
    /// The time when the gateway first had to wait for the body. `None` if it has not had to wait yet.
    began: Option<Time>,
    /// The number of bytes that were read so far.
    received: u64,
}

/// The minimum rate at which a body must come, in bytes per second. [`Pace`] says from when on it is demanded.
const LEAST_RATE: u64 = 500;

impl Pace {
    /// Makes the time limits for one body. None of its pauses may be longer than `pause`, and everything that is read
    /// before the call begins must have come by `end_by`.
    pub(crate) fn new(clock: Clock, pause: Duration, end_by: Time) -> Pace {
        Pace { clock, pause, end_by, began: None, received: 0 }
    }

    /// Returns the next part of a body, and `None` at its end. Fails with [`TakenBody::Stalled`] if the part does not
    /// come in time, and with [`TakenBody::Broken`] if the body cannot be read on.
    async fn next(&mut self, body: &mut Incoming) -> Result<Option<Frame<Bytes>>, TakenBody> {
        let mut sleep: Option<Pin<Box<Sleep>>> = None;
        let next = std::future::poll_fn(|cx| {
            if let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) {
                return Poll::Ready(Some(frame));
            }
            // The timer is made only when the body has to be waited for. Most bodies arrive together with their heads.
            let sleep = sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(self.due())));
            std::future::Future::poll(sleep.as_mut(), cx).map(|()| None)
        });
        match next.await {
            None => Err(TakenBody::Stalled(format!(
                "the body did not come in time: nothing for {:?}, less than {LEAST_RATE} bytes a second, or past the deadline",
                self.pause
            ))),
            Some(Some(Err(_))) => Err(TakenBody::Broken),
            Some(None) => Ok(None),
            Some(Some(Ok(frame))) => {
                self.received += frame.data_ref().map_or(0, Bytes::len) as u64;
                Ok(Some(frame))
            }
        }
    }

    /// Returns the time by which the next part of the body must have come.
    fn due(&mut self) -> tokio::time::Instant {
        let now = self.clock.now();
        let began = *self.began.get_or_insert(now);
        let earned = self.pause.saturating_add(Duration::from_millis(self.received * 1000 / LEAST_RATE));
        let due = now.saturating_add(self.pause).min(began.saturating_add(earned)).min(self.end_by);
        self.clock.instant(due)
    }
}

/// A flag that says that a request's body has turned out to be longer than is allowed. It is set while the body is
/// read. Clones share the flag.
#[derive(Clone, Debug, Default)]
pub(crate) struct TooLarge(Arc<AtomicBool>);

impl TooLarge {
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Reads a request's body, or begins to read it, and returns what became of it. `limit` is the maximum length in bytes;
/// `None` means no limit.
///
/// - A body whose length is known and at most `keep` bytes is read whole before anything is sent. So the dependency's
///   time is not spent on a caller that sends slowly, and a request that breaks off in the middle never reaches the
///   dependency.
/// - Every other body is streamed. If its length is unknown, the first chunk is waited for over HTTP/1, so that a body
///   with a malformed first chunk never reaches the dependency. Over HTTP/2 nothing is waited for.
/// - A body with announced trailers (`Trailer`) is treated like one of unknown length.
pub(crate) async fn take(
    version: Version,
    headers: &HeaderMap,
    body: Incoming,
    keep: usize,
    limit: Option<u64>,
    mut pace: Pace,
) -> TakenBody {
    let too_large = TooLarge::default();
    if body.is_end_stream() {
        return TakenBody::Body(RequestBody::Empty, too_large);
    }
    let length = body.size_hint().exact().filter(|_| !headers.contains_key(header::TRAILER));
    if let (Some(length), Some(limit)) = (length, limit)
        && length > limit
    {
        return TakenBody::TooLarge;
    }
    match length {
        Some(length) if length <= keep as u64 => match whole(body, length, &mut pace).await {
            Ok(bytes) => TakenBody::Body(RequestBody::Full(bytes), too_large),
            Err(taken) => taken,
        },
        _ => {
            let left = limit.unwrap_or(u64::MAX);
            let known = length.is_some();
            let streams = version >= Version::HTTP_2;
            let mut body = Bounded { body, ahead: None, left, known, streams, too_large: too_large.clone() };
            if length.is_none() && version < Version::HTTP_2 {
                match pace.next(&mut body.body).await {
                    Err(taken) => return taken,
                    Ok(None) => return TakenBody::Body(RequestBody::Empty, too_large),
                    Ok(Some(first)) => match body.pass(first) {
                        Ok(first) => body.ahead = Some(first),
                        Err(_) => return TakenBody::TooLarge,
                    },
                }
            }
            TakenBody::Body(RequestBody::Stream(Box::pin(body)), too_large)
        }
    }
}

/// Reads a whole body, whether or not its length is announced. `limit` is the maximum length in bytes.
///
/// # Errors
/// [`TakenBody::TooLarge`] if the body is longer, and otherwise why it cannot be read to its end.
pub(crate) async fn take_whole(
    version: Version,
    headers: &HeaderMap,
    mut body: Incoming,
    limit: u64,
    mut pace: Pace,
) -> Result<Bytes, TakenBody> {
    let length = body.size_hint().exact().filter(|_| !headers.contains_key(header::TRAILER));
    match length {
        Some(0) => return Ok(Bytes::new()),
        Some(length) if length > limit => return Err(TakenBody::TooLarge),
        Some(length) => return whole(body, length, &mut pace).await,
        None => {}
    }
    let streams = version >= Version::HTTP_2;
    let mut all = BytesMut::new();
    while let Some(frame) = pace.next(&mut body).await? {
        let Ok(data) = frame.into_data() else { continue };
        if (all.len() + data.len()) as u64 > limit {
            return Err(TakenBody::TooLarge);
        }
        all.extend_from_slice(&data);
    }
    // hyper reports the end of the body also when the caller has reset its stream with NO_ERROR. Then the body may be
    // incomplete, and `is_end_stream` is `false`.
    if streams && !body.is_end_stream() {
        return Err(TakenBody::Broken);
    }
    Ok(all.freeze())
}

/// Reads a whole body of this length, in bytes. Fails if the body does not come in time, or if it ends early.
async fn whole(mut body: Incoming, length: u64, pace: &mut Pace) -> Result<Bytes, TakenBody> {
    let mut first: Option<Bytes> = None;
    let mut all = BytesMut::new();
    while let Some(frame) = pace.next(&mut body).await? {
        let Ok(data) = frame.into_data() else { continue };
        if data.len() as u64 == length {
            return Ok(data);
        }
        match first.take() {
            None if all.is_empty() => first = Some(data),
            None => all.extend_from_slice(&data),
            Some(before) => {
                all.reserve(usize::try_from(length).unwrap_or(0));
                all.extend_from_slice(&before);
                all.extend_from_slice(&data);
            }
        }
    }
    let bytes = first.unwrap_or_else(|| all.freeze());
    if bytes.len() as u64 == length { Ok(bytes) } else { Err(TakenBody::Broken) }
}

/// A request's body that is streamed to the dependency. Reading it fails as soon as it is longer than is allowed.
struct Bounded {
    body: Incoming,
    /// The first part of the body, if [`take`] has read it already. It is passed on before anything else is read.
    ahead: Option<Frame<Bytes>>,
    /// The number of bytes that the rest of the body may still have.
    left: u64,
    /// Whether the body's length is sent to the dependency. It is `false` in two cases: the length is unknown, or
    /// trailers were announced. On HTTP/1.1 only a chunked body can have trailers, and a chunked body is sent without
    /// its length.
    known: bool,
    /// Whether the body comes over HTTP/2.
    streams: bool,
    /// Set when the body is longer than is allowed.
    too_large: TooLarge,
}

impl Bounded {
    /// Counts one part of the body (`frame`), and returns it without the trailers that must not be passed on. If this
    /// part makes the body longer than is allowed, sets `too_large` and fails.
    fn pass(&mut self, mut frame: Frame<Bytes>) -> Result<Frame<Bytes>, BodyError> {
        if let Some(trailers) = frame.trailers_mut() {
            strip_trailers(trailers);
        }
        let size = frame.data_ref().map_or(0, Bytes::len) as u64;
        let Some(left) = self.left.checked_sub(size) else {
            self.too_large.0.store(true, Ordering::Relaxed);
            return Err("the request body is larger than allowed".into());
        };
        self.left = left;
        Ok(frame)
    }
}

impl Body for Bounded {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(first) = self.ahead.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        let frame = match std::task::ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            // When a caller resets its stream with NO_ERROR, hyper reports the normal end of the body. But the body is
            // complete only if END_STREAM has come.
            None if self.streams && !self.body.is_end_stream() => {
                return Poll::Ready(Some(Err("the caller reset its stream before the body's end".into())));
            }
            None => return Poll::Ready(None),
            Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
            Some(Ok(frame)) => frame,
        };
        Poll::Ready(Some(self.pass(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.known { self.body.size_hint() } else { SizeHint::default() }
    }
}
