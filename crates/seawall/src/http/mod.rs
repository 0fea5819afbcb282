//! HTTP calls. Seawall itself knows how much of each request was sent.
//!
//! In a call around any other future, the application must say what an error means. In an HTTP call, Seawall counts the
//! bytes that are written to the connection. So when it says that nothing was sent, that is a fact and not a guess.

mod answer;
pub(crate) mod lines;
mod request;
mod whom;

pub use answer::Answer;
pub use request::{Request, Sending};

pub use bytes::Bytes;
pub use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
pub use http_body::Body;
pub use seawall_client::AnswerBody;

use crate::dependency::Dependency;
use crate::operation::Operation;
use whom::Whom;

/// Makes HTTP requests to one dependency. Get one from [`crate::Dependency::http`] or [`crate::Operation::http`].
#[derive(Clone, Debug)]
pub struct Http(pub(crate) Whom);

impl Dependency {
    /// Returns a value that makes HTTP requests to this dependency. The dependency's deadline, breaker, limit and
    /// budget apply to them.
    #[must_use]
    pub fn http(&self) -> Http {
        Http(Whom::Dependency(self.clone()))
    }
}

impl Operation {
    /// Returns a value that makes HTTP requests that belong to this operation.
    #[must_use]
    pub fn http(&self) -> Http {
        Http(Whom::Operation(self.clone()))
    }
}

impl Http {
    /// Begins a request with this method. The path begins with `/`, and may contain a query.
    pub fn request(&self, method: Method, path: &str) -> Request {
        Request::new(self.0.clone(), method, path)
    }

    /// Begins a GET request, which only reads.
    pub fn get(&self, path: &str) -> Request {
        self.request(Method::GET, path)
    }

    /// Begins a HEAD request, which reads only the head of the answer.
    pub fn head(&self, path: &str) -> Request {
        self.request(Method::HEAD, path)
    }

    /// Begins a POST request, which makes the provider do something. An attempt that may have taken effect is not
    /// repeated, unless the request carries a key ([`Request::idempotency_key`]).
    pub fn post(&self, path: &str) -> Request {
        self.request(Method::POST, path)
    }

    /// Begins a PUT request, which stores something at the path. A second delivery changes nothing more, so it may be
    /// repeated.
    pub fn put(&self, path: &str) -> Request {
        self.request(Method::PUT, path)
    }

    /// Begins a PATCH request, which changes something. An attempt that may have taken effect is not repeated, unless
    /// the request carries a key ([`Request::idempotency_key`]).
    pub fn patch(&self, path: &str) -> Request {
        self.request(Method::PATCH, path)
    }

    /// Begins a DELETE request, which removes something. A second delivery changes nothing more, so it may be repeated.
    pub fn delete(&self, path: &str) -> Request {
        self.request(Method::DELETE, path)
    }
}
