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

/// The body of an answer: our own, or the dependency's.
pub(crate) struct ReplyBody {
    kind: BodyKind,
    /// The call that this body answers. The call is over when the body ends or is dropped. `None` if the request was
    /// refused before a call began, or if the body has ended.
    underway: Option<Underway>,
    /// The error with which the dependency's body broke off. The next poll gives it to hyper, and sets this to `None`.
    broken: Option<Truncated>,
    /// Whether the dependency's body broke off and this has been logged.
    cut: bool,
    /// The stream on which the body is sent. `None` over HTTP/1.
    stream: Option<Arc<Stream>>,
    /// The last byte of the piece that hyper got last, if that byte is held back (`poll_for_stream` says why). Always
    /// `None` over HTTP/1.
    held: Option<Bytes>,
    /// The beginning of the dependency's body, if it was read before this value was made. It is sent first.
    ahead: Option<Bytes>,
}

enum BodyKind {
    Own(Option<Bytes>),
    Passed(AnswerBody),
}

/// A call under way. It is over when the body of its answer ends or is dropped. Dropping this value counts the call as
/// over.
pub(crate) struct Underway {
    dependency: Arc<CompiledDependency>,
    router: Arc<Router>,
    exchange: Exchange,
    /// The effect that was sent to the caller in the answer's head. `None` until the outcome of the call is known.
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

    /// Notes the effect of the call.
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

    /// Makes this body the answer to a call. The call then counts as under way until the body has ended or is dropped.
    pub(crate) fn ends(&mut self, underway: Underway) {
        self.underway = Some(underway);
    }

    /// Removes a body of our own, as the answer to a HEAD request needs it, and returns its length in bytes. Returns
    /// `None` if the body is empty or comes from the dependency.
    pub(crate) fn take_own(&mut self) -> Option<usize> {
        match &mut self.kind {
            BodyKind::Own(bytes) => bytes.take().map(|bytes| bytes.len()),
            BodyKind::Passed(_) => None,
        }
    }

    pub(crate) fn passed(body: AnswerBody, underway: Underway) -> ReplyBody {
        ReplyBody::new(BodyKind::Passed(body), Some(underway))
    }

    /// Makes the body of an answer from two parts: `read`, which has been read already, and `rest`, which has not.
    /// `rest` is `None` if nothing follows `read`.
    pub(crate) fn read(read: Bytes, rest: Option<AnswerBody>, underway: Underway) -> ReplyBody {
        match rest {
            Some(rest) => {
                let mut body = ReplyBody::passed(rest, underway);
                body.ahead = (!read.is_empty()).then_some(read);
                body
            }
            None => {
                let mut body = ReplyBody::own(read);
                body.ends(underway);
                body
            }
        }
    }

    fn new(kind: BodyKind, underway: Option<Underway>) -> ReplyBody {
        ReplyBody { kind, underway, broken: None, cut: false, stream: None, held: None, ahead: None }
    }

    /// Notes that the body is sent on this stream of HTTP/2.
    pub(crate) fn goes_out_on(&mut self, stream: &Arc<Stream>) {
        self.stream = Some(Arc::clone(stream));
    }

    /// Logs and counts an answer whose body broke off. Its head has been sent, so the caller can no longer be told why.
    /// Over HTTP/1 the caller's connection will be reset, since the caller could take a normal end of the connection
    /// for the end of the answer.
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
    /// Logs an answer of the dependency that was dropped before its end, although the dependency's body did not break
    /// off. The cause is then the caller: it was late, it left, or its connection failed.
    fn drop(&mut self) {
        let Some(underway) = &self.underway else { return };
        // If the length of a body is known, hyper stops polling as soon as it has got all bytes. Such a body is
        // complete, although hyper never polled its end.
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
        if let Some(ahead) = this.ahead.take() {
            return Poll::Ready(Some(Ok(Frame::data(ahead))));
        }
        match &mut this.kind {
            BodyKind::Own(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            BodyKind::Passed(body) => {
                let caller =
                    this.underway.as_ref().map(|t| t.exchange.caller()).filter(|c| c.streams().is_none());
                // hyper gets the next piece only when the socket has taken the piece before it. Otherwise hyper would
                // hold two pieces in its buffer, and the buffer would double in size. With 900 callers that read
                // slowly, that cost 70 KiB for each.
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
                        // The error is returned by the next poll and not by this one. While hyper waits for the body,
                        // it writes what it has. As soon as it gets an error, it throws away what it has not written,
                        // which may even be the head with the effect.
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

    /// Returns the next piece of the body to an HTTP/2 stream. If this may be the last piece, its last byte is held
    /// back, and the next poll returns that byte alone.
    ///
    /// The held byte shows us whether the caller reads. The reason is how hyper asks for pieces. The caller allows a
    /// number of further bytes (the flow control of HTTP/2), and allows more when it has read some:
    ///
    /// - hyper asks for the first piece when the caller allows one byte.
    /// - hyper asks for each further piece when the caller allows all bytes of the previous piece.
    ///
    /// So hyper asks for the held byte only when the caller allows all bytes before it. Without the held byte, hyper
    /// would not ask again after the last piece. The stream would count as finished here, although hyper would still
    /// keep the last piece until the caller allows it.
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
            && self.ahead.is_none()
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
        let waiting =
            [&self.held, &self.ahead].into_iter().flatten().map(|piece| piece.len() as u64).sum::<u64>();
        match hint.exact() {
            Some(rest) if waiting > 0 => SizeHint::with_exact(rest + waiting),
            _ => hint,
        }
    }
}
