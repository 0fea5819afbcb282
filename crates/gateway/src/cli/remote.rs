//! Talks to a gateway's admin side over plain HTTP, with one request on each connection and without an async runtime.
//!
//! HTTP/1.0 is enough and keeps this code short, since an answer of HTTP/1.0 ends when its connection ends. An HTTP
//! client library would bring a second TLS stack, and a pool for a single request.

use std::io::{Read, Write};
use std::net::{IpAddr, TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use http::Uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::failure::Failure;
use crate::admin::default_token_path;
use crate::files::{read_given, read_made};
use crate::running::tokens::check_length;

const CONNECT_TIME: Duration = Duration::from_secs(5);
const ANSWER_TIME: Duration = Duration::from_secs(15);
/// The maximum length of an answer, in bytes (64 MiB). The answer for a thousand dependencies is many times smaller.
const MOST_ANSWER: u64 = 64 << 20;
const DEFAULT_PORT: u16 = 80;

/// Which gateway to talk to, and with which token.
#[derive(Debug, Args)]
pub(super) struct RemoteGateway {
    /// The URL of the gateway's admin side
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8401")]
    pub(super) admin: String,
    /// A file with the admin token. The default is the token that a gateway on this machine made at start
    #[arg(long, value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,
}

/// One gateway's admin side.
#[derive(Debug)]
pub(super) struct Remote {
    shown: String,
    /// The host's name or address; an IPv6 address has no brackets here.
    host: String,
    port: u16,
    prefix: String,
    token: Option<String>,
}

impl Remote {
    /// Reads `--admin` and `--token-file`.
    pub(super) fn new(gateway: &RemoteGateway) -> Result<Remote, Failure> {
        let wrong = |why: &str| Failure::misuse(format!("--admin {}: {why}", gateway.admin));
        let uri: Uri = gateway.admin.parse().map_err(|_| wrong("not a URL such as http://127.0.0.1:8401"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => {
                return Err(wrong("the admin side speaks plain HTTP; reach it through a tunnel"));
            }
            Some(_) | None => return Err(wrong("not an http:// URL such as http://127.0.0.1:8401")),
        }
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| wrong("it names no host"))?;
        let mut remote = Remote {
            shown: gateway.admin.clone(),
            host: host.trim_matches(['[', ']']).to_owned(),
            port: uri.port_u16().unwrap_or(DEFAULT_PORT),
            prefix: uri.path().trim_end_matches('/').to_owned(),
            token: None,
        };
        remote.token = match &gateway.token_file {
            Some(path) => Some(
                read_given(path)
                    .and_then(|text| token_in(&text))
                    .map_err(|why| Failure::misuse(format!("--token-file {}: {why}", path.display())))?,
            ),
            // Without `--token-file`, this uses the token that a gateway on this machine made. The token is sent only
            // to loopback. If it were sent to another machine, a program there would learn it.
            None if remote.is_loopback() => made_token(&default_token_path(remote.port)).ok(),
            None => None,
        };
        Ok(remote)
    }

    fn is_loopback(&self) -> bool {
        self.host.eq_ignore_ascii_case("localhost")
            || self.host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
    }

    /// Fails if there is no token. A command that changes something calls this before it sends anything, so that the
    /// failure can say where a token was looked for.
    pub(super) fn need_token(&self) -> Result<(), Failure> {
        if self.token.is_some() {
            return Ok(());
        }
        let looked = if self.is_loopback() {
            let path = default_token_path(self.port);
            match made_token(&path) {
                Err(why) => format!(" ({}: {why})", path.display()),
                Ok(_) => String::new(),
            }
        } else {
            String::new()
        };
        Err(Failure::failed(format!(
            "this command needs the gateway's admin token{looked}: name its file with --token-file; the gateway's log says where it is"
        )))
    }

    /// Sends a GET, and returns the JSON of the answer as text. Fails if the gateway cannot be reached, or if the
    /// status of its answer is not 200.
    pub(super) fn get(&self, path: &str) -> Result<String, Failure> {
        self.exchange("GET", path, None)
    }

    /// Sends a POST with this JSON, and returns the JSON of the answer as text. Fails if the gateway cannot be reached,
    /// or if the status of its answer is not 200.
    pub(super) fn post(&self, path: &str, body: &Value) -> Result<String, Failure> {
        self.exchange("POST", path, Some(body.to_string()))
    }

    fn exchange(&self, method: &str, path: &str, body: Option<String>) -> Result<String, Failure> {
        let mut stream = self.connect()?;
        let lost = |error: std::io::Error| {
            Failure::failed(format!("{}: the connection was lost: {error}", self.shown))
        };
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let mut request =
            format!("{method} {}{path} HTTP/1.0\r\nhost: {host}:{}\r\n", self.prefix, self.port);
        if let Some(token) = &self.token {
            request.push_str(&format!("authorization: Bearer {token}\r\n"));
        }
        if let Some(body) = &body {
            request
                .push_str(&format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len()));
        }
        request.push_str("\r\n");
        request.push_str(body.as_deref().unwrap_or_default());
        stream.write_all(request.as_bytes()).map_err(lost)?;
        let mut answer = Vec::new();
        stream.take(MOST_ANSWER).read_to_end(&mut answer).map_err(lost)?;
        let (status, body) = split(&answer)
            .ok_or_else(|| Failure::failed(format!("{}: the answer is not HTTP", self.shown)))?;
        judge(status, body, &self.shown)
    }

    fn connect(&self) -> Result<TcpStream, Failure> {
        let unreachable = |why: String| {
            Failure::failed(format!(
                "no gateway answers at {}: {why} (is it running? `--admin URL` names another gateway)",
                self.shown
            ))
        };
        let addresses = (self.host.as_str(), self.port)
            .to_socket_addrs()
            .map_err(|error| unreachable(error.to_string()))?;
        let mut last = "the name has no address".to_owned();
        for address in addresses {
            match TcpStream::connect_timeout(&address, CONNECT_TIME) {
                Ok(stream) => {
                    let timed = stream.set_read_timeout(Some(ANSWER_TIME));
                    timed
                        .and_then(|()| stream.set_write_timeout(Some(ANSWER_TIME)))
                        .map_err(|e| unreachable(e.to_string()))?;
                    return Ok(stream);
                }
                Err(error) => last = error.to_string(),
            }
        }
        Err(unreachable(last))
    }
}

