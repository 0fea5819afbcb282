//! The settings in force: resolved, merged, checked. Plain values that can be compared, so that a reload knows what
//! changed. Values of headers are marked sensitive and never appear in `Debug`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, Uri};
use seawall_actions::{Cancel, Confirm};
use seawall_client::connect::{DnsSettings, HttpVersion, TlsSettings};
use seawall_client::{AnswerLimits, CallRequest, PoolSettings};
use seawall_ledger::Rules;
use seawall_policy::{
    Answers, Backoff, BreakerSettings, BudgetSettings, CoolingSettings, GuardSettings, Idempotency,
    LimitSettings, Plan, QueueSettings, Timeouts,
};

use super::action::{Ledger, Reconcile};
use super::pattern::Pattern;

/// A whole file.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// `[gateway]`.
    pub gateway: Gateway,
    /// `[ledger]`; used only where an operation is durable.
    pub ledger: Ledger,
    /// `[dependency.NAME]`, by name.
    pub dependencies: Vec<Dependency>,
}

/// The process itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Gateway {
    /// Where applications call.
    pub listen: SocketAddr,
    /// Where people and monitoring look.
    pub admin: SocketAddr,
    /// Worker threads; `None` is one for each core of the machine.
    pub workers: Option<usize>,
    /// How many copies of this gateway run.
    pub instances: u32,
    /// How long accepted work may take to finish after SIGTERM.
    pub drain: Duration,
    /// Further Host names to answer to, in lower case, without a port.
    pub hosts: Vec<String>,
    /// Who may call; needed off loopback.
    pub clients: Option<Clients>,
    /// A file with the admin token; `None`: one is made at start.
    pub admin_token_file: Option<PathBuf>,
    /// Limits on what callers send.
    pub limits: Limits,
}

/// Who may call. At least one of the two is set.
#[derive(Clone, Debug, PartialEq)]
pub struct Clients {
    /// A file with one token on each line.
    pub tokens_file: Option<PathBuf>,
    /// Certificates of the authorities that client certificates must come from.
    pub ca_file: Option<PathBuf>,
}

/// Limits on what callers send.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Bytes of a request's head.
    pub header_bytes: u64,
    /// Header fields of a request.
    pub headers: usize,
    /// Bytes of a request's body; `None` is no bound.
    pub body: Option<u64>,
    /// Connections at once.
    pub connections: usize,
    /// How long a head may take to arrive.
    pub header_time: Duration,
}

/// A system that the callers do not own.
#[derive(Clone, Debug, PartialEq)]
pub struct Dependency {
    /// The first segment of the path, and the label everywhere.
    pub name: String,
    /// In order of preference; at least one. Headers of the dependency are merged in already.
    pub endpoints: Vec<Endpoint>,
    /// A port of its own, without the prefix.
    pub listen: Option<SocketAddr>,
    /// Asked only while a breaker is open.
    pub health: Option<Health>,
    /// Whether an `Idempotency-Key` makes a POST or PATCH without an operation `keyed`.
    pub keys: bool,
    /// HTTP's version towards it.
    pub http: HttpVersion,
    /// An outgoing proxy.
    pub proxy: Option<Uri>,
    /// The local address of outgoing connections.
    pub bind: Option<IpAddr>,
    /// TLS towards it.
    pub tls: TlsSettings,
    /// The header in which the remaining milliseconds go out.
    pub deadline_header: Option<HeaderName>,
    /// What is possible only on demand.
    pub dangerous: Dangerous,
    /// How repeats are paid for.
    pub budget: BudgetSettings,
    /// Statuses that mean "come back later".
    pub overload: Vec<u16>,
    /// Whether nothing is sent until the time that such an answer names is over.
    pub cooldown: bool,
    /// How many calls at once.
    pub concurrency: Concurrency,
    /// When to stop calling.
    pub breaker: Breaker,
    /// Connections kept.
    pub pool: PoolSettings,
    /// How long the head of an answer may be.
    pub answer: AnswerLimits,
    /// Names looked up.
    pub dns: DnsSettings,
    /// Comparison with the other side's own list.
    pub reconcile: Option<Reconcile>,
    /// For requests that no operation matches; the method decides the idempotency.
    pub fallback: Fallback,
    /// In the order of the file.
    pub operations: Vec<Operation>,
}

