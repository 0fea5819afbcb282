//! Makes the text that `seawall check` prints: the settings in force for every operation, and sentences that say what
//! these settings do.
//!
//! The text about each operation ends with such sentences, for example "sent once; a failure leaves no effect". A
//! person would not see such a consequence in a table of forty settings. The values of headers are shown as `***`.

mod actions;
mod policies;
mod words;

use std::fmt::Write;

use seawall_actions::template::{Body, RequestTemplate};
use seawall_ledger::{CancelKind, KeyRules, SettleBy};
use seawall_policy::{Idempotency, Predicate, Timeouts};

use super::action::ON_UNKNOWN;
use super::in_force::pending;
use super::keys;
use super::predicate;
use super::rows;
use super::settings::{Dependency, Endpoint, Gateway, Operation, Retry, Settings};
use super::values::{show_size, show_time};
use actions::{forgotten, key_rules, until};
use policies::{show_breaker, show_concurrency, show_retry};
use words::{durable_follows, otherwise, repeats};

/// Returns the settings in force, as text that ends with a line break.
#[must_use]
pub fn effective(settings: &Settings) -> String {
    let mut page = Page::default();
    gateway(&mut page, &settings.gateway);
    let mut operations = settings.dependencies.iter().flat_map(|it| &it.operations);
    if operations.any(|it| it.durable.is_some()) {
        page.title(0, "ledger");
        let url = settings.ledger.url.reveal();
        let shown = if url.starts_with("sqlite:") { url } else { "***" };
        page.line(1, "url", shown);
        let ledger = &settings.ledger;
        page.line(1, "lease", show_time(ledger.lease));
        let bounds = format!(
            "request_max {}, answer_max {}, waiters {}, undeclared_after {}",
            show_size(ledger.request_max as u64),
            show_size(ledger.answer_max as u64),
            ledger.waiters,
            show_time(ledger.undeclared_after)
        );
        page.line(1, "bounds", bounds);
        if let Some(on_stuck) = &ledger.on_stuck {
            // The path of a webhook can be a secret.
            let host = on_stuck.url.authority().map_or("", |authority| authority.as_str());
            let scheme = on_stuck.url.scheme_str().unwrap_or_default();
            page.line(1, "on_stuck", format!("{scheme}://{host}, signed"));
        }
    }
    for found in &settings.dependencies {
        page.blank();
        dependency(&mut page, found);
    }
    page.out
}

/// A page of indented lines, each with a label and a text.
#[derive(Default)]
struct Page {
    out: String,
}

impl Page {
    fn title(&mut self, depth: usize, text: &str) {
        self.out.push_str(&format!("{:width$}{text}\n", "", width = depth * 2));
    }

    fn line(&mut self, depth: usize, label: &str, text: impl AsRef<str>) {
        let text = text.as_ref();
        writeln!(self.out, "{:width$}{label:<12} {text}", "", width = depth * 2)
            .expect("writing to a string");
    }

    fn blank(&mut self) {
        self.out.push('\n');
    }
}

fn gateway(page: &mut Page, gateway: &Gateway) {
    page.title(0, "gateway");
    page.line(1, "listen", gateway.listen.to_string());
    page.line(1, "admin", gateway.admin.to_string());
    page.line(
        1,
        "workers",
        gateway.workers.map_or_else(|| "one for each core".to_owned(), |count| count.to_string()),
    );
    page.line(1, "instances", gateway.instances.to_string());
    page.line(1, "drain", show_time(gateway.drain));
    if !gateway.hosts.is_empty() {
        page.line(1, "hosts", gateway.hosts.join(", "));
    }
    let clients = match &gateway.clients {
        None => "anybody on this machine; web pages are refused".to_owned(),
        Some(clients) => {
            let tokens = clients.tokens_file.as_ref().map(|path| format!("tokens of {}", path.display()));
            let certificates =
                clients.ca_file.as_ref().map(|path| format!("certificates by {}", path.display()));
            tokens.into_iter().chain(certificates).collect::<Vec<_>>().join(", ")
        }
    };
    page.line(1, "clients", clients);
    let limits = &gateway.limits;
    let body = limits.body.map_or_else(|| "off".to_owned(), show_size);
    let shown = format!(
        "header_bytes {}, headers {}, body {body}, connections {}, header_time {}",
        show_size(limits.header_bytes),
        limits.headers,
        limits.connections,
        show_time(limits.header_time)
    );
    page.line(1, "limits", shown);
}

