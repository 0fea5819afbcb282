//! Tables that are merged key by key.

use seawall_client::AnswerLimits;

use super::{COUNT, Key, Kind, Spec, TIME, TIME_OR_ZERO, key};

/// The bounds that the client sets.
const ANSWER_BYTES: (u64, u64) =
    (*AnswerLimits::HEADER_BYTES.start() as u64, *AnswerLimits::HEADER_BYTES.end() as u64);
const ANSWER_FIELDS: (u64, u64) =
    (*AnswerLimits::HEADERS.start() as u64, *AnswerLimits::HEADERS.end() as u64);

const KEYS: Kind = Kind::Whole { min: 1, max: 100_000 };

/// May stand in `[defaults]`, in a dependency, and in an operation.
pub(super) const PER_CALL: &[Key] =
    &[key("timeout", Kind::Table(&TIMEOUT), "Deadlines."), key("retry", Kind::Table(&RETRY), "Repeats.")];

/// May stand in `[defaults]` and in a dependency.
pub(super) const PER_DEPENDENCY: &[Key] = &[
    key("budget", Kind::Table(&BUDGET), "How repeats are paid for."),
    key(
        "overload",
        Kind::Failures,
        "Statuses that mean \"come back later\": they count against the limit, and cool. Default [429, 503, 529].",
    ),
    key(
        "cooldown",
        Kind::Flag,
        "Whether nothing is sent until the time that an overload answer names is over. Default true.",
    ),
    key("concurrency", Kind::Table(&CONCURRENCY), "How many calls at once."),
    key("breaker", Kind::Table(&BREAKER), "When to stop calling."),
    key("pool", Kind::Table(&POOL), "Connections kept."),
    key("answer", Kind::Table(&ANSWER), "Limits of the head of an answer."),
    key("dns", Kind::Table(&DNS), "Names looked up."),
    key("http", Kind::HttpVersion, "HTTP's version: auto, 1.1 or 2. Default auto."),
    key("proxy", Kind::ProxyUrl, "An outgoing proxy, http://…, or off."),
    key("bind", Kind::IpOrOff, "The local address of outgoing connections, or off."),
];

static TIMEOUT: Spec = Spec {
    name: "`timeout`",
    doc: "Deadlines.",
    groups: &[&[
        key("connect", TIME, "DNS, TCP and TLS together. Default 3s."),
        key("read", TIME, "The longest time without progress in either direction. Default 10s. Below total."),
        key(
            "total",
            Kind::TimeOrOff,
            "Over all attempts and the body. Default 30s; off for endless streams.",
        ),
    ]],
};

static RETRY: Spec = Spec {
    name: "`retry`",
    doc: "Repeats.",
    groups: &[&[
        key("enabled", Kind::Flag, "Default true."),
        key("attempts", Kind::Whole { min: 1, max: 10 }, "Attempts in all. Default 2."),
        key("base", TIME_OR_ZERO, "Bound of the first wait. Default 50ms."),
        key("cap", TIME_OR_ZERO, "Bound of every wait. Default 2s."),
        key(
            "after_max",
            TIME,
            "The longest time that an answer may cool an endpoint for, and that a call without total waits. Default 60s.",
        ),
        key("buffer", Kind::Size, "Bytes of a request's body that are kept to be sent again. Default 64KiB."),
    ]],
};

static BUDGET: Spec = Spec {
    name: "`budget`",
    doc: "How repeats are paid for. A repeat costs one token.",
    groups: &[&[
        key("per_success", Kind::Ratio { zero: true }, "Tokens that a successful call earns. Default 0.2."),
        key("burst", Kind::Tokens, "The most tokens that can be saved. Default 10."),
        key("initial", Kind::Tokens, "Tokens at start. Default 1."),
    ]],
};

static CONCURRENCY: Spec = Spec {
    name: "`concurrency`",
    doc: "How many calls at once.",
    groups: &[&[
        key("enabled", Kind::Flag, "Default true."),
        key("max", COUNT, "The most calls at once. Default 1000."),
        key("adaptive", Kind::Flag, "Whether the limit falls under overload. Default true."),
        key(
            "queue",
            Kind::Whole { min: 0, max: 1_000_000 },
            "How many calls may wait for their turn. Default 0.",
        ),
        key("queue_wait", TIME_OR_ZERO, "How long they wait. Default 0s."),
        key("key", Kind::GuardKey, "endpoint (default), operation, header:NAME or path:{name}."),
        key(
            "max_keys",
            KEYS,
            "So many keys have a limit of their own; those beyond share one. Default 1024.",
        ),
    ]],
};

static BREAKER: Spec = Spec {
    name: "`breaker`",
    doc: "When to stop calling.",
    groups: &[&[
        key("enabled", Kind::Flag, "Default true."),
        key("failure_rate", Kind::Ratio { zero: false }, "The share of failures that opens it. Default 0.5."),
        key("min_calls", COUNT, "Fewer calls say nothing. Default 20."),
        key("window", TIME, "The time it looks back on. Default 5s."),
        key("window_calls", COUNT, "Or the number of calls."),
        key("open_for", TIME, "How long it stays open. Default 3s."),
        key("probes", COUNT, "Successes that close it. Default 3."),
        key("slow_call", Kind::TimeOrOff, "Longer calls count as failures. Default off."),
        key("consecutive", COUNT, "So many failures in a row open it at once."),
        key("open_max", Kind::TimeOrOff, "With it, the open time doubles up to this. Default off."),
        key("ramp", Kind::TimeOrOff, "With it, traffic comes back over this time. Default off."),
        key("key", Kind::GuardKey, "endpoint (default), operation, header:NAME or path:{name}."),
        key(
            "max_keys",
            KEYS,
            "So many keys have a breaker of their own; those beyond share one. Default 1024.",
        ),
    ]],
};

static POOL: Spec = Spec {
    name: "`pool`",
    doc: "Connections kept.",
    groups: &[&[
        key(
            "settle",
            TIME_OR_ZERO,
            "What must not be doubled takes a connection only after so long a silence. Default 20ms.",
        ),
        key("idle", TIME_OR_ZERO, "Idle for longer, a connection is closed. Default 60s."),
        key("max_idle", Kind::Whole { min: 0, max: 100_000 }, "The most idle ones. Default 64."),
        key("max_age", TIME, "Older, a connection is not used again. Default 1h."),
    ]],
};

static ANSWER: Spec = Spec {
    name: "`answer`",
    doc: "Limits of the head of an answer; one beyond is a bad-answer.",
    groups: &[&[
        key(
            "header_bytes",
            Kind::SizeWithin { min: ANSWER_BYTES.0, max: ANSWER_BYTES.1 },
            "Bytes of an answer's head. Default 256KiB.",
        ),
        key(
            "headers",
            Kind::Whole { min: ANSWER_FIELDS.0, max: ANSWER_FIELDS.1 },
            "Header fields of an answer. Default 100.",
        ),
    ]],
};

static DNS: Spec = Spec {
    name: "`dns`",
    doc: "Names looked up.",
    groups: &[&[
        key("refresh", TIME, "Names are looked up again after this. Default 30s."),
        key("stale", TIME_OR_ZERO, "The last good answer is used for so long when lookups fail. Default 1h."),
    ]],
};
