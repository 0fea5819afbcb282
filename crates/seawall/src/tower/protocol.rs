//! What a layer must know about the requests and answers that pass through it.

use std::sync::Arc;

use seawall_policy::Idempotency;

use crate::fault::Meaning;

/// Reads requests and answers.
pub trait Protocol<Req, Res, E> {
    /// What a second delivery of this request does. If the layer was made by an operation, the operation decides
    /// instead.
    fn idempotency(&self, request: &Req) -> Idempotency;

    /// A copy of the request, which is sent if the first attempt fails; `None` if it cannot be copied.
    fn copy(&self, request: &Req) -> Option<Req>;

    /// What the result of an attempt means.
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

/// Requests of any kind that can be cloned and that all have this idempotency. `Ok` took effect. An error may have
/// taken effect.
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
