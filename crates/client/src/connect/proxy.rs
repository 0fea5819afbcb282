//! An outgoing HTTP proxy. It opens a tunnel by CONNECT (RFC 9110, section 9.3.6), or it forwards plain HTTP requests
//! in the absolute form (RFC 9112, section 3.2.2).

use std::fmt;
use std::io;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::HeaderValue;
use seawall_wire::{Asked, HeadEnd, Limits};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::error::ConfigError;
use super::target::{Host, Target, port_of};

/// The limits of a proxy's answer to CONNECT, which is a status line and a few headers. A longer answer is not valid.
const LIMITS: Limits = Limits { header_bytes: 8 * 1024, headers: 100 };

/// An HTTP proxy, read from `http://[user:password@]host:port`. Its `Debug` output shows no user and no password.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    pub(super) host: Host,
    pub(super) port: u16,
    authorization: Option<HeaderValue>,
}

impl Proxy {
    /// Returns the value of `Proxy-Authorization`; `None` if the URL has no user. The value is marked as sensitive, so
    /// its `Debug` output does not show it.
    pub fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = if self.authorization.is_some() { "***@" } else { "" };
        write!(f, "Proxy(http://{user}{}:{})", self.host, self.port)
    }
}

impl FromStr for Proxy {
    type Err = ConfigError;

    /// Returns the proxy with this URL. User and password may contain percent escapes. The port is required, since
    /// proxies have no usual port. Error messages never repeat the URL, since it may contain a password.
    fn from_str(text: &str) -> Result<Proxy, ConfigError> {
        let wrong = |message: &str| ConfigError::new("proxy", message);
        let rest = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some(_) => return Err(wrong("only proxies of the form http://host:port are known")),
            None => return Err(wrong("it must have the form http://[user:password@]host:port")),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (user, address) = match rest.rsplit_once('@') {
            Some((user, address)) => (Some(user), address),
            None => (None, rest),
        };
        let authority: http::uri::Authority =
            address.parse().map_err(|_| wrong("what follows http:// is not host:port"))?;
        let host = Host::parse(authority.host()).ok_or_else(|| wrong("it has no host"))?;
        let port = match port_of(authority.as_str()).map(str::parse) {
            Some(Ok(port)) if port > 0 => port,
            Some(_) => return Err(wrong("its port is not a number from 1 to 65535")),
            None => return Err(wrong("it has no port")),
        };
        let authorization = match user {
            Some(user) => Some(basic(user).ok_or_else(|| wrong("user and password hold a broken % escape"))?),
            None => None,
        };
        Ok(Proxy { host, port, authorization })
    }
}

/// Returns `user[:password]`, which may contain percent escapes, as a `Basic` credential (RFC 7617). Returns `None` if
/// an escape is broken.
fn basic(user: &str) -> Option<HeaderValue> {
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    let mut plain = unescape(name)?;
    plain.push(b':');
    plain.extend(unescape(password)?);
    let mut value = HeaderValue::from_str(&format!("Basic {}", BASE64.encode(plain)))
        .expect("base64 holds only what a header value may");
    value.set_sensitive(true);
    Some(value)
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut plain = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                (digit()? * 16 + digit()?) as u8
            }
            _ => byte,
        });
    }
    Some(plain)
}

