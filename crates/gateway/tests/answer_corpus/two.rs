//! A dependency that reads requests over HTTP/2, and writes the frames that its script contains.
//!
//! The frames are made by hand, since no library sends malformed ones. Header blocks are literals without Huffman coding and
//! without an index (RFC 7541, section 6.2.2).

use std::fmt;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::case::{After, Answer, Split};
use super::delivery::delivered;
use super::lane::Lane;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;
const ACK: u8 = 1;
const PREFACE: usize = 24;

/// The frames of an answer.
#[derive(Clone)]
pub struct Script {
    pub frames: Vec<Frame>,
    pub after: After,
}

/// A frame on the request's stream, or on stream 0, which is that of the connection.
#[derive(Clone, Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub payload: Vec<u8>,
    /// Whether the frame is about the connection, on stream 0.
    pub on_connection: bool,
    /// Whether its payload begins with the number of the request's stream.
    names_stream: bool,
    shown: String,
}

/// A HEADERS frame with these fields, in this order.
pub fn head(fields: &[(&str, &str)]) -> Frame {
    let fields: Vec<(&[u8], &[u8])> =
        fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    raw_head(&fields)
}

/// A HEADERS frame with fields that need not be text.
pub fn raw_head(fields: &[(&[u8], &[u8])]) -> Frame {
    let shown: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{}={}", name.escape_ascii(), value.escape_ascii()))
        .collect();
    let frame = Frame::new(HEADERS, END_HEADERS, &block(fields));
    Frame { shown: format!("HEADERS({})", shown.join(", ")), ..frame }
}

pub fn data(bytes: impl AsRef<[u8]>) -> Frame {
    let bytes = bytes.as_ref();
    let shown = format!("DATA({})", bytes[..bytes.len().min(40)].escape_ascii());
    Frame { shown, ..Frame::new(DATA, 0, bytes) }
}

pub fn reset(code: u32) -> Frame {
    Frame { shown: format!("RST_STREAM({code})"), ..Frame::new(RST_STREAM, 0, &code.to_be_bytes()) }
}

/// A GOAWAY frame whose last stream is the stream of the request.
pub fn goaway(code: u32) -> Frame {
    let frame = Frame::new(GOAWAY, 0, &code.to_be_bytes());
    Frame { shown: format!("GOAWAY({code})"), on_connection: true, names_stream: true, ..frame }
}

impl Frame {
    pub fn new(kind: u8, flags: u8, payload: &[u8]) -> Frame {
        let shown = format!("frame({kind}, flags {flags}, {} bytes)", payload.len());
        let payload = payload.to_vec();
        Frame { kind, flags, payload, on_connection: false, names_stream: false, shown }
    }

    /// The frame is the last one of its stream.
    pub fn end(mut self) -> Frame {
        self.flags |= END_STREAM;
        self.shown.push_str(" END");
        self
    }

    pub fn on_connection(self) -> Frame {
        Frame { on_connection: true, ..self }
    }

    /// The frame does not end the header block, which continues in a CONTINUATION frame.
    pub fn unfinished(mut self) -> Frame {
        self.flags &= !END_HEADERS;
        self.shown.push_str(" unfinished");
        self
    }

    fn bytes(&self, stream: u32) -> Vec<u8> {
        let mut payload = if self.names_stream { stream.to_be_bytes().to_vec() } else { Vec::new() };
        payload.extend_from_slice(&self.payload);
        let on = if self.on_connection { 0 } else { stream };
        let length = u32::try_from(payload.len()).expect("a frame is short").to_be_bytes();
        let mut bytes = length[1..].to_vec();
        bytes.extend([self.kind, self.flags]);
        bytes.extend(on.to_be_bytes());
        bytes.extend(payload);
        bytes
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// A header block.
pub fn block(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        string(&mut block, name);
        string(&mut block, value);
    }
    block
}

fn string(block: &mut Vec<u8>, text: &[u8]) {
    let mut length = text.len();
    if length < 127 {
        block.push(u8::try_from(length).expect("below 127"));
    } else {
        block.push(127);
        length -= 127;
        while length >= 128 {
            block.push(u8::try_from(length % 128).expect("below 128") | 128);
            length /= 128;
        }
        block.push(u8::try_from(length).expect("below 128"));
    }
    block.extend_from_slice(text);
}

/// Serves one connection to its end.
pub async fn serve(mut stream: TcpStream, lane: &Lane) {
    let mut preface = [0; PREFACE];
    let settings = Frame::new(SETTINGS, 0, &[]).on_connection().bytes(0);
    if stream.read_exact(&mut preface).await.is_err() || stream.write_all(&settings).await.is_err() {
        return;
    }
    while let Some((kind, flags, number, payload)) = next_frame(&mut stream).await {
        let answer = match kind {
            SETTINGS | PING if flags & ACK == 0 => {
                let payload = if kind == PING { &payload[..] } else { &[] };
                Frame::new(kind, ACK, payload).on_connection().bytes(0)
            }
            DATA | HEADERS if flags & END_STREAM != 0 => {
                let Some((Answer::Two(script), split)) = lane.take() else { return };
                let kept = play(&mut stream, lane, &script, split, number).await;
                if matches!(script.after, After::Reset) {
                    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
                }
                if !kept {
                    let ends = (stream.local_addr(), stream.peer_addr());
                    drop(stream);
                    if let (Ok(ours), Ok(theirs)) = ends {
                        delivered(ours, theirs).await;
                    }
                    lane.played();
                    return;
                }
                lane.played();
                continue;
            }
            _ => continue,
        };
        if stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}

/// Writes the answer. Returns false if the connection has ended.
async fn play(stream: &mut TcpStream, lane: &Lane, script: &Script, split: Split, number: u32) -> bool {
    let frames: Vec<Vec<u8>> = script.frames.iter().map(|frame| frame.bytes(number)).collect();
    let first = if split == Split::Apart { 1 } else { frames.len() };
    for (index, piece) in [&frames[..first], &frames[first..]].into_iter().enumerate() {
        if index > 0 && !piece.is_empty() {
            lane.chance(60).await;
        }
        if stream.write_all(&piece.concat()).await.is_err() {
            return false;
        }
    }
    matches!(script.after, After::Keep)
}

/// The kind, flags, stream and payload of the next frame. `None` at the end of the connection.
async fn next_frame(stream: &mut TcpStream) -> Option<(u8, u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let number = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    let mut payload = vec![0; length as usize];
    stream.read_exact(&mut payload).await.ok()?;
    Some((head[3], head[4], number, payload))
}
