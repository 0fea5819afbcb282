//! `[gateway]` and `[ledger]`.

use super::operation::ACTION_BOUNDS;
use super::{COUNT, Kind, Spec, TIME, TIME_OR_ZERO, key};

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
        key("tokens_file", Kind::File, "A file with the callers' tokens, one on each line."),
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
        ],
        ACTION_BOUNDS,
    ],
};
