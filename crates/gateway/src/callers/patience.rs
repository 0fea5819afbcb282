//! How long a caller may take for what.

use std::time::Duration;

/// Callers may leave a connection idle for so long.
pub(crate) const IDLE: Duration = Duration::from_secs(120);
/// A call's answer may be on its way for so long after its deadline.
const GRACE: Duration = Duration::from_secs(2);
/// The same for a stream of HTTP/2, which a look four times a second ends: two seconds in all are promised.
const LATE: Duration = Duration::from_secs(1);
/// Where a call has no deadline, a caller may take so long for each piece of its answer, at most 16 KiB: as long as nginx gives
/// it (`send_timeout`). It also bounds what is still to be written when the call is over.
const UNREAD: Duration = Duration::from_secs(60);
/// While draining, an idle connection is given so long to send what its caller may just be writing.
pub(crate) const SETTLE: Duration = Duration::from_millis(300);

/// How long a connection may take for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// From a head's first byte to its last.
    pub(crate) head: Duration,
    /// Beyond the deadline of a call.
    pub(crate) grace: Duration,
    /// The same for a stream.
    pub(crate) late: Duration,
    /// For taking a piece of an answer.
    pub(crate) unread: Duration,
    /// Between two calls.
    pub(crate) idle: Duration,
    /// Between two calls, while draining.
    pub(crate) settle: Duration,
    pub(crate) draining: bool,
}

impl Patience {
    /// With this time for a head.
    pub(crate) fn new(head: Duration, draining: bool) -> Patience {
        Patience { head, grace: GRACE, late: LATE, unread: UNREAD, idle: IDLE, settle: SETTLE, draining }
    }
}
