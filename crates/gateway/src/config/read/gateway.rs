//! Reads the sections `[gateway]` and `[ledger]`, and checks the listen addresses of the whole file against each other.

use std::net::SocketAddr;
use std::ops::Range;

use seawall_ledger::store::postgres::Postgres;
use seawall_policy::Idempotency;

use super::super::action::{Ledger, OnStuck};
use super::super::defaults;
use super::super::hidden::Secret;
use super::super::section::{Found, Section};
use super::super::settings::{Clients, Gateway, Limits};
use super::super::shape::url_with_secrets;
use super::super::values::{self, Wrong};
use crate::files;
use crate::signature::SigningKey;

pub(super) fn gateway(section: &Section<'_>) -> Gateway {
    let hosts = section.raw("hosts").and_then(|value| value.get_ref().as_array());
    Gateway {
        listen: section.opt("listen", values::socket).unwrap_or(defaults::LISTEN),
        admin: section.opt("admin", values::socket).unwrap_or(defaults::ADMIN),
        workers: section.opt("workers", count),
        instances: section.opt("instances", count_u32).unwrap_or(defaults::INSTANCES),
        drain: section.opt("drain", values::time).unwrap_or(defaults::DRAIN),
        hosts: hosts
            .map(|hosts| {
                hosts.iter().filter_map(|host| host.get_ref().as_str()).map(str::to_lowercase).collect()
            })
            .unwrap_or_default(),
        clients: clients(&section.child("clients")),
        admin_token_file: section.file("admin_token_file"),
        limits: limits(&section.child("limits")),
    }
}

fn clients(section: &Section<'_>) -> Option<Clients> {
    if !section.is_present() {
        return None;
    }
    if section.lacks("tokens_file") && section.lacks("ca_file") {
        let wrong = Wrong::new("`clients` lets nobody in").help("give `tokens_file`, `ca_file`, or both");
        section.book.wrong(section.at.clone(), wrong);
    }
    Some(Clients { tokens_file: section.file("tokens_file"), ca_file: section.file("ca_file") })
}

fn limits(section: &Section<'_>) -> Limits {
    let silent = defaults::LIMITS;
    Limits {
        header_bytes: section.opt("header_bytes", values::size).unwrap_or(silent.header_bytes),
        headers: section.opt("headers", count).unwrap_or(silent.headers),
        body: section.opt("body", values::size_or_off).unwrap_or(silent.body),
        connections: section.opt("connections", count).unwrap_or(silent.connections),
        header_time: section.opt("header_time", values::time).unwrap_or(silent.header_time),
    }
}

pub(super) fn ledger(section: &Section<'_>) -> Ledger {
    let url = section.raw("url").and_then(|value| {
        let filled = section.book.fill(value)?;
        // The first pass has checked the URL as it is written in the file. If it begins with a placeholder such as
        // `${env:URL}`, the scheme is known only after the placeholder is replaced. So the URL is checked again here.
        if let Err(wrong) = url_with_secrets(&filled, &["sqlite:", "postgres://", "postgresql://"])
            && value.get_ref().as_str().is_some_and(|raw| raw.starts_with("${"))
        {
            section.book.wrong(value.span(), wrong);
        } else if filled.starts_with("postgres")
            && let Err(error) = Postgres::check_url(&filled)
        {
            section.book.wrong(value.span(), Wrong::new(error.to_string()));
        }
        Some(filled)
    });
    Ledger {
        url: Secret::new(url.unwrap_or_else(|| defaults::LEDGER_URL.to_owned())),
        lease: section
            .opt("lease", values::time)
            .unwrap_or(seawall_ledger::Rules::of(Idempotency::None).lease),
        request_max: section.opt("request_max", bytes).unwrap_or(defaults::REQUEST_MAX),
        answer_max: section.opt("answer_max", bytes).unwrap_or(defaults::ANSWER_MAX),
        waiters: section.opt("waiters", count).unwrap_or(defaults::WAITERS),
        undeclared_after: section.opt("undeclared_after", values::time).unwrap_or(defaults::UNDECLARED_AFTER),
        on_stuck: on_stuck(&section.child("on_stuck")),
    }
}