/// Asks the proxy for a tunnel to `target`. `io` is the connection to the proxy. The tunnel fails in four cases, and
/// the error's text says which of them it is:
///
/// - The connection to the proxy fails.
/// - The proxy's answer is not valid.
/// - The answer has a status other than 2xx.
/// - Further bytes follow the answer.
pub(super) async fn tunnel<S>(
    io: &mut S,
    target: &Target,
    authorization: Option<&HeaderValue>,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n").into_bytes();
    if let Some(value) = authorization {
        request.extend_from_slice(b"proxy-authorization: ");
        request.extend_from_slice(value.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    io.write_all(&request).await?;
    io.flush().await?;

    let (mut head, mut search) = (Vec::with_capacity(256), HeadEnd::default());
    let not_http = |_| io::Error::other("the proxy's answer to CONNECT is not HTTP");
    let end = loop {
        if let Some(end) = search.find(&head).map_err(not_http)? {
            break end;
        }
        if head.len() > LIMITS.header_bytes {
            return Err(io::Error::other("the proxy's answer to CONNECT is too long"));
        }
        if io.read_buf(&mut head).await? == 0 {
            return Err(io::Error::other("the proxy closed the connection instead of answering CONNECT"));
        }
    };
    let answer = seawall_wire::answer(&head[..end], Asked::Other, LIMITS).map_err(not_http)?;
    match answer.status.as_u16() {
        200..=299 if end == head.len() => Ok(()),
        // In a tunnel we always send first, and the target only answers. So bytes that come before we have sent
        // anything are not from the target.
        200..=299 => Err(io::Error::other("the proxy sent more than an answer to CONNECT")),
        status => Err(io::Error::other(format!("the proxy answered CONNECT with status {status}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_read_and_hide_their_password() {
        let proxy: Proxy = "http://al%40x:p%3Aw%2F@Proxy.Example:3128/".parse().unwrap();
        assert_eq!((proxy.host.to_string().as_str(), proxy.port), ("proxy.example", 3128));
        let expected = format!("Basic {}", BASE64.encode("al@x:p:w/"));
        assert_eq!(proxy.authorization().unwrap(), expected.as_str());
        let shown = format!("{proxy:?} {:?}", proxy.authorization());
        assert_eq!(shown, "Proxy(http://***@proxy.example:3128) Some(Sensitive)");
        let plain: Proxy = "http://[::1]:8080".parse().unwrap();
        assert_eq!((plain.host.to_string().as_str(), plain.authorization()), ("[::1]", None));
    }

    #[test]
    fn proxies_that_cannot_work_say_why_without_their_text() {
        let table = [
            ("proxy:3128", "form http://"),
            ("socks5://u:hunter2@p:1", "only proxies"),
            ("http://u:hunter2@proxy", "no port"),
            ("http://u:hunter2@proxy:0", "not a number"),
            ("http://u:hunter2@proxy:x", "not "),
            ("http://u:hunter2@pr oxy:1", "not host:port"),
            ("http://u:hunter2%4@proxy:1", "broken % escape"),
            ("http://u:hunter2@proxy:1/path", "not host:port"),
        ];
        for (text, why) in table {
            let message = text.parse::<Proxy>().unwrap_err().to_string();
            assert!(message.contains(why) && !message.contains("hunter2"), "{text}: {message}");
        }
    }

    #[tokio::test]
    async fn tunnel_takes_2xx_alone_and_no_byte_beyond_it() {
        let target = Target::try_from(&"https://[2001:db8::1]/".parse().unwrap()).unwrap();
        let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(20_000));
        let table = [
            ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", None),
            ("HTTP/1.1 204 \r\n\r\n", None),
            ("HTTP/1.1 200 OK\r\n\r\nhello", Some("more than an answer")),
            ("HTTP/1.1 407 Who\r\n\r\n", Some("status 407")),
            ("HTTP/1.1 502 Bad\r\ncontent-length: 2\r\n\r\nno", Some("status 502")),
            ("HTTP/1.1 200 OK\r\n", Some("closed")),
            ("nonsense\r\n\r\n", Some("not HTTP")),
            ("HTTP/1.1 2000\r\n\r\n", Some("not HTTP")),
            ("HTTP/1.1 200 OK\n\n", Some("not HTTP")),
            (&long, Some("too long")),
        ];
        for (answer, expected) in table {
            let (mut ours, mut theirs) = tokio::io::duplex(64 * 1024);
            theirs.write_all(answer.as_bytes()).await.unwrap();
            theirs.shutdown().await.unwrap();
            let outcome = tunnel(&mut ours, &target, None).await.map_err(|error| error.to_string());
            match (outcome, expected) {
                (Ok(()), None) => {}
                (Err(message), Some(part)) => assert!(message.contains(part), "{message}"),
                other => panic!("{answer:?}: {other:?}"),
            }
            drop(ours);
            let mut asked = String::new();
            theirs.read_to_string(&mut asked).await.unwrap();
            assert_eq!(asked, "CONNECT [2001:db8::1]:443 HTTP/1.1\r\nhost: [2001:db8::1]:443\r\n\r\n");
        }
    }
}
