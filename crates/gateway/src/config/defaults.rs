//! Default values of settings, each with the reason for it.
//!
//! The settings of policies and connections have their defaults beside their types, in `seawall_policy` and
//! `seawall_client`. All other defaults are here.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::settings::Limits;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The address that applications call. It is on loopback, because the gateway adds credentials to the calls: other
/// machines must not reach it unless the operator says so.
pub const LISTEN: SocketAddr = SocketAddr::new(LOOPBACK, 8400);
/// The address that people and monitoring use. Its port is not the one for calls, so that a firewall can treat the two
/// differently.
pub const ADMIN: SocketAddr = SocketAddr::new(LOOPBACK, 8401);
/// The number of copies of the gateway that run. Each copy decides about repeats by what it sees itself, so the repeats
/// of many copies add up. A slow failure is repeated if at most a fifth of the last calls failed. With up to 100
/// copies, the first two failures in the breaker's window are repeated even if more calls failed.
///
/// If this number is smaller than the real one, the repeats can become a storm. If it is larger, some repeats are not
/// made.
pub const INSTANCES: u32 = 1;
/// How long accepted work may take to finish after SIGTERM. This is as long as the default total timeout, so that a
/// restart aborts no call.
pub const DRAIN: Duration = Duration::from_secs(30);

/// Limits on what callers send.
pub const LIMITS: Limits = Limits {
    // The cookies and tokens of large sites take less than 16 KiB. The default is twice that.
    header_bytes: 32 << 10,
    // hyper and most servers allow 100 header fields too.
    headers: 100,
    // Bodies are streamed, so a large body costs no memory. A large body costs time, which the total timeout bounds.
    body: None,
    // Each idle connection costs some kilobytes, so 10 000 cost at most about a hundred megabytes.
    connections: 10_000,
    // A head usually comes in one packet. Ten seconds are long for a slow network, and short for a caller that sends
    // slowly on purpose.
    header_time: Duration::from_secs(10),
};

/// The maximum length of the body of a durable request. Requests that move money are short. This is also the default of
/// the ledger itself.
pub const REQUEST_MAX: usize = 1 << 20;
/// The maximum length of an answer's body that is recorded. It equals the maximum length that is read to find out what
/// an answer means. So an answer whose meaning is known can also be recorded.
pub const ANSWER_MAX: usize = 256 << 10;
/// The maximum number of callers that wait for actions at the same time. A waiting caller costs a connection and some
/// kilobytes, and no connection to the database.
pub const WAITERS: usize = 1_000;
/// How long an action waits for an operation that no gateway declares any longer. After that time, the action is left
/// to a person. A deployment that went wrong is usually taken back within a day.
pub const UNDECLARED_AFTER: Duration = Duration::from_secs(86_400);

/// The ledger of a gateway whose configuration names none. It is a file in the gateway's working folder.
pub const LEDGER_URL: &str = "sqlite:seawall.db";
