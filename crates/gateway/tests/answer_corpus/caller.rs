//! Callers that note everything: what came, whether it was complete, and, if it was not, how it broke.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::lane::Lane;
use super::reading::{self, Reading};
use super::support::Multiplexed;

/// How long a caller waits. It is longer than the gateway may take for any answer.
const PATIENCE: Duration = Duration::from_secs(12);

/// What a caller has seen of an answer.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The status; 0 where no head came.
    pub status: u16,
    /// Whether the answer's version is not the one that the gateway uses.
    pub foreign_version: bool,
    /// The number of interim answers that came before it.
    pub interim: usize,
    pub fields: Vec<(String, String)>,
    pub trailers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub end: End,
    /// The number of bytes behind the answer.
    pub left: usize,
}

/// How an answer ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum End {
    /// It ended by its own framing.
    Complete,
    /// The answer ended before it was complete, and every client sees that: the connection or the stream ended.
    Cut(String),
    /// The answer ended in a way that clients read differently, or cannot read.
    Unreadable(String),
    /// It did not end in time.
    #[default]
    Never,
}

impl Seen {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// The two kinds of callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    One,
    Two,
}

/// A caller with its connection. When the gateway has ended the connection, the caller makes a new one.
pub struct Caller {
    address: std::net::SocketAddr,
    speech: Speech,
    one: Option<TcpStream>,
    two: Option<Multiplexed>,
}

impl Caller {
    pub fn new(address: std::net::SocketAddr, speech: Speech) -> Caller {
        Caller { address, speech, one: None, two: None }
    }

    /// Makes one call.
    pub async fn ask(&mut self, method: &str, target: &str, lane: &Lane) -> Seen {
        let seen = match self.speech {
            Speech::One => self.ask_one(method, target, lane).await,
            Speech::Two => self.ask_two(method, target, lane).await,
        };
        lane.heard();
        seen
    }

    async fn ask_one(&mut self, method: &str, target: &str, lane: &Lane) -> Seen {
        let mut stream = match self.one.take() {
            Some(stream) => stream,
            None => TcpStream::connect(self.address).await.unwrap(),
        };
        stream.set_nodelay(true).unwrap();
        let body = if method == "POST" { "content-length: 8\r\n\r\namount=5" } else { "\r\n" };
        let request = format!("{method} {target} HTTP/1.1\r\nhost: localhost\r\n{body}");
        if let Err(error) = stream.write_all(request.as_bytes()).await {
            return Seen { end: End::Cut(format!("before the request: {error}")), ..Seen::default() };
        }
        let mut reading = Reading::new(method == "HEAD");
        let end = match timeout(PATIENCE, hear_one(&mut stream, &mut reading, lane)).await {
            Ok(end) => end,
            Err(_) => End::Never,
        };
        let until_end = reading.until_end();
        let seen = reading.seen(end);
        let closes = seen.field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        if seen.end == End::Complete && !closes && !until_end {
            self.one = Some(stream);
        }
        seen
    }

    async fn ask_two(&mut self, method: &str, target: &str, lane: &Lane) -> Seen {
        let mut caller = match self.two.take() {
            Some(caller) => caller,
            None => Multiplexed::connect(self.address).await,
        };
        let mut seen = Seen::default();
        let heard = timeout(PATIENCE, hear_two(&mut caller, method, target, lane, &mut seen)).await;
        seen.end = match heard {
            Ok(Ok(())) => End::Complete,
            Ok(Err(error)) => broken_stream(&error),
            Err(_) => End::Never,
        };
        // A broken stream leaves the connection usable. After any other error it may not be.
        if matches!(&seen.end, End::Complete) || matches!(&seen.end, End::Cut(_)) {
            self.two = Some(caller);
        }
        seen
    }
}

async fn hear_one(stream: &mut TcpStream, reading: &mut Reading, lane: &Lane) -> End {
    let mut bytes = Vec::new();
    loop {
        match reading.take(&mut bytes) {
            Ok(true) => {
                reading.left = bytes.len();
                return End::Complete;
            }
            Ok(false) => {}
            Err(why) => return End::Unreadable(why.to_owned()),
        }
        if reading.has_head() {
            lane.head_seen();
        }
        match stream.read_buf(&mut bytes).await {
            Ok(0) if reading.until_end() => return End::Complete,
            Ok(0) => return End::Cut("closed".to_owned()),
            Ok(_) => {}
            Err(error) => return End::Cut(format!("{:?}", error.kind())),
        }
    }
}

async fn hear_two(
    caller: &mut Multiplexed,
    method: &str,
    target: &str,
    lane: &Lane,
    seen: &mut Seen,
) -> Result<(), h2::Error> {
    let posts = method == "POST";
    let length: &[(&str, &str)] = if posts { &[("content-length", "8")] } else { &[] };
    let (response, mut stream) = caller.open(method, target, length, !posts).await;
    if posts {
        stream.send_data(Bytes::from_static(b"amount=5"), true)?;
    }
    let (head, mut incoming) = response.await?.into_parts();
    lane.head_seen();
    seen.status = head.status.as_u16();
    seen.fields = reading::listed(&head.headers);
    while let Some(piece) = incoming.data().await {
        let piece = piece?;
        seen.body.extend_from_slice(&piece);
        let _ = incoming.flow_control().release_capacity(piece.len());
    }
    seen.trailers = incoming.trailers().await?.map(|fields| reading::listed(&fields)).unwrap_or_default();
    Ok(())
}

/// What an error of a stream means. If the gateway resets the stream with an error code, every client sees that. No other
/// error is certain to be seen.
fn broken_stream(error: &h2::Error) -> End {
    let says_so = error.is_remote() && error.reason().is_some_and(|reason| reason != h2::Reason::NO_ERROR);
    if says_so && error.is_reset() {
        End::Cut("reset".to_owned())
    } else {
        End::Unreadable(error.to_string())
    }
}
