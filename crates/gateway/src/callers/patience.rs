//! How long a caller may take for what.

use std::time::Duration;

/// How long a caller may leave a connection idle between two calls.
pub(crate) const IDLE: Duration = Duration::from_secs(120);
/// How long a call's answer may be on its way after the call's deadline.
pub(super) const GRACE: Duration = Duration::from_secs(2);
/// The same for a stream of HTTP/2. A late stream is ended by the next look, four times a second; two seconds in all are promised.
pub(super) const LATE: Duration = Duration::from_secs(1);
/// How long a caller may take for each piece of its answer, at most 16 KiB, where a call has no deadline: as long as nginx gives
/// it (`send_timeout`). It also bounds what is still to be written when the call is over.
pub(super) const UNREAD: Duration = Duration::from_secs(60);
/// How long an idle connection is given, while draining, to send what its caller may just be writing.
pub(super) const SETTLE: Duration = Duration::from_millis(300);

/// What is not the same for every connection at all times.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// How long a head may take, from its first byte to its last.
    pub(crate) head: Duration,
    /// Whether the gateway drains.
    pub(crate) draining: bool,
}
