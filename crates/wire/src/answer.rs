//! Reads the head of an answer.

use bytes::Bytes;
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderValue};

use crate::body::Framing;
use crate::fields::{Fields, with_room};
use crate::head::Limits;
use crate::misread::Misread;

/// The method of the request that is answered. Together with the answer's status it decides whether the answer has a
/// body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// HEAD: the answer has no body, whatever its fields say.
    Head,
    /// Any other method but CONNECT.
    Other,
}

/// The head of an answer.
#[derive(Debug)]
pub struct AnswerHead {
    /// The status, 100 to 999. A status below 200 is an interim answer; the final one follows.
    pub status: StatusCode,
    /// The fields that are passed on, in their order.
    ///
    /// - `Content-Length` is among them, without leading zeros. With a status that forbids this field (204), it is left
    ///   out.
    /// - The fields that concern only this connection are left out: `Connection` and the fields that it names,
    ///   `Keep-Alive`, `Transfer-Encoding`.
    pub fields: HeaderMap,
    /// Where the body ends.
    pub framing: Framing,
    /// Whether the connection can carry another exchange after this answer was read to its end.
    pub keep: bool,
    /// The value of the field `Keep-Alive`, if there is one.
    pub keep_alive: Option<HeaderValue>,
}

/// The beginning that all answers have in common.
const BEGINNING: &[u8] = b"HTTP/1.";

/// Returns whether these bytes can be the beginning of an answer. It is called before the head is complete, so that
/// bytes that are not HTTP are refused immediately.
#[must_use]
pub fn may_begin(bytes: &[u8]) -> bool {
    let common = bytes.len().min(BEGINNING.len());
    bytes[..common] == BEGINNING[..common]
}

/// Returns what the head of an answer says: its status, its fields, and where its body ends. `bytes` are the head with
/// its empty line, as [`crate::HeadEnd`] found it.
///
/// # Errors
/// `bytes` are not a head by the strict rules of this crate.
pub fn answer(bytes: &[u8], asked: Asked, limits: Limits) -> Result<AnswerHead, Misread> {
    if !may_begin(bytes) {
        return Err(Misread::NotHttp);
    }
    if bytes.len() > limits.header_bytes {
        return Err(Misread::HeadTooLong);
    }
    // The fields' values are slices of this one copy.
    let head = Bytes::copy_from_slice(bytes);
    with_room(limits, |room| {
        let mut parsed = httparse::Response::new(&mut []);
        let config = httparse::ParserConfig::default();
        let status = config.parse_response_with_uninit_headers(&mut parsed, &head, room).map_err(misread)?;
        let (httparse::Status::Complete(length), Some(version), Some(code)) =
            (status, parsed.version, parsed.code)
        else {
            return Err(Misread::StatusLine);
        };
        if length != head.len() {
            return Err(Misread::Field);
        }
        let status = StatusCode::from_u16(code).map_err(|_| Misread::StatusLine)?;
        let fields = Fields::read(&head, parsed.headers)?;
        framed(status, version, fields, asked)
    })
}

/// Returns the head of an answer with these fields. Decides where the body ends (RFC 9112, section 6.3) and whether the
/// connection is kept (section 9.3). Fails if an answer of HTTP/1.0 has a `Transfer-Encoding`.
fn framed(status: StatusCode, version: u8, fields: Fields, asked: Asked) -> Result<AnswerHead, Misread> {
    let Fields { mut map, close, keep, keep_alive, chunked, length, .. } = fields;
    if chunked && version == 0 {
        return Err(Misread::Coding);
    }
    let wordless = status.is_informational() || status == StatusCode::NO_CONTENT;
    let framing = match length {
        _ if asked == Asked::Head || wordless || status == StatusCode::NOT_MODIFIED => Framing::Empty,
        _ if chunked => Framing::Chunked,
        Some(length) => Framing::Length(length),
        None => Framing::UntilClose,
    };
    // `promised`: the fields announce a body, although an answer with this status has none. A server may send that body
    // nevertheless, and it would be read as the next answer. So the connection is not kept.
    let promised = wordless && (chunked || length.is_some_and(|length| length > 0));
    if wordless {
        map.remove(header::CONTENT_LENGTH);
    }
    let lasting = if version == 0 { keep && !close } else { !close };
    let keep = lasting && framing != Framing::UntilClose && !promised;
    Ok(AnswerHead { status, fields: map, framing, keep, keep_alive })
}

fn misread(error: httparse::Error) -> Misread {
    match error {
        httparse::Error::TooManyHeaders => Misread::TooManyFields,
        httparse::Error::HeaderName | httparse::Error::HeaderValue => Misread::Field,
        httparse::Error::NewLine => Misread::LineEnd,
        httparse::Error::Status | httparse::Error::Token | httparse::Error::Version => Misread::StatusLine,
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
