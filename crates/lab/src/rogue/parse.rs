//! Reads HTTP/1.1 requests, if they are well-formed.
//!
//! The rogue is a server behind a gateway, and a gateway must never send a malformed request. So a request that this
//! parser cannot read is counted as broken, and its connection is ended.

use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::load::Fingerprint;
use super::log::Log;

/// The maximum size of a head, and of a line between two chunks, in bytes.
const MOST_HEAD: usize = 256 << 10;

/// The head of a request.
pub(super) struct Head {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) headers: Vec<(String, String)>,
    /// Whether the request is the last of its connection: it is HTTP/1.0, or has `connection: close`.
    pub(super) last: bool,
    pub(super) framing: BodyFraming,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyFraming {
    Length(u64),
    Chunked,
}

/// The body of a request while it is read. All its bytes are counted and fingerprinted, and the first `keep` bytes are
/// kept.
pub(super) struct Body<'a> {
    pub(super) kept: BytesMut,
    pub(super) len: u64,
    pub(super) print: Fingerprint,
    keep: usize,
    log: &'a Log,
}

impl<'a> Body<'a> {
    pub(super) fn new(keep: usize, log: &'a Log) -> Body<'a> {
        Body { kept: BytesMut::new(), len: 0, print: Fingerprint::default(), keep, log }
    }

    pub(super) fn add(&mut self, piece: &[u8]) {
        let room = self.keep.saturating_sub(self.kept.len());
        self.kept.extend_from_slice(&piece[..piece.len().min(room)]);
        self.len += piece.len() as u64;
        self.print.add(piece);
        self.log.write(|counts| counts.body_bytes += piece.len() as u64);
    }
}

/// Reads requests from a connection. `ahead` holds the bytes that were read but not used yet.
pub(super) struct Reader<'a> {
    pub(super) stream: &'a mut TcpStream,
    pub(super) ahead: &'a mut BytesMut,
}

impl Reader<'_> {
    async fn fill(&mut self) -> io::Result<()> {
        match self.stream.read_buf(self.ahead).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Reads the next head. Returns `None` if the connection ended before the first byte of a head.
    pub(super) async fn head(&mut self) -> io::Result<Option<Head>> {
        let mut searched = 0_usize;
        loop {
            let from = searched.saturating_sub(3);
            if let Some(at) = self.ahead[from..].windows(4).position(|four| four == b"\r\n\r\n") {
                let head = self.ahead.split_to(from + at + 4);
                return parse_head(&head).map(Some).ok_or_else(|| malformed("the head"));
            }
            searched = self.ahead.len();
            if searched > MOST_HEAD {
                return Err(malformed("the head's length"));
            }
            match self.fill().await {
                Err(_) if self.ahead.is_empty() => return Ok(None),
                filled => filled?,
            }
        }
    }

    /// Reads a body to its end, and returns its trailers. Fails if the body is malformed or breaks off.
    pub(super) async fn body(
        &mut self,
        framing: BodyFraming,
        body: &mut Body<'_>,
    ) -> io::Result<Vec<(String, String)>> {
        match framing {
            BodyFraming::Length(length) => {
                self.take(length, body).await?;
                Ok(Vec::new())
            }
            BodyFraming::Chunked => loop {
                let line = self.line().await?;
                let size = line.split(';').next().unwrap_or_default().trim();
                let size = u64::from_str_radix(size, 16).map_err(|_| malformed("a chunk's size"))?;
                if size == 0 {
                    return self.trailers().await;
                }
                self.take(size, body).await?;
                if !self.line().await?.is_empty() {
                    return Err(malformed("a chunk's end"));
                }
            },
        }
    }

    async fn trailers(&mut self) -> io::Result<Vec<(String, String)>> {
        let mut trailers = Vec::new();
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Ok(trailers);
            }
            trailers.push(field(&line).ok_or_else(|| malformed("a trailer"))?);
        }
    }

    async fn take(&mut self, length: u64, body: &mut Body<'_>) -> io::Result<()> {
        let mut left = length;
        while left > 0 {
            if self.ahead.is_empty() {
                self.ahead.reserve(64 << 10);
                self.fill().await?;
            }
            let piece = self.ahead.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            body.add(&self.ahead.split_to(piece));
            left -= piece as u64;
        }
        Ok(())
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = self.ahead.windows(2).position(|two| two == b"\r\n") {
                let line = self.ahead.split_to(at + 2);
                return Ok(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            if self.ahead.len() > MOST_HEAD {
                return Err(malformed("a line's length"));
            }
            self.fill().await?;
        }
    }

    pub(super) async fn say_continue(&mut self) -> io::Result<()> {
        self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await
    }
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} of a request"))
}

fn parse_head(bytes: &[u8]) -> Option<Head> {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.split("\r\n");
    let mut words = lines.next()?.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    if !version.starts_with("HTTP/1.") {
        return None;
    }
    let headers = lines.take_while(|line| !line.is_empty()).map(field).collect::<Option<Vec<_>>>()?;
    let value = |name: &str| headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str());
    let framing = match (value("transfer-encoding"), value("content-length")) {
        (Some(coding), _) if coding.eq_ignore_ascii_case("chunked") => BodyFraming::Chunked,
        (Some(_), _) => return None,
        (None, length) => BodyFraming::Length(length.unwrap_or("0").parse().ok()?),
    };
    let closes = value("connection").is_some_and(|said| said.to_ascii_lowercase().contains("close"));
    let last = version == "HTTP/1.0" || closes;
    Some(Head { method: method.to_owned(), target: target.to_owned(), last, framing, headers })
}

fn field(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(':')?;
    Some((name.to_ascii_lowercase(), value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_is_read_with_its_framing() {
        let head = parse_head(b"POST /a?b=c HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n\r\n").unwrap();
        assert_eq!((head.method.as_str(), head.target.as_str(), head.last), ("POST", "/a?b=c", false));
        assert_eq!(head.framing, BodyFraming::Length(12));
        assert_eq!(head.headers[0], ("host".to_owned(), "x".to_owned()));
        let head =
            parse_head(b"PUT / HTTP/1.1\r\ntransfer-encoding: chunked\r\nconnection: Close\r\n\r\n").unwrap();
        assert_eq!((head.framing, head.last), (BodyFraming::Chunked, true));
        assert!(parse_head(b"GET / HTTP/1.0\r\n\r\n").unwrap().last);
    }

    #[test]
    fn what_is_not_http_is_no_head() {
        for bytes in [
            "\r\n\r\n",
            "GET /\r\n\r\n",
            "GET / HTTP/1.1\r\nbad\r\n\r\n",
            "GET / HTTP/1.1\r\ncontent-length: x\r\n\r\n",
        ] {
            assert!(parse_head(bytes.as_bytes()).is_none(), "{bytes}");
        }
    }
}
