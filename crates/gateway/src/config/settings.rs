//! The settings in force: resolved, merged and checked. They are plain values. A reload compares them to find out what
//! changed. Values of headers are marked sensitive and never appear in `Debug`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, Uri};
use seawall_actions::{AmountAt, Cancel, Confirm};
use seawall_client::connect::{DnsSettings, HttpVersion, TlsSettings};
use seawall_client::{AnswerLimits, CallRequest, PoolSettings};
use seawall_ledger::{KeyRules, Lifetime, Rules};
use seawall_policy::{
    Answers, Backoff, BreakerSettings, BudgetSettings, CoolingSettings, GuardSettings, Idempotency,
    LimitSettings, Plan, QueueSettings, Timeouts,
};

use super::action::{KeyScope, Ledger, Reconcile, Taken};
use super::pattern::Pattern;

/// The settings of a whole configuration file.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// `[gateway]`.
    pub gateway: Gateway,
    /// The settings of `[ledger]`. They are used only if an operation is durable.
    pub ledger: Ledger,
    /// The settings of each `[dependency.NAME]`.
    pub dependencies: Vec<Dependency>,
}

/// The settings of the gateway's own process.
#[derive(Clone, Debug, PartialEq)]
pub struct Gateway {
    /// The address that applications call.
    pub listen: SocketAddr,
    /// The address of the admin side, for people and for monitoring.
    pub admin: SocketAddr,
    /// The number of worker threads; `None` means one for each core of the machine.
    pub workers: Option<usize>,
    /// The number of copies of this gateway that run. Default 1.
    pub instances: u32,
    /// How long accepted work may take to finish after SIGTERM. Default 30 s.
    pub drain: Duration,
    /// Further names by which callers may address the gateway, in lower case and without a port.
    pub hosts: Vec<String>,
    /// Who may call. This is needed if the gateway listens on more than loopback. `None` means that callers need no
    /// token.
    pub clients: Option<Clients>,
    /// A file with admin tokens; `None` means that a token is made at start.
    pub admin_token_file: Option<PathBuf>,
    /// Limits on what callers send.
    pub limits: Limits,
}

/// Who may call. At least one of the two files is set.
#[derive(Clone, Debug, PartialEq)]
pub struct Clients {
    /// A file with the callers' tokens, one on each line, each with its caller's name before it or without one. `None`
    /// means that no token is needed.
    pub tokens_file: Option<PathBuf>,
    /// A file with the authorities that client certificates must come from. `None` if no file is named. The setting has
    /// no effect yet: callers are not asked for certificates.
    pub ca_file: Option<PathBuf>,
}

/// Limits on what callers send.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// The maximum length of a request's head, in bytes. Default 32 KiB.
    pub header_bytes: u64,
    /// The maximum number of header fields of a request. Default 100.
    pub headers: usize,
    /// The maximum length of a request's body, in bytes; `None` (the default) means no bound.
    pub body: Option<u64>,
    /// The maximum number of callers' connections at the same time. Default 10 000.
    pub connections: usize,
    /// The maximum time that a request's head may take to arrive. Default 10 s.
    pub header_time: Duration,
}

/// The settings of a dependency: a system that applications do not own.
#[derive(Clone, Debug, PartialEq)]
pub struct Dependency {
    /// The dependency's name. It is the first segment of the paths that callers use, and a label in metrics and logs.
    pub name: String,
    /// The endpoints, in order of preference. There is at least one. The headers of the dependency are already part of
    /// each endpoint.
    pub endpoints: Vec<Endpoint>,
    /// An address at which the gateway takes calls for this dependency only; `None` means that there is none. Paths at
    /// this address do not begin with the dependency's name.
    pub listen: Option<SocketAddr>,
    /// The request that checks whether an endpoint works. It is sent only while a breaker is open. `None` means that no
    /// such request is sent.
    pub health: Option<Health>,
    /// Whether a POST or PATCH with an `Idempotency-Key` header counts as `keyed` although it matches no operation.
    /// Default `false`.
    pub keys: bool,
    /// Which keys the provider takes. If the key of an action does not fit these rules, a key that is computed from the
    /// action's key is sent instead.
    pub key: KeyRules,
    /// Which callers share the keys of durable operations. Default: each caller has keys of its own if
    /// `gateway.clients` names a file with tokens; otherwise all callers share them.
    pub key_scope: KeyScope,
    /// The version of HTTP that is used to call the dependency. Default `auto`.
    pub http: HttpVersion,
    /// The URL of the outgoing proxy; `None` means that no proxy is used.
    pub proxy: Option<Uri>,
    /// The local address of outgoing connections; `None` means that the system chooses it.
    pub bind: Option<IpAddr>,
    /// The settings of TLS on connections to the dependency.
    pub tls: TlsSettings,
    /// The header that says to the dependency how many milliseconds are left for the call. `None` means that no such
    /// header is sent.
    pub deadline_header: Option<HeaderName>,
    /// Settings that can double effects.
    pub dangerous: Dangerous,
    /// The budget from which repeats are paid.
    pub budget: BudgetSettings,
    /// The statuses of answers that mean "come back later". Default 429, 503 and 529.
    pub overload: Vec<u16>,
    /// Whether an endpoint that answers "come back later" gets no calls until the time that the answer names is over.
    /// Default `true`.
    pub cooldown: bool,
    /// The settings of the limit on the calls in flight at the same time.
    pub concurrency: Concurrency,
    /// The settings of the breaker, which decides when calls to an endpoint are refused.
    pub breaker: Breaker,
    /// The settings of the pool, where idle connections are kept.
    pub pool: PoolSettings,
    /// The limits of an answer's head.
    pub answer: AnswerLimits,
    /// The settings of DNS look-ups.
    pub dns: DnsSettings,
    /// The settings of the comparison with the provider's own list; `None` means that nothing is compared.
    pub reconcile: Option<Reconcile>,
    /// The settings of requests that match no operation. Their method decides the idempotency.
    pub fallback: Fallback,
    /// The operations, in the order of the file.
    pub operations: Vec<Operation>,
}