/// Returns the status and the body of a complete answer; `None` if the answer is not complete.
fn split(answer: &[u8]) -> Option<(u16, String)> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some((status, String::from_utf8_lossy(&answer[end + 4..]).into_owned()))
}

/// Returns the body if the status is 200. Otherwise returns the failure of the command. The exit code is 2 if the
/// gateway explains a mistake in the request (400 or 404 with a `detail`), and 1 in all other cases. `shown` is the URL
/// for messages.
fn judge(status: u16, body: String, shown: &str) -> Result<String, Failure> {
    if status == 200 {
        return Ok(body);
    }
    let problem: Value = serde_json::from_str(&body).unwrap_or_default();
    let message = match problem["detail"].as_str() {
        Some(detail) => detail.to_owned(),
        None => format!("{shown} answered {status}; is that a gateway's admin side?"),
    };
    match status {
        400 | 404 if problem["detail"].is_string() => Err(Failure::misuse(message)),
        _ => Err(Failure::failed(message)),
    }
}

/// Returns this text as a segment of a path, percent-encoded where needed.
pub(super) fn segment(text: &str) -> String {
    const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(text, RESERVED).to_string()
}

/// Returns the token that a gateway on this machine made. The error says, in words, why it cannot be read.
fn made_token(path: &Path) -> Result<String, String> {
    read_made(path).and_then(|text| token_in(&text))
}

/// Returns the first token of a file, whose lines are `TOKEN` or `NAME TOKEN`. Empty lines and lines that begin with
/// `#` are skipped. The error says that there is no token, or that it has a wrong length or character.
fn token_in(text: &str) -> Result<String, String> {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    let line = line.ok_or("it holds no token")?;
    let token = line.split_whitespace().last().unwrap_or_default();
    check_length(token)?;
    if token.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(token.to_owned())
    } else {
        Err("its first token has a character that no token has".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(admin: &str) -> Result<Remote, Failure> {
        Remote::new(&RemoteGateway { admin: admin.to_owned(), token_file: None })
    }

    #[test]
    fn admin_urls() {
        let found = remote("http://[::1]:9/x/").unwrap();
        assert_eq!((found.host.as_str(), found.port, found.prefix.as_str()), ("::1", 9, "/x"));
        assert!(found.is_loopback() && remote("http://localhost:1").unwrap().is_loopback());
        let far = remote("http://gateway.example").unwrap();
        assert_eq!((far.port, far.is_loopback(), far.need_token().unwrap_err().code), (80, false, 1));
        for wrong in ["127.0.0.1:8401", "https://x", "ftp://x", "/x", "http://", "not a url"] {
            assert_eq!(remote(wrong).unwrap_err().code, 2, "{wrong}");
        }
    }

    #[test]
    fn answers_are_split_and_judged() {
        let (status, body) =
            split(b"HTTP/1.0 404 Not Found\r\nx: y\r\n\r\n{\"detail\":\"no such\"}").unwrap();
        let failure = judge(status, body, "http://x").unwrap_err();
        assert_eq!((failure.code, failure.message.as_str()), (2, "no such"));
        assert_eq!(judge(404, "<html>".into(), "http://x").unwrap_err().code, 1);
        assert_eq!(judge(401, "{\"detail\":\"token\"}".into(), "http://x").unwrap_err().code, 1);
        for wrong in [&b"SSH-2.0-x\r\n\r\n"[..], b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 abc\r\n\r\n"] {
            assert!(split(wrong).is_none());
        }
    }

    #[test]
    fn a_token_is_the_last_word_of_the_first_line_that_holds_one() {
        for (text, token) in [
            ("a-token-of-sixteen\n", Some("a-token-of-sixteen")),
            ("# x\n\nana  token-of-ana-here\nbob t2", Some("token-of-ana-here")),
            ("#\n", None),
            ("ö-token-of-sixteen\n", None),
            ("short\n", None),
        ] {
            assert_eq!(token_in(text).ok().as_deref(), token, "{text}");
        }
        assert!(token_in("short").unwrap_err().contains("at least 16"));
    }

    #[test]
    fn names_are_one_segment() {
        assert_eq!(segment("a/b ü?"), "a%2Fb%20%C3%BC%3F");
    }
}
