//! A request to a dependency, and the request of each attempt made from it.

use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Version, header};
use seawall_policy::{Keys, Time};
use seawall_wire::field;

use crate::body::{Outgoing, RequestBody};
use crate::connect::{AbsoluteForm, ConfigError};
use crate::upload::Sized;

/// What is to be sent. Hop-by-hop headers, `Host` and `Content-Length` are not in it: they are made anew.
#[derive(Debug)]
pub struct CallRequest {
    /// The method.
    pub method: Method,
    /// Path and query, as the dependency knows them.
    pub path: PathAndQuery,
    /// Headers, end to end.
    pub headers: HeaderMap,
    /// An entry of `Via` that goes out behind those in `headers`. Beside them, since a map of headers that was made for the
    /// caller's would grow for one more.
    pub via: Option<&'static str>,
    /// The body.
    pub body: RequestBody,
    /// How many bytes of a streaming body are kept for a repeat.
    pub keep: usize,
    /// Under which keys its breaker and limit are kept.
    pub keys: Keys,
}

impl CallRequest {
    /// How many bytes of a body are kept where nobody says otherwise. Most calls of APIs are smaller than these 64 KiB, and a
    /// thousand such calls in flight hold 64 MiB.
    pub const KEEP: usize = 64 << 10;
}

/// What is asked while a breaker is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthRequest {
    /// GET, HEAD or OPTIONS.
    pub method: Method,
    /// Path and query.
    pub path: PathAndQuery,
}

/// What repeats of one request share.
pub(crate) struct Template {
    pub(crate) method: Method,
    pub(crate) path: PathAndQuery,
    pub(crate) headers: HeaderMap,
    pub(crate) via: Option<&'static str>,
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

/// The header that tells the remaining time, and the time in milliseconds.
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
    /// The fields that say where the message ends are made here, from what will be sent, and never passed on.
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

    /// The request of one attempt over HTTP/2; none where its path, with the endpoint's before it, is longer than a URI can
    /// be (65534 bytes).
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
        // What is left of these names is nothing, so that appending, as this does, is replacing.
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

/// Writes a field that passes from end to end; those of the message's framing and of one hop are written by their makers.
fn pass(out: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
    let made_here = [header::HOST, header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION];
    if made_here.contains(name) {
        return;
    }
    if *name == header::TE {
        // RFC 9110, section 10.1.4: it is meant for the next hop alone.
        out.extend_from_slice(b"connection: te\r\n");
    }
    field(out, name, value);
}

impl Sized {
    /// How the length of this body is told. A method that usually has a body says so where it has none: some servers answer
    /// 411 otherwise (RFC 9110, section 8.6).
    pub(crate) fn of(method: &Method, body: &Outgoing) -> Sized {
        match http_body::Body::size_hint(body).exact() {
            None => Sized::Chunks,
            Some(0) if ![Method::POST, Method::PUT, Method::PATCH].contains(method) => Sized::Nothing,
            Some(length) => Sized::Length(length),
        }
    }
}

/// Whole milliseconds that are left before `end_by`.
pub(crate) fn remaining_millis(end_by: Time, now: Time) -> u64 {
    u64::try_from(end_by.since(now).as_millis()).unwrap_or(u64::MAX)
}
