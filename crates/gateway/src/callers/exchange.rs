//! One request of a caller and its answer, as the connection knows them. Over HTTP/1.1 exchanges follow one another; over
//! HTTP/2 each exchange is a stream.

use std::future::Future;
use std::sync::Arc;

use hyper::rt::Executor;
use seawall_policy::Time;

use super::caller::Caller;
use super::streams::{Stream, Streams};

/// One exchange of a caller, as it is known outside its future.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    caller: Arc<Caller>,
    /// The exchange's stream, on HTTP/2.
    stream: Option<Arc<Stream>>,
}

impl Exchange {
    /// The next exchange of a connection.
    pub(crate) fn next(caller: &Arc<Caller>) -> Exchange {
        Exchange { caller: Arc::clone(caller), stream: caller.streams().map(Streams::next) }
    }

    pub(crate) fn caller(&self) -> &Arc<Caller> {
        &self.caller
    }

    pub(crate) fn stream(&self) -> Option<&Arc<Stream>> {
        self.stream.as_ref()
    }

    /// Notes that a head has been read, and that the call must be over at `end_by`. A second call of this function replaces
    /// the time of the first.
    pub(crate) fn ends_by(&self, end_by: Time) {
        match &self.stream {
            Some(stream) => stream.ends_by(end_by),
            None => self.caller.ends_by(end_by),
        }
    }

    /// Notes that the request was refused, and that the refusal is passed on to be written.
    pub(crate) fn refused(&self, now: impl FnOnce() -> Time) {
        match &self.stream {
            Some(stream) => stream.ends_by(now()),
            None => self.caller.call_over(),
        }
    }

    /// Notes that the answer is passed on to be written.
    pub(crate) fn call_over(&self) {
        if self.stream.is_none() {
            self.caller.call_over();
        }
    }

    /// Makes the connection end with a reset, because the answer that was sent is incomplete. Over HTTP/2 this does nothing,
    /// since a stream has a reset of its own.
    pub(crate) fn reset_at_the_end(&self) {
        if self.stream.is_none() {
            self.caller.reset_at_the_end();
        }
    }

    /// Whether the exchange was ended because it was late.
    pub(crate) fn is_late(&self) -> bool {
        self.stream.as_ref().is_some_and(|stream| stream.is_late())
    }
}

/// Spawns the task of each stream, and keeps a handle to end it.
#[derive(Clone)]
pub(crate) struct Spawner(pub(crate) Arc<Caller>);

impl<F> Executor<F> for Spawner
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        let task = tokio::spawn(future);
        // hyper passes the stream's future to this executor directly after it has called the service. By then the service has
        // noted the stream.
        if let Some(streams) = self.0.streams() {
            streams.watch(task.abort_handle());
        }
    }
}
