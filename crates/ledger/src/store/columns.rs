//! The columns of the tables, in the order in which all statements name them.

/// The columns of an action that never change.
pub(crate) const FIXED: [&str; 8] =
    ["id", "dependency", "operation", "key", "scope", "scope_size", "request", "created_at"];

/// The columns of an action that change: the machine's state, and when the action is due.
pub(crate) const CHANGING: [&str; 30] = [
    "version",
    "goal",
    "effect",
    "reason",
    "open_attempts",
    "attempts",
    "maybe_sent",
    "logged",
    "in_flight",
    "asks",
    "absences",
    "settled",
    "ended",
    "why",
    "owner",
    "fence",
    "lease_until",
    "next_at",
    "quiet_until",
    "key_first_at",
    "settle_by",
    "answer",
    "cancel_gen",
    "cancel_gen_early",
    "cancel_open",
    "cancel_tries",
    "cancel_quiet_until",
    "closed_by_absence",
    "audit_at",
    "due_at",
];

/// The columns of the attempt log.
pub(crate) const ATTEMPT: [&str; 12] = [
    "action",
    "number",
    "kind",
    "generation",
    "fence",
    "recorded_at",
    "send_by",
    "after_quiet",
    "ended_at",
    "outcome",
    "status",
    "detail",
];

/// The columns of the attempt log that are written when an attempt ends.
pub(crate) const ENDED: [&str; 4] = ["ended_at", "outcome", "status", "detail"];

/// Returns the names of all columns of an action, separated by commas.
pub(crate) fn action() -> String {
    let all: Vec<&str> = FIXED.into_iter().chain(CHANGING).collect();
    all.join(", ")
}

/// Returns `column = source.column` for each column, separated by commas.
pub(crate) fn assigned(columns: &[&str], source: &str) -> String {
    let each: Vec<String> = columns.iter().map(|column| format!("{column} = {source}.{column}")).collect();
    each.join(", ")
}
