//! `[[dependency.NAME.operation]]`.

use super::policies::PER_CALL;
use super::{COUNT, Key, Kind, Purpose, Spec, TIME, TIME_OR_ZERO, key, must};

pub(super) static OPERATION: Spec = Spec {
    name: "[[dependency.NAME.operation]]",
    doc: "What holds for requests of one kind.",
    groups: &[
        &[
            must(
                "name",
                Kind::Name,
                "The operation's name, a label of metrics and logs. It is unique in its dependency.",
            ),
            must(
                "match",
                Kind::Pattern,
                "Method and path; {name} matches one segment, {*rest} the rest; {/} at the end matches a slash or none.",
            ),
            key(
                "idempotency",
                Kind::Choice(&["safe", "idempotent", "keyed", "none"]),
                "What a second delivery of a request does. Default: by the method.",
            ),
            key(
                "refuses",
                Kind::Statuses,
                "The statuses that mean that nothing was done, although they look like overload.",
            ),
            key("answers", Kind::Table(&ANSWERS), "What answers mean, by status and JSON body."),
            key(
                "duplicate",
                Kind::Predicates,
                "Answers that mean that the provider has the key already. The effect is then unknown. Compared before answers.",
            ),
            key(
                "slow_call",
                Kind::TimeOrOff,
                "A call that takes longer than this counts as a failure to the breaker, or off. Default: that of the breaker.",
            ),
            key(
                "key_lifetime",
                Kind::Lifetime,
                "How long the provider remembers a key: 24h, or midnight Asia/Seoul. Without it, an action in doubt is not sent again under its key.",
            ),
            key("confirm", Kind::Table(&CONFIRM), "How to ask the provider what became of it."),
            key("cancel", Kind::Table(&CANCEL), "How to undo it."),
        ],
        PER_CALL,
        DURABLE,
        ACTION_BOUNDS,
    ],
};

/// Keys that have an effect only if the operation is durable.
const DURABLE: &[Key] = &[
    key(
        "durable",
        Kind::Flag,
        "Whether a request is recorded in the ledger before it is sent. Default false.",
    ),
    key(
        "settle",
        Kind::Choice(&["reply", "explicit"]),
        "Whether the reply itself settles an action, or the caller says so explicitly. Default reply.",
    ),
    key(
        "settle_within",
        TIME,
        "How long an explicit settle may take; after that the effect is cancelled. Default: total timeout + 30s.",
    ),
    key(
        "give_up",
        TIME_OR_ZERO,
        "How long a request that was provably not sent is tried again. Default 10m.",
    ),
    key(
        "on_unknown",
        Kind::Choice(&["repeat", "confirm", "cancel", "hold"]),
        "What to do when nobody knows the effect.",
    ),
    key(
        "quiet",
        TIME_OR_ZERO,
        "How long after the last possible send \"not found\" is believed. Default 2m.",
    ),
    key(
        "refusal_binds",
        Kind::Statuses,
        "The statuses of a refusal that prove that the provider looked the key up.",
    ),
    key("saves_refusals", Kind::Flag, "Whether the provider saves refusals under the key. Default false."),
    key(
        "resend_absent",
        Kind::Flag,
        "Whether a request that is believed absent may be sent again without a key. Default false.",
    ),
    key(
        "key",
        Kind::KeySource,
        "Where the key comes from, as a text with {request-header:NAME} and {request:/ptr}; or generate. Default {request-header:idempotency-key}.",
    ),
    key(
        "keep_headers",
        Kind::StoredHeaders,
        "The caller's headers that are recorded and sent, beside those that describe the body. Default accept and accept-language.",
    ),
    key(
        "credentials",
        Kind::Choice(&["configured", "none"]),
        "Whether this file has the provider's credentials, or the provider needs none. The caller's are never recorded. Default configured.",
    ),
    key(
        "sql_roles",
        Kind::SqlRoles,
        "The roles of the ledger's PostgreSQL that may act on it with plain SQL, as a list or as { ROLE = \"CALLER\" }. Default: those of the dependency.",
    ),
    key("amount", Kind::Table(&AMOUNT), "Where the body has the amount of money, which is recorded."),
    key(
        "audit_after",
        TIME_OR_ZERO,
        "How long after an action was closed by absence the provider is asked once more. Default 24h.",
    ),
];

/// Returns the names of settings that need `durable = true`.
pub(in crate::config) fn needs_durable() -> impl Iterator<Item = &'static str> {
    DURABLE.iter().skip(1).chain(ACTION_BOUNDS).map(|key| key.name)
}

/// Returns the documentation of a key of an operation, as the schema shows it. Panics if there is no such key.
#[cfg(test)]
pub(in crate::config) fn operation_doc(key: &str) -> &'static str {
    OPERATION.key(key).expect("a key of the table").doc
}

static ANSWERS: Spec = Spec {
    name: "`answers`",
    doc: "What answers mean. They are compared in this order: applied, not_applied, unknown. The first match wins.",
    groups: &[&[
        key("applied", Kind::Predicates, "Answers that mean that it took effect."),
        key("not_applied", Kind::Predicates, "Answers that mean that it took no effect."),
        key("unknown", Kind::Predicates, "Answers that say neither."),
        key(
            "otherwise",
            Kind::Otherwise,
            "What a 2xx means that fits none of these: unknown (safe) or applied. Default: as the status says, but unknown where a body that should decide is no JSON.",
        ),
    ]],
};

