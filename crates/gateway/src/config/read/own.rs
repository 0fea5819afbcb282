//! Finds a dependency that leads back to this gateway.
//!
//! A call to such a dependency comes back to the gateway, which makes another call, until no connection is left. If the
//! file shows such a loop, the loop is reported as a mistake. A name or another proxy may hide the loop from this
//! check. Then the calls themselves show it, by their `Via` header.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::Uri;

use super::super::section::Section;
use super::super::settings::{Dependency, Gateway};
use super::super::values::{self, Wrong};
use crate::authority::{Authority, Host};

/// Reports each endpoint and each proxy that is one of our own listeners.
pub(super) fn check(named: &[(&str, Section<'_>)], gateway: &Gateway, dependencies: &[Dependency]) {
    let mut listeners = vec![
        (gateway.listen, "`listen` of [gateway]".to_owned()),
        (gateway.admin, "`admin` of [gateway]".to_owned()),
    ];
    for dependency in dependencies {
        let owner = || format!("`listen` of [dependency.{}]", dependency.name);
        listeners.extend(dependency.listen.map(|listen| (listen, owner())));
    }
    for (name, section) in named {
        let Some(dependency) = dependencies.iter().find(|dependency| dependency.name == *name) else {
            continue;
        };
        if let Some(proxy) = &dependency.proxy {
            if let Some(owner) = own(proxy, &listeners) {
                // The proxy may stand in `[defaults]`. Then every dependency has it, and the mistake is reported at the
                // dependency.
                let span = if section.has("proxy") { section.key_span("proxy") } else { section.at.clone() };
                section.book.wrong(span, wrong("the proxy", owner));
            }
            // The proxy connects to the endpoint. So a loopback address of an endpoint means the proxy's machine and
            // not this one, and is no mistake.
            continue;
        }
        for place in section.children("endpoint").iter().chain([section]) {
            let url = place.opt("url", values::endpoint_url);
            if let Some(owner) = url.as_ref().and_then(|url| own(url, &listeners)) {
                place.wrong("url", wrong("this endpoint", owner));
            }
        }
    }
}

fn wrong(what: &str, owner: &str) -> Wrong {
    Wrong::new(format!("{what} is this gateway itself: {owner}"))
        .help("each call would make another one, until no connection is left")
}

/// Returns the name of the listener that a URL leads to; `None` if the URL leads to none of these listeners.
fn own<'l>(url: &Uri, listeners: &'l [(SocketAddr, String)]) -> Option<&'l str> {
    let authority = Authority::parse(url.authority()?.as_str())?;
    let usual = if url.scheme_str() == Some("https") { 443 } else { 80 };
    let port = authority.port.unwrap_or(usual);
    let is_it = |listener: SocketAddr| listener.port() == port && leads_to(authority.host, listener.ip());
    listeners.iter().find(|(listener, _)| is_it(*listener)).map(|(_, owner)| owner.as_str())
}

/// Returns whether a connection to this host reaches a listener at this address, as far as this is known without a
/// lookup.
fn leads_to(host: Host<'_>, listener: IpAddr) -> bool {
    let listener = listener.to_canonical();
    match host {
        Host::Name(name) => {
            let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
            let local = name == "localhost" || name.ends_with(".localhost");
            local && (listener.is_loopback() || listener.is_unspecified())
        }
        Host::Ip(ip) => {
            // The kernel treats a connection to the unspecified address as one to loopback.
            let ip = match ip.to_canonical() {
                ip if ip.is_unspecified() => match ip {
                    IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
                    IpAddr::V6(_) => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
                },
                ip => ip,
            };
            // A listener at `[::]` takes connections over IPv4 and over IPv6; a listener at `0.0.0.0` takes only IPv4.
            // The addresses of the machine's interfaces are not known here, so for such listeners only loopback
            // addresses are recognised.
            let any = listener.is_unspecified() && (listener.is_ipv6() || ip.is_ipv4());
            ip == listener || (any && ip.is_loopback())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::parse;

    /// Returns the mistakes that are reported about endpoints and proxies that lead to this gateway.
    fn mistakes(listen: &str, lines: &str) -> Vec<String> {
        let text = format!(
            "[gateway]\nlisten = \"{listen}\"\nclients = {{ tokens_file = \"t\" }}\n[dependency.up]\n{lines}\n"
        );
        match parse("test", &text, &|_| None) {
            Ok(_) => Vec::new(),
            Err(report) => {
                let told = report.mistakes().iter().map(|mistake| mistake.message.clone());
                told.filter(|told| told.contains("this gateway itself")).collect()
            }
        }
    }

    #[test]
    fn an_endpoint_that_is_a_listener_of_ours_is_refused() {
        for (listen, url) in [
            ("127.0.0.1:8400", "http://127.0.0.1:8400"),
            ("127.0.0.1:8400", "http://127.0.0.1:8400/base"),
            ("127.0.0.1:8400", "http://localhost:8400"),
            ("127.0.0.1:8400", "http://LOCALHOST.:8400"),
            ("127.0.0.1:8400", "http://a.localhost:8400"),
            ("127.0.0.1:8400", "http://127.0.0.1:8401"),
            ("127.0.0.1:8400", "http://0.0.0.0:8400"),
            ("127.0.0.1:8400", "http://[::ffff:127.0.0.1]:8400"),
            ("127.0.0.1:80", "http://127.0.0.1"),
            ("127.0.0.1:443", "https://localhost"),
            ("[::1]:8400", "http://[::1]:8400"),
            ("0.0.0.0:8400", "http://127.0.0.1:8400"),
            ("[::]:8400", "http://127.0.0.1:8400"),
            ("[::]:8400", "http://[::1]:8400"),
            ("10.1.1.1:8400", "http://10.1.1.1:8400"),
        ] {
            let mistakes = mistakes(listen, &format!("url = \"{url}\""));
            assert_eq!(mistakes.len(), 1, "{listen} {url}: {mistakes:?}");
        }
        for (listen, url) in [
            ("127.0.0.1:8400", "http://127.0.0.1:8402"),
            ("127.0.0.1:8400", "http://127.0.0.2:8400"),
            ("127.0.0.1:8400", "http://[::1]:8400"),
            ("10.1.1.1:8400", "http://localhost:8400"),
            ("10.1.1.1:8400", "http://10.1.1.2:8400"),
            ("0.0.0.0:8400", "http://[::1]:8400"),
            ("127.0.0.1:0", "http://127.0.0.1:8400"),
            ("127.0.0.1:8400", "http://localhost.example:8400"),
            ("127.0.0.1:80", "https://127.0.0.1"),
        ] {
            assert_eq!(mistakes(listen, &format!("url = \"{url}\"")), [] as [&str; 0], "{listen} {url}");
        }
    }

    #[test]
    fn further_listeners_endpoints_and_proxies_are_looked_at() {
        for lines in [
            "url = \"http://localhost:9100\"\nlisten = \"127.0.0.1:9100\"",
            "endpoint = [{ url = \"http://a.example\" }, { url = \"http://127.0.0.1:8400\" }]",
            "url = \"http://a.example\"\nproxy = \"http://127.0.0.1:8400\"",
        ] {
            let mistakes = mistakes("127.0.0.1:8400", lines);
            assert_eq!(mistakes.len(), 1, "{lines}: {mistakes:?}");
        }
        let behind = "url = \"http://127.0.0.1:8400\"\nproxy = \"http://proxy.example:3128\"";
        assert_eq!(mistakes("127.0.0.1:8400", behind), [] as [&str; 0]);
    }
}