fn on_stuck(section: &Section<'_>) -> Option<OnStuck> {
    let (url, secret_file) = (section.opt("url", values::endpoint_url), section.file("secret_file"));
    let (Some(url), Some(secret_file)) = (url, secret_file) else { return None };
    // A file that cannot be read was reported already.
    if let Some(why) = files::read(&secret_file).ok().and_then(|text| SigningKey::read(&text).err()) {
        let help = "make one, for example: head -c 32 /dev/urandom | base64";
        section.wrong("secret_file", Wrong::new(why).help(help));
    }
    Some(OnStuck { url, secret_file })
}

/// Reports wrong addresses. No two listeners may have one address, and a listener that other machines can reach must
/// check who calls.
pub(super) fn check_addresses(
    gateway: &Section<'_>,
    dependencies: &[(&str, Section<'_>)],
    settings: &Gateway,
) {
    let mut taken: Vec<(SocketAddr, String, Option<Range<usize>>)> = Vec::new();
    let mut take = |section: &Section<'_>, key: &str, default: Option<SocketAddr>, owner: String| {
        let (address, at) = match section.get(key, values::socket) {
            Found::Value(address, at) => (address, Some(at)),
            Found::Absent => match default {
                Some(address) => (address, None),
                None => return,
            },
            Found::Broken => return,
        };
        if let Some((_, other, there)) = taken.iter().find(|(other, ..)| clashes(address, *other)) {
            // The mistake is reported at an address that stands in the file. One of the two addresses may be a default,
            // which has no place in the file. Both cannot be defaults, since the defaults differ.
            let (span, by) = match (&at, there) {
                (Some(at), _) => (at.clone(), other),
                (None, there) => (there.clone().unwrap_or_default(), &owner),
            };
            let wrong = Wrong::new(format!("{address} is taken by {by}"));
            section.book.wrong(span, wrong.help("each listener has an address of its own"));
        }
        if let Some(at) = at.clone()
            && !address.ip().is_loopback()
        {
            check_exposure(section, gateway, key, at, settings);
        }
        taken.push((address, owner, at));
    };
    take(gateway, "listen", Some(settings.listen), "`listen` of [gateway]".to_owned());
    take(gateway, "admin", Some(settings.admin), "`admin` of [gateway]".to_owned());
    let mut in_order: Vec<_> = dependencies.iter().collect();
    in_order.sort_by_key(|(_, section)| section.at.start);
    for (name, section) in in_order {
        take(section, "listen", None, format!("`listen` of [dependency.{name}]"));
    }
}

fn check_exposure(
    section: &Section<'_>,
    gateway: &Section<'_>,
    key: &str,
    at: Range<usize>,
    settings: &Gateway,
) {
    if key == "admin" {
        if settings.admin_token_file.is_none() && gateway.lacks("admin_token_file") {
            section.book.wrong(
                at,
                Wrong::new("an admin listener off loopback needs `admin_token_file`")
                    .help("anybody who reaches it could otherwise open and close breakers"),
            );
        }
    } else if settings.clients.is_none() && gateway.lacks("clients") {
        section.book.wrong(
            at,
            Wrong::new("a data listener off loopback needs `clients`")
                .help("it adds credentials to every call: in [gateway], clients = { tokens_file = \"…\" }"),
        );
    } else if settings.clients.as_ref().is_some_and(|clients| clients.tokens_file.is_none()) {
        section.book.wrong(
            at,
            Wrong::new("a data listener off loopback needs `clients.tokens_file`").help(
                "client certificates are not asked for yet, so with `ca_file` alone anybody could call",
            ),
        );
    }
}

/// Returns whether two listeners cannot be open at the same time. Port 0 never clashes, since the kernel chooses a free
/// port for it.
fn clashes(a: SocketAddr, b: SocketAddr) -> bool {
    let wide = |ip: std::net::IpAddr| ip.is_unspecified();
    let same_host = a.ip() == b.ip() || wide(a.ip()) || wide(b.ip());
    a.port() != 0 && a.port() == b.port() && same_host
}

fn count(value: &toml::de::DeValue<'_>) -> Result<usize, Wrong> {
    values::whole(value).map(|number| usize::try_from(number).unwrap_or(usize::MAX))
}

/// Reads a number of bytes.
fn bytes(value: &toml::de::DeValue<'_>) -> Result<usize, Wrong> {
    values::size(value).map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX))
}

pub(super) use super::super::values::count_u32;
