//! Reads what is taken over from the request of a durable operation's caller: its key, and some of its headers. A
//! caller's credentials are never taken over. So the file must have the credentials that the provider needs.

use http::HeaderName;
use http::header::{ACCEPT, ACCEPT_LANGUAGE, CONTENT_ENCODING, CONTENT_TYPE};
use seawall_actions::template::{Hole, RequestTemplate};
use seawall_actions::{Cancel, Confirm, KeySource};
use seawall_ledger::KeyRules;
use seawall_policy::Idempotency;

use super::super::action::{KEY_SCOPES, KeyScope, Ledger, SqlRoles, Taken};
use super::super::section::{Found, Section};
use super::super::settings::{Gateway, Operation};
use super::super::shape;
use super::super::values::{self, Wrong};
use super::readers::{Inherited, word};

/// Reads which callers of a dependency share keys. Reports a mistake if each caller should have keys of its own, but no
/// caller has a name.
pub(super) fn key_scope(section: &Section<'_>, gateway: &Gateway, gateway_table: &Section<'_>) -> KeyScope {
    let named = gateway.clients.as_ref().is_some_and(|clients| clients.tokens_file.is_some());
    let silent = if named { KeyScope::Client } else { KeyScope::Shared };
    let scope = section.opt("key_scope", |value| word(&KEY_SCOPES, value)).unwrap_or(silent);
    let clients = gateway_table.child("clients");
    let unnamed = gateway_table.lacks("clients") || (clients.is_present() && clients.lacks("tokens_file"));
    if scope == KeyScope::Client && !named && unnamed {
        let wrong = Wrong::new("callers have no names: `gateway.clients` has no `tokens_file`");
        section.wrong(
            "key_scope",
            wrong.help("give `clients.tokens_file`, with lines NAME TOKEN; or write \"shared\""),
        );
    }
    scope
}

/// Reads which roles of the ledger's database may act on durable operations with plain SQL. Reports a mistake if each
/// caller has keys of its own and a role has no caller. Adds a note if the ledger's database has no roles.
pub(super) fn sql_roles(section: &Section<'_>, scope: KeyScope, ledger: &Ledger) -> Option<SqlRoles> {
    let roles = shape::sql_roles(section.raw("sql_roles")?).0;
    if scope == KeyScope::Client && roles.values().any(Option::is_none) {
        let wrong = Wrong::new("each caller has keys of its own, and a role has no caller here");
        section.wrong("sql_roles", wrong.help("write { ROLE = \"CALLER\" }; or key_scope = \"shared\""));
    }
    if ledger.url.reveal().starts_with("sqlite:") {
        let says = "`sql_roles` has no effect: the ledger is in SQLite, which has no roles";
        section.book.note(section.key_span("sql_roles"), says);
    }
    Some(roles)
}

/// Adds a note for each setting of a dependency that has no effect because none of its operations is durable.
pub(super) fn note_idle_keys(section: &Section<'_>, operations: &[Operation]) {
    let idle = operations.iter().all(|operation| operation.durable.is_none());
    for key in ["key", "key_scope", "sql_roles"].into_iter().filter(|key| idle && section.has(key)) {
        let says = format!("`{key}` has no effect: no operation of this dependency is durable");
        section.book.note(section.key_span(key), says);
    }
}

/// Returns whether the file has credentials for the first endpoint of a dependency: a header, or a certificate. Also
/// returns `true` if the settings that would say so cannot be read.
pub(super) fn has_credentials(section: &Section<'_>) -> bool {
    let has = |table: &Section<'_>, key| match table.raw(key).map(|value| value.get_ref().as_table()) {
        Some(Some(fields)) => !fields.is_empty(),
        Some(None) => true,
        None => !table.lacks(key),
    };
    let certificate = has(section, "tls") && {
        let tls = section.child("tls");
        !tls.is_present() || !tls.lacks("client_cert")
    };
    let first = section.children("endpoint").into_iter().next();
    certificate || has(section, "headers") || first.is_some_and(|first| has(&first, "headers"))
}

