//! The form in which the ledger keeps a request and its answer.
//!
//! Both are kept in the form of an HTTP message: a first line, headers, an empty line, and the body. So an operator can
//! read them with the database's own tools, and a later version of the program can send what an earlier version
//! recorded. If an application recorded a request with the ledger's SQL function, the record is the JSON body alone.
//! The first character shows which form a record has: an HTTP message begins with a capital letter, and no JSON text
//! does.

use std::fmt::Write;

use bytes::Bytes;
use http::response::{Parts, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

/// A request as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRequest {
    /// The method and the path. `None` if the record is a JSON body alone; the operation's declaration then says where
    /// the request goes.
    pub line: Option<(Method, String)>,
    /// Headers that are sent with the request. Credentials are never among them.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

impl StoredRequest {
    /// Returns the bytes to record. Equal requests give equal bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let Some((method, target)) = &self.line else { return self.body.clone() };
        let mut head = format!("{method} {target} HTTP/1.1\r\n");
        write_headers(&mut head, &self.headers);
        joined(head, &self.body)
    }

    /// Returns the parts of this request, besides the body, by which requests are compared: the method, the target with
    /// its query, and the content type. A request with equal parts and an equal body is the same request. The other
    /// headers may differ. The result is empty if the record is a body alone.
    #[must_use]
    pub fn same_head(&self) -> Vec<u8> {
        let Some((method, target)) = &self.line else { return Vec::new() };
        let mut head = format!("{method} {target}\n").into_bytes();
        for value in self.headers.get_all(http::header::CONTENT_TYPE) {
            head.extend_from_slice(value.as_bytes());
            head.push(b'\n');
        }
        head
    }

    /// Reads a recorded request, and returns it. If the bytes do not have the form of an HTTP message, all of them are
    /// taken as a JSON body.
    #[must_use]
    pub fn decode(stored: &[u8]) -> StoredRequest {
        StoredRequest::with_line(stored).unwrap_or_else(|| StoredRequest {
            line: None,
            headers: HeaderMap::from_iter([(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/json"),
            )]),
            body: stored.to_vec(),
        })
    }

    fn with_line(stored: &[u8]) -> Option<StoredRequest> {
        if !stored.first()?.is_ascii_uppercase() {
            return None;
        }
        let (line, headers, body) = split(stored)?;
        let (method, rest) = line.split_once(' ')?;
        let target = rest.strip_suffix(" HTTP/1.1")?;
        Some(StoredRequest { line: Some((method.parse().ok()?, target.to_owned())), headers, body })
    }
}

/// Which request the provider answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AnswerOf {
    /// The answer to the operation itself, if the action took effect.
    Reply,
    /// The answer to the operation itself, if the provider refused it. No hole is filled from a refusal.
    Refusal,
    /// The answer to a confirm.
    Confirm,
}

/// An answer as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAnswer {
    /// Which request the provider answered.
    pub of: AnswerOf,
    /// The status of the answer.
    pub status: u16,
    /// The recorded headers of the answer ([`StoredAnswer::kept`]).
    pub headers: HeaderMap,
    /// The body of the answer.
    pub body: Vec<u8>,
}

/// The header that marks a recorded answer as the answer to a confirm.
const CONFIRM: HeaderName = HeaderName::from_static("seawall-confirm");

/// The header that marks a recorded answer as a refusal.
const REFUSAL: HeaderName = HeaderName::from_static("seawall-refusal");

impl StoredAnswer {
    /// The maximum number of bytes that a recorded answer has besides its body.
    pub const HEAD_BYTES: usize = HEADER_BYTES + 64;

    /// Returns what is recorded of an answer. These headers are not recorded:
    ///
    /// - those that are meant for one connection only (RFC 9110, section 7.6.1), also those that `Connection` names;
    /// - `Content-Length` and `Transfer-Encoding`, which are made anew, and `Trailer`, because trailers are not
    ///   recorded;
    /// - `Date` and `Set-Cookie`, which belong to this one answer;
    /// - all that begin with `Seawall-`;
    /// - those whose value is not ASCII text;
    /// - those for which no room is left in 8 KiB. The first `Content-Type` comes first, then the others in their
    ///   order.
    #[must_use]
    pub fn kept(of: AnswerOf, head: &Parts, body: &[u8]) -> StoredAnswer {
        StoredAnswer {
            of,
            status: head.status.as_u16(),
            headers: kept_headers(&head.headers),
            body: body.to_vec(),
        }
    }

    /// Returns the head and the body of the answer, so that a caller can get the answer again. `None` if the status is
    /// not a valid HTTP status; [`StoredAnswer::decode`] never returns such an answer.
    #[must_use]
    pub fn into_parts(self) -> Option<(Parts, Bytes)> {
        let (mut head, ()) = Response::new(()).into_parts();
        head.status = StatusCode::from_u16(self.status).ok()?;
        head.headers = self.headers;
        Some((head, self.body.into()))
    }

