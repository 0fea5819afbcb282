//! Where a connection goes: the scheme, host and port of an endpoint, read once from its URL.

use std::fmt;
use std::net::IpAddr;

use http::Uri;

use super::error::ConfigError;

/// Says whether connections use TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain TCP. The default port is 80.
    Http,
    /// TLS over TCP. The default port is 443.
    Https,
}

/// The host of an endpoint: a name to look up, or an address that needs no lookup.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// A DNS name, in lower case.
    Name(Box<str>),
    /// A literal address.
    Ip(IpAddr),
}

impl Host {
    /// Returns the host that `text` names: a name, an IPv4 address, or an IPv6 address in brackets. Returns `None` if
    /// `text` is none of these. `text` is a URL's authority without user and port.
    pub(super) fn parse(text: &str) -> Option<Host> {
        if let Some(inner) = text.strip_prefix('[') {
            return inner.strip_suffix(']')?.parse().ok().map(|v6| Host::Ip(IpAddr::V6(v6)));
        }
        match text.parse() {
            Ok(v4) => Some(Host::Ip(IpAddr::V4(v4))),
            Err(_) if text.is_empty() => None,
            Err(_) => Some(Host::Name(text.to_ascii_lowercase().into_boxed_str())),
        }
    }

    /// Returns whether the name means this machine by definition (RFC 6761, section 6.3), whatever DNS says.
    pub(super) fn is_loopback_name(&self) -> bool {
        match self {
            Host::Name(name) => {
                let name = name.strip_suffix('.').unwrap_or(name);
                name == "localhost" || name.ends_with(".localhost")
            }
            Host::Ip(_) => false,
        }
    }
}

/// Writes the host as in a URL: an IPv6 address stands in brackets.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(name),
            Host::Ip(IpAddr::V4(ip)) => ip.fmt(f),
            Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
        }
    }
}

/// Scheme, host and port of an endpoint. The path and the query of the URL are not part of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// Says whether connections use TLS.
    pub scheme: Scheme,
    /// The name or the address of the endpoint.
    pub host: Host,
    /// The port, which is never 0.
    pub port: u16,
}

/// Writes `host:port`. The port is always written, as CONNECT requires.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl TryFrom<&Uri> for Target {
    type Error = ConfigError;

    /// Returns scheme, host and port of an absolute `http://` or `https://` URL. A URL with a user name or password is
    /// refused: URLs are logged and shown, so secrets belong in headers.
    fn try_from(uri: &Uri) -> Result<Target, ConfigError> {
        let wrong = |message: String| ConfigError::new("url", message);
        let scheme = match uri.scheme_str() {
            Some(word) if word.eq_ignore_ascii_case("http") => Scheme::Http,
            Some(word) if word.eq_ignore_ascii_case("https") => Scheme::Https,
            Some(word) => {
                return Err(wrong(format!("scheme `{word}` is not known; use http:// or https://")));
            }
            None => return Err(wrong("no scheme; it must begin with http:// or https://".into())),
        };
        let authority = uri.authority().ok_or_else(|| wrong("no host".into()))?;
        if authority.as_str().contains('@') {
            return Err(wrong(
                "user name and password do not belong into a URL; put them into `headers`".into(),
            ));
        }
        let host = Host::parse(authority.host())
            .ok_or_else(|| wrong(format!("`{}` is not a host", authority.host())))?;
        let port = match (port_of(authority.as_str()), scheme) {
            (None, Scheme::Http) => 80,
            (None, Scheme::Https) => 443,
            (Some(text), _) => match text.parse() {
                Ok(0) | Err(_) => return Err(wrong(format!("`{text}` is not a port from 1 to 65535"))),
                Ok(port) => port,
            },
        };
        Ok(Target { scheme, host, port })
    }
}

/// Returns the port of a URL's authority as text, such as `81` of `[::1]:81`; `None` if there is no colon.
/// (`Authority::port_u16` does not suffice: it returns `None` both for "no port" and for "not a number".)
pub(super) fn port_of(authority: &str) -> Option<&str> {
    let after_brackets = authority.rfind(']').map_or(0, |at| at + 1);
    authority[after_brackets..].split_once(':').map(|(_, port)| port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> Result<Target, String> {
        Target::try_from(&url.parse::<Uri>().unwrap()).map_err(|e| e.to_string())
    }

    #[test]
    fn urls_become_targets() {
        let table = [
            ("http://api.example", Scheme::Http, "api.example:80"),
            ("https://API.Example/v1?x=1", Scheme::Https, "api.example:443"),
            ("HTTPS://api.example:8443/", Scheme::Https, "api.example:8443"),
            ("http://127.0.0.1:9", Scheme::Http, "127.0.0.1:9"),
            ("https://[::1]", Scheme::Https, "[::1]:443"),
            ("http://[2001:db8::7]:81/x", Scheme::Http, "[2001:db8::7]:81"),
        ];
        for (url, scheme, authority) in table {
            let got = target(url).unwrap();
            assert_eq!((got.scheme, got.to_string().as_str()), (scheme, authority), "{url}");
        }
        assert_eq!(target("http://[::1]").unwrap().host, Host::Ip("::1".parse().unwrap()));
        assert_eq!(target("http://10.0.0.1").unwrap().host, Host::Ip("10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn urls_that_cannot_be_reached_say_why() {
        let table = [
            ("/v1", "no scheme"),
            ("ftp://x", "`ftp` is not known"),
            ("https://user:hunter2@x", "do not belong into a URL"),
            ("http://x:0", "`0` is not a port"),
            ("http://[:::1]", "is not a host"),
        ];
        for (url, why) in table {
            let message = target(url).unwrap_err();
            assert!(message.contains(why) && message.starts_with("url: "), "{url}: {message}");
            assert!(!message.contains("hunter2"), "{message}");
        }
    }

    #[test]
    fn loopback_names_are_known() {
        for (name, expected) in [
            ("localhost", true),
            ("localhost.", true),
            ("a.localhost", true),
            ("notlocalhost", false),
            ("x.org", false),
        ] {
            assert_eq!(Host::parse(name).unwrap().is_loopback_name(), expected, "{name}");
        }
    }
}
