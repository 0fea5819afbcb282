//! Answers that Seawall makes itself, and the headers that every answer carries.
//!
//! Words and numbers on the wire are the contract's: `seawall-reason`, `-origin`, `-effect`, `-attempts`, `-endpoint`,
//! `-retry-stopped`; the same facts as `application/problem+json` (RFC 9457) and, for proxies and their tools, as
//! `Proxy-Status` (RFC 9209).

use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use seawall_policy::{Effect, Finish, Reason, Stopped};
use serde_json::json;

use crate::request::reply_body::ReplyBody;

pub(crate) const ATTEMPTS: HeaderName = HeaderName::from_static("seawall-attempts");
pub(crate) const ENDPOINT: HeaderName = HeaderName::from_static("seawall-endpoint");
pub(crate) const EFFECT: HeaderName = HeaderName::from_static("seawall-effect");
pub(crate) const REASON: HeaderName = HeaderName::from_static("seawall-reason");
const ORIGIN: HeaderName = HeaderName::from_static("seawall-origin");
const STOPPED: HeaderName = HeaderName::from_static("seawall-retry-stopped");
const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");
const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// What an answer of our own says.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) reason: Reason,
    pub(crate) effect: Effect,
    pub(crate) attempts: u32,
    pub(crate) endpoint: usize,
    /// None before a dependency was found.
    pub(crate) dependency: Option<String>,
    pub(crate) detail: String,
    pub(crate) retry_after: Option<Duration>,
    /// The provider said it first, by 429, and so do we.
    pub(crate) too_many: bool,
    pub(crate) stopped: Option<Stopped>,
}

impl Problem {
    /// Refused before anything was attempted.
    pub(crate) fn refused(reason: Reason, dependency: Option<&str>, detail: impl Into<String>) -> Problem {
        Problem {
            reason,
            effect: Effect::NotApplied,
            attempts: 0,
            endpoint: 0,
            dependency: dependency.map(str::to_owned),
            detail: detail.into(),
            retry_after: None,
            too_many: false,
            stopped: None,
        }
    }

    pub(crate) fn into_response(self) -> Response<ReplyBody> {
        let status = if self.too_many { StatusCode::TOO_MANY_REQUESTS } else { status(self.reason) };
        let (headers, body) = self.tell(status);
        let mut response = Response::new(ReplyBody::own(Bytes::from(body)));
        (*response.status_mut(), *response.headers_mut()) = (status, headers);
        response
    }

    /// The whole message for HTTP/1.1 with this status, behind which the connection ends. `date`: the line that says when.
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