    /// The bytes to record.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {}\r\n", self.status);
        write_headers(&mut head, &self.headers);
        match self.of {
            AnswerOf::Reply => {}
            AnswerOf::Refusal => write_header(&mut head, &REFUSAL, "1"),
            AnswerOf::Confirm => write_header(&mut head, &CONFIRM, "1"),
        }
        joined(head, &self.body)
    }

    /// Reads a recorded answer; `None` if the bytes do not have the form of an HTTP answer.
    #[must_use]
    pub fn decode(stored: &[u8]) -> Option<StoredAnswer> {
        let (line, mut headers, body) = split(stored)?;
        let status = StatusCode::from_bytes(line.strip_prefix("HTTP/1.1 ")?.as_bytes()).ok()?;
        // `remove` puts the last header in the place of the removed one. The header that says which request was
        // answered is the last one, so the order of the others stays as it is.
        let of = match (headers.remove(CONFIRM), headers.remove(REFUSAL)) {
            (Some(_), _) => AnswerOf::Confirm,
            (None, Some(_)) => AnswerOf::Refusal,
            (None, None) => AnswerOf::Reply,
        };
        Some(StoredAnswer { of, status: status.as_u16(), headers, body })
    }
}

/// The maximum length of all recorded headers of an answer together, as they are written, in bytes.
const HEADER_BYTES: usize = 8 << 10;

/// The headers of an answer that are not recorded, besides those whose name begins with `seawall-`.
const NOT_KEPT: [HeaderName; 13] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::UPGRADE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::CONTENT_LENGTH,
    header::DATE,
    header::SET_COOKIE,
];

/// Returns the headers of an answer that are recorded.
fn kept_headers(all: &HeaderMap) -> HeaderMap {
    let options = all.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let named: Vec<HeaderName> =
        options.flat_map(|text| text.split(',')).filter_map(|option| option.trim().parse().ok()).collect();
    let is_kept = |name: &HeaderName| {
        !NOT_KEPT.contains(name) && !named.contains(name) && !name.as_str().starts_with("seawall-")
    };
    let content_type = header::CONTENT_TYPE;
    let first = all.get(&content_type).map(|value| (&content_type, value));
    let others = all.iter().filter(|(name, _)| *name != content_type);
    let mut kept = HeaderMap::new();
    let mut room = HEADER_BYTES;
    for (name, value) in first.into_iter().chain(others).filter(|(name, _)| is_kept(name)) {
        let length = name.as_str().len() + value.len() + ": \r\n".len();
        if length <= room && value.to_str().is_ok() {
            room -= length;
            kept.append(name.clone(), value.clone());
        }
    }
    kept
}

fn write_headers(head: &mut String, headers: &HeaderMap) {
    for (name, value) in headers {
        // A header whose value is not ASCII text is left out, because the value could not be read back.
        if let Ok(value) = value.to_str() {
            write_header(head, name, value);
        }
    }
}

fn write_header(head: &mut String, name: &HeaderName, value: &str) {
    let _ = write!(head, "{name}: {value}\r\n");
}

/// Returns a message: its head, the empty line that ends the head, and the body.
fn joined(head: String, body: &[u8]) -> Vec<u8> {
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    bytes
}

