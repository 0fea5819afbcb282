//! Decides what the end of an exchange proves about the request.
//!
//! On HTTP/1.1, our own code reads and writes the connection, so it knows how the connection broke.
//!
//! On HTTP/2, hyper gives a request back only if the request was not sent. If hyper gives no request back, that proves
//! nothing. A server can say in two ways that it did not process a stream: it refuses the stream, or its GOAWAY names
//! an earlier stream as the last one. This counts only if the error came from the server. Our own library makes errors
//! of the same kinds (`is_library`), and these prove nothing.
//!
//! A server that refuses our certificate under TLS 1.3 has not processed the request either, although the request may
//! have been sent: see [`Meter::certificate_refused`].

use std::error::Error;

use seawall_policy::{Ending, Lost, Unsent};

use crate::connect::{ConnectError, ConnectErrorKind, Meter};
use crate::line::Broke;
use crate::watch::Lapse;

/// Returns how an attempt ended that got no connection. Nothing of it was sent.
pub(crate) fn of_connect(error: &ConnectError) -> Ending {
    Ending::Unsent(match error.kind() {
        ConnectErrorKind::Dns => Unsent::Dns,
        ConnectErrorKind::Refused => Unsent::Refused,
        ConnectErrorKind::Timeout => Unsent::ConnectTimeout,
        ConnectErrorKind::Tls => Unsent::Tls,
        ConnectErrorKind::OutOfDescriptors => Unsent::OutOfDescriptors,
    })
}

/// If the server refused our certificate or demanded one, it has processed nothing. The attempt then counts as one
/// whose TLS handshake failed, even if a part of the request was sent, and this ending is returned. Otherwise returns
/// `None`.
pub(crate) fn of_certificate(meter: &Meter) -> Option<Ending> {
    meter.certificate_refused().then_some(Ending::Unsent(Unsent::Tls))
}

/// Returns how an attempt ended if its read timeout or its deadline has passed, and its request may have been sent.
/// `callers_deadline` says whether the deadline was the caller's own.
pub(crate) fn of_lapse(lapse: Lapse, callers_deadline: bool) -> Ending {
    match lapse {
        Lapse::Read => Ending::Lost(Lost::ReadTimeout),
        Lapse::End if callers_deadline => Ending::CallerDeadline,
        Lapse::End => Ending::Lost(Lost::TotalTimeout),
    }
}

/// Returns how an attempt over HTTP/1.1 ended if its exchange broke. A part of the request may have been sent.
pub(crate) fn of_line(broke: &Broke) -> Ending {
    Ending::Lost(match broke {
        Broke::Misread(_) => Lost::BadAnswer,
        Broke::Ended | Broke::Io(_) | Broke::Body(_) => Lost::ConnectionLost,
    })
}

/// Returns how an attempt over HTTP/2 ended if its exchange broke. A part of the request may have been sent.
pub(crate) fn of_stream(error: &(dyn Error + 'static)) -> Ending {
    let Some(h2) = find::<h2::Error>(error) else { return Ending::Lost(Lost::ConnectionLost) };
    let refused = h2.is_reset() && h2.reason() == Some(h2::Reason::REFUSED_STREAM);
    if h2.is_remote() && (refused || h2.is_go_away()) {
        return Ending::Unprocessed;
    }
    let nonsense = h2.is_library() && h2.reason().is_some_and(|reason| reason != h2::Reason::CANCEL);
    Ending::Lost(if nonsense { Lost::BadAnswer } else { Lost::ConnectionLost })
}

/// Returns whether the error is a GOAWAY from the server that says that the server did not process the request.
pub(crate) fn left_out(error: &(dyn Error + 'static)) -> bool {
    find::<h2::Error>(error).is_some_and(|h2| h2.is_remote() && h2.is_go_away())
}

fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        next = error.source();
    }
    None
}
