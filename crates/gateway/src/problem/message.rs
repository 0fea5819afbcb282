//! Makes headers and a body from a problem, in the form in which its caller gets them.
//!
//! The words and numbers that are sent are part of the contract. They are sent as the headers `seawall-reason`,
//! `-origin`, `-effect`, `-attempts`, `-endpoint` and `-retry-stopped`, in the body as `application/problem+json` (RFC
//! 9457), and, for proxies and their tools, as `Proxy-Status` (RFC 9209).
//!
//! The body also has a member `error` with `type`, `code` and `message`. Client libraries of payment APIs and of
//! language model APIs look for exactly this member, whatever the status is. The library of Stripe for Node returns a
//! 502 without `error` as a success.

use std::time::Duration;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use seawall_policy::{Effect, Origin, Reason, Stopped};
use serde_json::{Value, json};

use super::reasons::in_http;
use super::{Problem, Where};

pub(crate) const ATTEMPTS: HeaderName = HeaderName::from_static("seawall-attempts");
pub(crate) const ENDPOINT: HeaderName = HeaderName::from_static("seawall-endpoint");
pub(crate) const EFFECT: HeaderName = HeaderName::from_static("seawall-effect");
pub(crate) const ACTION: HeaderName = HeaderName::from_static("seawall-action");
pub(crate) const REASON: HeaderName = HeaderName::from_static("seawall-reason");
const ORIGIN: HeaderName = HeaderName::from_static("seawall-origin");
const STOPPED: HeaderName = HeaderName::from_static("seawall-retry-stopped");
const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");
const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

impl Problem {
    /// Returns the whole HTTP/1.1 message with this status. The message announces that the connection ends. `date` is
    /// the header line with the date; with `None` the message has no date.
    pub(crate) fn into_message(self, status: StatusCode, date: Option<&str>) -> Vec<u8> {
        let (headers, body) = self.tell(status);
        let mut out = format!("HTTP/1.1 {status}\r\n").into_bytes();
        for (name, value) in &headers {
            out.extend_from_slice(name.as_str().as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        let date = date.map(|date| format!("{date}\r\n")).unwrap_or_default();
        let rest = format!("{date}connection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        out.extend_from_slice(rest.as_bytes());
        out
    }

    /// Returns the headers and the body that describe the problem.
    pub(crate) fn tell(self, status: StatusCode) -> (HeaderMap, String) {
        let (headers, facts) = self.facts(status);
        (headers, facts.to_string())
    }

    /// Returns the headers that describe the problem, and the body as a JSON value.
    pub(crate) fn facts(self, status: StatusCode) -> (HeaderMap, Value) {
        let (_, proxy_status, title) = in_http(self.reason);
        let mut facts = json!({
            "type": format!("urn:seawall:reason:{}", self.reason),
            "title": title,
            "status": status.as_u16(),
            "detail": self.detail,
            "reason": self.reason.as_str(),
            "origin": self.reason.origin().as_str(),
            "effect": self.effect.as_str(),
            "attempts": self.attempts,
            "endpoint": self.endpoint,
            "error": {
                "type": error_type(self.reason),
                "code": self.reason.as_str(),
                "message": if self.detail.is_empty() { title.to_owned() } else { format!("{title}: {}", self.detail) },
            },
        });
        if let Some(dependency) = self.dependency {
            facts["dependency"] = dependency.into();
        }
        if let Some(stopped) = self.stopped {
            facts["retry_stopped"] = stopped.as_str().into();
        }
        let retry_after = self.retry_after.map(whole_seconds);
        if let Some(seconds) = retry_after {
            facts["retry_after"] = seconds.into();
        }
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(REASON, HeaderValue::from_static(self.reason.as_str()));
        headers.insert(ORIGIN, HeaderValue::from_static(self.reason.origin().as_str()));
        headers.insert(PROXY_STATUS, HeaderValue::from_static(proxy_status));
        if let Some(seconds) = retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(wait) = self.retry_after {
            headers.insert(RETRY_AFTER_MS, HeaderValue::from(whole_millis(wait)));
        }
        if let Some(found_at) = &self.found_at {
            if let Where::Id(id) | Where::Ended(id) = &**found_at {
                facts["action"] = id.as_str().into();
                headers.extend(HeaderValue::from_str(id).ok().map(|id| (ACTION, id)));
            }
            if let Some(location) = found_at.path() {
                headers.extend(HeaderValue::from_str(&location).ok().map(|location| (LOCATION, location)));
                facts["location"] = location.into();
            }
        }
        put_facts(&mut headers, self.effect, self.attempts, self.endpoint, self.stopped);
        (headers, facts)
    }
}

/// Returns the kind of error by which client libraries choose the class of their exception.
fn error_type(reason: Reason) -> &'static str {
    match (reason, reason.origin()) {
        (Reason::KeyConflict, _) => "idempotency_error",
        (_, Origin::Caller) => "invalid_request_error",
        (_, Origin::Seawall | Origin::Dependency) => "api_error",
    }
}

impl Where {
    /// Returns the path and the query at which a caller can ask the gateway about this action; `None` if the caller has
    /// no reason to ask.
    fn path(&self) -> Option<String> {
        let escaped = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        match self {
            Where::Id(id) => Some(format!("/-/actions/{id}")),
            Where::Ended(_) => None,
            Where::Key { dependency, key } => {
                Some(format!("/-/actions?dependency={}&key={}", escaped(dependency), escaped(key)))
            }
        }
    }
}

/// Sets the headers that every answer has, such as `seawall-effect`.
pub(crate) fn put_facts(
    headers: &mut HeaderMap,
    effect: Effect,
    attempts: u32,
    endpoint: usize,
    stopped: Option<Stopped>,
) {
    headers.insert(ATTEMPTS, small(attempts as usize));
    headers.insert(ENDPOINT, small(endpoint));
    headers.insert(EFFECT, HeaderValue::from_static(effect.as_str()));
    if let Some(stopped) = stopped {
        headers.insert(STOPPED, HeaderValue::from_static(stopped.as_str()));
    }
}

/// Returns a number as a header value. Numbers below ten, which are the usual ones, need no conversion.
fn small(number: usize) -> HeaderValue {
    const DIGITS: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
    match DIGITS.get(number) {
        Some(digit) => HeaderValue::from_static(digit),
        None => HeaderValue::from(number),
    }
}

/// Returns the seconds for `Retry-After`. They are rounded up and at least one, so that no caller comes back too early.
fn whole_seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

/// Returns the time for `retry-after-ms`, in milliseconds, rounded up.
fn whole_millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_libraries_find_an_error() {
        let told =
            |reason| Problem::refused(reason, None, "why").facts(StatusCode::BAD_GATEWAY).1["error"].clone();
        let message = in_http(Reason::ConnectionLost).2;
        assert_eq!(
            told(Reason::ConnectionLost),
            json!({ "type": "api_error", "code": "connection-lost", "message": format!("{message}: why") })
        );
        assert_eq!(told(Reason::BadRequest)["type"], "invalid_request_error");
        assert_eq!(told(Reason::KeyConflict)["type"], "idempotency_error");
    }

    #[test]
    fn retry_after_is_never_too_early() {
        assert_eq!(whole_seconds(Duration::from_millis(1)), 1);
        assert_eq!(whole_seconds(Duration::from_millis(2_001)), 3);
        assert_eq!(whole_seconds(Duration::from_secs(2)), 2);
        assert_eq!(whole_seconds(Duration::ZERO), 1);
    }
}
