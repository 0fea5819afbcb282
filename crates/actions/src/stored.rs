//! The form in which the ledger keeps a request and its answer.
//!
//! Both are kept in the form of an HTTP message: a first line, headers, an empty line, and the body. So an operator can
//! read them with the database's own tools, and a later version of the program can send what an earlier version
//! recorded. If an application recorded a request with the ledger's SQL function, the record is the JSON body alone.
//! The first character shows which form a record has: an HTTP message begins with a capital letter, and no JSON text
//! does.

use std::fmt::Write;

use http::{HeaderMap, HeaderName, HeaderValue, Method};

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

    /// Returns the head that makes another request the same request, if the bodies are equal, too: the method, the
    /// target with its query, and the content type. It is empty if the record is a body alone. The other headers may
    /// differ.
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
                http::header::CONTENT_TYPE,
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
    /// The answer to the operation itself, if the provider refused it. A refusal fills no holes.
    Refusal,
    /// The answer to a confirm.
    Confirm,
}

/// An answer as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAnswer {
    /// Where the answer came from.
    pub of: AnswerOf,
    /// Its status.
    pub status: u16,
    /// Its `Content-Type`, if it had one.
    pub content_type: Option<HeaderValue>,
    /// The answer's body; empty if it was too long to be kept.
    pub body: Vec<u8>,
}

/// The header that marks a recorded answer as the answer to a confirm.
const CONFIRM: HeaderName = HeaderName::from_static("seawall-confirm");

/// The header that marks a recorded answer as a refusal.
const REFUSAL: HeaderName = HeaderName::from_static("seawall-refusal");

impl StoredAnswer {
    /// The bytes to record.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {}\r\n", self.status);
        let mut headers = HeaderMap::new();
        if let Some(content_type) = &self.content_type {
            headers.insert(http::header::CONTENT_TYPE, content_type.clone());
        }
        let mark = match self.of {
            AnswerOf::Reply => None,
            AnswerOf::Refusal => Some(REFUSAL),
            AnswerOf::Confirm => Some(CONFIRM),
        };
        if let Some(mark) = mark {
            headers.insert(mark, HeaderValue::from_static("1"));
        }
        write_headers(&mut head, &headers);
        joined(head, &self.body)
    }

    /// Reads a recorded answer; `None` if the bytes do not have the form of an HTTP answer.
    #[must_use]
    pub fn decode(stored: &[u8]) -> Option<StoredAnswer> {
        let (line, headers, body) = split(stored)?;
        let status = line.strip_prefix("HTTP/1.1 ")?.parse().ok()?;
        let of = match () {
            () if headers.contains_key(CONFIRM) => AnswerOf::Confirm,
            () if headers.contains_key(REFUSAL) => AnswerOf::Refusal,
            () => AnswerOf::Reply,
        };
        Some(StoredAnswer {
            of,
            status,
            content_type: headers.get(http::header::CONTENT_TYPE).cloned(),
            body,
        })
    }
}

fn write_headers(head: &mut String, headers: &HeaderMap) {
    for (name, value) in headers {
        // A header whose value is not ASCII text is left out, because the value could not be read back.
        if let Ok(value) = value.to_str() {
            let _ = write!(head, "{name}: {value}\r\n");
        }
    }
    head.push_str("\r\n");
}

fn joined(head: String, body: &[u8]) -> Vec<u8> {
    let mut bytes = head.into_bytes();
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
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
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
            let content_type = Some(HeaderValue::from_static("application/json"));
            let answer = StoredAnswer { of, status: 201, content_type, body: b"{\"id\":1}".to_vec() };
            assert_eq!(StoredAnswer::decode(&answer.encode()), Some(answer));
        }
        assert_eq!(StoredAnswer::decode(b"{}"), None);
    }
}