fn dependency(page: &mut Page, dependency: &Dependency) {
    page.title(0, &format!("dependency {}", dependency.name));
    page.line(1, "reached at", reached_at(dependency));
    for (index, endpoint) in dependency.endpoints.iter().enumerate() {
        page.line(1, &format!("endpoint {index}"), show_endpoint(endpoint));
    }
    page.line(1, "http", dependency.http.to_string());
    if let Some(proxy) = &dependency.proxy {
        page.line(1, "proxy", proxy.to_string());
    }
    if let Some(bind) = dependency.bind {
        page.line(1, "bind", bind.to_string());
    }
    page.line(1, "tls", show_tls(dependency));
    if let Some(health) = &dependency.health {
        page.line(1, "health", format!("{} {}", health.method, without_query(&health.target)));
    }
    if dependency.key != KeyRules::default() {
        page.line(1, "key", key_rules(&dependency.key));
    }
    if dependency.operations.iter().any(|operation| operation.durable.is_some()) {
        page.line(1, "key_scope", actions::key_scope(dependency.key_scope));
    }
    if let Some(header) = &dependency.deadline_header {
        page.line(
            1,
            "deadline",
            format!("the header `{header}` tells the dependency how many milliseconds are left"),
        );
    }
    page.line(1, "budget", rows::show(keys::BUDGET, &[], &dependency.budget));
    page.line(1, "overload", show_overload(dependency));
    page.line(1, "concurrency", show_concurrency(&dependency.concurrency));
    page.line(1, "breaker", show_breaker(&dependency.breaker));
    page.line(1, "pool", rows::show(keys::POOL, &[], &dependency.pool));
    let answer = rows::show(keys::ANSWER, &[], &dependency.answer);
    page.line(1, "answer", format!("{answer}{}", pending("answer")));
    page.line(1, "dns", rows::show(keys::DNS, &[], &dependency.dns));
    if let Some(reconcile) = &dependency.reconcile {
        let text = format!(
            "every {} ({}): {}",
            show_time(reconcile.every),
            reconcile.zone,
            show_request(&reconcile.listing.request)
        );
        page.line(1, "reconcile", format!("{text}{}", pending("reconcile")));
    }
    if dependency.dangerous.retry_none {
        page.line(1, "dangerous", "retry_none: calls that may have taken effect are sent again");
    }
    for found in &dependency.operations {
        operation(page, found, dependency);
    }
    fallback(page, dependency);
}

/// Returns a method and URL as they may be shown. In the query, only names and placeholders are kept. Everything else
/// in the query is shown as `***`, since it may be a credential.
fn without_query(request: &str) -> String {
    let Some((path, query)) = request.split_once('?') else { return request.to_owned() };
    let shown = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, value)) if value.starts_with('{') && value.ends_with('}') => format!("{name}={value}"),
        Some((name, _)) => format!("{name}=***"),
        None => "***".to_owned(),
    });
    format!("{path}?{}", shown.collect::<Vec<_>>().join("&"))
}

/// Returns a whole request as it may be shown: its method and URL, the names of its headers, and the kind of its body.
/// The values of its headers and the content of its body are left out.
fn show_request(request: &RequestTemplate) -> String {
    let headers = request.headers().iter().map(|header| format!("{}: ***", header.name()));
    let body = request.body().map(|body| match body {
        Body::Json(_) => "a JSON body".to_owned(),
        Body::Form(_) => "a form".to_owned(),
    });
    let parts: Vec<String> = headers.chain(body).collect();
    let with = if parts.is_empty() { String::new() } else { format!(" with {}", parts.join(", ")) };
    format!("{}{with}", without_query(&request.to_string()))
}

