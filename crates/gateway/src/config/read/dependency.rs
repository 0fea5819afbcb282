//! Reads `[dependency.NAME]`: where the dependency is, how it is reached, and its operations.

use http::{HeaderName, HeaderValue, Uri};
use seawall_actions::template::{Purpose, RequestTemplate, header_name};
use seawall_client::connect::TlsSettings;
use seawall_policy::{CoolingSettings, Rules};

use super::super::action::Ledger;
use super::super::pattern::Pattern;
use super::super::section::{Layers, Section};
use super::super::settings::{Dangerous, Dependency, Endpoint, Fallback, Gateway, Health, Operation};
use super::super::values::{self, Wrong};
use super::{action, operation, policies, readers, taken};

/// What a dependency inherits from the rest of the file.
pub(super) struct Context<'a, 's> {
    pub(super) defaults: Layers<'a>,
    pub(super) gateway: &'s Gateway,
    pub(super) gateway_table: &'s Section<'a>,
    pub(super) ledger: &'s Ledger,
    pub(super) ledger_table: &'s Section<'a>,
}

/// Reads a dependency. Returns `None` if its endpoints cannot be read; the mistakes have been reported already.
pub(super) fn dependency<'a>(
    name: &str,
    section: &Section<'a>,
    context: &Context<'a, '_>,
) -> Option<Dependency> {
    let layers = context.defaults.with(section.clone());
    let dangerous = section.child("dangerous");
    let dangerous = Dangerous { retry_none: dangerous.opt("retry_none", values::flag).unwrap_or(false) };
    if dangerous.retry_none {
        let says = format!(
            "dangerous: calls of `{name}` that may have taken effect are repeated, so they may take effect twice"
        );
        section.book.note(section.key_span("dangerous"), says);
    }
    let patterns: Vec<Pattern> =
        section.children("operation").iter().filter_map(operation::pattern).collect();
    let paths: Vec<&str> = patterns.iter().flat_map(Pattern::names).collect();
    let breaker = policies::breaker(&layers, &paths);
    let key = action::key_rules(section);
    let key_scope = taken::key_scope(section, context.gateway, context.gateway_table);
    let endpoints = endpoints(section);
    let inherited = readers::Inherited {
        layers: &layers,
        breaker: &breaker,
        dangerous: &dangerous,
        endpoints: endpoints.as_ref().map_or(1, Vec::len),
        has_credentials: taken::has_credentials(section),
        key: &key,
        key_scope,
        sql_roles: taken::sql_roles(section, key_scope, context.ledger),
        ledger: context.ledger,
        ledger_table: context.ledger_table,
    };
    let operations = operations(section, &inherited);
    taken::note_idle_keys(section, &operations);
    Some(Dependency {
        name: name.to_owned(),
        endpoints: endpoints?,
        listen: section.opt("listen", values::socket),
        health: health(section),
        keys: section.opt("keys", values::flag).unwrap_or(false),
        key,
        key_scope,
        http: policies::http(&layers),
        proxy: policies::proxy(&layers),
        bind: policies::bind(&layers),
        tls: tls(&section.child("tls")),
        deadline_header: section.opt("deadline_header", values::header_name),
        dangerous,
        budget: policies::budget(&layers),
        overload: layers.pick("overload", values::failures, Rules::OVERLOAD.to_vec()).value,
        cooldown: layers.pick("cooldown", values::flag, CoolingSettings::default().enabled).value,
        concurrency: policies::concurrency(&layers, &paths),
        pool: policies::pool(&layers),
        answer: policies::answer(&layers),
        dns: policies::dns(&layers),
        reconcile: action::reconcile(&section.child("reconcile")),
        fallback: Fallback {
            timeout: policies::timeout(&layers),
            retry: policies::retry(&layers),
            slow_call: policies::slow_call(None, &breaker),
        },
        breaker,
        operations,
    })
}

