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
