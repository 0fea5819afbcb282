//! A request as the harbor reads it (`Asked`), and the harbor's answer before a fault has changed the answer (`Reply`).

use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// A request that was read whole.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(try_from = "Written", into = "Written")]
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) key: Option<String>,
    /// The value of the `harbor-id` header; `None` if the request has no such header.
    pub(super) id: Option<String>,
    pub(super) body: Bytes,
    /// The hash of method, path, query and body. Two requests with equal hashes count as the same request.
    pub(super) fingerprint: u64,
}

impl Asked {
    pub(super) fn new(
        (method, path, query): (Method, String, String),
        (key, id): (Option<String>, Option<String>),
        body: Bytes,
    ) -> Asked {
        let mut hasher = DefaultHasher::new();
        (method.as_str(), &path, &query, &body[..]).hash(&mut hasher);
        Asked { method, path, query, key, id, body, fingerprint: hasher.finish() }
    }

    /// Returns whether the request may change something: `true` for every method except GET, HEAD and OPTIONS.
    pub(super) fn writes(&self) -> bool {
        !matches!(self.method, Method::GET | Method::HEAD | Method::OPTIONS)
    }

    /// Returns the value of one parameter of the query, percent-decoded; `None` if the query does not have the
    /// parameter.
    pub(super) fn parameter(&self, name: &str) -> Option<String> {
        self.query.split('&').find_map(|pair| {
            let (found, value) = pair.split_once('=').unwrap_or((pair, ""));
            (found == name).then(|| percent_decoded(value))
        })
    }
}

/// An answer, before a fault has changed it.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
    /// The allowed methods, for the `Allow` header of an answer with status 405. `None` for every other answer.
    pub(super) allow: Option<&'static str>,
}

impl Reply {
    pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Reply {
        let body = serde_json::to_vec(value).expect("values without maps of odd keys always serialise");
        Reply { status, body: body.into(), allow: None }
    }

    pub(super) fn refusal(status: StatusCode, why: &str) -> Reply {
        Reply::json(status, &json!({ "error": { "code": status.as_u16(), "message": why } }))
    }

    pub(super) fn ok(value: &impl Serialize) -> Reply {
        Reply::json(StatusCode::OK, value)
    }

    pub(super) fn not_found(what: &str) -> Reply {
        Reply::refusal(StatusCode::NOT_FOUND, what)
    }

    pub(super) fn wrong(why: &str) -> Reply {
        Reply::refusal(StatusCode::BAD_REQUEST, why)
    }
}

/// A request as it is written to a line of the journal.
#[derive(Deserialize, Serialize)]
struct Written {
    method: String,
    path: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    query: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// The body, if it is UTF-8.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    body: String,
    /// The body, if it is not UTF-8; empty otherwise. It is kept as bytes, because replacing the invalid characters
    /// would make a different request, which could even be a valid one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    bytes: Vec<u8>,
}

impl From<Asked> for Written {
    fn from(asked: Asked) -> Written {
        let (body, bytes) = match String::from_utf8(asked.body.into()) {
            Ok(text) => (text, Vec::new()),
            Err(other) => (String::new(), other.into_bytes()),
        };
        Written {
            method: asked.method.to_string(),
            path: asked.path,
            query: asked.query,
            key: asked.key,
            id: asked.id,
            body,
            bytes,
        }
    }
}

impl TryFrom<Written> for Asked {
    type Error = http::method::InvalidMethod;

    fn try_from(line: Written) -> Result<Asked, Self::Error> {
        let target = (line.method.parse()?, line.path, line.query);
        let body = if line.bytes.is_empty() { line.body.into() } else { line.bytes.into() };
        Ok(Asked::new(target, (line.key, line.id), body))
    }
}

/// Returns the text with its percent escapes decoded: `%41` becomes `A`. An invalid escape is left as it is. A `+` is
/// left as it is too, since the text comes from a URI and not from a form.
pub(super) fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).and_then(|b| char::from(*b).to_digit(16));
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                at += 3;
            }
            (byte, ..) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_from_the_journal_as_it_was() {
        for body in [&b"{\"amount\": 5}"[..], b"", b"{\"note\": \"\xff\"}"] {
            let target = (Method::POST, "/v1/charges".to_owned(), String::new());
            let asked = Asked::new(target, (Some("k".to_owned()), None), Bytes::from_static(body));
            let line = serde_json::to_string(&asked).unwrap();
            let read: Asked = serde_json::from_str(&line).unwrap();
            assert_eq!((&read.body[..], read.fingerprint), (body, asked.fingerprint), "{line}");
        }
    }
}
