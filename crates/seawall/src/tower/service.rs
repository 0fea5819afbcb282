//! The layer, its service and its future.

use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use seawall_client::any::{AnyCall, Concluded, Judged, Site, Try, Work};
use seawall_policy::{Idempotency, Wish};
use tower_layer::Layer;
use tower_service::Service;

use super::Protocol;
use crate::call_site::CallSite;
use crate::dependency::Dependency;
use crate::entry::{self, Entered};
use crate::error::Error;
use crate::fault::BoxError;
use crate::operation::Operation;

/// A layer that puts a dependency's guards around services. It is made by [`Dependency::layer`] or
/// [`Operation::layer`].
#[derive(Clone, Debug)]
pub struct GuardLayer<P> {
    whom: Whom,
    protocol: Arc<P>,
    place: &'static Location<'static>,
}

#[derive(Clone, Debug)]
enum Whom {
    Dependency(Dependency),
    Operation(Operation),
}

impl Dependency {
    /// Makes a layer that puts this dependency's guards around a service. Errors name the place where this function was
    /// called.
    #[track_caller]
    pub fn layer<P>(&self, protocol: P) -> GuardLayer<P> {
        let place = Location::caller();
        GuardLayer { whom: Whom::Dependency(self.clone()), protocol: Arc::new(protocol), place }
    }
}

impl Operation {
    /// Makes a layer for a service whose requests all belong to this operation. Errors name the place where this
    /// function was called.
    #[track_caller]
    pub fn layer<P>(&self, protocol: P) -> GuardLayer<P> {
        let place = Location::caller();
        GuardLayer { whom: Whom::Operation(self.clone()), protocol: Arc::new(protocol), place }
    }
}

impl<S, P> Layer<S> for GuardLayer<P> {
    type Service = Guard<S, P>;

    fn layer(&self, inner: S) -> Guard<S, P> {
        Guard { inner, whom: self.whom.clone(), protocol: Arc::clone(&self.protocol), place: self.place }
    }
}

/// A service with a dependency's guards around it.
#[derive(Debug)]
pub struct Guard<S, P> {
    inner: S,
    whom: Whom,
    protocol: Arc<P>,
    place: &'static Location<'static>,
}

impl<S: Clone, P> Clone for Guard<S, P> {
    fn clone(&self) -> Self {
        Guard {
            inner: self.inner.clone(),
            whom: self.whom.clone(),
            protocol: Arc::clone(&self.protocol),
            place: self.place,
        }
    }
}

impl<S, P, Req> Service<Req> for Guard<S, P>
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
    P: Protocol<Req, S::Response, S::Error>,
{
    type Response = S::Response;
    type Error = Error;
    type Future = GuardFuture<S, P, Req>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let polled = self.inner.poll_ready(cx);
        polled.map_err(|error| {
            let site = CallSite { dependency: self.whom.name(), place: self.place };
            Error::not_ready(site, error.into())
        })
    }

    fn call(&mut self, request: Req) -> GuardFuture<S, P, Req> {
        let spare = self.inner.clone();
        let ready = std::mem::replace(&mut self.inner, spare);
        let site = self.whom.site(|| self.protocol.idempotency(&request));
        let work = Repeats {
            spare: self.inner.clone(),
            ready: Some(ready),
            request: Some(request),
            protocol: Arc::clone(&self.protocol),
        };
        GuardFuture {
            call: AnyCall::new(site, Wish::default(), work),
            whom: self.whom.clone(),
            place: self.place,
            entered: None,
        }
    }
}

impl Whom {
    fn name(&self) -> &Arc<str> {
        match self {
            Whom::Dependency(dependency) => &dependency.0.name,
            Whom::Operation(operation) => &operation.dependency.0.name,
        }
    }

    fn site(&self, idempotency: impl FnOnce() -> Idempotency) -> Held {
        match self {
            Whom::Dependency(dependency) => Held::Dependency(dependency.clone(), idempotency()),
            Whom::Operation(operation) => Held::Operation(operation.clone()),
        }
    }
}