fn operations<'a>(section: &Section<'a>, inherited: &readers::Inherited<'a, '_>) -> Vec<Operation> {
    let mut found: Vec<Operation> = Vec::new();
    let mut earlier: Vec<(Section<'a>, Option<Pattern>, Option<&str>)> = Vec::new();
    for child in section.children("operation") {
        let pattern = operation::pattern(&child);
        let name = child.opt("name", values::text);
        for (_, other, other_name) in &earlier {
            if name.is_some() && name == *other_name {
                let message =
                    format!("the operation `{}` stands twice in this dependency", name.unwrap_or_default());
                child.wrong(
                    "name",
                    Wrong::new(message).help("names are labels, so each operation needs its own"),
                );
            }
            if let (Some(one), Some(two)) = (&pattern, other)
                && one.is_ambiguous_with(two)
            {
                let by = other_name.map_or_else(String::new, |name| format!(" of `{name}`"));
                let message =
                    format!("this pattern and `{two}`{by} match the same requests, and neither is narrower");
                child.wrong("match", Wrong::new(message).help("make one of them narrower than the other"));
            }
        }
        found.push(operation::operation(name.unwrap_or_default(), pattern.clone(), &child, inherited));
        earlier.push((child, pattern, name));
    }
    found
}

fn endpoints(section: &Section<'_>) -> Option<Vec<Endpoint>> {
    let common = headers(section);
    let several = section.children("endpoint");
    if section.has("url") && section.has("endpoint") {
        section.wrong(
            "url",
            Wrong::new("`url` and `endpoint` are both given")
                .help("move the URL into a [[…endpoint]] of its own"),
        );
    }
    if section.lacks("url") && section.lacks("endpoint") && !section.book.broken {
        let message = "this dependency has neither `url` nor `endpoint`";
        section.book.wrong(
            section.at.clone(),
            Wrong::new(message).help("for example url = \"https://api.pay.example\""),
        );
    }
    if section.has("endpoint") && several.is_empty() {
        section.wrong(
            "endpoint",
            Wrong::new("`endpoint` is empty").help("give one `url` instead, or at least one endpoint"),
        );
    }
    if let Some(url) = section.opt("url", values::endpoint_url) {
        warn_of_plain_text(section, &url, &common);
        return Some(vec![Endpoint { url, headers: common }]);
    }
    let mut found: Vec<Endpoint> = Vec::new();
    for child in &several {
        let mut merged = common.clone();
        for (name, value) in headers(child) {
            merged.retain(|(known, _)| *known != name);
            merged.push((name, value));
        }
        if let Some(url) = child.opt("url", values::endpoint_url) {
            if found.iter().any(|other| other.url == url) {
                child.wrong(
                    "url",
                    Wrong::new("two endpoints have this URL")
                        .help("a call that moves on to the same URL gains nothing"),
                );
            }
            warn_of_plain_text(child, &url, &merged);
            found.push(Endpoint { url, headers: merged });
        }
    }
    (!found.is_empty()).then_some(found)
}

/// Adds a note if header fields are sent to another machine over plain HTTP. They may hold credentials, which other
/// people could read on the way.
fn warn_of_plain_text(section: &Section<'_>, url: &Uri, headers: &[(HeaderName, HeaderValue)]) {
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    let near = host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
    if url.scheme_str() == Some("http") && !near && !headers.is_empty() {
        let at = section.raw("url").map_or_else(|| section.at.clone(), |value| value.span());
        section.book.note(at, "headers go out unencrypted: this URL is http, not https");
    }
}

/// Returns the names and the values of the header fields, in the order of the file. Environment variables in the values
/// are already replaced. The values are marked sensitive, so that no log shows them. Fields that cannot be read are
/// left out, and their mistakes are reported.
fn headers(section: &Section<'_>) -> Vec<(HeaderName, HeaderValue)> {
    let Some(table) = section.raw("headers").and_then(|value| value.get_ref().as_table()) else {
        return Vec::new();
    };
    let mut in_order: Vec<_> = table.iter().collect();
    in_order.sort_by_key(|(name, _)| name.span().start);
    let mut found = Vec::with_capacity(in_order.len());
    for (name, value) in in_order {
        let Ok(name) = header_name(name.get_ref()) else { continue };
        let Some(filled) = section.book.fill(value) else { continue };
        match HeaderValue::from_str(&filled) {
            Ok(mut value) => {
                value.set_sensitive(true);
                found.push((name, value));
            }
            Err(_) => {
                let message = format!("the value of `{name}` has a character that no header carries");
                section.book.wrong(
                    value.span(),
                    Wrong::new(message).help("visible ASCII, spaces and tabs; no line ends"),
                );
            }
        }
    }
    found
}

fn health(section: &Section<'_>) -> Option<Health> {
    let read = |value| RequestTemplate::parse(values::text(value)?, Purpose::Health);
    let request = section.opt("health", read)?;
    Some(Health { method: request.method().clone(), target: request.target().to_string() })
}

fn tls(section: &Section<'_>) -> TlsSettings {
    let pairs = [("client_cert", "client_key"), ("client_key", "client_cert")];
    for (given, other) in pairs {
        if section.has(given) && section.lacks(other) {
            section.wrong(given, Wrong::new(format!("`{given}` needs `{other}`")));
        }
    }
    TlsSettings {
        ca_file: section.file("ca_file"),
        client_cert: section.file("client_cert"),
        client_key: section.file("client_key"),
        files: None,
    }
}
