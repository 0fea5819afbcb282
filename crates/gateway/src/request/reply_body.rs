//! The body of an answer on its way to the caller.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use seawall_client::{AnswerBody, Truncated};
use seawall_policy::Effect;

use crate::callers::exchange::Exchange;
use crate::callers::streams::Stream;
use crate::request::headers::strip_trailers;
use crate::running::compiled::CompiledDependency;
use crate::running::router::Router;

/// A body of our own, or the dependency's.
pub(crate) struct ReplyBody {
    kind: BodyKind,
    /// The call that it is the end of.
    underway: Option<Underway>,
    /// It broke; told at the next poll.
    broken: Option<Truncated>,
    /// It broke, and that was logged.
    cut: bool,
    /// The stream that it goes out on, over HTTP/2.
    stream: Option<Arc<Stream>>,
    /// The last byte of a piece, over HTTP/2.
    held: Option<Bytes>,
}

enum BodyKind {
    Own(Option<Bytes>),
    Passed(AnswerBody),
}

/// A call under way, until its body is over or given up.
pub(crate) struct Underway {
    dependency: Arc<CompiledDependency>,
    router: Arc<Router>,
    exchange: Exchange,
    /// What the answer's head says.
    effect: Option<Effect>,
}

impl Underway {
    pub(crate) fn new(
        dependency: &Arc<CompiledDependency>,
        router: &Arc<Router>,
        exchange: &Exchange,
    ) -> Underway {
        dependency.counters[router.index].began();
        let (dependency, router) = (Arc::clone(dependency), Arc::clone(router));
        Underway { dependency, router, exchange: exchange.clone(), effect: None }
    }

    /// The call has come to this effect.
    pub(crate) fn ended(&mut self, effect: Effect) {
        self.effect = Some(effect);
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.dependency.counters[self.router.index].over();
        self.exchange.call_over();
    }
}

impl ReplyBody {
    pub(crate) fn own(bytes: Bytes) -> ReplyBody {
        ReplyBody::new(BodyKind::Own((!bytes.is_empty()).then_some(bytes)), None)
    }

    /// The call ends with this body.
    pub(crate) fn ends(&mut self, underway: Underway) {
        self.underway = Some(underway);
    }

    /// Takes a body of our own out, and gives its length.
    pub(crate) fn take_own(&mut self) -> Option<usize> {
        match &mut self.kind {
            BodyKind::Own(bytes) => bytes.take().map(|bytes| bytes.len()),
            BodyKind::Passed(_) => None,
        }
    }

    pub(crate) fn passed(body: AnswerBody, underway: Underway) -> ReplyBody {
        ReplyBody::new(BodyKind::Passed(body), Some(underway))
    }

    fn new(kind: BodyKind, underway: Option<Underway>) -> ReplyBody {
        ReplyBody { kind, underway, broken: None, cut: false, stream: None, held: None }
    }

    /// It goes out over HTTP/2.
    pub(crate) fn goes_out_on(&mut self, stream: &Arc<Stream>) {
        self.stream = Some(Arc::clone(stream));
    }

    /// The head is out: whatever follows can only be cut, never explained. On HTTP/1 the caller's connection is reset,
    /// since a plain end of it could be taken for the end of the answer.
    fn cut(&mut self, truncated: &Truncated) {
        self.cut = true;
        let Some(underway) = &self.underway else { return };
        underway.exchange.reset_at_the_end();
        underway.dependency.counters[underway.router.index].truncated();
        let dependency = underway.dependency.settings.name.as_str();
        let reason = truncated.reason().as_str();
        tracing::warn!(dependency, reason, "truncated: an answer's body broke after its head had gone out");
    }
}

impl Drop for ReplyBody {
    /// Given up before its end, and not because it broke: the caller left, or its connection failed.
    fn drop(&mut self) {
        let Some(underway) = &self.underway else { return };
        // hyper asks for no more of a body of known length when it has that much.
        let whole = self.is_end_stream() || self.size_hint().exact() == Some(0);
        if matches!(self.kind, BodyKind::Passed(_)) && !self.cut && !whole {
            let dependency = underway.dependency.settings.name.as_str();
            let why = match underway.exchange.is_late() {
                true => "the caller did not take it in time",
                false => "the caller left, or its connection broke",
            };
            underway.router.running.refusals.undelivered(Some(dependency), underway.effect, why);
        }
    }
}

