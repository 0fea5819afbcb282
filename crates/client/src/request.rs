//! A request to a dependency, and the request of each attempt made from it.

use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Version, header};
use seawall_policy::{Keys, Time};

use crate::body::{Outgoing, RequestBody};
use crate::connect::{AbsoluteForm, ConfigError};

/// What is to be sent. Hop-by-hop headers, `Host` and `Content-Length` are not in it: they are made anew.
#[derive(Debug)]
pub struct CallRequest {
    /// The method.
    pub method: Method,
    /// Path and query, as the dependency knows them.
    pub path: PathAndQuery,
    /// Headers, end to end.
    pub headers: HeaderMap,
    /// The body.
    pub body: RequestBody,
    /// So many bytes of a streaming body are kept for a repeat.
    pub keep: usize,
    /// Under which keys its breaker and limit are kept.
    pub keys: Keys,
}

/// What repeats of one request share.
pub(crate) struct Template {
    pub(crate) method: Method,
    pub(crate) path: PathAndQuery,
    pub(crate) headers: HeaderMap,
}

/// How requests to one endpoint are addressed.
#[derive(Debug)]
pub(crate) struct Address {
    scheme: Scheme,
    authority: Authority,
    host: HeaderValue,
    /// A path that goes before every request's; empty for none.
    base: String,
    /// Headers of this endpoint, its credentials among them; they replace the caller's.
    headers: HeaderMap,
}

/// What differs from attempt to attempt.
pub(crate) struct Particulars<'a> {
    pub(crate) version: Version,
    pub(crate) absolute_form: Option<&'a AbsoluteForm>,
    /// The header that tells the remaining time, and the time.
    pub(crate) deadline: Option<(&'a HeaderName, u64)>,
}

impl Address {
    pub(crate) fn new(url: &Uri, headers: HeaderMap) -> Result<Address, ConfigError> {
        let parts = url.clone().into_parts();
        let missing = |what| ConfigError::new("url", what);
        let authority = parts.authority.ok_or_else(|| missing("no host"))?;
        let host = HeaderValue::from_str(authority.as_str())
            .map_err(|_| missing("the host is not a header value"))?;
        let base = parts.path_and_query.as_ref().map_or("", |p| p.path()).trim_end_matches('/').to_owned();
        let scheme = parts.scheme.ok_or_else(|| missing("no scheme"))?;
        Ok(Address { scheme, authority, host, base, headers })
    }

    /// The request of one attempt.
    pub(crate) fn request(
        &self,
        template: &Template,
        body: Outgoing,
        how: &Particulars<'_>,
    ) -> Request<Outgoing> {
        let mut headers = template.headers.clone();
        for name in self.headers.keys() {
            headers.remove(name);
        }
        // What is left of these names is nothing, so that appending, as this does, is replacing.
        headers.extend(self.headers.iter().map(|(name, value)| (name.clone(), value.clone())));
        if let Some((name, millis)) = how.deadline {
            headers.insert(name.clone(), HeaderValue::from(millis));
        }
        let absolute = how.version == Version::HTTP_2 || how.absolute_form.is_some();
        if how.version == Version::HTTP_2 {
            headers.remove(header::HOST);
        } else {
            headers.insert(header::HOST, self.host.clone());
        }
        if let Some(value) = how.absolute_form.and_then(|form| form.proxy_authorization.clone()) {
            headers.insert(header::PROXY_AUTHORIZATION, value);
        }
        let mut request = Request::new(body);
        *request.method_mut() = template.method.clone();
        *request.uri_mut() = self.uri(&template.path, absolute);
        *request.version_mut() = how.version;
        *request.headers_mut() = headers;
        request
    }

    fn uri(&self, path: &PathAndQuery, absolute: bool) -> Uri {
        let path = if self.base.is_empty() { path.clone() } else { self.joined(path) };
        let mut parts = http::uri::Parts::default();
        parts.path_and_query = Some(path);
        if absolute {
            parts.scheme = Some(self.scheme.clone());
            parts.authority = Some(self.authority.clone());
        }
        Uri::from_parts(parts).expect("a path alone, or scheme, authority and path, make a URI")
    }

    fn joined(&self, path: &PathAndQuery) -> PathAndQuery {
        let text = format!("{}{}", self.base, path.as_str());
        PathAndQuery::try_from(text).expect("two valid paths, one behind the other, are a valid path")
    }
}

/// Whole milliseconds that are left before `end_by`.
pub(crate) fn remaining_millis(end_by: Time, now: Time) -> u64 {
    u64::try_from(end_by.since(now).as_millis()).unwrap_or(u64::MAX)
}
