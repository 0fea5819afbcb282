//! HTTP calls, for which Seawall itself knows what was sent.
//!
//! Around any future, the closure must say what an ending means. Here Seawall knows it: bytes are counted below the
//! HTTP library, so "nothing was sent" is always proved and never guessed.

mod answer;
pub(crate) mod lines;
mod request;
mod whom;

pub use answer::Answer;
pub use request::{Request, Sending};

use http::Method;

use crate::dependency::Dependency;
use crate::operation::Operation;
use whom::Whom;

/// Makes HTTP requests to one dependency. Get one from [`crate::Dependency::http`] or [`crate::Operation::http`].
#[derive(Clone, Debug)]
pub struct Http(pub(crate) Whom);

impl Dependency {
    /// A value that makes HTTP requests, under deadline, breaker, limit and budget.
    #[must_use]
    pub fn http(&self) -> Http {
        Http(Whom::Dependency(self.clone()))
    }
}

impl Operation {
    /// Makes HTTP requests of this operation.
    #[must_use]
    pub fn http(&self) -> Http {
        Http(Whom::Operation(self.clone()))
    }
}

impl Http {
    /// A request with this method. The path begins with `/`, and may contain a query.
    pub fn request(&self, method: Method, path: &str) -> Request {
        Request::new(self.0.clone(), method, path)
    }

    /// A GET request, which reads.
    pub fn get(&self, path: &str) -> Request {
        self.request(Method::GET, path)
    }

    /// A HEAD request, which reads only the head.
    pub fn head(&self, path: &str) -> Request {
        self.request(Method::HEAD, path)
    }

    /// A POST request: makes the provider do something. If an attempt may have taken effect, it is not repeated, unless
    /// the request carries a key ([`Request::idempotency_key`]).
    pub fn post(&self, path: &str) -> Request {
        self.request(Method::POST, path)
    }

    /// A PUT request: puts something at the path. A second delivery changes nothing more.
    pub fn put(&self, path: &str) -> Request {
        self.request(Method::PUT, path)
    }

    /// A PATCH request: changes something. If an attempt may have taken effect, it is not repeated, unless the request
    /// carries a key.
    pub fn patch(&self, path: &str) -> Request {
        self.request(Method::PATCH, path)
    }

    /// A DELETE request: removes something. A second delivery changes nothing more.
    pub fn delete(&self, path: &str) -> Request {
        self.request(Method::DELETE, path)
    }
}