/// Returns, in words, which statuses mean "come back later", and whether an endpoint that sends one of them gets no
/// calls for a time.
fn show_overload(dependency: &Dependency) -> String {
    let statuses: Vec<String> = dependency.overload.iter().map(u16::to_string).collect();
    match (statuses.is_empty(), dependency.cooldown) {
        (true, _) => "no status".to_owned(),
        (false, true) => format!("{}; cools until the time that the answer names", statuses.join(", ")),
        (false, false) => format!("{}; cooldown off", statuses.join(", ")),
    }
}

fn reached_at(dependency: &Dependency) -> String {
    let own = dependency.listen.map(|listen| format!(" and http://{listen}/")).unwrap_or_default();
    format!("/{}/{own}", dependency.name)
}

fn show_endpoint(endpoint: &Endpoint) -> String {
    let headers: Vec<String> = endpoint.headers.iter().map(|(name, _)| format!("{name}: ***")).collect();
    if headers.is_empty() {
        endpoint.url.to_string()
    } else {
        format!("{}  with {}", endpoint.url, headers.join(", "))
    }
}

fn show_tls(dependency: &Dependency) -> String {
    let roots = match &dependency.tls.ca_file {
        Some(path) => format!("authorities of {}", path.display()),
        None => "the system's authorities".to_owned(),
    };
    match &dependency.tls.client_cert {
        Some(cert) => format!("{roots}, showing {}", cert.display()),
        None => roots,
    }
}

/// What every durable call does, in words.
const ONE_ATTEMPT: &str =
    "a call makes one attempt, with its whole body; what is repeated after it is said below";

fn operation(page: &mut Page, operation: &Operation, dependency: &Dependency) {
    page.title(1, &format!("operation {}: {}, {}", operation.name, operation.pattern, operation.idempotency));
    page.line(2, "timeout", rows::show(keys::TIMEOUT, &[], &operation.timeout));
    match operation.durable {
        // A durable call makes one attempt. Further attempts are made by the ledger, by its own rules.
        Some(_) => page.line(2, "retry", "none within a call"),
        None => page.line(2, "retry", show_retry(&operation.retry)),
    }
    if let Some(slow) = operation.slow_call {
        // `slow` is the value in force: the operation's own `slow_call` if it has one, and otherwise the breaker's.
        page.line(2, "slow_call", show_time(slow));
    }
    if !operation.refuses.is_empty() {
        let all: Vec<String> = operation.refuses.iter().map(u16::to_string).collect();
        page.line(
            2,
            "refuses",
            format!(
                "{}: such an answer means that nothing was processed, and every call may be repeated",
                all.join(", ")
            ),
        );
    }
    let answers = &operation.answers;
    for (label, predicates) in [
        ("duplicate", &answers.duplicate),
        ("applied", &answers.applied),
        ("not_applied", &answers.not_applied),
        ("unknown", &answers.unknown),
    ] {
        for found in predicates {
            page.line(2, label, format!("if {}", predicate::show(found)));
        }
    }
    if let Some(sentence) = otherwise(answers) {
        page.line(2, "otherwise", sentence);
    }
    action(page, operation);
    match operation.durable {
        Some(_) => page.line(2, "so", ONE_ATTEMPT),
        None => follows(page, operation.idempotency, &operation.retry, &operation.timeout, dependency),
    }
    if let Some(sentence) = forgotten(operation) {
        page.line(2, "so", sentence);
    }
    if let Some(durable) = &operation.durable {
        let all = durable_follows(operation, durable);
        for sentence in all.into_iter().chain(actions::follows(operation, durable)) {
            page.line(2, "so", sentence);
        }
        if dependency.endpoints.len() > 1 {
            page.line(2, "so", "only endpoint 0 is used");
        }
    }
}

