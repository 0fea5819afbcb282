//! The trait [`Protocol`]: what a layer must know about the requests and answers that pass through it.

use std::sync::Arc;

use seawall_policy::Idempotency;

use crate::fault::Meaning;

/// Says what requests and answers mean for the guards.
pub trait Protocol<Req, Res, E> {
    /// Returns what a second delivery of this request does. It is not called if the layer was made by an operation,
    /// because the operation decides.
    fn idempotency(&self, request: &Req) -> Idempotency;

    /// Returns a copy of the request, for a repeat. Returns `None` if the request cannot be copied; then there is no
    /// repeat.
    fn copy(&self, request: &Req) -> Option<Req>;

    /// Returns what the result of an attempt means.
    fn meaning(&self, result: &Result<Res, E>) -> Meaning;
}

impl<P: Protocol<Req, Res, E> + ?Sized, Req, Res, E> Protocol<Req, Res, E> for Arc<P> {
    fn idempotency(&self, request: &Req) -> Idempotency {
        (**self).idempotency(request)
    }

    fn copy(&self, request: &Req) -> Option<Req> {
        (**self).copy(request)
    }

    fn meaning(&self, result: &Result<Res, E>) -> Meaning {
        (**self).meaning(result)
    }
}

/// The protocol of requests of any kind that can be cloned and that all have this idempotency. A request whose service
/// returns `Ok` took effect. A request whose service returns an error may have taken effect.
#[derive(Clone, Copy, Debug)]
pub struct Each(pub Idempotency);

impl<Req: Clone, Res, E> Protocol<Req, Res, E> for Each {
    fn idempotency(&self, _: &Req) -> Idempotency {
        self.0
    }

    fn copy(&self, request: &Req) -> Option<Req> {
        Some(request.clone())
    }

    fn meaning(&self, result: &Result<Res, E>) -> Meaning {
        match result {
            Ok(_) => Meaning::applied(),
            Err(_) => Meaning::unknown(),
        }
    }
}
