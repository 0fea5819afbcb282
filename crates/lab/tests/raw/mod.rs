//! A client that shows the bytes that it received, and how the connection ended.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How a connection ended, as far as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The answer was complete; the connection is open.
    Open,
    Closed,
    Reset,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) status: Option<u16>,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// All bytes, as they came.
    pub(crate) bytes: Vec<u8>,
    pub(crate) ended: Ended,
}

impl Heard {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// A connection.
pub(crate) struct Caller {
    pub(crate) stream: TcpStream,
    ahead: Vec<u8>,
}

/// No test waits longer than this for a server on loopback.
const PATIENCE: Duration = Duration::from_secs(20);

impl Caller {
    pub(crate) async fn connect(address: SocketAddr) -> Caller {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Caller { stream, ahead: Vec::new() }
    }

    pub(crate) async fn send(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &str) {
        let mut request =
            format!("{method} {target} HTTP/1.1\r\nhost: harbor\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        request.push_str(body);
        self.stream.write_all(request.as_bytes()).await.unwrap();
    }

    /// Reads one answer: up to its content-length, or to the end of the connection.
    pub(crate) async fn hear(&mut self) -> Heard {
        tokio::time::timeout(PATIENCE, self.hear_patiently()).await.expect("an answer or an end")
    }

    async fn hear_patiently(&mut self) -> Heard {
        let mut bytes = std::mem::take(&mut self.ahead);
        let mut ended = Ended::Open;
        loop {
            if let Some(end) = end_of_answer(&bytes) {
                self.ahead = bytes.split_off(end);
                break;
            }
            let mut piece = [0; 16 << 10];
            match self.stream.read(&mut piece).await {
                Ok(0) => ended = Ended::Closed,
                Ok(read) => bytes.extend_from_slice(&piece[..read]),
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => ended = Ended::Reset,
                Err(e) => panic!("{e}"),
            }
            if ended != Ended::Open {
                break;
            }
        }
        let head_end = head_end(&bytes).unwrap_or(0);
        let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
        let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        Heard { status, head, body: bytes[head_end..].to_vec(), bytes, ended }
    }

    pub(crate) async fn ask(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Heard {
        self.send(method, target, headers, body).await;
        self.hear().await
    }
}

fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

fn end_of_answer(bytes: &[u8]) -> Option<usize> {
    let head_end = head_end(bytes)?;
    let head = String::from_utf8_lossy(&bytes[..head_end]).to_lowercase();
    if head.starts_with("http/1.1 204") {
        return Some(head_end);
    }
    if head.contains("transfer-encoding: chunked") {
        let last = bytes[head_end..].windows(5).position(|five| five == b"0\r\n\r\n")?;
        return Some(head_end + last + 5);
    }
    let (_, rest) = head.split_once("content-length: ")?;
    let length: usize = rest.lines().next()?.parse().ok()?;
    (bytes.len() >= head_end + length).then_some(head_end + length)
}

/// Makes one request on a connection of its own.
pub(crate) async fn ask(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Heard {
    Caller::connect(address).await.ask(method, target, headers, body).await
}
