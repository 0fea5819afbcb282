//! Decides whose requests are accepted. The gateway adds credentials to the requests that come to its port for
//! applications, so no web page may reach it. Two kinds of pages are kept out: pages of another origin, and pages whose
//! own host name was made to resolve to the gateway's address (DNS rebinding).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::{HeaderMap, HeaderName, Uri, Version, header};

use crate::authority::{self, Authority, Host};

use crate::running::tokens::TokenFile;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const TOKEN: HeaderName = HeaderName::from_static("seawall-token");

/// Decides which requests one listener accepts.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    listen: IpAddr,
    /// The listener's address with its port. Nearly every caller names this as its Host, so it is compared first.
    usual: String,
    hosts: Vec<String>,
    tokens: Option<TokenFile>,
}

/// The reason, in words, why a listener refuses a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// The request does not name its host, or names more than one.
    Malformed(&'static str),
    /// The request is well-formed, but its token, its host or its origin is not accepted.
    Outside(&'static str),
}

impl Gate {
    pub(crate) fn new(listen: SocketAddr, hosts: &[String], tokens: Option<TokenFile>) -> Gate {
        Gate { listen: listen.ip(), usual: listen.to_string(), hosts: hosts.to_vec(), tokens }
    }

    /// Returns the caller's name if this listener accepts the request, and otherwise the reason why not. The name is
    /// `None` if the listener wants no token, or if the caller's token has no name.
    pub(crate) fn admit(
        &self,
        version: Version,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<Option<Arc<str>>, Kept> {
        let host = match self.says_the_usual(uri, headers) {
            true => &self.usual,
            false => authority::of_request(version, uri, headers).map_err(Kept::Malformed)?,
        };
        self.admit_host(host, headers).map_err(Kept::Outside)
    }

    /// Returns whether this listener wants a token. A token may have a name, by which callers are told apart.
    pub(crate) fn names_callers(&self) -> bool {
        self.tokens.is_some()
    }

    /// Returns whether the request has exactly one Host, which names this listener, and no authority in its target. In
    /// this usual case nothing has to be parsed.
    fn says_the_usual(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let mut hosts = headers.get_all(header::HOST).iter();
        let usual = hosts.next().is_some_and(|host| host.as_bytes() == self.usual.as_bytes());
        usual && hosts.next().is_none() && uri.authority().is_none()
    }

    fn admit_host(&self, host: &str, headers: &HeaderMap) -> Result<Option<Arc<str>>, &'static str> {
        let caller = match &self.tokens {
            Some(tokens) => {
                let shown = headers.get(TOKEN).map(|value| value.as_bytes()).unwrap_or_default();
                let why = "this listener wants a token of `clients.tokens_file` in the header seawall-token";
                tokens.holder(shown).ok_or(why)?.name
            }
            None => None,
        };
        if !self.knows(host) {
            return Err(
                "the Host is neither this listener's address, a loopback name, nor one of `gateway.hosts`",
            );
        }
        if let Some(site) = headers.get(SEC_FETCH_SITE)
            && !matches!(site.as_bytes(), b"none" | b"same-origin")
        {
            return Err("web pages may not call here (Sec-Fetch-Site)");
        }
        if let Some(origin) = headers.get(header::ORIGIN) {
            let same = origin.to_str().ok().and_then(|o| o.split_once("://")).is_some_and(|(_, o)| o == host);
            if !same {
                return Err("web pages may not call here (Origin)");
            }
        }
        Ok(caller)
    }

    fn knows(&self, host: &str) -> bool {
        if host == self.usual {
            return true;
        }
        match Authority::parse(host).map(|authority| authority.host) {
            None => false,
            Some(Host::Ip(ip)) => {
                let listed = |host: &String| host.parse() == Ok(ip);
                ip.is_loopback() || ip == self.listen || self.hosts.iter().any(listed)
            }
            Some(Host::Name(name)) => {
                let name = name.strip_suffix('.').unwrap_or(name);
                name.eq_ignore_ascii_case("localhost")
                    || self.hosts.iter().any(|host| host.eq_ignore_ascii_case(name))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn gate() -> Gate {
        Gate::new("10.1.2.3:8400".parse().unwrap(), &["seawall.internal".to_owned()], None)
    }

    fn ask(gate: &Gate, pairs: &[(&'static str, &str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        gate.admit(Version::HTTP_11, &Uri::from_static("/x"), &headers).is_ok()
    }

    #[test]
    fn hosts_that_are_ours() {
        for host in [
            "localhost",
            "localhost:8400",
            "LOCALHOST:1",
            "localhost.",
            "127.0.0.1:8400",
            "127.8.8.8",
            "[::1]:8400",
            "[::1]",
            "10.1.2.3",
            "10.1.2.3:9",
            "seawall.internal",
            "Seawall.Internal:80",
        ] {
            assert!(ask(&gate(), &[("host", host)]), "{host}");
        }
        for host in [
            "evil.example",
            "10.1.2.4",
            "localhost.evil.example",
            "",
            "xlocalhost",
            "a@localhost",
            "localhost:x",
            "[::1",
            "127.0.0.1.evil.example",
        ] {
            assert!(!ask(&gate(), &[("host", host)]), "{host}");
        }
        assert!(!ask(&gate(), &[]));
        assert!(!ask(&gate(), &[("host", "localhost"), ("host", "localhost")]));
        let absolute = Uri::from_static("http://evil.example/x");
        let headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static("localhost"))]);
        assert!(matches!(gate().admit(Version::HTTP_11, &absolute, &headers), Err(Kept::Outside(_))));
        let own = Uri::from_static("http://localhost/x");
        assert!(gate().admit(Version::HTTP_11, &own, &headers).is_ok());
        let two = HeaderMap::new();
        assert!(matches!(gate().admit(Version::HTTP_11, &own, &two), Err(Kept::Malformed(_))));
    }

    #[test]
    fn pages_stay_outside() {
        let host = ("host", "localhost:8400");
        for (name, value) in [
            ("origin", "https://evil.example"),
            ("origin", "null"),
            ("origin", "http://localhost:3000"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            assert!(!ask(&gate(), &[host, (name, value)]), "{name}: {value}");
        }
        for (name, value) in [("origin", "http://localhost:8400"), ("sec-fetch-site", "none")] {
            assert!(ask(&gate(), &[host, (name, value)]), "{name}: {value}");
        }
    }

    #[test]
    fn tokens_are_asked_for_where_there_are_any() {
        let tokens = Some(TokenFile::of(&[(None, "one"), (Some("ana"), "two")]));
        let gate = Gate { tokens, ..gate() };
        let host = ("host", "localhost");
        assert!(ask(&gate, &[host, ("seawall-token", "two")]));
        for wrong in ["", "on", "ones", "three"] {
            assert!(!ask(&gate, &[host, ("seawall-token", wrong)]), "{wrong}");
        }
        assert!(!ask(&gate, &[host]));
        let caller = |token: &'static str| {
            let headers = HeaderMap::from_iter([
                (header::HOST, HeaderValue::from_static("localhost")),
                (TOKEN, HeaderValue::from_static(token)),
            ]);
            gate.admit(Version::HTTP_11, &Uri::from_static("/x"), &headers).unwrap()
        };
        assert_eq!((caller("one"), caller("two").as_deref()), (None, Some("ana")));
    }
}
