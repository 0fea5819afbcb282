//! Reads the settings that make an operation an action: how it is recorded, how the provider is asked what became of
//! it, how it is undone, and how it is compared with the provider's list. The crate `seawall-actions` finds the
//! mistakes, and they are reported here at their places in the file.

use seawall_actions::template::{Body, Pointer, Purpose, RequestTemplate};
use seawall_actions::{AmountAt, Cancel, Confirm, CurrencyAt, Declared, Listing};
use seawall_ledger::keys::{KeyChars, KeyRules};
use seawall_ledger::reconcile::{DAY, JsonList, Zone};
use seawall_ledger::{CancelKind, Lifetime, Limits, Rules, SettleBy};
use seawall_policy::{Gravity, Idempotency, Problem};

use super::super::action::{ON_UNKNOWN, Reconcile};
use super::super::keys;
use super::super::section::{Found, Layers, Section};
use super::super::settings::Operation;
use super::super::shape;
use super::super::values;
use super::gateway::count_u32;
use super::readers::{Inherited, predicates, statuses, word};

/// Reads the request under `key`, together with the headers and the body in the same table. Returns `None` if the
/// request is absent or cannot be read. Headers and bodies that cannot be read have been reported already, and checks
/// that need them are skipped.
fn request(section: &Section<'_>, key: &str, purpose: Purpose) -> Option<RequestTemplate> {
    let mut request = section.opt(key, |value| RequestTemplate::parse(values::text(value)?, purpose))?;
    let raw = |key| section.spec.key(key).and_then(|_| section.raw(key));
    if let Some(headers) = raw("headers") {
        for header in shape::header_templates(headers, purpose).0 {
            // A header that is given twice has been reported already, with its place. So this error is ignored.
            let _ = request.add_header(header);
        }
    }
    let form = raw("form").map(|form| ("form", Body::Form(shape::form(form, purpose).0)));
    let json = raw("json").map(|json| ("json", Body::Json(shape::json(json, purpose).0)));
    for (key, body) in form.into_iter().chain(json) {
        if let Err(wrong) = request.set_body(body) {
            section.wrong(key, wrong);
        }
    }
    Some(request)
}

fn pointer(section: &Section<'_>, key: &str) -> Option<Pointer> {
    section.opt(key, |value| Pointer::parse(values::text(value)?))
}

pub(super) fn confirm(section: &Section<'_>) -> Option<Confirm> {
    let silent = Confirm::new(request(section, "request", Purpose::Confirm)?);
    Some(Confirm {
        after: section.opt("after", values::time).unwrap_or(silent.after),
        applied: predicates(section, "applied"),
        cancelled: predicates(section, "cancelled"),
        partly: predicates(section, "partly"),
        absent: predicates(section, "absent"),
        absences: section.opt("absences", count_u32),
        id: pointer(section, "id"),
        until: section.opt("until", values::window),
        ..silent
    })
}

pub(super) fn cancel(section: &Section<'_>) -> Option<Cancel> {
    let kinds = [("additive", CancelKind::Additive), ("state", CancelKind::State)];
    let silent = Cancel::new(request(section, "request", Purpose::Cancel)?);
    Some(Cancel {
        kind: section.opt("kind", |value| word(&kinds, value)).unwrap_or(silent.kind),
        after: section.opt("after", values::time).unwrap_or(silent.after),
        keyed: section.opt("keyed", values::flag).unwrap_or(silent.keyed),
        tombstone: section.opt("tombstone", values::flag).unwrap_or(silent.tombstone),
        done: predicates(section, "done"),
        already: predicates(section, "already"),
        not_found: predicates(section, "not_found"),
        refused: predicates(section, "refused"),
        never: predicates(section, "never"),
        until: section.opt("until", values::window),
        ..silent
    })
}

