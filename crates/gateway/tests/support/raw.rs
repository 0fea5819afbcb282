//! A client that shows everything: each byte that it got, and how the connection ended.

use std::io;
use std::net::SocketAddr;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::soon;

/// How a connection ended, as far as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The answer was complete; the connection is open.
    Open,
    Closed,
    Reset,
}

/// What came back.
#[derive(Debug)]
pub struct Heard {
    pub status: Option<u16>,
    /// The statuses of the interim answers that came before this answer.
    pub interim: Vec<u16>,
    pub head: String,
    /// The body with its chunk framing, exactly as it came, and as much of it as came.
    pub raw_body: Vec<u8>,
    pub ended: Ended,
}

impl Heard {
    /// The value of a header. Panics if the header came more than once.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        let mut values = lines.by_ref().filter(|(found, _)| found.eq_ignore_ascii_case(name));
        let value = values.next().map(|(_, value)| value.trim());
        assert!(values.next().is_none(), "{name} came twice:\n{}", self.head);
        value
    }

    pub fn is_chunked(&self) -> bool {
        self.header("transfer-encoding") == Some("chunked")
    }

    /// The body without its framing.
    pub fn body(&self) -> Vec<u8> {
        if self.is_chunked() {
            dechunked(&self.raw_body).expect("whole chunks").0
        } else {
            self.raw_body.clone()
        }
    }

    /// The fields behind the last chunk.
    pub fn trailers(&self) -> Vec<(String, String)> {
        dechunked(&self.raw_body).expect("whole chunks").1
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body()).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body()).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// The status, `seawall-effect`, `seawall-attempts` and `seawall-reason`. A header that is absent gives an empty text.
    pub fn verdict(&self) -> (u16, &str, &str, &str) {
        (
            self.status.unwrap_or_default(),
            self.header("seawall-effect").unwrap_or_default(),
            self.header("seawall-attempts").unwrap_or_default(),
            self.header("seawall-reason").unwrap_or_default(),
        )
    }
}

/// A connection of a caller.
pub struct Caller {
    pub stream: TcpStream,
    ahead: Vec<u8>,
    /// Whether the next answer has no body, whatever its head says, because a HEAD was sent.
    asked_head: bool,
}

impl Caller {
    pub async fn connect(address: SocketAddr) -> Caller {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Caller::over(stream)
    }

    /// A caller on a connection that exists already.
    pub fn over(stream: TcpStream) -> Caller {
        Caller { stream, ahead: Vec::new(), asked_head: false }
    }