static CONFIRM: Spec = Spec {
    name: "`confirm`",
    doc: "How to ask the provider what became of it.",
    groups: &[&[
        must("request", Kind::Request(Purpose::Confirm), "The question, with placeholders."),
        key(
            "headers",
            Kind::HeaderTemplates(Purpose::Confirm),
            "Its headers, with placeholders in their values.",
        ),
        key("json", Kind::Json(Purpose::Confirm), "Its body as JSON, with placeholders in its strings."),
        key(
            "form",
            Kind::Form(Purpose::Confirm),
            "Its body as application/x-www-form-urlencoded: names, and values with placeholders. Not together with json.",
        ),
        key("after", TIME_OR_ZERO, "How long to wait before the first question. Default 2s."),
        must("applied", Kind::Predicates, "Answers that mean that it took effect."),
        key("cancelled", Kind::Predicates, "Answers that mean that it was undone at the provider."),
        key(
            "partly",
            Kind::Predicates,
            "Answers that mean that a part of it was undone. Compared after cancelled and before applied.",
        ),
        key(
            "absent",
            Kind::Predicates,
            "Answers that mean that it was not found. Default: no answer is taken to mean that.",
        ),
        key(
            "absences",
            COUNT,
            "How many answers that it was not found are needed, each one quiet time after the last. Default: 2 if a status alone means that, else 1.",
        ),
        key(
            "id",
            Kind::Pointer,
            "Where the answer has the provider's own id, as a JSON pointer; {answer:/…} may come from it.",
        ),
        key(
            "until",
            Kind::Window,
            "Until when the provider can be asked, from the first send: 24h, or next-day Asia/Seoul. Default: for ever.",
        ),
    ]],
};

static CANCEL: Spec = Spec {
    name: "`cancel`",
    doc: "How to undo it.",
    groups: &[&[
        must("request", Kind::Request(Purpose::Cancel), "The request, with placeholders."),
        key(
            "headers",
            Kind::HeaderTemplates(Purpose::Cancel),
            "Its headers, with placeholders in their values.",
        ),
        key("json", Kind::Json(Purpose::Cancel), "Its body as JSON, with placeholders in its strings."),
        key(
            "form",
            Kind::Form(Purpose::Cancel),
            "Its body as application/x-www-form-urlencoded: names, and values with placeholders. Not together with json.",
        ),
        key(
            "kind",
            Kind::Choice(&["additive", "state"]),
            "What a second cancel does: it adds up (additive), or it sets a state. Default additive.",
        ),
        key("after", TIME_OR_ZERO, "How long to wait before the first cancel. Default 0s."),
        key(
            "keyed",
            Kind::Flag,
            "Whether the provider honours an idempotency key on a cancel. Default false.",
        ),
        key(
            "tombstone",
            Kind::Flag,
            "Whether a cancel that comes first makes the provider refuse the operation. Default false.",
        ),
        key(
            "done",
            Kind::Predicates,
            "Answers that mean that it is undone now. Default: every 2xx that fits nothing else, unless refused is given.",
        ),
        key("already", Kind::Predicates, "Answers that mean that it is cancelled already."),
        key("not_found", Kind::Predicates, "Answers that mean that there is no such thing."),
        key(
            "refused",
            Kind::Predicates,
            "Answers that mean that it is not undone, and may be later. The cancel is sent again under a new key.",
        ),
        key("never", Kind::Predicates, "Answers that mean that it cannot be undone."),
        key(
            "until",
            Kind::Window,
            "Until when the provider takes a cancel, from the first send: 1h, or same-day Asia/Seoul. Default: for ever.",
        ),
    ]],
};

static AMOUNT: Spec = Spec {
    name: "`amount`",
    doc: "Where the body has the amount of money, which is recorded.",
    groups: &[&[
        must("value", Kind::Pointer, "Where the body has the amount, as a JSON pointer."),
        must(
            "currency",
            Kind::Currency,
            "The currency's code (ISO 4217), or a JSON pointer to where the body has it.",
        ),
        key(
            "minor",
            Kind::Whole { min: 0, max: 4 },
            "The number of decimal places of the currency, if the body says 1050 for 10.50: 2. Default 0.",
        ),
    ]],
};

/// Keys that may stand in `[ledger]`, for all operations, or in one operation.
pub(super) const ACTION_BOUNDS: &[Key] = &[
    key("attempts", Kind::Table(&ATTEMPTS), "How often each request of one action is tried at most."),
    key(
        "stuck_after",
        TIME,
        "How long questions and cancels are tried, from the first that failed, before the action is stuck. Default 24h.",
    ),
    key("network", TIME_OR_ZERO, "How long the network may hold a request back. Default 5s."),
    key("pause", TIME_OR_ZERO, "How long a process may stand still between check and send. Default 5s."),
];

static ATTEMPTS: Spec = Spec {
    name: "`attempts`",
    doc: "How often each request of one action is tried at most.",
    groups: &[&[
        key("perform", COUNT, "How often the request itself is sent. Default 5."),
        key("cancel", COUNT, "How often a cancel is sent. Default: as often as `stuck_after` allows."),
        key("confirm", COUNT, "How often the provider is asked. Default: as often as `stuck_after` allows."),
    ]],
};
