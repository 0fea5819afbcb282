//! `[dependency.NAME]` and its endpoints and lists.

use super::operation::OPERATION;
use super::policies::{PER_CALL, PER_DEPENDENCY};
use super::{Kind, Purpose, Spec, TIME, key, must};

pub(super) static DEPENDENCY: Spec = Spec {
    name: "[dependency.NAME]",
    doc: "A system that is called.",
    groups: &[
        &[
            key("url", Kind::EndpointUrl, "Where it is: http or https, host, port, base path."),
            key("endpoint", Kind::Tables(&ENDPOINT), "Or several places, in order of preference."),
            key("listen", Kind::Socket, "A port of its own, without the prefix."),
            key("headers", Kind::Headers, "Set on each request; ${env:NAME} and ${file:PATH} are filled in."),
            key("health", Kind::Request(Purpose::Health), "Asked only while a breaker is open."),
            key(
                "keys",
                Kind::Flag,
                "Whether an Idempotency-Key makes a POST or PATCH without operation keyed. Default false.",
            ),
            key("deadline_header", Kind::HeaderName, "The remaining milliseconds go out in it."),
            key("tls", Kind::Table(&TLS), "TLS towards it; system roots otherwise."),
            key("dangerous", Kind::Table(&DANGEROUS), "What can double effects."),
            key("operation", Kind::Tables(&OPERATION), "Requests of one kind."),
            key("reconcile", Kind::Table(&RECONCILE), "Comparison with the other side's own list."),
        ],
        PER_CALL,
        PER_DEPENDENCY,
    ],
};

static ENDPOINT: Spec = Spec {
    name: "[[dependency.NAME.endpoint]]",
    doc: "One place where a dependency is reached.",
    groups: &[&[
        must("url", Kind::EndpointUrl, "Where it is: http or https, host, port, base path."),
        key("headers", Kind::Headers, "Set on each request, over those of the dependency."),
    ]],
};

static TLS: Spec = Spec {
    name: "`tls`",
    doc: "TLS towards a dependency.",
    groups: &[&[
        key("ca_file", Kind::File, "Authorities to trust instead of the system's, PEM."),
        key("client_cert", Kind::File, "The certificate chain shown to the other side, PEM."),
        key("client_key", Kind::File, "Its key, PEM."),
    ]],
};

static DANGEROUS: Spec = Spec {
    name: "`dangerous`",
    doc: "What can double effects. All off by default.",
    groups: &[&[key(
        "retry_none",
        Kind::Flag,
        "Repeat what is `none` even where nobody knows whether it took effect. Default false.",
    )]],
};

static RECONCILE: Spec = Spec {
    name: "[dependency.NAME.reconcile]",
    doc: "Comparison with the other side's own list.",
    groups: &[&[
        key("every", TIME, "How often. Default 24h."),
        key("zone", Kind::Zone, "The partner's time zone, an IANA name. Default UTC."),
        must(
            "list",
            Kind::Request(Purpose::List),
            "The other side's list; {from}, {to} and {next} are filled in.",
        ),
        must("items", Kind::Pointer, "Where a page has its items."),
        key("next", Kind::Pointer, "Where a page has the cursor of the next."),
        must("key", Kind::Pointer, "Where an item has our key."),
        key("amount", Kind::Pointer, "Where an item has its amount."),
        must(
            "state",
            Kind::Table(&RECONCILE_STATE),
            "Where an item has its state, and what the states mean.",
        ),
    ]],
};

static RECONCILE_STATE: Spec = Spec {
    name: "`state`",
    doc: "States of the other side's list.",
    groups: &[&[
        must("pointer", Kind::Pointer, "Where an item has it."),
        must("applied", Kind::Texts, "States that mean: it took effect."),
        key("cancelled", Kind::Texts, "States that mean: it was undone."),
    ]],
};
