//! What holds where the file is silent, and why.
//!
//! What decides and what sends has its defaults where its types are (`seawall_policy`, `seawall_client`). Here are the rest.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::settings::Limits;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Applications call here. Loopback: the data port adds credentials, so nobody else may reach it unasked.
pub const LISTEN: SocketAddr = SocketAddr::new(LOOPBACK, 8400);
/// People and monitoring look here. Apart from the data port, so that a firewall can tell them apart.
pub const ADMIN: SocketAddr = SocketAddr::new(LOOPBACK, 8401);
/// One copy. A larger number makes each copy repeat more carefully; too small a number is what storms are made of,
/// too large a one only loses some repeats.
pub const INSTANCES: u32 = 1;
/// Accepted work may take this long to finish: the default total timeout, so that no call is cut by a restart.
pub const DRAIN: Duration = Duration::from_secs(30);

/// Limits on what callers send.
pub const LIMITS: Limits = Limits {
    // Cookies and tokens of large sites stay below 16 KiB; twice that is room.
    header_bytes: 32 << 10,
    // What hyper and most servers allow.
    headers: 100,
    // Bodies stream, so a large one costs time, which the total timeout bounds, and no memory.
    body: None,
    // Each idle connection costs some kilobytes: 10 000 are bounded by about a hundred megabytes.
    connections: 10_000,
    // A head comes in one packet. Ten seconds are generous to a slow network and mean to a slow sender.
    header_time: Duration::from_secs(10),
};

/// The ledger of a gateway that names none: a file beside it.
pub const LEDGER_URL: &str = "sqlite:seawall.db";
/// How long a claim on an action holds: longer than the total timeout of every durable operation.
pub const LEASE: Duration = Duration::from_secs(120);
/// Performs of one action before it is `stuck`: the second is the one that helps.
pub const ATTEMPTS_PERFORM: u32 = 5;
/// Cancels of one action: an effect that should not be is chased for longer than one that should.
pub const ATTEMPTS_CANCEL: u32 = 20;
/// Questions about one action: asking is free of effects.
pub const ATTEMPTS_CONFIRM: u32 = 50;
/// How long the network may hold a request back after it was sent.
pub const NETWORK: Duration = Duration::from_secs(5);
/// How long a process may stand still between its last check and its first byte.
pub const PAUSE: Duration = Duration::from_secs(5);
/// An explicit settle is due after this: long enough for a commit, short enough that a customer is not charged for
/// an order that nobody has.
pub const SETTLE_WITHIN: Duration = Duration::from_secs(30);
/// What was provably not sent is tried for this long.
pub const GIVE_UP: Duration = Duration::from_secs(600);
/// After this a "not found" is believed. Well above network, pause, processing and a lagging index together.
pub const QUIET: Duration = Duration::from_secs(120);
/// How long providers commonly remember an idempotency key.
pub const KEY_LIFETIME: Duration = Duration::from_secs(86_400);
/// What was closed because it was absent is asked about once more a day later.
pub const AUDIT_AFTER: Duration = Duration::from_secs(86_400);
/// The first question comes soon after: most answers are lost although the work was done at once.
pub const CONFIRM_AFTER: Duration = Duration::from_secs(2);
/// Reconciliation is daily, in UTC, as most partners' lists are.
pub const RECONCILE_EVERY: Duration = Duration::from_secs(86_400);
/// See [`RECONCILE_EVERY`].
pub const RECONCILE_ZONE: &str = "UTC";
