//! `[gateway]` and `[ledger]`.

use super::operation::ACTION_BOUNDS;
use super::{COUNT, Kind, Spec, TIME, TIME_OR_ZERO, key};

pub(super) static GATEWAY: Spec = Spec {
    name: "[gateway]",
    doc: "The process itself.",
    groups: &[&[
        key("listen", Kind::Socket, "Where applications call. Default 127.0.0.1:8400."),
        key("admin", Kind::Socket, "Where people and monitoring look. Default 127.0.0.1:8401."),
        key("workers", Kind::Whole { min: 1, max: 1024 }, "Worker threads. Default: the machine's cores."),
        key(
            "instances",
            Kind::Whole { min: 1, max: 10_000_000 },
            "How many copies of this gateway run. Default 1.",
        ),
        key("drain", TIME_OR_ZERO, "How long accepted work may take to finish after SIGTERM. Default 30s."),
        key("hosts", Kind::HostNames, "Further Host names to answer to."),
        key("clients", Kind::Table(&CLIENTS), "Who may call; needed off loopback."),
        key("admin_token_file", Kind::File, "The admin token. Default: one is made at start."),
        key("limits", Kind::Table(&LIMITS), "Limits on what callers send."),
    ]],
};

static CLIENTS: Spec = Spec {
    name: "`clients`",
    doc: "Who may call.",
    groups: &[&[
        key("tokens_file", Kind::File, "A file with one token on each line."),
        key("ca_file", Kind::File, "Authorities that client certificates must come from, PEM."),
    ]],
};

static LIMITS: Spec = Spec {
    name: "[gateway.limits]",
    doc: "Limits on what callers send.",
    groups: &[&[
        key("header_bytes", Kind::Size, "Bytes of a request's head. Default 32KiB."),
        key("headers", Kind::Whole { min: 1, max: 10_000 }, "Header fields of a request. Default 100."),
        key("body", Kind::SizeOrOff, "Bytes of a request's body. Default off: bodies stream."),
        key("connections", COUNT, "Connections at once. Default 10000."),
        key("header_time", TIME, "How long a head may take to arrive. Default 10s."),
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
                "sqlite:FILE or postgres://…; ${env:NAME} is filled in. Default sqlite:seawall.db.",
            ),
            key("lease", TIME, "How long a claim on an action holds. Default 2m."),
        ],
        ACTION_BOUNDS,
    ],
};
