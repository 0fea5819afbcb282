//! The keys of tables that may be written at several levels of the file. A row holds everything that the gateway knows
//! about one setting: how it is written, where its value is stored, and what it does.

use seawall_client::connect::DnsSettings;
use seawall_client::{AnswerLimits, PoolSettings};
use seawall_policy::{BudgetSettings, MAX_WINDOW_CALLS, Plan, Timeouts};

use super::super::rows::{self, At, Row};
use super::super::settings::{Breaker, Concurrency, Retry};
use super::{COUNT, Key, Kind, Spec, TIME, TIME_OR_ZERO, key};

/// The bounds of the setting `header_bytes`, as the client defines them.
const ANSWER_BYTES: (u64, u64) =
    (*AnswerLimits::HEADER_BYTES.start() as u64, *AnswerLimits::HEADER_BYTES.end() as u64);
const ANSWER_FIELDS: (u64, u64) =
    (*AnswerLimits::HEADERS.start() as u64, *AnswerLimits::HEADERS.end() as u64);

const KEYS: Kind = Kind::Whole { min: 1, max: 100_000 };
const COUNT_OR_ZERO: Kind = Kind::Whole { min: 0, max: 1_000_000 };
const GUARD_KEY: &str = "endpoint (default), operation, header:NAME or path:{name}.";

/// Makes a table of the file from rows. A row holds the key, the kind of its value, its documentation, where the value
/// is stored in the settings, and how it is written. The place and the way to write are left out if the setting has a
/// function of its own that reads it.
macro_rules! table {
    ($spec:ident, $name:literal, $doc:literal, $rows:ident: $of:ty,
     $($key:literal, $kind:expr, $key_doc:expr $(=> $($field:ident).+: $form:ident)?;)*) => {
        pub(in crate::config) const $rows: &[Row<$of>] = &[$(Row {
            key: key($key, $kind, $key_doc),
            field: table!(@field $of $(, $($field).+, $form)?),
        }),*];

        static $spec: Spec = Spec {
            name: $name,
            doc: $doc,
            groups: &[&rows::keys::<$of, { $rows.len() }>($rows)],
        };
    };
    (@field $of:ty) => { None };
    (@field $of:ty, $($field:ident).+, $form:ident) => {
        Some(&At(|it: &mut $of| &mut it$(.$field)+, &rows::$form))
    };
}

/// Keys that may stand in `[defaults]`, in a dependency, and in an operation.
pub(super) const PER_CALL: &[Key] = &[
    key("timeout", Kind::Table(&TIMEOUT_TABLE), "Deadlines."),
    key("retry", Kind::Table(&RETRY_TABLE), "Repeats."),
];

/// Keys that may stand in `[defaults]` and in a dependency.
pub(super) const PER_DEPENDENCY: &[Key] = &[
    key("budget", Kind::Table(&BUDGET_TABLE), "How repeats are paid for: successful calls earn tokens."),
    key(
        "overload",
        Kind::Failures,
        "The statuses that mean \"come back later\". They lower the limit, and cool the endpoint. Default [429, 503, 529].",
    ),
    key(
        "cooldown",
        Kind::Flag,
        "Whether an endpoint gets no calls until the time is over that its overload answer names. Default true.",
    ),
    key("concurrency", Kind::Table(&CONCURRENCY_TABLE), "How many calls may be in flight at the same time."),
    key("breaker", Kind::Table(&BREAKER_TABLE), "When to stop calling an endpoint."),
    key("pool", Kind::Table(&POOL_TABLE), "Connections kept."),
    key("answer", Kind::Table(&ANSWER_TABLE), "Limits of an answer's head."),
    key("dns", Kind::Table(&DNS_TABLE), "How names are looked up."),
    key(
        "http",
        Kind::HttpVersion,
        "The version of HTTP that is spoken to the dependency: auto, 1.1 or 2. Default auto.",
    ),
    key("proxy", Kind::ProxyUrl, "An outgoing proxy, http://…, or off."),
    key("bind", Kind::IpOrOff, "The local address of outgoing connections, or off."),
];

table!(TIMEOUT_TABLE, "`timeout`", "Deadlines.", TIMEOUT: Timeouts,
    "connect", TIME, "The longest time for a connection: DNS, TCP and TLS together. Default 3s." => connect: TIME;
    "read", TIME, "The longest time without progress in either direction. Default 10s. It must be below total." => read: TIME;
    "total", Kind::TimeOrOff,
        "The longest time for all attempts and the body together. Default 30s; off for endless streams." => total: TIME_OR_OFF_TOLD;
);

table!(RETRY_TABLE, "`retry`", "Repeats.", RETRY: Retry,
    "enabled", Kind::Flag, "Default true." => enabled: FLAG;
    "attempts", Kind::Whole { min: *Plan::ATTEMPTS.start() as u64, max: *Plan::ATTEMPTS.end() as u64 },
        "The most attempts of a call. Default 2." => attempts: COUNT;
    "base", TIME_OR_ZERO, "The bound of the first wait before a repeat. Default 50ms." => backoff.base: TIME;
    "cap", TIME_OR_ZERO, "The bound of every wait before a repeat. Default 2s." => backoff.cap: TIME;
    "after_max", TIME,
        "The longest time that an answer may cool an endpoint for, and that a call without total waits for it. Default 60s." => after_max: TIME;
    "buffer", Kind::Size, "The most bytes of a request's body that are kept to be sent again. Default 64KiB." => buffer: SIZE;
);