    /// Writes bytes as they are.
    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Sends a request. A body is sent with its length.
    pub async fn send(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &str) {
        let mut request = format!("{method} {target} HTTP/1.1\r\nhost: localhost\r\n");
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() || matches!(method, "POST" | "PUT" | "PATCH") {
            request.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        request.push_str("\r\n");
        request.push_str(body);
        self.asked_head = method == "HEAD";
        self.write(request).await;
    }

    /// Reads one answer: to its end by its framing, or to the end of the connection.
    pub async fn hear(&mut self) -> Heard {
        soon("an answer or an end", self.hear_patiently()).await
    }

    /// Reads one answer without a time limit.
    pub async fn hear_patiently(&mut self) -> Heard {
        let mut bytes = std::mem::take(&mut self.ahead);
        let mut interim = Vec::new();
        let mut ended = Ended::Open;
        let mut searched = 0;
        loop {
            while let Some((status @ 100..200, end)) = head_of(&bytes) {
                interim.push(status);
                bytes.drain(..end);
                searched = 0;
            }
            if let Some(end) = end_of_answer(&bytes, self.asked_head, &mut searched) {
                self.ahead = bytes.split_off(end);
                break;
            }
            ended = self.more(&mut bytes).await;
            if ended != Ended::Open {
                break;
            }
        }
        self.asked_head = false;
        let (status, head_end) = head_of(&bytes).map_or((None, 0), |(status, end)| (Some(status), end));
        let raw_body = bytes.split_off(head_end);
        Heard { status, interim, head: String::from_utf8_lossy(&bytes).into_owned(), raw_body, ended }
    }

    /// Reads only the head of an answer. The bytes after it can be read later.
    pub async fn hear_head(&mut self) -> Heard {
        let mut bytes = std::mem::take(&mut self.ahead);
        let mut ended = Ended::Open;
        let end = loop {
            match head_of(&bytes) {
                Some((100..200, end)) => drop(bytes.drain(..end)),
                Some((_, end)) => break end,
                None => {
                    ended = soon("a head", self.more(&mut bytes)).await;
                    assert_eq!(ended, Ended::Open, "no head, but {:?}", String::from_utf8_lossy(&bytes));
                }
            }
        };
        self.ahead = bytes.split_off(end);
        let status = head_of(&bytes).map(|(status, _)| status);
        let head = String::from_utf8_lossy(&bytes).into_owned();
        Heard { status, interim: Vec::new(), head, raw_body: Vec::new(), ended }
    }

    /// The next bytes that come. Empty at an orderly end of the connection.
    pub async fn piece(&mut self) -> io::Result<Vec<u8>> {
        if !self.ahead.is_empty() {
            return Ok(std::mem::take(&mut self.ahead));
        }
        let mut piece = vec![0; 64 << 10];
        let read = soon("a piece", self.stream.read(&mut piece)).await?;
        piece.truncate(read);
        Ok(piece)
    }

    async fn more(&mut self, bytes: &mut Vec<u8>) -> Ended {
        bytes.reserve(16 << 10);
        match self.stream.read_buf(bytes).await {
            Ok(0) => Ended::Closed,
            Ok(_) => Ended::Open,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ended::Reset,
            Err(error) => panic!("{error}"),
        }
    }

    pub async fn ask(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Heard {
        self.send(method, target, headers, body).await;
        self.hear().await
    }

    /// Ends the connection with a reset.
    pub fn reset(self) {
        SockRef::from(&self.stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    }

    /// Ends the sending direction of the connection. The caller can still read.
    pub async fn half_close(&mut self) {
        self.stream.shutdown().await.unwrap();
    }
}

/// The status and the length of the first head.
fn head_of(bytes: &[u8]) -> Option<(u16, usize)> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let status = bytes.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    let versioned = bytes.starts_with(b"HTTP/1.1 ") || bytes.starts_with(b"HTTP/1.0 ");
    Some((status.filter(|_| versioned).unwrap_or(0), end))
}

/// Where the first answer ends, if it is whole. `searched` remembers how far the chunks have been followed.
fn end_of_answer(bytes: &[u8], no_body: bool, searched: &mut usize) -> Option<usize> {
    let (status, head_end) = head_of(bytes)?;
    let head = String::from_utf8_lossy(&bytes[..head_end]).to_lowercase();
    if no_body || matches!(status, 204 | 304) {
        return Some(head_end);
    }
    if head.contains("\r\ntransfer-encoding: chunked") {
        let body = &bytes[head_end..];
        loop {
            let (size, data) = chunk(&body[*searched..])?;
            if size == 0 {
                let trailers = &body[*searched + data - 2..];
                let end = trailers.windows(4).position(|four| four == b"\r\n\r\n")?;
                return Some(head_end + *searched + data + 2 + end);
            }
            *searched += data + size + 2;
            if *searched > body.len() {
                *searched -= data + size + 2;
                return None;
            }
        }
    }
    let (_, rest) = head.split_once("\r\ncontent-length: ")?;
    let length: usize = rest.lines().next()?.parse().ok()?;
    (bytes.len() >= head_end + length).then_some(head_end + length)
}

/// The size of the chunk that begins here, and where its data begin.
fn chunk(bytes: &[u8]) -> Option<(usize, usize)> {
    let line = bytes.windows(2).position(|two| two == b"\r\n")?;
    let size = std::str::from_utf8(&bytes[..line]).ok()?.split(';').next()?;
    Some((usize::from_str_radix(size.trim(), 16).ok()?, line + 2))
}

/// The names and values of header or trailer fields.
pub type Fields = Vec<(String, String)>;

/// The body and the trailers of a chunked body. `None` if the body is not whole.
pub fn dechunked(mut raw: &[u8]) -> Option<(Vec<u8>, Fields)> {
    let mut body = Vec::new();
    loop {
        let (size, data) = chunk(raw)?;
        raw = &raw[data..];
        if size == 0 {
            break;
        }
        body.extend_from_slice(raw.get(..size)?);
        raw = raw.get(size + 2..)?;
    }
    let text = std::str::from_utf8(raw).ok()?;
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    let fields = fields.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())).collect();
    text.ends_with("\r\n").then_some((body, fields))
}