fn split(stored: &[u8]) -> Option<(String, HeaderMap, Vec<u8>)> {
    const END: &[u8] = b"\r\n\r\n";
    let at = stored.windows(END.len()).position(|window| window == END)?;
    let head = std::str::from_utf8(&stored[..at]).ok()?;
    let mut lines = head.split("\r\n");
    let line = lines.next()?.to_owned();
    let mut headers = HeaderMap::new();
    for field in lines {
        let (name, value) = field.split_once(": ")?;
        headers.append(name.parse::<HeaderName>().ok()?, value.parse().ok()?);
    }
    Some((line, headers, stored[at + END.len()..].to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_come_back_as_they_were_recorded() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.append("x-order", HeaderValue::from_static("7"));
        headers.append("x-order", HeaderValue::from_static("8"));
        for body in [&b"{\"a\":\"\\r\\n\\r\\n\"}"[..], b"", b"\r\n\r\nx\0\xff"] {
            let line = Some((Method::POST, "/v1/charges?x=%20".to_owned()));
            let request = StoredRequest { line, headers: headers.clone(), body: body.to_vec() };
            assert_eq!(StoredRequest::decode(&request.encode()), request);
        }
    }

    #[test]
    fn a_body_alone_is_told_from_a_request() {
        for body in
            [&b"{\"amount\":1}"[..], b"[1]", b"true", b"12", b"\"POST / HTTP/1.1\\r\\n\"", b"", b"POST"]
        {
            let read = StoredRequest::decode(body);
            assert_eq!((read.line, read.body.as_slice()), (None, body));
            assert_eq!(read.headers.len(), 1);
        }
    }

    #[test]
    fn answers_remember_whether_they_were_asked_for() {
        for of in [AnswerOf::Reply, AnswerOf::Refusal, AnswerOf::Confirm] {
            let answer = StoredAnswer {
                of,
                status: 201,
                headers: headers(&[("content-type", "application/json"), ("x-id", "7"), ("x-id", "8")]),
                body: b"{\"id\":1}".to_vec(),
            };
            assert_eq!(StoredAnswer::decode(&answer.encode()), Some(answer));
        }
        for no in [&b"{}"[..], b"HTTP/1.1 20\r\n\r\n", b"HTTP/1.1 2000\r\n\r\n", b"HTTP/1.1 099\r\n\r\n"] {
            assert_eq!(StoredAnswer::decode(no), None);
        }
    }

    #[test]
    fn what_earlier_versions_recorded_is_read_and_written_as_before() {
        let json = headers(&[("content-type", "application/json")]);
        for (stored, of, headers) in [
            ("HTTP/1.1 402\r\ncontent-type: application/json\r\n\r\n{}", AnswerOf::Reply, &json),
            (
                "HTTP/1.1 402\r\ncontent-type: application/json\r\nseawall-refusal: 1\r\n\r\n{}",
                AnswerOf::Refusal,
                &json,
            ),
            ("HTTP/1.1 402\r\nseawall-confirm: 1\r\n\r\n{}", AnswerOf::Confirm, &HeaderMap::new()),
        ] {
            let read = StoredAnswer::decode(stored.as_bytes()).unwrap();
            let expected = StoredAnswer { of, status: 402, headers: headers.clone(), body: b"{}".to_vec() };
            assert_eq!(read, expected);
            assert_eq!(String::from_utf8(read.encode()).unwrap(), stored);
        }
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    /// Returns the names and values that are kept of an answer with these headers, in the order in which they are
    /// recorded.
    fn kept(pairs: &[(&'static str, &str)]) -> Vec<(String, String)> {
        let (mut head, ()) = Response::new(()).into_parts();
        head.headers = headers(pairs);
        let stored = StoredAnswer::kept(AnswerOf::Refusal, &head, b"body");
        let bytes = stored.encode();
        assert!(bytes.len() <= StoredAnswer::HEAD_BYTES + 4, "{}", bytes.len());
        assert_eq!(StoredAnswer::decode(&bytes).as_ref(), Some(&stored));
        let (again, body) = stored.into_parts().unwrap();
        assert_eq!((again.status, &body[..]), (head.status, &b"body"[..]));
        again.headers.iter().map(|(n, v)| (n.to_string(), v.to_str().unwrap().to_owned())).collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn headers_of_one_connection_or_one_answer_are_not_kept() {
        let sent = [
            ("x-request-id", "7"),
            ("connection", "close, X-Hop"),
            ("connection", "x-other"),
            ("x-hop", "1"),
            ("x-other", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authenticate", "Basic"),
            ("te", "trailers"),
            ("trailer", "x-sum"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("content-length", "4"),
            ("date", "Mon, 30 Nov 2026 05:00:00 GMT"),
            ("set-cookie", "a=b"),
            ("seawall-confirm", "1"),
            ("seawall-effect", "applied"),
            ("x-name", "J\u{fc}rgen"),
            ("link", "</1>"),
            ("link", "</2>"),
            ("retry-after", "7"),
            ("x-empty", ""),
            ("content-type", "text/plain"),
            ("content-type", "text/html"),
        ];
        let expected = [
            ("content-type", "text/plain"),
            ("x-request-id", "7"),
            ("link", "</1>"),
            ("link", "</2>"),
            ("retry-after", "7"),
            ("x-empty", ""),
        ];
        assert_eq!(kept(&sent), pairs(&expected));
        assert_eq!(kept(&[]), []);
    }

    #[test]
    fn at_most_8_kib_of_headers_are_kept_and_content_type_first() {
        let (half, rest, more) = ("x".repeat(4 << 10), "y".repeat(4035), "z".repeat(4036));
        let json = ("content-type", "application/json");
        // The lines of `content-type`, `x-a` and `x-b` have 32, 4103 and 4042 bytes. So 15 bytes are left of 8 KiB.
        let full = [("x-a", half.as_str()), ("x-b", rest.as_str()), ("x-c", "12345678"), json];
        assert_eq!(kept(&full), pairs(&[json, full[0], full[1], full[2]]));
        let over = [("x-a", half.as_str()), ("x-b", more.as_str()), ("x-c", "12345678"), ("x-d", "7"), json];
        assert_eq!(kept(&over), pairs(&[json, over[0], over[1], over[3]]), "what fits is kept");
        let long = "a".repeat(9 << 10);
        assert_eq!(kept(&[("content-type", &long), ("x-a", "1")]), pairs(&[("x-a", "1")]));
        let many: Vec<(&str, &str)> = std::iter::repeat_n(("a", ""), 10_000).collect();
        assert_eq!(kept(&many).len(), (8 << 10) / 5);
    }
}
