//! A dependency that reads requests over HTTP/1.1, and writes the bytes that its script contains.

use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::case::{After, Answer, Split};
use super::delivery::delivered;
use super::lane::Lane;

/// The bytes of an answer.
#[derive(Clone)]
pub struct Script {
    pub head: Vec<u8>,
    pub rest: Vec<u8>,
    pub after: After,
}

impl Script {
    /// Whether the answer is too long to be sent byte by byte.
    pub fn long(&self) -> bool {
        self.head.len() + self.rest.len() > 2_000
    }

    fn pieces(&self, split: Split) -> Vec<Vec<u8>> {
        let all = [&self.head[..], &self.rest].concat();
        match split {
            Split::Together => vec![all],
            Split::Bytes => all.chunks(1).map(<[u8]>::to_vec).collect(),
            // An answer that has only a head is divided before its last bytes.
            Split::Apart if self.rest.is_empty() => {
                let at = all.len().saturating_sub(2);
                vec![all[..at].to_vec(), all[at..].to_vec()]
            }
            Split::Apart => vec![self.head.clone(), self.rest.clone()],
        }
    }
}

/// Serves one connection to its end.
pub async fn serve(mut stream: TcpStream, lane: &Lane) {
    let mut read = Vec::new();
    while next_request(&mut stream, &mut read).await {
        let Some((Answer::One(script), split)) = lane.take() else { return };
        let kept = play(&mut stream, lane, &script, split).await;
        if matches!(script.after, After::Reset) {
            let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        }
        if !kept {
            drop(stream);
            lane.played();
            return;
        }
        lane.played();
    }
}

/// Writes the answer. Returns false if the connection has ended.
async fn play(stream: &mut TcpStream, lane: &Lane, script: &Script, split: Split) -> bool {
    let turns = if split == Split::Bytes { 2 } else { 60 };
    for (number, piece) in script.pieces(split).into_iter().enumerate() {
        if number > 0 {
            lane.chance(turns).await;
        }
        if stream.write_all(&piece).await.is_err() {
            return false;
        }
    }
    match &script.after {
        After::Keep => true,
        After::Close | After::Reset => false,
        After::Late(late) | After::LateClose(late) => {
            lane.until_heard().await;
            let written = stream.write_all(late).await.is_ok();
            if let (Ok(ours), Ok(theirs)) = (stream.local_addr(), stream.peer_addr()) {
                delivered(ours, theirs).await;
            }
            written && matches!(script.after, After::Late(_))
        }
    }
}

/// Reads a whole request. Returns false if the connection has ended.
async fn next_request(stream: &mut TcpStream, read: &mut Vec<u8>) -> bool {
    loop {
        if let Some(end) = end_of_request(read) {
            read.drain(..end);
            return true;
        }
        match stream.read_buf(read).await {
            Ok(0) | Err(_) => return false,
            Ok(_) => {}
        }
    }
}

/// Where the first request ends, if it is whole. In this corpus the gateway sends every body with its length.
fn end_of_request(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).to_lowercase();
    let length = text.split_once("\r\ncontent-length: ").map_or(0, |(_, rest)| {
        let line = rest.lines().next().unwrap_or_default();
        line.parse().expect("the gateway says the length of a body")
    });
    assert!(!text.contains("\r\ntransfer-encoding:"), "the corpus sends no chunks");
    (bytes.len() >= head + length).then_some(head + length)
}