    /// Its headers and its body.
    fn tell(self, status: StatusCode) -> (HeaderMap, String) {
        let mut facts = json!({
            "type": format!("urn:seawall:reason:{}", self.reason),
            "title": title(self.reason),
            "status": status.as_u16(),
            "detail": self.detail,
            "reason": self.reason.as_str(),
            "origin": self.reason.origin().as_str(),
            "effect": self.effect.as_str(),
            "attempts": self.attempts,
            "endpoint": self.endpoint,
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
        headers.insert(PROXY_STATUS, HeaderValue::from_static(proxy_status(self.reason)));
        if let Some(seconds) = retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(wait) = self.retry_after {
            headers.insert(RETRY_AFTER_MS, HeaderValue::from(whole_millis(wait)));
        }
        put_facts(&mut headers, self.effect, self.attempts, self.endpoint, self.stopped);
        (headers, facts.to_string())
    }
}

/// The headers of every answer.
pub(crate) fn put_verdict(headers: &mut HeaderMap, finish: &Finish) {
    put_facts(headers, finish.effect, finish.attempts, finish.endpoint, finish.stopped);
}

fn put_facts(
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

/// A number as a header value; the usual ones without a conversion.
fn small(number: usize) -> HeaderValue {
    const DIGITS: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
    match DIGITS.get(number) {
        Some(digit) => HeaderValue::from_static(digit),
        None => HeaderValue::from(number),
    }
}

/// Seconds for `Retry-After`: rounded up, at least one, so that nobody comes back too early.
fn whole_seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

/// The same in milliseconds, for those who read that.
fn whole_millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// The status of each reason.
#[must_use]
pub(crate) fn status(reason: Reason) -> StatusCode {
    match reason {
        Reason::BreakerOpen
        | Reason::ConcurrencyLimit
        | Reason::QueueFull
        | Reason::QueueTimeout
        | Reason::CoolingDown
        | Reason::OutOfDescriptors
        | Reason::LedgerUnavailable
        | Reason::Draining => StatusCode::SERVICE_UNAVAILABLE,
        Reason::FleetLimit => StatusCode::TOO_MANY_REQUESTS,
        Reason::NoTimeLeft | Reason::ConnectTimeout | Reason::ReadTimeout | Reason::TotalTimeout => {
            StatusCode::GATEWAY_TIMEOUT
        }
        Reason::DnsFailure
        | Reason::ConnectRefused
        | Reason::TlsFailure
        | Reason::ConnectionLost
        | Reason::BadAnswer => StatusCode::BAD_GATEWAY,
        Reason::UnknownDependency => StatusCode::NOT_FOUND,
        Reason::BadRequest => StatusCode::BAD_REQUEST,
        Reason::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Reason::CallerStalled => StatusCode::REQUEST_TIMEOUT,
        Reason::CallerRefused => StatusCode::FORBIDDEN,
        // Of programs that use the library; a gateway holds no connection of its callers' databases.
        Reason::ConnectionHeld => StatusCode::INTERNAL_SERVER_ERROR,
        Reason::KeyConflict => StatusCode::UNPROCESSABLE_ENTITY,
        Reason::InProgress => StatusCode::CONFLICT,
        _ => StatusCode::BAD_GATEWAY,
    }
}

fn title(reason: Reason) -> &'static str {
    match reason {
        Reason::BreakerOpen => "the circuit breaker is open",
        Reason::ConcurrencyLimit => "the concurrency limit is reached",
        Reason::QueueFull => "the queue is full",
        Reason::QueueTimeout => "waited in the queue for as long as allowed",
        Reason::CoolingDown => "the provider asked to come back later",
        Reason::FleetLimit => "the limit of all instances is reached",
        Reason::NoTimeLeft => "no time left for an attempt",
        Reason::DnsFailure => "the name was not resolved",
        Reason::ConnectRefused => "the connection was refused",
        Reason::TlsFailure => "TLS failed",
        Reason::ConnectTimeout => "no connection in time",
        Reason::OutOfDescriptors => "no file descriptor is left",
        Reason::ReadTimeout => "no answer within the read timeout",
        Reason::TotalTimeout => "no answer within the deadline",
        Reason::ConnectionLost => "the connection was lost",
        Reason::BadAnswer => "the answer is not HTTP",
        Reason::UnknownDependency => "no such dependency",
        Reason::BadRequest => "the request is malformed",
        Reason::BodyTooLarge => "the request body is too large",
        Reason::CallerStalled => "the caller's body did not come in time",
        Reason::CallerRefused => "this caller may not call here",
        Reason::ConnectionHeld => "a database connection is held",
        Reason::LedgerUnavailable => "the ledger cannot be written",
        Reason::KeyConflict => "the idempotency key belongs to another request",
        Reason::InProgress => "the same key is being worked on",
        Reason::Draining => "the gateway is shutting down",
        _ => "the call failed",
    }
}

/// The error types of RFC 9209, section 2.3, that come closest.
fn proxy_status(reason: Reason) -> &'static str {
    match reason {
        Reason::BreakerOpen | Reason::CoolingDown | Reason::Draining => {
            "seawall; error=destination_unavailable"
        }
        Reason::ConcurrencyLimit | Reason::QueueFull | Reason::QueueTimeout | Reason::FleetLimit => {
            "seawall; error=connection_limit_reached"
        }
        Reason::NoTimeLeft | Reason::TotalTimeout => "seawall; error=http_response_timeout",
        Reason::DnsFailure => "seawall; error=dns_error",
        Reason::ConnectRefused => "seawall; error=connection_refused",
        Reason::TlsFailure => "seawall; error=tls_protocol_error",
        Reason::ConnectTimeout => "seawall; error=connection_timeout",
        Reason::ReadTimeout => "seawall; error=connection_read_timeout",
        Reason::ConnectionLost => "seawall; error=connection_terminated",
        Reason::BadAnswer => "seawall; error=http_protocol_error",
        Reason::UnknownDependency => "seawall; error=destination_not_found",
        Reason::BadRequest
        | Reason::BodyTooLarge
        | Reason::CallerStalled
        | Reason::KeyConflict
        | Reason::InProgress => "seawall; error=http_request_error",
        Reason::CallerRefused => "seawall; error=http_request_denied",
        Reason::OutOfDescriptors | Reason::LedgerUnavailable => "seawall; error=proxy_internal_error",
        _ => "seawall; error=proxy_internal_error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_never_too_early() {
        assert_eq!(whole_seconds(Duration::from_millis(1)), 1);
        assert_eq!(whole_seconds(Duration::from_millis(2_001)), 3);
        assert_eq!(whole_seconds(Duration::from_secs(2)), 2);
        assert_eq!(whole_seconds(Duration::ZERO), 1);
    }

    #[test]
    fn a_refusal_carries_its_facts_three_times() {
        let mut problem = Problem::refused(Reason::BreakerOpen, Some("payments"), "31 timeouts");
        problem.retry_after = Some(Duration::from_millis(1_200));
        let response = problem.into_response();
        assert_eq!(response.status(), 503);
        for (name, value) in [
            ("seawall-reason", "breaker-open"),
            ("seawall-origin", "seawall"),
            ("seawall-effect", "not-applied"),
            ("seawall-attempts", "0"),
            ("retry-after", "2"),
            ("proxy-status", "seawall; error=destination_unavailable"),
            ("content-type", "application/problem+json"),
        ] {
            assert_eq!(response.headers()[name], value, "{name}");
        }
    }

    #[test]
    fn every_reason_has_its_own_title() {
        let titles: std::collections::HashSet<_> = Reason::ALL.iter().map(|r| title(*r)).collect();
        assert_eq!(titles.len(), Reason::ALL.len());
    }
}