/// Returns the rules of a durable operation, or `None` if the operation is not durable. Reports what is wrong with the
/// declaration.
pub(super) fn durable<'a>(
    section: &Section<'a>,
    operation: &Operation,
    inherited: &Inherited<'a, '_>,
) -> Option<Rules> {
    let mut declared = Declared {
        idempotency: operation.idempotency,
        total: operation.timeout.total,
        answers: &operation.answers,
        refuses: &operation.refuses,
        repeats_in_doubt: inherited.dangerous.retry_none,
        key_header: operation.taken.key.header().filter(|_| operation.idempotency == Idempotency::Keyed),
        key_lifetime: operation.key_lifetime.as_ref(),
        confirm: operation.confirm.as_ref(),
        cancel: operation.cancel.as_ref(),
        durable: None,
    };
    let bounds = Layers(vec![inherited.ledger_table.clone(), section.clone()]);
    let wanted = section.opt("durable", values::flag).unwrap_or(false);
    if !wanted && !matches!(section.get("durable", values::flag), Found::Broken) {
        note_without_effect(section);
    }
    let rules = wanted.then(|| rules(section, &declared, &bounds, inherited));
    declared.durable = rules.as_ref();
    let totals = inherited.layers.with(section.clone()).child("timeout");
    let unread = |setting: &str| match setting {
        "confirm" => declared.confirm.is_none() && !section.lacks(setting),
        "cancel" => declared.cancel.is_none() && !section.lacks(setting),
        "timeout.total" => !totals.pick("total", |_| Ok(()), ()).sound,
        "lease" => !Layers(vec![inherited.ledger_table.clone()]).pick("lease", |_| Ok(()), ()).sound,
        "network" | "pause" => !bounds.pick(setting, |_| Ok(()), ()).sound,
        other => is_unread(section, other),
    };
    for problem in declared.check().into_iter().filter(|problem| !problem.is_echo(unread)) {
        tell(section, problem);
    }
    rules
}

/// Splits the name of a setting, such as `cancel.tombstone`, at its first point. Returns the table in which the setting
/// stands, and its key in that table. A name without a point is a key of `section` itself.
fn at<'a, 's>(section: &Section<'a>, setting: &'s str) -> (Section<'a>, &'s str) {
    match setting.split_once('.') {
        Some((table, key)) => (section.child(table), key),
        None => (section.clone(), setting),
    }
}

/// Returns whether a setting is required but missing, or is there but cannot be read. Both mistakes have been reported
/// already, so a problem that only follows from them is left out.
fn is_unread(section: &Section<'_>, setting: &str) -> bool {
    let (table, key) = at(section, setting);
    let required = table.spec.key(key).is_some_and(|key| key.required);
    (required && !table.has(key)) || matches!(table.get(key, |_| Ok(())), Found::Broken)
}

fn tell(section: &Section<'_>, problem: Problem) {
    let (table, key) = match problem.setting {
        // The values of these settings may come from other tables. But the mistake concerns this operation, so it is
        // reported at the operation's key `durable`.
        "lease" | "timeout.total" => (section.clone(), "durable"),
        setting => at(section, setting),
    };
    match problem.gravity {
        Gravity::Error => table.wrong(key, problem.wrong),
        Gravity::Note => section.book.note(table.key_span(key), problem.wrong.to_string()),
    }
}

fn rules(
    section: &Section<'_>,
    declared: &Declared<'_>,
    bounds: &Layers<'_>,
    inherited: &Inherited<'_, '_>,
) -> Rules {
    let silent = declared.default_rules();
    let tries = bounds.child("attempts");
    Rules {
        settle: settle(section, declared, silent.settle),
        give_up: section.opt("give_up", values::time).unwrap_or(silent.give_up),
        on_unknown: section.opt("on_unknown", |value| word(&ON_UNKNOWN, value)).unwrap_or(silent.on_unknown),
        quiet: section.opt("quiet", values::time).unwrap_or(silent.quiet),
        keys: inherited.key.clone(),
        refusal_binds: statuses(section, "refusal_binds"),
        saves_refusals: section.opt("saves_refusals", values::flag).unwrap_or(silent.saves_refusals),
        resend_absent: section.opt("resend_absent", values::flag).unwrap_or(silent.resend_absent),
        audit_after: section.opt("audit_after", values::time).unwrap_or(silent.audit_after),
        limits: Limits {
            perform: tries.pick("perform", count_u32, silent.limits.perform).value,
            cancel: tries.pick("cancel", |value| count_u32(value).map(Some), silent.limits.cancel).value,
            confirm: tries.pick("confirm", |value| count_u32(value).map(Some), silent.limits.confirm).value,
        },
        stuck_after: bounds.pick("stuck_after", values::time, silent.stuck_after).value,
        lease: inherited.ledger.lease,
        network: bounds.pick("network", values::time, silent.network).value,
        pause: bounds.pick("pause", values::time, silent.pause).value,
        ..silent
    }
}

