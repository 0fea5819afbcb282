//! reqwest's client as the service below.

use reqwest::{Error, Request, Response};
use seawall_policy::Idempotency;

use super::Protocol;
use super::http::{of_head, of_request};
use crate::fault::Meaning;

/// reqwest's client: the method says what a second delivery does, the status what an answer means. Only an error of
/// connecting proves that nothing was sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reqwest {
    keys: bool,
}

impl Reqwest {
    /// Reads requests by their methods.
    #[must_use]
    pub fn new() -> Reqwest {
        Reqwest::default()
    }

    /// The other side honours `Idempotency-Key`: a POST or PATCH that carries one may be repeated after a doubt.
    #[must_use]
    pub fn keys(mut self) -> Reqwest {
        self.keys = true;
        self
    }

    /// What an ending means; also for [`crate::Call::classify`].
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
