//! A call around any future of the application, made with [`crate::Dependency::call`] or [`crate::Operation::call`].

use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use pin_project_lite::pin_project;
use seawall_client::any::{AnyCall, Concluded, Judged, Site, Try, Work};
use seawall_policy::{Keys, Time, Wish};

use crate::call_site::CallSite;
use crate::entry::{self, Entered};
use crate::error::Error;
use crate::fault::BoxError;
use crate::fault::{Fault, Meaning};
use crate::judge::{ByClosure, Judge, Plain};

/// One attempt that a closure is to make. The closure can ask this value for the attempt's number, endpoint and
/// deadline.
#[derive(Clone, Copy, Debug)]
pub struct Attempt(Try);

impl Attempt {
    /// Returns the number of this attempt within its call; 1 for the first.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.0.number
    }

    /// Returns the number of the endpoint that this attempt is to use. 0 is the endpoint that is tried first.
    #[must_use]
    pub fn endpoint(&self) -> usize {
        self.0.endpoint
    }

    /// Returns the moment at which this attempt is aborted. If the attempt has no deadline, returns a moment that is
    /// never reached in practice: thirty years from now.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.0.clock.instant(self.0.by).into_std()
    }

    /// Returns the time until this attempt is aborted; `None` if the attempt has no deadline.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        (self.0.by != Time::NEVER).then(|| self.0.by.since(self.0.clock.now()))
    }
}

/// The closure that makes the attempts of a call, together with the judge that says what their results mean.
pub(crate) struct Around<F, J> {
    make: F,
    judge: J,
}

impl<F, Fut, J> Work for Around<F, J>
where
    F: FnMut(Attempt) -> Fut,
    Fut: Future,
    J: Judge<Fut::Output>,
{
    type Attempt = Fut;
    type Value = Result<J::Value, BoxError>;

    #[inline]
    fn attempt(&mut self, attempt: Try) -> Fut {
        (self.make)(Attempt(attempt))
    }

    #[inline]
    fn judge(&mut self, output: Fut::Output) -> Judged<Self::Value> {
        self.judge.judge(output)
    }
}

pin_project! {
    /// A call that has to be awaited: it begins only when it is first polled. Dropping it abandons the call.
    #[must_use = "a call does nothing unless it is awaited"]
    pub struct Call<'d, F, Fut, J>
    where
        F: FnMut(Attempt) -> Fut,
        Fut: Future,
        J: Judge<Fut::Output>,
    {
        #[pin]
        call: AnyCall<&'d Site, Around<F, J>>,
        name: &'d Arc<str>,
        place: &'static Location<'static>,
        entered: Option<Entered>,
    }
}

impl<'d, F, Fut, T, E> Call<'d, F, Fut, Plain>
where
    F: FnMut(Attempt) -> Fut,
    Fut: Future<Output = Result<T, E>>,
    E: Into<Fault>,
{
    pub(crate) fn new(
        site: &'d Site,
        name: &'d Arc<str>,
        make: F,
        place: &'static Location<'static>,
    ) -> Call<'d, F, Fut, Plain> {
        let call = AnyCall::new(site, Wish::default(), Around { make, judge: Plain });
        Call { call, name, place, entered: None }
    }
}

impl<'d, F, Fut, J> Call<'d, F, Fut, J>
where
    F: FnMut(Attempt) -> Fut,
    Fut: Future,
    J: Judge<Fut::Output>,
{
    /// Limits the time of this call to `time`, such as the time for which the program's own caller still waits. A
    /// `time` that is longer than the total timeout has no effect.
    pub fn within(mut self, time: Duration) -> Self {
        self.call.wish().within = Some(time);
        self
    }

    /// Sets the key of this call, such as a tenant or a shard. Each key has a breaker and a limit of its own: if one
    /// shard of a partner fails, calls to its other shards are not refused.
    pub fn key(mut self, key: impl Into<Arc<str>>) -> Self {
        let key = key.into();
        *self.call.keys() = Keys { breaker: Some(Arc::clone(&key)), limit: Some(key) };
        self
    }

    /// Limits this call to one attempt. Use it if the program's own caller repeats what has failed; if both repeated,
    /// the number of attempts would multiply.
    pub fn once(mut self) -> Self {
        self.call.wish().no_repeats = true;
        self
    }

    /// Sets a closure that says what each result means. The closure alone decides: if an attempt returns a [`Fault`],
    /// the meaning in that fault is ignored.
    pub fn classify<C, T, E>(self, meaning: C) -> Call<'d, F, Fut, ByClosure<C>>
    where
        Fut: Future<Output = Result<T, E>>,
        E: Into<BoxError>,
        C: FnMut(&Result<T, E>) -> Meaning,
    {
        let Call { call, name, place, entered } = self;
        let call = call.with(|Around { make, .. }| Around { make, judge: ByClosure(meaning) });
        Call { call, name, place, entered }
    }
}

impl<F, Fut, J> Future for Call<'_, F, Fut, J>
where
    F: FnMut(Attempt) -> Fut,
    Fut: Future,
    J: Judge<Fut::Output>,
{
    type Output = Result<J::Value, Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let site = CallSite { dependency: this.name, place: this.place };
        if this.entered.is_none() {
            *this.entered = Some(entry::check(site)?);
        }
        let concluded = std::task::ready!(this.call.poll(cx));
        *this.entered = None;
        Poll::Ready(match concluded.value {
            Some(Ok(value)) => Ok(value),
            value => {
                let source = value.and_then(Result::err);
                let Concluded { finish, ending, at, .. } = concluded;
                Err(Error::of_call(site, &finish, ending.as_ref(), source, at))
            }
        })
    }
}
