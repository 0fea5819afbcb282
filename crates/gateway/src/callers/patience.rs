//! How long a caller may take.

use std::time::Duration;

/// How long a caller may leave a connection idle between two calls.
pub(crate) const IDLE: Duration = Duration::from_secs(120);
/// How long after the call's deadline the caller may still take its answer.
pub(super) const GRACE: Duration = Duration::from_secs(2);
/// The same for a stream of HTTP/2. A late stream is ended at the next look, and there are four looks in a second. So one
/// second is enough to keep the promise of two seconds in all.
pub(super) const LATE: Duration = Duration::from_secs(1);
/// How long a caller may take for each piece of its answer (at most 16 KiB) if the call has no deadline. nginx gives its
/// callers the same time (`send_timeout`). This is also the bound for the bytes that are left when a call is over.
pub(super) const UNREAD: Duration = Duration::from_secs(60);
/// How long an idle connection is kept during a drain, since its caller may just be sending a request.
pub(super) const SETTLE: Duration = Duration::from_millis(300);

/// The bounds that depend on the configuration or on the drain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// How long a head may take, from its first byte to its last.
    pub(crate) head: Duration,
    /// Whether the gateway drains.
    pub(crate) draining: bool,
}