/// Shows how an action's effect is asked for, how the action is undone, and how it is recorded.
fn action(page: &mut Page, operation: &Operation) {
    if let Some(confirm) = &operation.confirm {
        let shown = format!(
            "{} after {}{}",
            show_request(&confirm.request),
            show_time(confirm.after),
            until(confirm.until.as_ref())
        );
        page.line(2, "confirm", shown);
        meanings(
            page,
            &[
                ("cancelled", &confirm.cancelled),
                ("partly", &confirm.partly),
                ("applied", &confirm.applied),
                ("absent", &confirm.absent),
            ],
        );
    }
    if let Some(cancel) = &operation.cancel {
        let request = show_request(&cancel.request);
        let kind = match cancel.kind {
            CancelKind::Additive => "additive",
            CancelKind::State => "sets a state",
        };
        let until = until(cancel.until.as_ref());
        page.line(2, "cancel", format!("{request}, {kind}{until}"));
        meanings(
            page,
            &[
                ("done", &cancel.done),
                ("already", &cancel.already),
                ("not_found", &cancel.not_found),
                ("refused", &cancel.refused),
                ("never", &cancel.never),
            ],
        );
    }
    let Some(durable) = &operation.durable else { return };
    let settle = match durable.settle {
        SettleBy::Reply => "by the reply".to_owned(),
        SettleBy::Explicit(within) => format!("explicit within {}", show_time(within)),
    };
    let limits = &durable.limits;
    let tried =
        [("attempts", Some(limits.perform)), ("cancels", limits.cancel), ("questions", limits.confirm)];
    let tried = tried.into_iter().filter_map(|(what, most)| Some(format!("{what} {}", most?)));
    let tried = tried.collect::<Vec<_>>().join(", ");
    let shown = format!(
        "settle {settle}, give_up {}, on_unknown {}, quiet {}, key_lifetime {}, {tried}, stuck_after {}",
        show_time(durable.give_up),
        ON_UNKNOWN.iter().find(|(_, what)| *what == durable.on_unknown).map_or("", |(word, _)| *word),
        show_time(durable.quiet),
        durable.key_lifetime.as_ref().map_or("not declared".to_owned(), ToString::to_string),
        show_time(durable.stuck_after)
    );
    page.line(2, "durable", shown);
    for (label, text) in actions::taken(&operation.taken) {
        page.line(2, label, text);
    }
    if let Some(amount) = &operation.amount {
        page.line(2, "amount", amount.to_string());
    }
}

/// Shows which answers have which meaning, in the order in which they are compared.
fn meanings(page: &mut Page, lists: &[(&str, &Vec<Predicate>)]) {
    for (label, found) in lists.iter().filter(|(_, found)| !found.is_empty()) {
        let all: Vec<String> = found.iter().map(predicate::show).collect();
        page.line(3, label, format!("if {}", all.join("; or ")));
    }
}

/// Shows the settings of requests that match no operation.
fn fallback(page: &mut Page, dependency: &Dependency) {
    let settings = &dependency.fallback;
    page.title(1, "other requests: the method decides");
    page.line(2, "timeout", rows::show(keys::TIMEOUT, &[], &settings.timeout));
    page.line(2, "retry", show_retry(&settings.retry));
    let key = "POST, PATCH with an Idempotency-Key";
    let classes = [
        ("GET, HEAD, OPTIONS", Idempotency::Safe),
        ("PUT, DELETE", Idempotency::Idempotent),
        (key, if dependency.keys { Idempotency::Keyed } else { Idempotency::None }),
        ("plain POST, PATCH", Idempotency::None),
    ];
    for (requests, idempotency) in classes {
        if requests == key && !dependency.keys {
            continue;
        }
        let sentence = repeats(idempotency, &settings.retry, dependency.dangerous.retry_none);
        page.line(2, "so", format!("{requests}: {sentence}"));
    }
    if !dependency.keys {
        page.line(
            2,
            "so",
            "an Idempotency-Key has no meaning here: `keys = true` says that the dependency honours it",
        );
    }
}

/// Adds the lines that say in words what the settings of one operation do: how often a call is sent, which bodies are
/// not sent again, and whether anything bounds the time of a call.
fn follows(
    page: &mut Page,
    idempotency: Idempotency,
    retry: &Retry,
    timeout: &Timeouts,
    dependency: &Dependency,
) {
    page.line(2, "so", repeats(idempotency, retry, dependency.dangerous.retry_none));
    if retry.attempts_in_force() > 1 {
        let buffer = show_size(retry.buffer as u64);
        page.line(
            2,
            "so",
            format!("a body over {buffer} streams, and is repeated only while nothing of it was sent"),
        );
    }
    if timeout.total.is_none() {
        page.line(
            2,
            "so",
            "nothing bounds the whole call: it ends only when nothing moves for the read timeout",
        );
    }
}
