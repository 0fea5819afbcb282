//! Describes how an operation's request is sent. The headers are recorded with each action, so that a later version of
//! the program sends the same request.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use seawall_policy::{Idempotency, Wrong};

use crate::template::{RequestTemplate, stored_header};

/// The header from which most providers read the idempotency key.
pub(crate) const KEY_HEADER: HeaderName = HeaderName::from_static("idempotency-key");

/// How the request of an operation is sent, and which part of it is recorded.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The template of the request's method and target; `None` if there is no template. It is filled when an action is
    /// recorded. It is also filled when an action is sent whose record holds only a body.
    pub request: Option<RequestTemplate>,
    /// Headers that are recorded with each action and sent with its request.
    pub headers: HeaderMap,
    /// The header in which the action's key is sent; `None` if the key is not sent.
    pub key_header: Option<HeaderName>,
}

impl Sent {
    /// Returns the description of a request with a JSON body. If the operation is keyed, the action's key is sent in
    /// the header `Idempotency-Key`; otherwise the key is not sent.
    #[must_use]
    pub fn new(request: Option<RequestTemplate>, idempotency: Idempotency) -> Sent {
        let json = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Sent {
            request,
            headers: HeaderMap::from_iter([json]),
            key_header: (idempotency == Idempotency::Keyed).then_some(KEY_HEADER),
        }
    }

    /// Sets a header that is recorded with each action and sent with its request.
    ///
    /// # Errors
    /// If `name` is not a valid header name, or if `value` is not ASCII text. Also if the header carries credentials,
    /// because these are never recorded.
    pub fn header(&mut self, name: &str, value: &str) -> Result<(), Wrong> {
        let name = stored_header(name)?;
        let read = HeaderValue::from_str(value).ok().filter(|value| value.to_str().is_ok());
        let value = read.ok_or_else(|| Wrong::new(format!("the value of `{name}` is not ASCII text")))?;
        self.headers.insert(name, value);
        Ok(())
    }

    /// Sets the name of the header in which the action's key is sent.
    ///
    /// # Errors
    /// If `name` is not a valid header name. Also if the header carries credentials, because the endpoint's credentials
    /// would replace the key.
    pub fn key_in(&mut self, name: &str) -> Result<(), Wrong> {
        self.key_header = Some(stored_header(name)?);
        Ok(())
    }
}
