//! `[[dependency.NAME.operation]]`.

use super::policies::PER_CALL;
use super::{COUNT, Key, Kind, Purpose, Spec, TIME, TIME_OR_ZERO, key, must};

pub(super) static OPERATION: Spec = Spec {
    name: "[[dependency.NAME.operation]]",
    doc: "Requests of one kind.",
    groups: &[
        &[
            must("name", Kind::Name, "The label; unique in its dependency."),
            must(
                "match",
                Kind::Pattern,
                "Method and path; {name} matches one segment, {*rest} the rest; {/} at the end, a slash or none.",
            ),
            key("idempotency", Kind::Choice(&["safe", "idempotent", "keyed", "none"]), "Default by method."),
            key(
                "refuses",
                Kind::Statuses,
                "Statuses that mean \"not done\" although they look like overload.",
            ),
            key("answers", Kind::Table(&ANSWERS), "What answers mean, by status and JSON body."),
            key("slow_call", Kind::TimeOrOff, "Longer calls count as failures to the breaker."),
            key("confirm", Kind::Table(&CONFIRM), "How to ask what became of it."),
            key("cancel", Kind::Table(&CANCEL), "How to undo it."),
        ],
        PER_CALL,
        DURABLE,
        ACTION_BOUNDS,
    ],
};

/// Have an effect only where the operation is durable.
const DURABLE: &[Key] = &[
    key("durable", Kind::Flag, "Recorded in the ledger before it is sent. Default false."),
    key(
        "settle",
        Kind::Choice(&["reply", "explicit"]),
        "Who says that the outcome was taken in. Default reply.",
    ),
    key(
        "settle_within",
        TIME,
        "An explicit settle comes before this, or the effect is cancelled. Default: total timeout + 30s.",
    ),
    key("give_up", TIME_OR_ZERO, "How long what was provably not sent is tried again. Default 10m."),
    key(
        "on_unknown",
        Kind::Choice(&["repeat", "confirm", "cancel", "hold"]),
        "What to do when nobody knows.",
    ),
    key(
        "quiet",
        TIME_OR_ZERO,
        "After the last possible send: how long until \"not found\" is believed. Default 2m.",
    ),
    key("key_lifetime", TIME, "How long the provider remembers a key. Default 24h."),
    key("refusal_binds", Kind::Statuses, "Statuses of a refusal that prove that the key was looked up."),
    key("saves_refusals", Kind::Flag, "Whether the provider saves refusals under the key. Default false."),
    key(
        "resend_absent",
        Kind::Flag,
        "Whether what is believed absent may be sent again without a key. Default false.",
    ),
    key(
        "audit_after",
        TIME_OR_ZERO,
        "What was closed by absence is asked about once more after this. Default 24h.",
    ),
];

/// Names of settings that need `durable = true`.
pub(in crate::config) fn needs_durable() -> impl Iterator<Item = &'static str> {
    DURABLE.iter().skip(1).chain(ACTION_BOUNDS).map(|key| key.name)
}

/// What the schema says of a setting of an operation.
#[cfg(test)]
pub(in crate::config) fn operation_doc(key: &str) -> &'static str {
    OPERATION.key(key).expect("a key of the table").doc
}

static ANSWERS: Spec = Spec {
    name: "`answers`",
    doc: "What answers mean. Asked in this order: applied, not_applied, unknown; the first match wins.",
    groups: &[&[
        key("applied", Kind::Predicates, "It took effect."),
        key("not_applied", Kind::Predicates, "It did not."),
        key("unknown", Kind::Predicates, "Neither is said."),
        key(
            "otherwise",
            Kind::Otherwise,
            "What a 2xx means that fits none of these: unknown (safe) or applied. Default: as the status says, but unknown where a body that should decide is no JSON.",
        ),
    ]],
};

static CONFIRM: Spec = Spec {
    name: "`confirm`",
    doc: "How to ask what became of it.",
    groups: &[&[
        must("request", Kind::Request(Purpose::Confirm), "The question, with placeholders."),
        key("json", Kind::Json(Purpose::Confirm), "Its body."),
        key("after", TIME_OR_ZERO, "When it is first asked. Default 2s."),
        must("applied", Kind::Predicates, "Answers that mean: it took effect."),
        key("cancelled", Kind::Predicates, "Answers that mean: it was undone there."),
        key("absent", Kind::Predicates, "Answers that mean: not found. Default: none is believed to."),
        key(
            "id",
            Kind::Pointer,
            "Where the answer has the other side's own id; {answer:/…} may come from it.",
        ),
    ]],
};

static CANCEL: Spec = Spec {
    name: "`cancel`",
    doc: "How to undo it.",
    groups: &[&[
        must("request", Kind::Request(Purpose::Cancel), "The request, with placeholders."),
        key("json", Kind::Json(Purpose::Cancel), "Its body."),
        key(
            "kind",
            Kind::Choice(&["additive", "state"]),
            "What a second one does. Default additive: it adds up.",
        ),
        key("after", TIME_OR_ZERO, "How long to wait before the first. Default 0s."),
        key("keyed", Kind::Flag, "Whether the provider honours a key on it. Default false."),
        key(
            "tombstone",
            Kind::Flag,
            "Whether a cancel that comes first makes the provider refuse the operation. Default false.",
        ),
        key("not_found", Kind::Predicates, "Answers that mean: there is no such thing."),
        key("already", Kind::Predicates, "Answers that mean: that is cancelled already."),
    ]],
};

/// Stand in `[ledger]` for all operations, or in one operation.
pub(super) const ACTION_BOUNDS: &[Key] = &[
    key(
        "attempts",
        Kind::Table(&ATTEMPTS),
        "How often each request of one action is tried before it is stuck.",
    ),
    key("network", TIME_OR_ZERO, "How long the network may hold a request back. Default 5s."),
    key("pause", TIME_OR_ZERO, "How long a process may stand still between check and send. Default 5s."),
];

static ATTEMPTS: Spec = Spec {
    name: "`attempts`",
    doc: "How often each request of one action is tried before it is stuck.",
    groups: &[&[
        key("perform", COUNT, "Default 5."),
        key("cancel", COUNT, "Default 20."),
        key("confirm", COUNT, "Default 50."),
    ]],
};
