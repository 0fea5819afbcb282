//! What makes an operation an action: recording, asking, undoing, comparing.

use seawall_policy::Idempotency;

use super::super::action::{
    Attempts, Cancel, CancelKind, Confirm, Durable, OnUnknown, Reconcile, ReconcileState, Settle,
};
use super::super::defaults;
use super::super::keys;
use super::super::section::{Found, Layers, Section};
use super::super::settings::Operation;
use super::super::shape;
use super::super::template::{Hole, JsonTemplate, Pointer, Purpose, RequestTemplate};
use super::super::values::{self, Wrong, show_time};
use super::gateway::count_u32;
use super::readers::{Inherited, predicates, statuses, word};

fn request(section: &Section<'_>, key: &str, purpose: Purpose) -> Option<RequestTemplate> {
    section.opt(key, |value| RequestTemplate::parse(values::text(value)?, purpose))
}

fn json(section: &Section<'_>, purpose: Purpose) -> Option<JsonTemplate> {
    section.raw("json").map(|value| shape::json(value, purpose).0)
}

fn pointer(section: &Section<'_>, key: &str) -> Option<Pointer> {
    section.opt(key, |value| Pointer::parse(values::text(value)?))
}

pub(super) fn confirm(section: &Section<'_>) -> Option<Confirm> {
    Some(Confirm {
        request: request(section, "request", Purpose::Confirm)?,
        json: json(section, Purpose::Confirm),
        after: section.opt("after", values::time).unwrap_or(defaults::CONFIRM_AFTER),
        applied: predicates(section, "applied"),
        cancelled: predicates(section, "cancelled"),
        absent: predicates(section, "absent"),
        id: pointer(section, "id"),
    })
}

pub(super) fn cancel(section: &Section<'_>) -> Option<Cancel> {
    let kinds = [("additive", CancelKind::Additive), ("state", CancelKind::State)];
    Some(Cancel {
        request: request(section, "request", Purpose::Cancel)?,
        json: json(section, Purpose::Cancel),
        kind: section.opt("kind", |value| word(&kinds, value)).unwrap_or(CancelKind::Additive),
        after: section.opt("after", values::time).unwrap_or_default(),
        keyed: section.opt("keyed", values::flag).unwrap_or(false),
        tombstone: section.opt("tombstone", values::flag).unwrap_or(false),
        not_found: predicates(section, "not_found"),
        already: predicates(section, "already"),
    })
}

/// The settings of a durable operation; `None` where it is not durable.
pub(super) fn durable(
    section: &Section<'_>,
    operation: &Operation,
    inherited: &Inherited<'_, '_>,
) -> Option<Durable> {
    if !section.opt("durable", values::flag).unwrap_or(false) {
        if !matches!(section.get("durable", values::flag), Found::Broken) {
            note_without_effect(section);
        }
        return None;
    }
    let bounds = Layers(vec![inherited.ledger_table.clone(), section.clone()]);
    let tries = bounds.child("attempts");
    let durable = Durable {
        settle: settle(section),
        give_up: section.opt("give_up", values::time).unwrap_or(defaults::GIVE_UP),
        on_unknown: on_unknown(section, operation),
        quiet: section.opt("quiet", values::time).unwrap_or(defaults::QUIET),
        key_lifetime: section.opt("key_lifetime", values::time).unwrap_or(defaults::KEY_LIFETIME),
        refusal_binds: statuses(section, "refusal_binds"),
        saves_refusals: section.opt("saves_refusals", values::flag).unwrap_or(false),
        resend_absent: section.opt("resend_absent", values::flag).unwrap_or(false),
        audit_after: section.opt("audit_after", values::time).unwrap_or(defaults::AUDIT_AFTER),
        attempts: Attempts {
            perform: tries.pick("perform", count_u32, defaults::ATTEMPTS_PERFORM).value,
            cancel: tries.pick("cancel", count_u32, defaults::ATTEMPTS_CANCEL).value,
            confirm: tries.pick("confirm", count_u32, defaults::ATTEMPTS_CONFIRM).value,
        },
        network: bounds.pick("network", values::time, defaults::NETWORK).value,
        pause: bounds.pick("pause", values::time, defaults::PAUSE).value,
    };
    check_means(section, operation, &durable, inherited.dangerous.retry_none);
    check_times(section, operation, &durable, inherited);
    Some(durable)
}

fn note_without_effect(section: &Section<'_>) {
    for key in keys::needs_durable() {
        if section.has(key) {
            section
                .book
                .note(section.key_span(key), format!("`{key}` has no effect: the operation is not durable"));
        }
    }
}

fn settle(section: &Section<'_>) -> Settle {
    let within = section.opt("settle_within", values::time).unwrap_or(defaults::SETTLE_WITHIN);
    match section.opt("settle", values::text) {
        Some("explicit") => Settle::Explicit { within },
        Some(_) | None => {
            if section.has("settle_within") && section.lacks("settle") {
                section.book.note(
                    section.key_span("settle_within"),
                    "`settle_within` has no effect: the reply settles it",
                );
            }
            Settle::Reply
        }
    }
}