/// One place where a dependency is reached.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// Scheme, authority, and perhaps a base path; no query.
    pub url: Uri,
    /// Set on each request, over what the caller sent. The values are marked sensitive.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// The request that asks whether an endpoint is well.
#[derive(Clone, Debug, PartialEq)]
pub struct Health {
    /// GET, HEAD or OPTIONS.
    pub method: Method,
    /// Path and query.
    pub target: String,
}

/// Each of these can double effects. All are off by default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dangerous {
    /// Repeat what is `none` even where nobody knows whether it took effect.
    pub retry_none: bool,
}

/// Repeats.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// Whether there are any.
    pub enabled: bool,
    /// Attempts in all, 1 to 10.
    pub attempts: u32,
    /// The wait between them.
    pub backoff: Backoff,
    /// The longest time that an answer may cool an endpoint for.
    pub after_max: Duration,
    /// Bytes of a request's body that are kept so that it can be sent again.
    pub buffer: usize,
}

impl Default for Retry {
    fn default() -> Self {
        Retry {
            enabled: true,
            attempts: Plan::DEFAULT_ATTEMPTS,
            backoff: Backoff::default(),
            after_max: CoolingSettings::default().after_max,
            buffer: CallRequest::KEEP,
        }
    }
}

impl Retry {
    /// Attempts in all, as in force: 1 where repeats are off.
    #[must_use]
    pub fn attempts_in_force(&self) -> u32 {
        if self.enabled { self.attempts } else { 1 }
    }
}

/// What a breaker or a limit is kept for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GuardKey {
    /// Each endpoint.
    Endpoint,
    /// Each operation.
    Operation,
    /// Each value of a request header.
    Header(HeaderName),
    /// Each value of a named part of the path.
    Path(String),
}

impl fmt::Display for GuardKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GuardKey::Endpoint => f.write_str("endpoint"),
            GuardKey::Operation => f.write_str("operation"),
            GuardKey::Header(name) => write!(f, "header:{name}"),
            GuardKey::Path(name) => write!(f, "path:{{{name}}}"),
        }
    }
}

/// How many calls at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Concurrency {
    /// How the limit decides.
    pub limit: LimitSettings,
    /// Who may wait for their turn.
    pub queue: QueueSettings,
    /// What the limit is kept for.
    pub key: GuardKey,
    /// The number of keys that have one of their own.
    pub max_keys: u32,
}

impl Default for Concurrency {
    fn default() -> Self {
        let GuardSettings { limit, queue, limit_keys, .. } = GuardSettings::default();
        Concurrency { limit, queue, key: GuardKey::Endpoint, max_keys: limit_keys }
    }
}

/// When to stop calling.
#[derive(Clone, Debug, PartialEq)]
pub struct Breaker {
    /// How it decides.
    pub settings: BreakerSettings,
    /// What the breaker is kept for.
    pub key: GuardKey,
    /// The number of keys that have one of their own.
    pub max_keys: u32,
}

impl Default for Breaker {
    fn default() -> Self {
        let GuardSettings { breaker, breaker_keys, .. } = GuardSettings::default();
        Breaker { settings: breaker, key: GuardKey::Endpoint, max_keys: breaker_keys }
    }
}

/// Settings of requests that no operation matches.
#[derive(Clone, Debug, PartialEq)]
pub struct Fallback {
    /// Deadlines.
    pub timeout: Timeouts,
    /// Repeats.
    pub retry: Retry,
    /// As in [`BreakerSettings::slow_call`].
    pub slow_call: Option<Duration>,
}

/// Requests of one kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// The label; unique in its dependency.
    pub name: String,
    /// Which requests.
    pub pattern: Pattern,
    /// What a second delivery does.
    pub idempotency: Idempotency,
    /// Deadlines.
    pub timeout: Timeouts,
    /// Repeats.
    pub retry: Retry,
    /// A call longer than this counts as a failure to the breaker.
    pub slow_call: Option<Duration>,
    /// Statuses that mean "not processed".
    pub refuses: Vec<u16>,
    /// What answers mean by status and body.
    pub answers: Answers,
    /// How to ask what became of it.
    pub confirm: Option<Confirm>,
    /// How to undo it.
    pub cancel: Option<Cancel>,
    /// The ledger's rules, where it is recorded before it is sent.
    pub durable: Option<Rules>,
}
