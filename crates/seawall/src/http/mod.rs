//! HTTP calls: they know what was sent.
//!
//! Around any future the closure says what an ending means. Here it is known: bytes are counted below the HTTP library, so
//! "nothing was sent" is proved and never guessed.

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

/// Makes HTTP requests to one dependency. Had by [`crate::Dependency::http`] or [`crate::Operation::http`].
#[derive(Clone, Debug)]
pub struct Http(pub(crate) Whom);

impl Dependency {
    /// Makes HTTP requests, under deadline, breaker, limit and budget.
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
    /// A request with this method. The path begins with `/`, and may carry a query.
    pub fn request(&self, method: Method, path: &str) -> Request {
        Request::new(self.0.clone(), method, path)
    }

    /// Reads.
    pub fn get(&self, path: &str) -> Request {
        self.request(Method::GET, path)
    }

    /// Reads the head alone.
    pub fn head(&self, path: &str) -> Request {
        self.request(Method::HEAD, path)
    }

    /// Does something. Not repeated after a doubt, unless it carries a key ([`Request::idempotency_key`]).
    pub fn post(&self, path: &str) -> Request {
        self.request(Method::POST, path)
    }

    /// Puts something there. Twice is the same as once.
    pub fn put(&self, path: &str) -> Request {
        self.request(Method::PUT, path)
    }

    /// Changes something. Not repeated after a doubt, unless it carries a key.
    pub fn patch(&self, path: &str) -> Request {
        self.request(Method::PATCH, path)
    }

    /// Takes something away. Twice is the same as once.
    pub fn delete(&self, path: &str) -> Request {
        self.request(Method::DELETE, path)
    }
}