/// The dependency or the operation to which a call belongs. The call owns this value, which is a clone. So the call can
/// use the guards and the plan in the [`Site`] until it ends, even if the service is dropped before.
enum Held {
    Dependency(Dependency, Idempotency),
    Operation(Operation),
}

impl Deref for Held {
    type Target = Site;

    fn deref(&self) -> &Site {
        match self {
            Held::Dependency(dependency, idempotency) => dependency.site(*idempotency),
            Held::Operation(operation) => &operation.declared.site,
        }
    }
}

/// Makes the attempts of one request.
struct Repeats<S, P, Req> {
    /// The service that is cloned for each repeat.
    spare: S,
    /// The service whose `poll_ready` succeeded, until the first attempt takes it. After that it is `None`.
    ready: Option<S>,
    /// The request for the next attempt; `None` if no further attempt is possible.
    request: Option<Req>,
    protocol: Arc<P>,
}

impl<S, P, Req> Work for Repeats<S, P, Req>
where
    S: Service<Req> + Clone,
    P: Protocol<Req, S::Response, S::Error>,
{
    type Attempt = Attempt<S, S::Future, Req>;
    type Value = Result<S::Response, S::Error>;

    fn attempt(&mut self, _: Try) -> Self::Attempt {
        let request = self.request.take().expect("an attempt without a copy is not repeated");
        self.request = self.protocol.copy(&request);
        match self.ready.take() {
            Some(mut ready) => Attempt::Called { future: ready.call(request) },
            None => Attempt::Waiting { service: self.spare.clone(), request: Some(request) },
        }
    }

    fn judge(&mut self, output: Self::Value) -> Judged<Self::Value> {
        let ending = self.protocol.meaning(&output).ending();
        Judged { ending, again: self.request.is_some(), value: output }
    }

    fn can_repeat(&self) -> bool {
        self.request.is_some()
    }
}

pin_project! {
    #[project = Stage]
    enum Attempt<S, F, Req> {
        Waiting { service: S, request: Option<Req> },
        Called { #[pin] future: F },
    }
}

impl<S: Service<Req>, Req> Future for Attempt<S, S::Future, Req> {
    type Output = Result<S::Response, S::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match self.as_mut().project() {
                Stage::Waiting { service, request } => {
                    ready!(service.poll_ready(cx))?;
                    let future = service.call(request.take().expect("it is called once"));
                    self.set(Attempt::Called { future });
                }
                Stage::Called { future } => return future.poll(cx),
            }
        }
    }
}

pin_project! {
    /// A request under way through a [`Guard`]. Await it to get the response.
    pub struct GuardFuture<S, P, Req>
    where
        S: Service<Req>,
        S: Clone,
        P: Protocol<Req, S::Response, S::Error>,
    {
        #[pin]
        call: AnyCall<Held, Repeats<S, P, Req>>,
        whom: Whom,
        place: &'static Location<'static>,
        entered: Option<Entered>,
    }
}

impl<S, P, Req> fmt::Debug for GuardFuture<S, P, Req>
where
    S: Service<Req> + Clone,
    P: Protocol<Req, S::Response, S::Error>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardFuture").field("whom", &self.whom).finish_non_exhaustive()
    }
}

impl<S, P, Req> Future for GuardFuture<S, P, Req>
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
    P: Protocol<Req, S::Response, S::Error>,
{
    type Output = Result<S::Response, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let site = CallSite { dependency: this.whom.name(), place: this.place };
        if this.entered.is_none() {
            *this.entered = Some(entry::check(site)?);
        }
        let Concluded { finish, ending, value, at } = ready!(this.call.poll(cx));
        *this.entered = None;
        Poll::Ready(match value {
            Some(Ok(value)) => Ok(value),
            value => {
                let source = value.and_then(Result::err).map(Into::into);
                Err(Error::of_call(site, &finish, ending.as_ref(), source, at))
            }
        })
    }
}