/// As declared; else a repeat where that is harmless, a question where one can be asked, a person otherwise.
fn on_unknown(section: &Section<'_>, operation: &Operation) -> OnUnknown {
    let words = [OnUnknown::Repeat, OnUnknown::Confirm, OnUnknown::Cancel, OnUnknown::Hold]
        .map(|it| (it.as_str(), it));
    let by_default = match operation.idempotency {
        Idempotency::Keyed | Idempotency::Idempotent => OnUnknown::Repeat,
        Idempotency::Safe | Idempotency::None if operation.confirm.is_some() => OnUnknown::Confirm,
        Idempotency::Safe | Idempotency::None => OnUnknown::Hold,
    };
    section.opt("on_unknown", |value| word(&words, value)).unwrap_or(by_default)
}

/// What an action may come to need must be declared.
fn check_means(section: &Section<'_>, operation: &Operation, durable: &Durable, retry_none: bool) {
    let no_confirm = section.lacks("confirm");
    let no_cancel = section.lacks("cancel");
    match (durable.on_unknown, operation.idempotency) {
        (_, Idempotency::Safe) => {
            let wrong = Wrong::new("a `safe` operation cannot be durable")
                .help("it has no effect that could be lost or doubled");
            section.wrong("durable", wrong);
        }
        (OnUnknown::Confirm, _) if no_confirm => {
            section.wrong(
                "on_unknown",
                Wrong::new("`on_unknown = \"confirm\"` needs `confirm`")
                    .help("say how to ask: confirm = { request = …, applied = … }"),
            );
        }
        (OnUnknown::Cancel, _) if no_cancel => {
            section.wrong(
                "on_unknown",
                Wrong::new("`on_unknown = \"cancel\"` needs `cancel`")
                    .help("say how to undo it: cancel = { request = … }"),
            );
        }
        (OnUnknown::Repeat, Idempotency::None) if !retry_none => {
            let help = "declare it `keyed` or `idempotent` if the other side honours that; else confirm, cancel or hold";
            section.wrong(
                "on_unknown",
                Wrong::new("a repeat of this operation could take effect twice").help(help),
            );
        }
        (OnUnknown::Repeat | OnUnknown::Confirm | OnUnknown::Cancel | OnUnknown::Hold, _) => {}
    }
    if matches!(durable.settle, Settle::Explicit { .. }) && no_cancel {
        let wrong = Wrong::new("`settle = \"explicit\"` needs `cancel`")
            .help("what is not settled in time is cancelled");
        section.wrong("settle", wrong);
    }
}

/// Times of the protocol that must fit into each other.
fn check_times(
    section: &Section<'_>,
    operation: &Operation,
    durable: &Durable,
    inherited: &Inherited<'_, '_>,
) {
    let Some(total) = operation.timeout.total else {
        section.wrong(
            "durable",
            Wrong::new("a durable operation needs a total timeout")
                .help("its attempts must end before its lease does"),
        );
        return;
    };
    let lease = inherited.ledger.lease;
    let lease_unread = matches!(inherited.ledger_table.get("lease", values::time), Found::Broken);
    if lease <= total && !lease_unread {
        let message = format!(
            "the ledger's lease {} is not longer than this operation's total timeout {}",
            show_time(lease),
            show_time(total)
        );
        section.wrong(
            "durable",
            Wrong::new(message).help("no attempt could be begun: in [ledger], give a longer `lease`"),
        );
    }
    let travel = durable.network.saturating_add(durable.pause);
    let resend = total.saturating_add(travel);
    if operation.idempotency == Idempotency::Keyed && durable.key_lifetime <= resend {
        let message = format!(
            "the key is forgotten after {}, before a repeat is sure to arrive ({})",
            show_time(durable.key_lifetime),
            show_time(resend)
        );
        section.wrong(
            "key_lifetime",
            Wrong::new(message).help("total timeout, `network` and `pause` must fit into `key_lifetime`"),
        );
    }
    if durable.quiet < travel {
        let says = format!(
            "`quiet` {} is shorter than `network` and `pause` together ({}): a \"not found\" may be believed too early",
            show_time(durable.quiet),
            show_time(travel)
        );
        section.book.note(section.key_span("quiet"), says);
    }
}

pub(super) fn reconcile(section: &Section<'_>) -> Option<Reconcile> {
    let list = request(section, "list", Purpose::List);
    let next = pointer(section, "next");
    if let Some(list) = &list {
        let asks = list.target.holes().any(|hole| *hole == Hole::Next);
        if asks && section.lacks("next") {
            section.wrong(
                "list",
                Wrong::new("`{next}` is never found: `next` is missing")
                    .help("the JSON pointer of a page's cursor"),
            );
        }
        if !asks && next.is_some() {
            section.wrong("next", Wrong::new("`list` has no `{next}`, so every page would be the first"));
        }
    }
    let state = section.child("state");
    let texts = |key| {
        let items = state.raw(key).and_then(|value| value.get_ref().as_array());
        items
            .map(|items| items.iter().filter_map(|item| item.get_ref().as_str()).map(str::to_owned).collect())
    };
    let (applied, cancelled): (Option<Vec<String>>, Option<Vec<String>>) =
        (texts("applied"), texts("cancelled"));
    Some(Reconcile {
        every: section.opt("every", values::time).unwrap_or(defaults::RECONCILE_EVERY),
        zone: section.opt("zone", values::text).unwrap_or(defaults::RECONCILE_ZONE).to_owned(),
        list: list?,
        items: pointer(section, "items")?,
        next,
        key: pointer(section, "key")?,
        amount: pointer(section, "amount"),
        state: ReconcileState {
            pointer: pointer(&state, "pointer")?,
            applied: applied?,
            cancelled: cancelled.unwrap_or_default(),
        },
    })
}
