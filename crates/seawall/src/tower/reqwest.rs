//! The protocol of the layer for reqwest's client.

use reqwest::{Error, Request, Response};
use seawall_policy::Idempotency;

use super::Protocol;
use super::http::{of_head, of_request};
use crate::fault::Meaning;

/// The protocol of reqwest's client. The request's method says what a second delivery does, and the status says what an
/// answer means. An error proves that nothing was sent only if the connection or the request itself could not be made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reqwest {
    keys: bool,
}

impl Reqwest {
    /// Makes the protocol for a server that does not honour the header `Idempotency-Key`.
    #[must_use]
    pub fn new() -> Reqwest {
        Reqwest::default()
    }

    /// Says that the server honours the header `Idempotency-Key`. Then a POST or PATCH with this header is repeated
    /// even if an attempt may have taken effect.
    #[must_use]
    pub fn keys(mut self) -> Reqwest {
        self.keys = true;
        self
    }

    /// Returns what the result of a request means. This function can also be used in [`crate::Call::classify`].
    pub fn read(result: &Result<Response, Error>) -> Meaning {
        match result {
            Ok(answer) => of_head(answer.status().as_u16(), answer.headers()),
            Err(error) if error.is_connect() => Meaning::unconnected(error),
            Err(error) if error.is_builder() => Meaning::not_applied(),
            Err(_) => Meaning::unknown(),
        }
    }
}

impl Protocol<Request, Response, Error> for Reqwest {
    fn idempotency(&self, request: &Request) -> Idempotency {
        of_request(request.method(), request.headers(), self.keys)
    }

    fn copy(&self, request: &Request) -> Option<Request> {
        request.try_clone()
    }

    fn meaning(&self, result: &Result<Response, Error>) -> Meaning {
        Reqwest::read(result)
    }
}
