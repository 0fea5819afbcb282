//! The time limits for callers.

use std::time::Duration;

/// How long a caller may leave a connection idle between two calls.
pub(crate) const IDLE: Duration = Duration::from_secs(120);
/// For how long after a call's deadline the caller may still read the answer, over HTTP/1.
///
/// Over HTTP/2, a connection without open streams is ended when one of these conditions has held for the same time:
///
/// - The connection has been asked to close.
/// - Bytes of an answer still wait because the caller does not read them, and the answer's stream was ended at its
///   deadline.
pub(super) const GRACE: Duration = Duration::from_secs(2);
/// For how long after a call's deadline the caller may still read the answer, over HTTP/2. After that, the stream is
/// ended the next time that the worker looks at it, at most a quarter of a second later. So a stream is ended at most
/// 1.25 seconds after the deadline.
pub(super) const LATE: Duration = Duration::from_secs(1);
/// How long a caller may take for each piece of its answer (at most 16 KiB), whatever deadline the call has. nginx
/// gives its callers the same time (`send_timeout`). After a call is over, the limit holds for the bytes of its answer
/// that still wait to be written.
pub(super) const UNREAD: Duration = Duration::from_secs(60);
/// For how long an idle connection is kept during a drain, since its caller may just be sending a request.
pub(super) const SETTLE: Duration = Duration::from_millis(300);

/// The time limits that depend on the configuration or on the drain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// How long a head may take, from its first byte to its last.
    pub(crate) head: Duration,
    /// Whether the gateway is draining. Idle connections are then closed sooner ([`SETTLE`]).
    pub(crate) draining: bool,
}
