//! What each reason is in HTTP: a status, a title, and an error type of `Proxy-Status`.

use http::StatusCode;
use seawall_policy::Reason;

/// The status of each reason.
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

/// The title of each reason.
pub(super) fn title(reason: Reason) -> &'static str {
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
pub(super) fn proxy_status(reason: Reason) -> &'static str {
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
    fn every_reason_has_its_own_title() {
        let titles: std::collections::HashSet<_> = Reason::ALL.iter().map(|r| title(*r)).collect();
        assert_eq!(titles.len(), Reason::ALL.len());
    }
}
