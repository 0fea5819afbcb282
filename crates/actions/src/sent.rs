//! What is recorded of an operation, so that tomorrow it is sent as it is sent today.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use seawall_policy::{Idempotency, Wrong};

use crate::template::{RequestTemplate, stored_header};

/// The header from which most providers read the key.
pub(crate) const KEY_HEADER: HeaderName = HeaderName::from_static("idempotency-key");

/// How an operation goes out.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The target, where that is not recorded with each action.
    pub request: Option<RequestTemplate>,
    /// Headers that go out with it and are recorded.
    pub headers: HeaderMap,
    /// The header that carries the action's key.
    pub key_header: Option<HeaderName>,
}

impl Sent {
    /// A JSON body, and the key in `Idempotency-Key` if the operation is keyed.
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
    /// The header carries credentials, which are never recorded; or it is not a header, or not ASCII text.
    pub fn header(&mut self, name: &str, value: &str) -> Result<(), Wrong> {
        let name = stored_header(name)?;
        let read = HeaderValue::from_str(value).ok().filter(|value| value.to_str().is_ok());
        let value = read.ok_or_else(|| Wrong::new(format!("the value of `{name}` is not ASCII text")))?;
        self.headers.insert(name, value);
        Ok(())
    }

    /// The key goes out in this header.
    ///
    /// # Errors
    /// It is not a header, or one that carries credentials: those of the endpoint would take the place of the key.
    pub fn key_in(&mut self, name: &str) -> Result<(), Wrong> {
        self.key_header = Some(stored_header(name)?);
        Ok(())
    }
}