/// Reads which keys a provider takes. Reports what is wrong with the declared minimum and maximum length of a key. If
/// the rules cannot be read, returns the default.
pub(super) fn key_rules(section: &Section<'_>) -> KeyRules {
    let (table, silent) = (section.child("key"), KeyRules::default());
    let chars = table.opt("chars", |value| KeyChars::parse(values::text(value)?)).unwrap_or(silent.chars());
    let length = |key, silent| {
        let read = table.opt(key, values::whole);
        read.map_or(silent, |length| usize::try_from(length).unwrap_or(usize::MAX))
    };
    let read = KeyRules::new(chars, length("min", silent.min()), length("max", silent.max()));
    let problems = read.as_ref().map_or_else(Clone::clone, KeyRules::check);
    let unread = |setting: &str| is_unread(section, setting);
    for problem in problems.into_iter().filter(|problem| !problem.is_echo(unread)) {
        tell(section, problem);
    }
    read.unwrap_or(silent)
}

/// Reads where a request's body has the amount of money. Returns `None` if this is not declared, or if it cannot be
/// read.
pub(super) fn amount(section: &Section<'_>) -> Option<AmountAt> {
    let value = pointer(section, "value");
    let currency = section.opt("currency", |value| CurrencyAt::parse(values::text(value)?));
    let minor = section.opt("minor", values::whole).and_then(|minor| u8::try_from(minor).ok()).unwrap_or(0);
    AmountAt::new(value?, currency?, minor).ok()
}

/// Adds a note if the declared lifetime of keys has no effect. That is so if three things are true: the operation is
/// not durable, no answer is declared as `duplicate`, and the lifetime is a length of time and not a time of day.
pub(super) fn note_idle_lifetime(section: &Section<'_>, operation: &Operation) {
    let durable = section.opt("durable", values::flag).unwrap_or(false);
    let bounded = !operation.answers.duplicate.is_empty();
    if !durable && !bounded && matches!(operation.key_lifetime, Some(Lifetime::For(_))) {
        let says = "`key_lifetime` has no effect: the operation is not durable, and this is no time of day";
        section.book.note(section.key_span("key_lifetime"), says);
    }
}

fn note_without_effect(section: &Section<'_>) {
    for (key, says) in [
        (
            "confirm",
            "`confirm` has no effect, except that an answer of 202 is unknown: the operation is not durable",
        ),
        ("cancel", "`cancel` has no effect: the operation is not durable"),
    ] {
        if section.has(key) {
            section.book.note(section.key_span(key), says);
        }
    }
    for key in keys::needs_durable() {
        if section.has(key) {
            section
                .book
                .note(section.key_span(key), format!("`{key}` has no effect: the operation is not durable"));
        }
    }
}

fn settle(section: &Section<'_>, declared: &Declared<'_>, silent: SettleBy) -> SettleBy {
    let says = "`settle_within` has no effect: the reply settles it";
    match section.opt("settle", values::text) {
        Some("explicit") => declared.explicit(section.opt("settle_within", values::time)),
        Some(_) | None => {
            if section.has("settle_within") && section.lacks("settle") {
                section.book.note(section.key_span("settle_within"), says);
            }
            silent
        }
    }
}

pub(super) fn reconcile(section: &Section<'_>) -> Option<Reconcile> {
    let state = section.child("state");
    let texts = |key| {
        let items = state.raw(key).and_then(|value| value.get_ref().as_array()).into_iter().flatten();
        items.filter_map(|item| item.get_ref().as_str()).map(str::to_owned).collect()
    };
    let text = |table: &Section<'_>, key| pointer(table, key).map(|pointer| pointer.to_string());
    let form = JsonList {
        items: text(section, "items").unwrap_or_default(),
        next: text(section, "next"),
        key: text(section, "key").unwrap_or_default(),
        amount: text(section, "amount"),
        // The list's amounts are converted to units of the currency.
        shift: -section.opt("minor", values::whole).and_then(|minor| i8::try_from(minor).ok()).unwrap_or(0),
        state: text(&state, "pointer").unwrap_or_default(),
        applied: texts("applied"),
        cancelled: texts("cancelled"),
        ..JsonList::default()
    };
    let listing = Listing { request: request(section, "list", Purpose::List)?, form };
    let unread = |setting: &str| is_unread(section, setting);
    for problem in listing.check().into_iter().filter(|problem| !problem.is_echo(unread)) {
        tell(section, problem);
    }
    Some(Reconcile {
        every: section.opt("every", values::time).unwrap_or(DAY),
        zone: section.opt("zone", values::text).map_or_else(|| Zone::utc().name().to_owned(), str::to_owned),
        listing,
    })
}
