//! Describes how an operation's request is recorded, so that it is later sent as it would be sent today.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use seawall_policy::{Idempotency, Wrong};

use crate::template::{RequestTemplate, stored_header};

/// The header from which most providers read the idempotency key.
pub(crate) const KEY_HEADER: HeaderName = HeaderName::from_static("idempotency-key");

/// How the request of an operation is sent, and which part of it is recorded.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The template of the method and target, for actions whose record holds only a body. `None` if there is no
    /// template.
    pub request: Option<RequestTemplate>,
    /// Headers that are recorded with each action and sent with its request.
    pub headers: HeaderMap,
    /// The header in which the action's key is sent; `None` if the key is not sent.
    pub key_header: Option<HeaderName>,
}

impl Sent {
    /// Returns how a JSON body is sent. If the operation is keyed, the key is sent in the header `Idempotency-Key`.
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
    /// If `name` is not a valid header name, if the header carries credentials, which are never recorded, or if `value`
    /// is not ASCII text.
    pub fn header(&mut self, name: &str, value: &str) -> Result<(), Wrong> {
        let name = stored_header(name)?;
        let read = HeaderValue::from_str(value).ok().filter(|value| value.to_str().is_ok());
        let value = read.ok_or_else(|| Wrong::new(format!("the value of `{name}` is not ASCII text")))?;
        self.headers.insert(name, value);
        Ok(())
    }

    /// Sends the action's key in this header.
    ///
    /// # Errors
    /// If `name` is not a valid header name, or if the header carries credentials, because the endpoint's credentials
    /// would replace the key.
    pub fn key_in(&mut self, name: &str) -> Result<(), Wrong> {
        self.key_header = Some(stored_header(name)?);
        Ok(())
    }
}
