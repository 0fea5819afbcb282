//! A call's request to a dependency, and the message that each attempt makes from it.

use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Version, header};
use seawall_policy::{Keys, Time};
use seawall_wire::field;

use crate::body::{Outgoing, RequestBody};
use crate::connect::{AbsoluteForm, ConfigError};
use crate::upload::Sized;

/// The request of a call. It has no hop-by-hop headers, no `Host` and no `Content-Length`, because each attempt makes
/// these fields anew.
#[derive(Debug)]
pub struct CallRequest {
    /// The method.
    pub method: Method,
    /// The path and the query, without the path of the endpoint's URL.
    pub path: PathAndQuery,
    /// Headers that pass from end to end.
    pub headers: HeaderMap,
    /// A `Via` entry that is sent after those in `headers`; `None` if no entry is added. It is kept outside of the map
    /// `headers`, because one more entry would make the map allocate again.
    pub via: Option<&'static str>,
    /// The body.
    pub body: RequestBody,
    /// The maximum number of bytes of a streaming body that are kept for a repeat. A body that is longer cannot be
    /// repeated.
    pub keep: usize,
    /// The keys under which the call's breaker and limit are kept.
    pub keys: Keys,
}

impl CallRequest {
    /// The default of `keep`, in bytes. Most calls of APIs are smaller than these 64 KiB, and a thousand streaming
    /// bodies in flight keep at most 62.5 MiB.
    pub const KEEP: usize = 64 << 10;
}

/// The health request, which is sent only while a breaker is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthRequest {
    /// GET, HEAD or OPTIONS.
    pub method: Method,
    /// The path and the query.
    pub path: PathAndQuery,
}

/// The parts of a request that all attempts of one call share.
pub(crate) struct Template {
    pub(crate) method: Method,
    pub(crate) path: PathAndQuery,
    pub(crate) headers: HeaderMap,
    pub(crate) via: Option<&'static str>,
}

/// The address of one endpoint, and the headers that are sent to it.
#[derive(Debug)]
pub(crate) struct Address {
    scheme: Scheme,
    authority: Authority,
    host: HeaderValue,
    /// A path that is put before the path of every request; empty if there is none.
    base: String,
    /// Headers that are sent to this endpoint with every request, such as credentials. Each replaces the caller's
    /// header of the same name.
    headers: HeaderMap,
}

/// The name of the header that tells the dependency how much time is left, and this time in milliseconds. With `None`,
/// no such header is sent.
pub(crate) type Deadline<'a> = Option<(&'a HeaderName, u64)>;

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

    /// Writes the head of one attempt's request over HTTP/1.1.
    ///
    /// The fields that say where the message ends are made here from the body that will be sent. The caller's fields of
    /// these names are not passed on.
    pub(crate) fn write(
        &self,
        out: &mut Vec<u8>,
        template: &Template,
        sized: Sized,
        absolute: Option<&AbsoluteForm>,
        deadline: Deadline<'_>,
    ) {
        out.extend_from_slice(template.method.as_str().as_bytes());
        out.push(b' ');
        if absolute.is_some() {
            out.extend_from_slice(self.scheme.as_str().as_bytes());
            out.extend_from_slice(b"://");
            out.extend_from_slice(self.authority.as_str().as_bytes());
        }
        out.extend_from_slice(self.base.as_bytes());
        out.extend_from_slice(template.path.as_str().as_bytes());
        out.extend_from_slice(b" HTTP/1.1\r\n");
        field(out, &header::HOST, &self.host);
        let timed = deadline.map(|(name, _)| name);
        let replaced = |name: &HeaderName| timed == Some(name) || self.headers.keys().any(|own| own == name);
        for (name, value) in &template.headers {
            if !replaced(name) {
                pass(out, name, value);
            }
        }
        if let Some(via) = template.via.filter(|_| !replaced(&header::VIA)) {
            out.extend_from_slice(b"via: ");
            out.extend_from_slice(via.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        for (name, value) in self.headers.iter().filter(|(name, _)| timed != Some(name)) {
            pass(out, name, value);
        }
        if let Some((name, millis)) = deadline {
            field(out, name, &HeaderValue::from(millis));
        }
        if let Some(value) = absolute.and_then(|form| form.proxy_authorization.as_ref()) {
            field(out, &header::PROXY_AUTHORIZATION, value);
        }
        match sized {
            Sized::Nothing => {}
            Sized::Length(length) => seawall_wire::length(out, length),
            Sized::Chunks => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Returns the request of one attempt over HTTP/2. The result is `None` if its path, together with the endpoint's
    /// path, is longer than a URI can be (65534 bytes).
    pub(crate) fn request(
        &self,
        template: &Template,
        body: Outgoing,
        deadline: Deadline<'_>,
    ) -> Option<Request<Outgoing>> {
        let uri = self.uri(&template.path)?;
        let mut headers = template.headers.clone();
        if let Some(via) = template.via {
            headers.append(header::VIA, HeaderValue::from_static(via));
        }
        for name in self.headers.keys() {
            headers.remove(name);
        }
        // `extend` adds fields, and does not replace fields of the same name. Such fields were removed above, so no
        // field appears twice.
        headers.extend(self.headers.iter().map(|(name, value)| (name.clone(), value.clone())));
        if let Some((name, millis)) = deadline {
            headers.insert(name.clone(), HeaderValue::from(millis));
        }
        headers.remove(header::HOST);
        let mut request = Request::new(body);
        *request.method_mut() = template.method.clone();
        *request.uri_mut() = uri;
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = headers;
        Some(request)
    }

    fn uri(&self, path: &PathAndQuery) -> Option<Uri> {
        let path = if self.base.is_empty() { path.clone() } else { self.joined(path)? };
        let mut parts = http::uri::Parts::default();
        parts.path_and_query = Some(path);
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        Uri::from_parts(parts).ok()
    }

    fn joined(&self, path: &PathAndQuery) -> Option<PathAndQuery> {
        PathAndQuery::try_from(format!("{}{}", self.base, path.as_str())).ok()
    }
}

/// Writes one header of the caller or the endpoint. `Host`, `Content-Length`, `Transfer-Encoding` and `Connection` are
/// left out, because other code writes them.
fn pass(out: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
    let made_here = [header::HOST, header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION];
    if made_here.contains(name) {
        return;
    }
    if *name == header::TE {
        // RFC 9110, section 10.1.4: a message with the field `TE` must name it in `Connection`, because the field is
        // meant only for the next receiver.
        out.extend_from_slice(b"connection: te\r\n");
    }
    field(out, name, value);
}

impl Sized {
    /// Returns how the length of this body is declared. POST, PUT and PATCH declare a length of zero if they have no
    /// body, since some servers answer 411 otherwise (RFC 9110, section 8.6).
    pub(crate) fn of(method: &Method, body: &Outgoing) -> Sized {
        match http_body::Body::size_hint(body).exact() {
            None => Sized::Chunks,
            Some(0) if ![Method::POST, Method::PUT, Method::PATCH].contains(method) => Sized::Nothing,
            Some(length) => Sized::Length(length),
        }
    }
}

/// Returns the time until `end_by`, in whole milliseconds.
pub(crate) fn remaining_millis(end_by: Time, now: Time) -> u64 {
    u64::try_from(end_by.since(now).as_millis()).unwrap_or(u64::MAX)
}
