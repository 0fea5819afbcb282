//! The caller's request body on its way in.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Version, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use seawall_client::{BodyError, RequestBody};

use crate::headers::strip_trailers;

/// A body as it was taken in.
pub(crate) enum Taken {
    /// To be sent.
    Body(RequestBody, TooLarge),
    /// Longer than allowed, by its own word.
    TooLarge,
    /// The caller broke off.
    Broken,
}

/// Whether a streaming body grew past its bound.
#[derive(Clone, Debug, Default)]
pub(crate) struct TooLarge(Arc<AtomicBool>);

impl TooLarge {
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Takes a body in. A short one of known length is read first, so that the dependency's time is not spent on a caller that
/// sends slowly, and a caller that breaks off in the middle has asked for nothing. All else streams; of chunks, the first
/// is waited for, so that what only looks like chunks never reaches the dependency.
pub(crate) async fn take(
    version: Version,
    headers: &HeaderMap,
    body: Incoming,
    keep: usize,
    limit: Option<u64>,
) -> Taken {
    let too_large = TooLarge::default();
    if body.is_end_stream() {
        return Taken::Body(RequestBody::Empty, too_large);
    }
    let length = body.size_hint().exact().filter(|_| !headers.contains_key(header::TRAILER));
    if let (Some(length), Some(limit)) = (length, limit)
        && length > limit
    {
        return Taken::TooLarge;
    }
    match length {
        Some(length) if length <= keep as u64 => match whole(body, length).await {
            Some(bytes) => Taken::Body(RequestBody::Full(bytes), too_large),
            None => Taken::Broken,
        },
        _ => {
            let left = limit.unwrap_or(u64::MAX);
            let known = length.is_some();
            let streams = version >= Version::HTTP_2;
            let mut body = Bounded { body, ahead: None, left, known, streams, too_large: too_large.clone() };
            if length.is_none() && version < Version::HTTP_2 {
                match body.frame().await {
                    None => return Taken::Body(RequestBody::Empty, too_large),
                    Some(Err(_)) if too_large.is_set() => return Taken::TooLarge,
                    Some(Err(_)) => return Taken::Broken,
                    Some(Ok(first)) => body.ahead = Some(first),
                }
            }
            Taken::Body(RequestBody::Stream(Box::pin(body)), too_large)
        }
    }
}

async fn whole(mut body: Incoming, length: u64) -> Option<Bytes> {
    let mut first: Option<Bytes> = None;
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.ok()?.into_data() else { continue };
        if data.len() as u64 == length {
            return Some(data);
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
    (bytes.len() as u64 == length).then_some(bytes)
}

struct Bounded {
    body: Incoming,
    /// Read already, of a body of unknown length.
    ahead: Option<Frame<Bytes>>,
    left: u64,
    /// Its length goes out with it. Not where trailers were announced: on HTTP/1.1 only a chunked body has them.
    known: bool,
    /// It comes over HTTP/2.
    streams: bool,
    too_large: TooLarge,
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
        let mut frame = match std::task::ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            // A stream that its caller resets with NO_ERROR looks like the end of a whole one. It is one only with END_STREAM.
            None if self.streams && !self.body.is_end_stream() => {
                return Poll::Ready(Some(Err("the caller reset its stream before the body's end".into())));
            }
            None => return Poll::Ready(None),
            Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
            Some(Ok(frame)) => frame,
        };
        if let Some(trailers) = frame.trailers_mut() {
            strip_trailers(trailers);
        }
        let size = frame.data_ref().map_or(0, Bytes::len) as u64;
        let Some(left) = self.left.checked_sub(size) else {
            self.too_large.0.store(true, Ordering::Relaxed);
            return Poll::Ready(Some(Err("the request body is larger than allowed".into())));
        };
        self.left = left;
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.known { self.body.size_hint() } else { SizeHint::default() }
    }
}