/// Reads what is taken over from a caller's request.
pub(super) fn taken(
    section: &Section<'_>,
    idempotency: Idempotency,
    confirm: Option<&Confirm>,
    cancel: Option<&Cancel>,
    inherited: &Inherited<'_, '_>,
) -> Taken {
    let key = section.opt("key", |value| KeySource::parse(values::text(value)?)).unwrap_or_default();
    let words = [("configured", true), ("none", false)];
    let asked = confirm.map(|confirm| &confirm.request);
    let requests = asked.into_iter().chain(cancel.map(|cancel| &cancel.request));
    // A keyed operation may take an action's key from one header of the caller's request alone, such as
    // `idempotency-key`. Then this header is not recorded with the other headers, because the ledger writes the
    // recorded key into it each time that it sends the request.
    let is_sent_as_key = idempotency == Idempotency::Keyed && key.header().is_some();
    let holes = requests.flat_map(RequestTemplate::holes).chain(key.holes().filter(|_| !is_sent_as_key));
    Taken {
        headers: headers(section, holes),
        sql_roles: sql_roles(section, inherited.key_scope, inherited.ledger)
            .or_else(|| inherited.sql_roles.clone()),
        credentials: section.opt("credentials", |value| word(&words, value)).unwrap_or(true),
        key,
    }
}

/// Returns the names of the headers that are recorded. They are those that are needed to read the body, those of the
/// setting `keep_headers`, and those whose values fill `holes`, such as `{request-header:x-tenant}`.
fn headers<'h>(section: &Section<'_>, holes: impl Iterator<Item = &'h Hole>) -> Vec<HeaderName> {
    let listed = section.raw("keep_headers");
    let listed = listed.map_or_else(|| vec![ACCEPT, ACCEPT_LANGUAGE], |list| shape::stored_headers(list).0);
    let filled = holes.filter_map(|hole| match hole {
        Hole::RequestHeader(name) => Some(name.clone()),
        _ => None,
    });
    let mut all = vec![CONTENT_TYPE, CONTENT_ENCODING];
    for name in listed.into_iter().chain(filled) {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    all
}

/// Reports a durable operation whose dependency does not fit it: credentials are missing, or there are several
/// endpoints, or the provider may know an action by another key.
pub(super) fn check(section: &Section<'_>, operation: &Operation, inherited: &Inherited<'_, '_>) {
    let unread = matches!(section.get("credentials", |_| Ok(())), Found::Broken);
    if operation.taken.credentials && !inherited.has_credentials && !unread {
        let wrong = Wrong::new(
            "a durable operation needs credentials from this file: the dependency's first endpoint has no `headers`",
        );
        section.wrong(
            "durable",
            wrong.help(
                "a caller's are never recorded: give headers = { authorization = \"Bearer ${env:NAME}\" }; or credentials = \"none\" if the provider needs none",
            ),
        );
    }
    if inherited.endpoints > 1 {
        let says = "a durable operation uses the first endpoint only: at another one, which may be another \
                    provider, it could take effect once more";
        section.book.note(section.key_span("durable"), says);
    }
    note_key_of_body(section, operation, inherited);
}

/// Adds a note if a confirm or a cancel names an action by `{key}`, although the provider may know the action by
/// another key. This can happen if the key comes from a field of the body. The body is sent unchanged, so the provider
/// knows the action by this field. But `{key}` may have the caller's name before it, or may be a mapped key. The
/// provider would then say "not found" of an action that took effect.
fn note_key_of_body(section: &Section<'_>, operation: &Operation, inherited: &Inherited<'_, '_>) {
    let field = operation.taken.key.holes().find(|hole| matches!(hole, Hole::Request(_)));
    let differs = inherited.key_scope == KeyScope::Client || *inherited.key != KeyRules::default();
    let Some(field) = field.filter(|_| differs) else { return };
    let confirm = operation.confirm.as_ref().map(|confirm| ("confirm", &confirm.request));
    let cancel = operation.cancel.as_ref().map(|cancel| ("cancel", &cancel.request));
    for (setting, request) in confirm.into_iter().chain(cancel) {
        if request.holes().any(|hole| *hole == Hole::Key) {
            let says = format!(
                "`{{key}}` may differ from the body's `{field}`: it has the caller's name before it, or is mapped. \
                 A provider that knows the action by that field must be asked with `{field}`"
            );
            section.book.note(section.key_span(setting), says);
        }
    }
}
