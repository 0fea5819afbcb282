//! Replaces the answer that hyper writes when it cannot read a request's head.
//!
//! Our answer in its place has the same status and gives the reason. hyper's own answer has a status and nothing else,
//! so the caller would not learn the reason. hyper's answer can be recognised: it has no header `seawall-effect`, but
//! every answer that we write has one.

use http::StatusCode;
use seawall_policy::Reason;

use crate::problem::Problem;

/// Every answer that hyper makes by itself is shorter than this number of bytes. So a longer answer is not hyper's own.
const BARE: usize = 256;

/// The answer that we write in place of hyper's own.
pub(crate) struct Retold {
    message: Vec<u8>,
    pub(crate) written: usize,
    /// The length of hyper's answer, in bytes.
    pub(crate) stands_for: usize,
    pub(crate) status: StatusCode,
}

impl Retold {
    /// If these bytes are hyper's own refusal of a head, returns our answer that replaces it. Otherwise returns `None`.
    pub(crate) fn of(bytes: &[u8]) -> Option<Retold> {
        let begins = bytes.starts_with(b"HTTP/1.") && bytes.get(8..10) == Some(b" 4");
        if !begins || bytes.len() > BARE || !bytes.ends_with(b"\r\n\r\n") {
            return None;
        }
        let text = std::str::from_utf8(bytes).ok().filter(|text| !text.contains("seawall-effect"))?;
        let status = StatusCode::from_bytes(&bytes[9..12]).ok()?;
        let date = text.lines().find(|line| line.starts_with("date:"));
        let message = Problem::refused(Reason::BadRequest, None, why(status)).into_message(status, date);
        Some(Retold { message, written: 0, stands_for: bytes.len(), status })
    }

    /// Returns the bytes of our answer that are still to be written.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.message[self.written..]
    }
}

/// Returns, in words, why hyper refuses a head with this status.
pub(crate) fn why(status: StatusCode) -> &'static str {
    match status {
        StatusCode::URI_TOO_LONG => "the target is longer than can be read, 65534 bytes",
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
            "the head is longer, or has more fields, than `gateway.limits` allows"
        }
        _ => "the head cannot be read as HTTP/1.1",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bare_refusal_is_told_again() {
        let bare = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n";
        let retold = Retold::of(bare).unwrap();
        let text = std::str::from_utf8(retold.rest()).unwrap();
        assert!(text.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{text}");
        for line in ["seawall-reason: bad-request\r\n", "connection: close\r\n", "date: Thu, 01 Jan 1970"] {
            assert!(text.contains(line), "{text}");
        }
        let (_, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(text.contains(&format!("content-length: {}\r\n", body.len())), "{text}");
        for other in [
            &b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"[..],
            b"HTTP/1.1 404 Not Found\r\nseawall-effect: not-applied\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 400 Bad Request\r\ncontent-length: 4\r\n\r\nbody",
            b"",
        ] {
            assert!(Retold::of(other).is_none());
        }
    }
}