/// The settings of one endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// The endpoint's URL: the scheme, the authority and perhaps a base path, without a query.
    pub url: Uri,
    /// Header fields that are set on each request. They replace the caller's fields of the same name. The values are
    /// marked sensitive.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// The request that asks an endpoint whether it works.
#[derive(Clone, Debug, PartialEq)]
pub struct Health {
    /// The method: GET, HEAD or OPTIONS.
    pub method: Method,
    /// The path and the query.
    pub target: String,
}

/// Settings that can double effects. All are off by default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dangerous {
    /// Whether calls whose idempotency is `none` are repeated even if nobody knows whether they took effect. Default
    /// `false`.
    pub retry_none: bool,
}

/// The settings of repeats.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// Whether calls are repeated at all. Default `true`.
    pub enabled: bool,
    /// The maximum number of attempts of a call, 1 to 10. Default 2.
    pub attempts: u32,
    /// The waits between attempts.
    pub backoff: Backoff,
    /// The maximum time for which an endpoint gets no calls after an answer that says "come back later" and names a
    /// time. Default 60 s.
    ///
    /// If an answer names a time that is longer than this maximum, the call's total timeout decides whether the call is
    /// then repeated at that endpoint:
    ///
    /// - A call with a total timeout waits for the named time, and is repeated if that time ends before the total
    ///   timeout.
    /// - A call without a total timeout is not repeated, because nothing else would bound its wait.
    pub after_max: Duration,
    /// The maximum length, in bytes, of a request's body that is kept so that it can be sent again. Default 64 KiB.
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
    /// Returns the maximum number of attempts of a call. It is 1 if repeats are off.
    #[must_use]
    pub fn attempts_in_force(&self) -> u32 {
        if self.enabled { self.attempts } else { 1 }
    }
}

/// Says which calls share one guard (a breaker or a limit).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GuardKey {
    /// One guard for each endpoint.
    Endpoint,
    /// One guard for each endpoint and operation.
    Operation,
    /// One guard (a breaker or a limit) for each endpoint and each value of this request header.
    Header(HeaderName),
    /// One guard (a breaker or a limit) for each endpoint and each value of this named part of the path.
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

/// The settings of the limit on the calls in flight at the same time.
#[derive(Clone, Debug, PartialEq)]
pub struct Concurrency {
    /// The settings of the limit.
    pub limit: LimitSettings,
    /// The settings of the queue, where calls wait for their turn.
    pub queue: QueueSettings,
    /// Which calls share one limit. Default: all calls to one endpoint.
    pub key: GuardKey,
    /// The maximum number of keys that have a limit of their own; all other keys share one. Default 1024.
    pub max_keys: u32,
}

impl Default for Concurrency {
    fn default() -> Self {
        let GuardSettings { limit, queue, limit_keys, .. } = GuardSettings::default();
        Concurrency { limit, queue, key: GuardKey::Endpoint, max_keys: limit_keys }
    }
}

/// The settings of the breaker, which decides when an endpoint is no longer called.
#[derive(Clone, Debug, PartialEq)]
pub struct Breaker {
    /// When the breaker opens, and how it closes again.
    pub settings: BreakerSettings,
    /// Which calls share one breaker. Default: all calls to one endpoint.
    pub key: GuardKey,
    /// The maximum number of keys that have a breaker of their own; all other keys share one.
    pub max_keys: u32,
}

impl Default for Breaker {
    fn default() -> Self {
        let GuardSettings { breaker, breaker_keys, .. } = GuardSettings::default();
        Breaker { settings: breaker, key: GuardKey::Endpoint, max_keys: breaker_keys }
    }
}

/// The settings of requests that match no operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Fallback {
    /// The deadlines of a call.
    pub timeout: Timeouts,
    /// How calls are repeated.
    pub retry: Retry,
    /// A good answer that takes longer than this counts as bad for the breaker, as in [`BreakerSettings::slow_call`].
    /// `None` means that no answer counts as too slow.
    pub slow_call: Option<Duration>,
}

/// The settings of an operation: one thing that the dependency can do.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// The operation's name, a label of metrics and logs. It is unique in its dependency.
    pub name: String,
    /// The pattern of the requests that belong to the operation.
    pub pattern: Pattern,
    /// What happens at the provider if a request is delivered a second time.
    pub idempotency: Idempotency,
    /// The deadlines of a call.
    pub timeout: Timeouts,
    /// How calls are repeated.
    pub retry: Retry,
    /// A good answer that takes longer than this counts as bad for the breaker. `None` means that no answer counts as
    /// too slow.
    pub slow_call: Option<Duration>,
    /// The statuses that mean that the request was not processed.
    pub refuses: Vec<u16>,
    /// The predicates that say what an answer means, by its status and body.
    pub answers: Answers,
    /// How long the provider remembers a key; `None` if this is not declared.
    pub key_lifetime: Option<Lifetime>,
    /// Where the body of a request has the amount of money, which the ledger records; `None` if it records none.
    pub amount: Option<AmountAt>,
    /// How the provider is asked what became of a request; `None` if this is not declared.
    pub confirm: Option<Confirm>,
    /// How to undo a request.
    pub cancel: Option<Cancel>,
    /// The ledger's rules. `None` if requests are not recorded before they are sent.
    pub durable: Option<Rules>,
    /// What is taken over from a caller's request if the operation is durable: for example the key and some headers.
    pub taken: Taken,
}
