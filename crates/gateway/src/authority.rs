//! Reads strictly which host a request names (RFC 9112, section 3.2; RFC 3986, section 3.2).
//!
//! A lenient reader ignores the extra characters in `localhost:80x`, `user@localhost` or `[::1`, and takes the rest for
//! the name. A proxy before the gateway may have read another name from the same bytes. So a text that does not fit the
//! grammar is refused as malformed, and is not compared with any name.

use std::net::{IpAddr, Ipv6Addr};

use http::{HeaderMap, Uri, Version, header};

/// The parts of `host[:port]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Authority<'a> {
    pub(crate) host: Host<'a>,
    pub(crate) port: Option<u16>,
}

/// A host: a name or an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Host<'a> {
    Ip(IpAddr),
    Name(&'a str),
}

impl<'a> Authority<'a> {
    /// Reads an authority: a host, and perhaps a port after it. Returns `None` if the text is malformed. A
    /// percent-encoding counts as malformed, since no name of a gateway contains one.
    pub(crate) fn parse(text: &'a str) -> Option<Authority<'a>> {
        let (host, behind) = match text.strip_prefix('[') {
            Some(rest) => {
                let (ip, behind) = rest.split_once(']')?;
                (Host::Ip(IpAddr::V6(ip.parse::<Ipv6Addr>().ok()?)), behind)
            }
            None => {
                let end = text.find(':').unwrap_or(text.len());
                let (name, behind) = text.split_at_checked(end)?;
                (Host::named(name)?, behind)
            }
        };
        let port = match behind.strip_prefix(':') {
            None if behind.is_empty() => None,
            None => return None,
            // A colon without a port after it stands for the default port.
            Some("") => None,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(digits.parse().ok()?),
            Some(_) => return None,
        };
        Some(Authority { host, port })
    }
}

impl<'a> Host<'a> {
    fn named(name: &'a str) -> Option<Host<'a>> {
        let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte);
        if name.is_empty() || !name.bytes().all(fine) {
            return None;
        }
        Some(name.parse().map_or(Host::Name(name), Host::Ip))
    }
}

/// Returns the authority that a request is meant for.
///
/// Over HTTP/1, the `Host` field must be there, once and well-formed. It is the authority, unless the target has one,
/// as in `GET http://host/path`. Then the target's authority counts, and the value of `Host` is ignored (RFC 9112,
/// section 3.2.2). Over HTTP/2 the target's authority is `:authority`, and a `Host` beside it that differs is refused
/// (RFC 9113, section 8.3.1).
///
/// # Errors
/// If there is no authority, or more than one, or if it is malformed. The error says so in words.
pub(crate) fn of_request<'a>(
    version: Version,
    uri: &'a Uri,
    headers: &'a HeaderMap,
) -> Result<&'a str, &'static str> {
    const MALFORMED: &str = "the Host is malformed: it is a name or an address, and perhaps a port";
    let mut lines = headers.get_all(header::HOST).iter();
    let host = match (lines.next(), lines.next()) {
        (Some(line), None) => {
            let text = line.to_str().map_err(|_| MALFORMED)?;
            Authority::parse(text).map(|_| Some(text)).ok_or(MALFORMED)?
        }
        (Some(_), Some(_)) => return Err("there is more than one Host"),
        (None, _) => None,
    };
    match (uri.authority().map(http::uri::Authority::as_str), host) {
        (Some(target), host) => {
            if Authority::parse(target).is_none() {
                return Err(
                    "the authority of the target is malformed: it is a name or an address, and perhaps a port",
                );
            }
            match host {
                None if version < Version::HTTP_2 => Err(missing(version)),
                Some(host) if version >= Version::HTTP_2 && !host.eq_ignore_ascii_case(target) => {
                    Err("the Host differs from `:authority`")
                }
                _ => Ok(target),
            }
        }
        (None, Some(host)) => Ok(host),
        (None, None) => Err(missing(version)),
    }
}

fn missing(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 | Version::HTTP_10 => {
            "there is no Host. HTTP/1.0 does not ask for one, but this gateway does, in HTTP/1.0 too: it is how web pages \
             are kept out. Send one, or use HTTP/1.1"
        }
        Version::HTTP_11 => "there is no Host",
        _ => "there is neither `:authority` nor a Host",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn what_fits_the_grammar_is_taken_apart() {
        for (text, host, port) in [
            ("localhost", Host::Name("localhost"), None),
            ("localhost:8400", Host::Name("localhost"), Some(8400)),
            ("localhost.", Host::Name("localhost."), None),
            ("a-b_c.example:65535", Host::Name("a-b_c.example"), Some(65535)),
            ("127.0.0.1:1", Host::Ip("127.0.0.1".parse().unwrap()), Some(1)),
            ("[::1]", Host::Ip("::1".parse().unwrap()), None),
            ("[::1]:80", Host::Ip("::1".parse().unwrap()), Some(80)),
            ("localhost:", Host::Name("localhost"), None),
        ] {
            assert_eq!(Authority::parse(text), Some(Authority { host, port }), "{text}");
        }
        for text in [
            "",
            ":80",
            "user@localhost",
            "user:pw@localhost",
            "localhost:http",
            "localhost:80x",
            "localhost:+80",
            "localhost:65536",
            "localhost:80:80",
            "::1",
            "[::1",
            "[::1]80",
            "[::1]x",
            "[]",
            "[localhost]",
            "[127.0.0.1]",
            "::1]",
            "local host",
            "localhost/x",
            "localhost?x",
            "local%68ost",
            "localhost, localhost",
            "lokalhöst",
            "a#b",
        ] {
            let parsed = Authority::parse(text);
            let listed = text == "localhost, localhost";
            assert!(parsed.is_none(), "{text} {listed}: {parsed:?}");
        }
    }

    #[test]
    fn exactly_one_host_is_wanted() {
        let hosts = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::HOST, HeaderValue::from_static(value));
            }
            headers
        };
        let (path, absolute) = (Uri::from_static("/x"), Uri::from_static("http://there:1/x"));
        let of = |version, uri, values: &[&'static str]| {
            of_request(version, uri, &hosts(values)).map(str::to_owned).map_err(str::to_owned)
        };
        assert_eq!(of(Version::HTTP_11, &path, &["here"]), Ok("here".to_owned()));
        assert!(of(Version::HTTP_11, &path, &["here", "here"]).unwrap_err().contains("more than one"));
        assert_eq!(of(Version::HTTP_11, &path, &[]), Err("there is no Host".to_owned()));
        assert!(of(Version::HTTP_10, &path, &[]).unwrap_err().contains("HTTP/1.0"));
        assert_eq!(of(Version::HTTP_11, &absolute, &["here"]), Ok("there:1".to_owned()));
        assert!(of(Version::HTTP_11, &absolute, &[]).is_err());
        assert!(of(Version::HTTP_11, &absolute, &["a@b"]).is_err());
        assert_eq!(of(Version::HTTP_2, &absolute, &[]), Ok("there:1".to_owned()));
        assert_eq!(of(Version::HTTP_2, &absolute, &["THERE:1"]), Ok("there:1".to_owned()));
        assert!(of(Version::HTTP_2, &absolute, &["here"]).is_err());
        assert!(of(Version::HTTP_2, &path, &[]).is_err());
        let half = Uri::from_static("http://user@there/x");
        assert!(of(Version::HTTP_11, &half, &["here"]).is_err());
    }
}
