//! Defines how each reason is shown in HTTP: by a status, an error type of `Proxy-Status`, and a title.

use http::StatusCode;
use seawall_policy::Reason;

/// Returns the HTTP status of a reason.
pub(crate) fn status(reason: Reason) -> StatusCode {
    StatusCode::from_u16(in_http(reason).0).expect("the table has statuses only")
}

const UNAVAILABLE: &str = "seawall; error=destination_unavailable";
const LIMIT_REACHED: &str = "seawall; error=connection_limit_reached";
const NO_RESPONSE: &str = "seawall; error=http_response_timeout";
const REQUEST_ERROR: &str = "seawall; error=http_request_error";
const INTERNAL_ERROR: &str = "seawall; error=proxy_internal_error";

/// Returns the HTTP status, the value of `Proxy-Status` and the title of a reason. The value of `Proxy-Status` names an
/// error type of RFC 9209, section 2.3: the one whose meaning is closest to the reason.
pub(super) fn in_http(reason: Reason) -> (u16, &'static str, &'static str) {
    match reason {
        Reason::BreakerOpen => (503, UNAVAILABLE, "the circuit breaker is open"),
        Reason::ConcurrencyLimit => (503, LIMIT_REACHED, "the concurrency limit is reached"),
        Reason::QueueFull => (503, LIMIT_REACHED, "the queue is full"),
        Reason::QueueTimeout => (503, LIMIT_REACHED, "waited in the queue for as long as allowed"),
        Reason::CoolingDown => (503, UNAVAILABLE, "the provider asked to come back later"),
        Reason::NoTimeLeft => (504, NO_RESPONSE, "no time left for an attempt"),
        Reason::DnsFailure => (502, "seawall; error=dns_error", "the name was not resolved"),
        Reason::ConnectRefused => (502, "seawall; error=connection_refused", "the connection was refused"),
        Reason::TlsFailure => (502, "seawall; error=tls_protocol_error", "TLS failed"),
        Reason::ConnectTimeout => (504, "seawall; error=connection_timeout", "no connection in time"),
        Reason::OutOfDescriptors => (503, INTERNAL_ERROR, "no file descriptor is left"),
        Reason::ReadTimeout => {
            (504, "seawall; error=connection_read_timeout", "no answer within the read timeout")
        }
        Reason::TotalTimeout => (504, NO_RESPONSE, "no answer within the deadline"),
        Reason::ConnectionLost => (502, "seawall; error=connection_terminated", "the connection was lost"),
        Reason::BadAnswer => (502, "seawall; error=http_protocol_error", "the answer is not HTTP"),
        Reason::UnknownDependency => (404, "seawall; error=destination_not_found", "no such dependency"),
        Reason::BadRequest => (400, REQUEST_ERROR, "the request is malformed"),
        Reason::BodyTooLarge => (413, REQUEST_ERROR, "the request body is too large"),
        Reason::CallerStalled => (408, REQUEST_ERROR, "the caller's body did not come in time"),
        Reason::CallerRefused => (403, "seawall; error=http_request_denied", "this caller may not call here"),
        // Only programs that use the library see this reason, since a gateway has no connection to its callers'
        // databases.
        Reason::ConnectionHeld => (500, INTERNAL_ERROR, "a database connection is held"),
        Reason::LedgerUnavailable => (503, INTERNAL_ERROR, "the ledger cannot be written"),
        Reason::OutcomeNotRecorded => (504, INTERNAL_ERROR, "the outcome could not be recorded in time"),
        Reason::KeyConflict => (422, REQUEST_ERROR, "the idempotency key belongs to another request"),
        Reason::InProgress => (409, REQUEST_ERROR, "the same key is being worked on"),
        Reason::AnswerNotKept => (409, INTERNAL_ERROR, "no answer of the provider is kept for this key"),
        Reason::Cancelled => (409, REQUEST_ERROR, "the action of this key was cancelled"),
        Reason::NotFound => (404, REQUEST_ERROR, "no such action"),
        Reason::TooLate => (409, REQUEST_ERROR, "the action is being cancelled, or was cancelled"),
        Reason::NotKnown => (409, REQUEST_ERROR, "the effect of the action is not known yet"),
        Reason::Failed => (409, REQUEST_ERROR, "the action did not take effect"),
        Reason::Settled => (409, REQUEST_ERROR, "the action is settled"),
        Reason::Draining => (503, UNAVAILABLE, "the gateway is shutting down"),
        _ => (502, INTERNAL_ERROR, "the call failed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_title() {
        let titles: std::collections::HashSet<_> = Reason::ALL.iter().map(|r| in_http(*r).2).collect();
        assert_eq!(titles.len(), Reason::ALL.len());
    }
}
