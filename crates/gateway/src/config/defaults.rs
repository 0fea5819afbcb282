//! What holds where the file is silent, and why.
//!
//! The values of timeouts, back-off and budget are argued where their types are (`seawall_policy`); those of the
//! guards stand and fall with the simulations that chose them. Here are the rest.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use seawall_client::AnswerLimits;

use super::settings::{Breaker, Concurrency, Dns, GuardKey, HttpVersion, Limits, Pool, Retry, Window};

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

/// Two attempts: the second gets nearly all that repeats can get, and each further one multiplies the load on
/// whoever is failing. Bodies up to 64 KiB are kept for a repeat: most calls of APIs are smaller, and a thousand
/// such calls in flight hold 64 MiB.
pub const RETRY_ATTEMPTS: u32 = 2;
/// See [`RETRY_ATTEMPTS`].
pub const RETRY_BUFFER: u64 = 64 << 10;

/// The retry settings, joined.
#[must_use]
pub fn retry() -> Retry {
    Retry {
        enabled: true,
        attempts: RETRY_ATTEMPTS,
        backoff: seawall_policy::Backoff::default(),
        after_max: seawall_policy::CoolingSettings::default().after_max,
        buffer: RETRY_BUFFER,
    }
}

/// A partner has tens of shards and hundreds of tenants; a thousand breakers take about a megabyte. Whoever calls chooses
/// the values, so there must be some bound.
pub const KEYS: u32 = 1024;

/// A thousand at once, falling while most attempts end in timeouts or overload answers. No queue: what waits here
/// waits in vain while the other side is slow, and hides it from the caller.
#[must_use]
pub fn concurrency() -> Concurrency {
    Concurrency {
        enabled: true,
        max: 1000,
        adaptive: true,
        queue: 0,
        queue_wait: Duration::ZERO,
        key: GuardKey::Endpoint,
        max_keys: KEYS,
    }
}

/// Half of at least twenty calls in five seconds. Fewer calls say too little, a longer window keeps old failures.
/// Three seconds of rest: longer ones made recovery slower and prevented nothing. Three probes: one may be luck.
#[must_use]
pub fn breaker() -> Breaker {
    Breaker {
        enabled: true,
        failure_rate_ppm: 500_000,
        min_calls: 20,
        window: Window::Time(Duration::from_secs(5)),
        open_for: Duration::from_secs(3),
        probes: 3,
        slow_call: None,
        consecutive: None,
        open_max: None,
        ramp: None,
        key: GuardKey::Endpoint,
        max_keys: KEYS,
    }
}

/// The pool of connections.
pub const POOL: Pool = Pool {
    // Servers that close after an answer do so within a few milliseconds; a request that must not be doubled waits
    // out that moment or takes a fresh connection.
    settle: Duration::from_millis(20),
    // Below the 60 s to 75 s after which common servers close; theirs is learned where it is shorter.
    idle: Duration::from_secs(60),
    max_idle: 64,
    // An hour: a name that moved is noticed by then even under constant traffic.
    max_age: Duration::from_secs(3600),
};

/// 256 KiB and 100 fields, argued where the type is: an answer that is refused is an outcome that is lost, so the bound
/// is wide.
#[must_use]
pub fn answer() -> AnswerLimits {
    AnswerLimits::default()
}

/// Names are looked up again every 30 s, a common time to live of cloud load balancers. A lookup that fails keeps
/// the last good answer for an hour: resolvers fail more often than addresses move.
pub const DNS: Dns = Dns { refresh: Duration::from_secs(30), stale: Duration::from_secs(3600) };

/// ALPN decides over TLS; without TLS it is HTTP/1.1.
pub const HTTP: HttpVersion = HttpVersion::Auto;

/// The ledger of a gateway that names none: a file beside it.
pub const LEDGER_URL: &str = "sqlite:seawall.db";
