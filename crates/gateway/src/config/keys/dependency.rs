//! `[dependency.NAME]` and its endpoints and lists.

use super::operation::OPERATION;
use super::policies::{PER_CALL, PER_DEPENDENCY};
use super::{Kind, Purpose, Spec, TIME, key, must};

pub(super) static DEPENDENCY: Spec = Spec {
    name: "[dependency.NAME]",
    doc: "A system that applications call through the gateway.",
    groups: &[
        &[
            key("url", Kind::EndpointUrl, "The URL of the endpoint: http or https, host, port, base path."),
            key(
                "endpoint",
                Kind::Tables(&ENDPOINT),
                "Instead of `url`: several endpoints, in order of preference.",
            ),
            key(
                "listen",
                Kind::Socket,
                "An address of its own to listen on. Paths there are without the dependency's name.",
            ),
            key(
                "headers",
                Kind::Headers,
                "Header fields that are set on each request; ${env:NAME} and ${file:PATH} are filled in.",
            ),
            key(
                "health",
                Kind::Request(Purpose::Health),
                "The request that asks whether an endpoint is well. It is sent only while a breaker is open.",
            ),
            key(
                "keys",
                Kind::Flag,
                "Whether an Idempotency-Key makes a POST or PATCH that matches no operation keyed. Default false.",
            ),
            key(
                "key",
                Kind::Table(&KEY),
                "Which keys the provider takes. A key that does not fit is sent as a key that is computed from it.",
            ),
            key(
                "key_scope",
                Kind::Choice(&["client", "shared"]),
                "Whether the caller's name stands before the keys of durable operations. Default: client where gateway.clients has a tokens_file, else shared.",
            ),
            key(
                "sql_roles",
                Kind::SqlRoles,
                "The roles of the ledger's PostgreSQL that may act on durable operations with plain SQL, as a list or as { ROLE = \"CALLER\" }. Default: each role that may execute the ledger's functions.",
            ),
            key(
                "deadline_header",
                Kind::HeaderName,
                "The header that tells the dependency how many milliseconds are left. Default: none.",
            ),
            key(
                "tls",
                Kind::Table(&TLS),
                "TLS towards the dependency. Default: the system's authorities are trusted.",
            ),
            key("dangerous", Kind::Table(&DANGEROUS), "Settings that can double effects."),
            key("operation", Kind::Tables(&OPERATION), "What holds for requests of one kind."),
            key("reconcile", Kind::Table(&RECONCILE), "Comparison with the provider's own list."),
        ],
        PER_CALL,
        PER_DEPENDENCY,
    ],
};

static ENDPOINT: Spec = Spec {
    name: "[[dependency.NAME.endpoint]]",
    doc: "One endpoint of a dependency.",
    groups: &[&[
        must("url", Kind::EndpointUrl, "The URL of the endpoint: http or https, host, port, base path."),
        key(
            "headers",
            Kind::Headers,
            "Header fields that are set on each request. They take the place of the dependency's fields of the same names.",
        ),
    ]],
};

static KEY: Spec = Spec {
    name: "`key`",
    doc: "Which keys the provider takes. A key that does not fit is sent as a key that is computed from it.",
    groups: &[&[
        key(
            "chars",
            Kind::KeyChars,
            "The characters of a key, and ranges of them, as in A-Za-z0-9_-. Default !-~ (every visible ASCII character).",
        ),
        key("min", KEY_LENGTH, "The least length of a key in bytes. Default 1."),
        key("max", KEY_LENGTH, "The greatest length of a key in bytes. Default 255."),
    ]],
};

/// The values that may be declared for the least and for the greatest length of a key, in bytes. Whether the two
/// lengths fit together is checked later, where the whole table is read.
const KEY_LENGTH: Kind = Kind::Whole { min: 0, max: 65_535 };

static TLS: Spec = Spec {
    name: "`tls`",
    doc: "TLS towards a dependency.",
    groups: &[&[
        key("ca_file", Kind::File, "A PEM file with the authorities to trust instead of the system's."),
        key("client_cert", Kind::File, "A PEM file with the certificate chain that is shown to the server."),
        key("client_key", Kind::File, "Its key, PEM."),
    ]],
};

static DANGEROUS: Spec = Spec {
    name: "`dangerous`",
    doc: "Settings that can double effects. All are off by default.",
    groups: &[&[key(
        "retry_none",
        Kind::Flag,
        "Repeat calls whose idempotency is `none`, even if nobody knows whether they took effect. Default false.",
    )]],
};

static RECONCILE: Spec = Spec {
    name: "[dependency.NAME.reconcile]",
    doc: "Comparison with the provider's own list.",
    groups: &[&[
        key("every", TIME, "How often. Default 24h."),
        key("zone", Kind::Zone, "The provider's time zone, an IANA name. Default UTC."),
        must(
            "list",
            Kind::Request(Purpose::List),
            "The request for the provider's list; {from}, {to} and {next} are filled in.",
        ),
        key(
            "headers",
            Kind::HeaderTemplates(Purpose::List),
            "Its headers, with placeholders in their values.",
        ),
        must("items", Kind::Pointer, "Where a page has its items, as a JSON pointer."),
        key("next", Kind::Pointer, "Where a page has the cursor of the next page, as a JSON pointer."),
        must("key", Kind::Pointer, "Where an item has our idempotency key, as a JSON pointer."),
        key("amount", Kind::Pointer, "Where an item has its amount, as a JSON pointer."),
        key(
            "minor",
            Kind::Whole { min: 0, max: 4 },
            "The number of decimal places of the currency, if the list says 1050 for 10.50: 2. Default 0.",
        ),
        must(
            "state",
            Kind::Table(&RECONCILE_STATE),
            "Where an item has its state, and what the states mean.",
        ),
    ]],
};

static RECONCILE_STATE: Spec = Spec {
    name: "`state`",
    doc: "The states in the provider's list.",
    groups: &[&[
        must("pointer", Kind::Pointer, "Where an item has its state, as a JSON pointer."),
        must("applied", Kind::Texts, "The states that mean that it took effect."),
        key("cancelled", Kind::Texts, "The states that mean that it was undone."),
    ]],
};
