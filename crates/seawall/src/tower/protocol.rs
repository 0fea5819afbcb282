//! What a layer must know of what passes through it.

use std::sync::Arc;

use seawall_policy::Idempotency;

use crate::fault::Meaning;

/// Reads requests and answers.
pub trait Protocol<Req, Res, E> {
    /// What a second delivery of this request does. Where the layer was made by an operation, that decides.
    fn idempotency(&self, request: &Req) -> Idempotency;

    /// The same request once more, to be sent if the first attempt fails; `None` where it cannot be had.
    fn copy(&self, request: &Req) -> Option<Req>;

    /// What an ending means.
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

/// Requests of any kind that can be cloned, all of one idempotency. `Ok` took effect; of an error nobody knows whether it
/// did.
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