table!(BUDGET_TABLE, "`budget`", "How repeats are paid for: successful calls earn tokens. A repeat costs one token.", BUDGET: BudgetSettings,
    "per_success", Kind::Ratio { zero: true },
        "Tokens that a successful call earns. Default 0.2." => per_success_milli: THOUSANDTHS;
    "burst", Kind::Tokens, "The most tokens that can be saved. Default 10." => burst_milli: THOUSANDTHS;
    "initial", Kind::Tokens, "Tokens at start. Default 1." => initial_milli: THOUSANDTHS;
);

table!(CONCURRENCY_TABLE, "`concurrency`", "How many calls may be in flight at the same time.", CONCURRENCY: Concurrency,
    "enabled", Kind::Flag, "Default true." => limit.enabled: FLAG;
    "max", COUNT, "The most calls in flight at the same time. Default 1000." => limit.max: COUNT;
    "adaptive", Kind::Flag, "Whether the limit falls under overload. Default true." => limit.adaptive: FLAG;
    "queue", COUNT_OR_ZERO, "The most calls that may wait for their turn. Default 0." => queue.length: COUNT;
    "queue_wait", TIME_OR_ZERO, "The longest time that a call waits for its turn. Default 0s." => queue.wait: TIME;
    "key", Kind::GuardKey, GUARD_KEY;
    "max_keys", KEYS,
        "The most keys that have a limit of their own; all other keys share one. Default 1024." => max_keys: COUNT;
);

table!(BREAKER_TABLE, "`breaker`", "When to stop calling an endpoint.", BREAKER: Breaker,
    "enabled", Kind::Flag, "Default true." => settings.enabled: FLAG;
    "failure_rate", Kind::Ratio { zero: false },
        "The share of failures that opens the breaker. Default 0.5." => settings.failure_rate_ppm: PPM;
    "min_calls", COUNT, "The least number of calls in the window that can open the breaker by their failures. Default 20." => settings.min_calls: COUNT;
    "window", TIME, "The time that the breaker looks back on. Default 5s.";
    "window_calls", Kind::Whole { min: 1, max: MAX_WINDOW_CALLS as u64 }, "Instead of `window`: the number of calls that the breaker looks back on.";
    "open_for", TIME, "How long the breaker stays open before it probes. Default 3s." => settings.open_for: TIME;
    "probes", COUNT, "The number of good answers to probes that close the breaker. Default 3." => settings.probes: COUNT;
    "consecutive", COUNT,
        "This number of failures in a row opens the breaker immediately." => settings.consecutive: COUNT_OR_NONE;
    "slow_call", Kind::TimeOrOff, "Calls that take longer than this count as failures. Default off." => settings.slow_call: TIME_OR_OFF;
    "open_max", Kind::TimeOrOff,
        "With it, the open time doubles after each failed probe, up to this. Default off." => settings.open_max: TIME_OR_OFF;
    "ramp", Kind::TimeOrOff, "With it, calls come back gradually over this time. Default off." => settings.ramp: TIME_OR_OFF;
    "key", Kind::GuardKey, GUARD_KEY;
    "max_keys", KEYS,
        "The most keys that have a breaker of their own; all other keys share one. Default 1024." => max_keys: COUNT;
);

table!(POOL_TABLE, "`pool`", "Connections kept.", POOL: PoolSettings,
    "settle", TIME_OR_ZERO,
        "A call that must not be doubled takes no connection whose last answer is younger than this. Default 20ms." => settle: TIME;
    "idle", TIME_OR_ZERO, "A connection that is idle for longer than this is closed. Default 60s." => idle: TIME;
    "max_idle", Kind::Whole { min: 0, max: 100_000 }, "The most idle connections. Default 64." => max_idle: NUMBER;
    "max_age", TIME, "A connection that is older than this is not used again. Default 1h." => max_age: TIME;
);

table!(ANSWER_TABLE, "`answer`", "Limits of an answer's head; an answer beyond them is a bad-answer.", ANSWER: AnswerLimits,
    "header_bytes", Kind::SizeWithin { min: ANSWER_BYTES.0, max: ANSWER_BYTES.1 },
        "The most bytes of an answer's head. Default 256KiB." => header_bytes: SIZE;
    "headers", Kind::Whole { min: ANSWER_FIELDS.0, max: ANSWER_FIELDS.1 },
        "The most header fields of an answer. Default 100." => headers: NUMBER;
);

table!(DNS_TABLE, "`dns`", "How names are looked up.", DNS: DnsSettings,
    "refresh", TIME, "The time after which a name is looked up again. Default 30s." => refresh: TIME;
    "stale", TIME_OR_ZERO, "How long the last good answer is used while lookups fail. Default 1h." => stale: TIME;
);
