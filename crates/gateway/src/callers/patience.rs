//! How long a caller may take.

use std::time::Duration;

/// How long a caller may leave a connection idle between two calls.
pub(crate) const IDLE: Duration = Duration::from_secs(120);
/// How long after the call's deadline the caller may still take its answer.
pub(super) const GRACE: Duration = Duration::from_secs(2);
/// The same for a stream of HTTP/2. The next look, of four in a second, ends a late stream; two seconds in all are promised.
pub(super) const LATE: Duration = Duration::from_secs(1);
/// How long a caller may take for each piece of its answer, of at most 16 KiB, where a call has no deadline. nginx gives its
/// callers the same (`send_timeout`). It also bounds how long the bytes that are left when a call is over may take.
pub(super) const UNREAD: Duration = Duration::from_secs(60);
/// How long an idle connection is kept while draining, since its caller may just be writing a request.
pub(super) const SETTLE: Duration = Duration::from_millis(300);

/// The bounds that are not the same for every connection at all times.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// How long a head may take, from its first byte to its last.
    pub(crate) head: Duration,
    /// Whether the gateway drains.
    pub(crate) draining: bool,
}
