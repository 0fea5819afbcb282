//! An exchange is one request of a caller and its answer. Over HTTP/1 the exchanges of a connection follow one another;
//! over HTTP/2 each exchange is a stream of its own.

use std::future::Future;
use std::sync::Arc;

use hyper::rt::Executor;
use seawall_policy::Time;

use super::caller::Caller;
use super::streams::{Stream, Streams};

/// One exchange of a caller: the caller's connection and, over HTTP/2, the stream of that connection.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    caller: Arc<Caller>,
    /// The exchange's stream. `None` over HTTP/1.
    stream: Option<Arc<Stream>>,
}

impl Exchange {
    /// Makes the next exchange of a caller's connection. Over HTTP/2, a new stream is made for the exchange.
    pub(crate) fn next(caller: &Arc<Caller>) -> Exchange {
        Exchange { caller: Arc::clone(caller), stream: caller.streams().map(Streams::next) }
    }

    pub(crate) fn caller(&self) -> &Arc<Caller> {
        &self.caller
    }

    pub(crate) fn stream(&self) -> Option<&Arc<Stream>> {
        self.stream.as_ref()
    }

    /// Notes that the request's head has been read, and that the call to the dependency must be over at `end_by`. If
    /// the request has a body, the time is set again when the body has come, and the new time replaces the old one.
    pub(crate) fn ends_by(&self, end_by: Time) {
        match &self.stream {
            Some(stream) => stream.ends_by(end_by),
            None => self.caller.ends_by(end_by),
        }
    }

    /// Notes that the request was refused. hyper has got the refusal, and will write it to the caller. Over HTTP/1, the
    /// call counts as over. Over HTTP/2, the stream's deadline is set to the present time, so the stream is ended soon
    /// if the caller does not read the refusal.
    pub(crate) fn refused(&self, now: impl FnOnce() -> Time) {
        match &self.stream {
            Some(stream) => stream.ends_by(now()),
            None => self.caller.call_over(),
        }
    }

    /// Notes that the call is over, because its answer has ended or was dropped. Over HTTP/2 this does nothing, since
    /// the end of the stream's task shows that the call is over.
    pub(crate) fn call_over(&self) {
        if self.stream.is_none() {
            self.caller.call_over();
        }
    }

    /// Makes the connection end with a reset, because the answer that was sent is incomplete. Over HTTP/2 this does
    /// nothing, since a stream has a reset of its own.
    pub(crate) fn reset_at_the_end(&self) {
        if self.stream.is_none() {
            self.caller.reset_at_the_end();
        }
    }

    /// Returns whether the exchange was ended because the caller took its answer too slowly, or only after the
    /// deadline. Over HTTP/1 this is always `false`: the whole connection of such a caller is ended.
    pub(crate) fn is_late(&self) -> bool {
        self.stream.as_ref().is_some_and(|stream| stream.is_late())
    }
}

/// Spawns the task of each HTTP/2 stream, and keeps the task's handle, so that the task can be ended when the stream's
/// deadline has passed.
#[derive(Clone)]
pub(crate) struct Spawner(pub(crate) Arc<Caller>);

impl<F> Executor<F> for Spawner
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        let task = tokio::spawn(future);
        // hyper passes the future of a request to this executor directly after it has called the service with that
        // request. So the stream that was made last (`Exchange::next`) is the stream of this task.
        if let Some(streams) = self.0.streams() {
            streams.watch(task.abort_handle());
        }
    }
}
