//! The body of an answer. It is sent whole, sent byte by byte, or broken off after its first half. The request counts
//! as in flight until the body is sent.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use super::books::Presence;

/// How the bytes of a body are sent.
pub(super) enum Pace {
    /// Sends all bytes together.
    Whole,
    /// Sends one byte per interval.
    Drip(Pin<Box<Sleep>>, Duration),
    /// Sends half of the bytes and, 10 ms later, returns an error in place of the remaining bytes. hyper turns the
    /// error into a reset of the stream. The `Option` is `None` until the half is sent; then it holds the wait of 10
    /// ms.
    Half(Option<Pin<Box<Sleep>>>),
}

impl Pace {
    pub(super) fn drip(interval: Duration) -> Pace {
        Pace::Drip(Box::pin(tokio::time::sleep(interval)), interval)
    }
}

/// How long a stream waits before it is reset. Without this wait, the reset would discard everything that is not yet
/// written to the socket, and even the head of the answer could be lost.
const FLUSHED: Duration = Duration::from_millis(10);

pub(super) struct ReplyBody {
    left: Bytes,
    pace: Pace,
    _presence: Option<Presence>,
}

impl ReplyBody {
    pub(super) fn new(bytes: Bytes, pace: Pace, presence: Option<Presence>) -> ReplyBody {
        ReplyBody { left: bytes, pace, _presence: presence }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        if this.left.is_empty() {
            return Poll::Ready(None);
        }
        let piece = match &mut this.pace {
            Pace::Whole => std::mem::take(&mut this.left),
            Pace::Drip(sleep, interval) => {
                std::task::ready!(sleep.as_mut().poll(cx));
                sleep.as_mut().reset(Instant::now() + *interval);
                this.left.split_to(1)
            }
            Pace::Half(Some(moment)) => {
                std::task::ready!(moment.as_mut().poll(cx));
                this.left.clear();
                return Poll::Ready(Some(Err(io::Error::other("truncated on request"))));
            }
            Pace::Half(moment) => {
                *moment = Some(Box::pin(tokio::time::sleep(FLUSHED)));
                let half = this.left.len().div_ceil(2);
                this.left.split_to(half)
            }
        };
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.len() as u64)
    }
}
