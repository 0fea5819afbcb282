//! `[gateway]` and `[ledger]`.

use super::operation::ACTION_BOUNDS;
use super::{COUNT, Kind, Spec, TIME, TIME_OR_ZERO, key, must};

pub(super) static GATEWAY: Spec = Spec {
    name: "[gateway]",
    doc: "The gateway's own process.",
    groups: &[&[
        key("listen", Kind::Socket, "The address that applications call. Default 127.0.0.1:8400."),
        key("admin", Kind::Socket, "The address where people and monitoring look. Default 127.0.0.1:8401."),
        key("workers", Kind::Whole { min: 1, max: 1024 }, "Worker threads. Default: the machine's cores."),
        key(
            "instances",
            Kind::Whole { min: 1, max: 10_000_000 },
            "The number of copies of this gateway that run. Default 1.",
        ),
        key("drain", TIME_OR_ZERO, "How long accepted work may take to finish after SIGTERM. Default 30s."),
        key("hosts", Kind::HostNames, "Further names by which callers may address the gateway (Host)."),
        key(
            "clients",
            Kind::Table(&CLIENTS),
            "Who may call. It is needed where the gateway listens on more than loopback.",
        ),
        key("admin_token_file", Kind::File, "A file with admin tokens. Default: a token is made at start."),
        key("limits", Kind::Table(&LIMITS), "Limits on what callers send."),
    ]],
};

static CLIENTS: Spec = Spec {
    name: "`clients`",
    doc: "Who may call.",
    groups: &[&[
        key(
            "tokens_file",
            Kind::File,
            "A file with the callers' tokens, one on each line: TOKEN or NAME TOKEN.",
        ),
        key(
            "ca_file",
            Kind::File,
            "A PEM file with the authorities that client certificates must come from.",
        ),
    ]],
};

static LIMITS: Spec = Spec {
    name: "[gateway.limits]",
    doc: "Limits on what callers send.",
    groups: &[&[
        key("header_bytes", Kind::Size, "The most bytes of a request's head. Default 32KiB."),
        key(
            "headers",
            Kind::Whole { min: 1, max: 10_000 },
            "The most header fields of a request. Default 100.",
        ),
        key(
            "body",
            Kind::SizeOrOff,
            "The most bytes of a request's body, or off. Default off: bodies stream.",
        ),
        key("connections", COUNT, "The most connections of callers at the same time. Default 10000."),
        key("header_time", TIME, "How long a head may take to arrive. Default 10s."),
    ]],
};

/// The smallest `request_max`, in bytes. With less, nearly every request would be refused.
const LEAST_REQUEST: u64 = 1 << 10;
/// The smallest `answer_max`, in bytes. An answer that is longer than `answer_max` is not recorded. Then a repeat under
/// the action's key is answered 409, and the holes of a cancel cannot be filled from the answer. If the outcome depends
/// on a code in the answer's body, the effect is unknown. The usual answer to a charge is JSON with a code and an id,
/// and has a few hundred bytes to 4 KiB. So every `answer_max` must have room for 4 KiB.
const LEAST_ANSWER: u64 = 4 << 10;
/// The largest `request_max` and `answer_max`, in bytes. The bodies of all durable calls under way are in memory, and
/// each is written to the database in one row.
const MOST_KEPT: u64 = 32 << 20;

static ON_STUCK: Spec = Spec {
    name: "`on_stuck`",
    doc: "The webhook that is told of stuck actions.",
    groups: &[&[
        must("url", Kind::EndpointUrl, "Where messages are sent, by POST: scheme, host, port and path."),
        must(
            "secret_file",
            Kind::File,
            "A file with the secret by which messages are signed: at least 16 characters, or whsec_ and base64.",
        ),
    ]],
};

pub(super) static LEDGER: Spec = Spec {
    name: "[ledger]",
    doc: "Where durable operations are recorded.",
    groups: &[
        &[
            key(
                "url",
                Kind::LedgerUrl,
                "The database, as sqlite:FILE or postgres://…; ${env:NAME} is filled in. Default sqlite:seawall.db.",
            ),
            key("lease", TIME, "How long a claim on an action holds. Default 2m."),
            key(
                "request_max",
                Kind::SizeWithin { min: LEAST_REQUEST, max: MOST_KEPT },
                "The most bytes of the body of a durable request. Default 1MiB.",
            ),
            key(
                "answer_max",
                Kind::SizeWithin { min: LEAST_ANSWER, max: MOST_KEPT },
                "The most bytes of an answer's body that are recorded. A longer answer is passed on and not recorded. Default 256KiB.",
            ),
            key("waiters", COUNT, "The most callers that wait for actions at the same time. Default 1000."),
            key(
                "undeclared_after",
                TIME,
                "How long an action waits for an operation that no gateway declares any longer, before it is stuck. Default 24h.",
            ),
            key(
                "on_stuck",
                Kind::Table(&ON_STUCK),
                "The webhook that is told of stuck actions. Default: none.",
            ),
        ],
        ACTION_BOUNDS,
    ],
};
