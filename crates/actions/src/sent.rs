//! What is recorded of an operation, so that it is sent later in the same way as today.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use seawall_policy::{Idempotency, Wrong};

use crate::template::{RequestTemplate, stored_header};

/// The header from which most providers read the key.
pub(crate) const KEY_HEADER: HeaderName = HeaderName::from_static("idempotency-key");

/// How the request of an operation is sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The method and target, if they are not recorded with each action.
    pub request: Option<RequestTemplate>,
    /// Headers that are sent with the request and recorded.
    pub headers: HeaderMap,
    /// The header in which the action's key is sent; `None` if it is not sent.
    pub key_header: Option<HeaderName>,
}

impl Sent {
    /// A JSON body. If the operation is keyed, the key is sent in `Idempotency-Key`.
    #[must_use]
    pub fn new(request: Option<RequestTemplate>, idempotency: Idempotency) -> Sent {
        let json = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Sent {
            request,
            headers: HeaderMap::from_iter([json]),
            key_header: (idempotency == Idempotency::Keyed).then_some(KEY_HEADER),
        }
    }

    /// Adds a header.
    ///
    /// # Errors
    /// `name` is not a valid header name, the header carries credentials, which are never recorded, or `value` is not
    /// ASCII text.
    pub fn header(&mut self, name: &str, value: &str) -> Result<(), Wrong> {
        let name = stored_header(name)?;
        let read = HeaderValue::from_str(value).ok().filter(|value| value.to_str().is_ok());
        let value = read.ok_or_else(|| Wrong::new(format!("the value of `{name}` is not ASCII text")))?;
        self.headers.insert(name, value);
        Ok(())
    }

    /// Sends the key in this header.
    ///
    /// # Errors
    /// If `name` is not a valid header name, or if it carries credentials. The credentials of the endpoint would then
    /// replace the key.
    pub fn key_in(&mut self, name: &str) -> Result<(), Wrong> {
        self.key_header = Some(stored_header(name)?);
        Ok(())
    }
}