impl ReplyBody {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Truncated>>> {
        let this = self;
        #[cfg(test)]
        if let Some(underway) = &this.underway {
            crate::panics::demanded(&underway.dependency.settings.name, "body");
        }
        if let Some(truncated) = this.broken.take() {
            return Poll::Ready(Some(Err(truncated)));
        }
        match &mut this.kind {
            BodyKind::Own(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            BodyKind::Passed(body) => {
                let caller =
                    this.underway.as_ref().map(|t| t.exchange.caller()).filter(|c| c.streams().is_none());
                // hyper takes the next piece of a body while it still holds the last, and its buffer doubles when it is full:
                // 900 callers that read slowly cost 70 KiB each. So it gets a piece when the socket has taken the last.
                if let Some(caller) = caller.filter(|caller| caller.owes()) {
                    caller.wake_when_taken(cx.waker());
                    body.poll_upload(cx);
                    return Poll::Pending;
                }
                let polled = std::task::ready!(Pin::new(body).poll_frame(cx));
                if let (Some(Ok(frame)), Some(caller)) = (&polled, caller) {
                    caller.owe(frame.data_ref().map_or(0, Bytes::len));
                }
                match polled {
                    Some(Err(truncated)) => {
                        this.cut(&truncated);
                        // Not yet: hyper throws away what it has not written, be it the head with the effect in it. While
                        // the body has nothing to give, it writes.
                        this.broken = Some(truncated);
                        cx.waker().wake_by_ref();
                        Poll::Pending
                    }
                    Some(Ok(mut frame)) => {
                        if let Some(trailers) = frame.trailers_mut() {
                            strip_trailers(trailers);
                        }
                        Poll::Ready(Some(Ok(frame)))
                    }
                    None => {
                        this.underway = None;
                        Poll::Ready(None)
                    }
                }
            }
        }
    }

    /// The next piece for a stream. What may be the last piece is given without its last byte first.
    ///
    /// hyper waits until the caller's window has room for a byte, takes the piece, and takes the next one when the window
    /// has room for all of the last. Behind the last piece it waits for nothing: such a stream would be over for us, and be
    /// kept, with its bytes, for as long as its caller grants no window. When hyper takes a last piece of one byte, there is
    /// room for all of the body.
    fn poll_for_stream(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Truncated>>> {
        if let Some(stream) = &self.stream {
            stream.has_taken();
        }
        if let Some(last) = self.held.take() {
            return Poll::Ready(Some(Ok(Frame::data(last))));
        }
        let polled = std::task::ready!(self.poll_piece(cx));
        let Some(Ok(frame)) = polled else { return Poll::Ready(polled) };
        Poll::Ready(Some(Ok(match frame.into_data() {
            Ok(mut data)
                if data.len() > 1 && (self.is_end_stream() || self.size_hint().exact().is_none()) =>
            {
                self.held = Some(data.split_off(data.len() - 1));
                Frame::data(data)
            }
            Ok(data) => Frame::data(data),
            Err(frame) => frame,
        })))
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Truncated;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Truncated>>> {
        if self.stream.is_none() {
            return self.poll_piece(cx);
        }
        let polled = self.poll_for_stream(cx);
        if let (Poll::Ready(Some(Ok(_))), Some(stream)) = (&polled, &self.stream) {
            stream.handed();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_none()
            && match &self.kind {
                BodyKind::Own(bytes) => bytes.is_none(),
                BodyKind::Passed(body) => body.is_end_stream(),
            }
    }

    fn size_hint(&self) -> SizeHint {
        let hint = match &self.kind {
            BodyKind::Own(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            BodyKind::Passed(body) => body.size_hint(),
        };
        match (&self.held, hint.exact()) {
            (Some(held), Some(rest)) => SizeHint::with_exact(rest + held.len() as u64),
            _ => hint,
        }
    }
}
