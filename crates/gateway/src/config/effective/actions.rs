//! Says in words which keys a provider takes, and what is taken over from a caller's request. Also says how an action
//! is limited by the lifetime of the keys, and by the times until which the provider can be asked or takes cancels.

use http::HeaderName;
use seawall_actions::KeySource;
use seawall_ledger::{KeyRules, Lifetime, Rules, Window};
use seawall_policy::Idempotency;

use super::super::action::{KeyScope, SqlRoles, Taken};
use super::super::settings::Operation;
use super::super::values::show_time;

/// Returns, in words, which keys a provider takes, and what is sent if an action's key is not among them.
pub(super) fn key_rules(rules: &KeyRules) -> String {
    let (min, max) = (rules.min(), rules.max());
    format!(
        "{min} to {max} bytes of {}; an action's key that does not fit is sent as one that is computed from it \
         ({} bits of its hash)",
        rules.chars(),
        rules.bits()
    )
}

/// Returns, in words, which callers share keys.
pub(super) fn key_scope(scope: KeyScope) -> &'static str {
    match scope {
        KeyScope::Client => "client: the caller's name stands before the keys of durable operations",
        KeyScope::Shared => "shared: all callers share the keys of durable operations",
    }
}

/// Returns the lines that `seawall check` shows about what is taken over from a caller's request. Each line is a label
/// and a text.
pub(super) fn taken(taken: &Taken) -> Vec<(&'static str, String)> {
    let key = match &taken.key {
        KeySource::Generated => {
            "made for each request, so a repeat by the caller is another action".to_owned()
        }
        KeySource::Request(template) => template.to_string(),
    };
    let headers: Vec<&str> = taken.headers.iter().map(HeaderName::as_str).collect();
    let credentials = match taken.credentials {
        true => "those of this file; a caller's are not recorded",
        false => "none; a caller's are not recorded",
    };
    let mut lines =
        vec![("key", key), ("keep_headers", headers.join(", ")), ("credentials", credentials.to_owned())];
    lines.extend(taken.sql_roles.as_ref().map(|roles| ("sql_roles", sql_roles(roles))));
    lines
}

/// Returns, in words, which roles of the database may act on an operation's actions with plain SQL.
fn sql_roles(roles: &SqlRoles) -> String {
    let role = |(role, caller): (&String, &Option<String>)| match caller {
        Some(caller) => format!("{role} as {caller}"),
        None => role.clone(),
    };
    let all: Vec<String> = roles.iter().map(role).collect();
    if all.is_empty() { "none: nobody acts on it with plain SQL".to_owned() } else { all.join(", ") }
}

/// Returns the words `, until …`, which are added to the line about a confirm or a cancel if the provider takes it only
/// within `window`. Returns the empty text if there is no such bound.
pub(super) fn until(window: Option<&Window>) -> String {
    window.map_or_else(String::new, |window| format!(", until {window}"))
}

/// Returns the sentence that says until when a call of unknown effect is sent again: the repeat must arrive before the
/// provider forgets the key. Returns `None` if the lifetime of keys does not limit the repeats of a call, for example
/// if the operation is durable.
pub(super) fn forgotten(operation: &Operation) -> Option<String> {
    match (&operation.key_lifetime, operation.idempotency) {
        (Some(lifetime @ Lifetime::Daily(_)), Idempotency::Keyed) if operation.durable.is_none() => {
            Some(format!("after a doubt it is sent again only if that surely arrives before {lifetime}"))
        }
        (Some(Lifetime::For(time)), Idempotency::Keyed)
            if operation.durable.is_none() && !operation.answers.duplicate.is_empty() =>
        {
            let time = show_time(*time);
            Some(format!("after a doubt it is sent again only if that surely arrives within {time}"))
        }
        _ => None,
    }
}

/// Returns the sentences that say how a durable operation is limited by its provider: how long the provider remembers
/// keys, until when it can be asked, and until when it takes cancels.
pub(super) fn follows(operation: &Operation, durable: &Rules) -> Vec<String> {
    let mut all = Vec::new();
    if operation.idempotency == Idempotency::Keyed && durable.key_lifetime.is_none() {
        all.push(
            "nothing is sent again after a doubt: nobody said how long the provider remembers a key (`key_lifetime`)"
                .to_owned(),
        );
    }
    let ends = |window: &Window| match window {
        Window::For(time) => format!("{} after the first send", show_time(*time)),
        Window::Days { days: 0, zone } => format!("the end of the day of the first send in {zone}"),
        Window::Days { days: 1, zone } => format!("the end of the day after the first send in {zone}"),
        Window::Days { days, zone } => {
            format!("the end of the {days} days after the day of the first send in {zone}")
        }
    };
    if let Some(window) = operation.confirm.as_ref().and_then(|confirm| confirm.until.as_ref()) {
        all.push(format!("asked until {}; what is unknown then waits for a person", ends(window)));
    }
    if let Some(window) = operation.cancel.as_ref().and_then(|cancel| cancel.until.as_ref()) {
        all.push(format!("undone until {}; later a cancel ends with a person", ends(window)));
    }
    all
}
