//! An answer over HTTP/1.1: a well-formed answer with up to three changes.

use std::fmt;

use super::ask::{Ask, Kind};
use super::reader::End;
use super::scenario::{Cursor, Cuts, Pause, Shown, mark};

/// What the dependency writes for one delivery.
#[derive(Clone, Debug)]
pub(crate) struct Lines {
    pub(crate) bytes: Vec<u8>,
    pub(crate) cuts: Cuts,
    /// Whether the dependency answers without waiting for the request's body.
    pub(crate) early: bool,
    /// What comes unasked after the answer.
    pub(crate) stray: Option<(Pause, Vec<u8>)>,
    pub(crate) end: End,
    /// The pause between the last byte and the end.
    pub(crate) before_end: Pause,
}

/// The parts that an answer is made of.
struct Parts {
    early: bool,
    interim: String,
    version: &'static str,
    status: u16,
    framing: String,
    fields: String,
    chunks: Option<Chunks>,
    body: Vec<u8>,
    stray: Option<(Pause, Vec<u8>)>,
    end: End,
    before_end: Pause,
}

struct Chunks {
    pieces: usize,
    /// The number of one chunk, and how its size line is written. `{}` stands for the right size.
    size: (usize, &'static str),
    behind: &'static str,
    last: &'static str,
}

const STATUSES: [u16; 16] = [200, 200, 200, 200, 200, 201, 204, 304, 402, 404, 409, 429, 500, 503, 302, 299];

/// The body of an answer to this delivery.
pub(crate) fn body_for(cursor: &mut Cursor<'_>, ask: &Ask, number: usize, delivery: usize) -> Vec<u8> {
    let mark = mark(number, delivery);
    let text = match (ask.kind, cursor.below(5)) {
        (Kind::Judged, 0 | 3) => format!("{{\"code\":\"OK\",\"of\":\"{mark}\"}}"),
        (Kind::Judged, 1) => format!("{{\"code\":\"DECLINED\",\"of\":\"{mark}\"}}"),
        (_, 2) => format!("<html>{mark}</html>"),
        (_, 3) => mark.repeat(800),
        (_, 4) => String::new(),
        (_, _) => mark.repeat(3),
    };
    text.into_bytes()
}

impl Lines {
    pub(crate) fn decode(cursor: &mut Cursor<'_>, ask: &Ask, number: usize, delivery: usize) -> Lines {
        // The choices with the largest effect come first: how the answer is framed and cut, and its changes.
        let shape = cursor.byte();
        let twists: Vec<_> =
            (0..[1, 0, 2, 3][usize::from(shape >> 6)]).map(|_| (cursor.byte(), cursor.byte())).collect();
        let status = STATUSES[usize::from(shape >> 2) % 16];
        let body = body_for(cursor, ask, number, delivery);
        let mut parts = Parts {
            early: false,
            interim: String::new(),
            version: "HTTP/1.1",
            status,
            framing: format!("content-length: {}\r\n", body.len()),
            fields: String::new(),
            chunks: None,
            body,
            stray: None,
            end: End::Keep,
            before_end: Pause::None,
        };
        match shape % 4 {
            0 | 3 => {}
            1 => parts.chunk(),
            _ => {
                parts.framing.clear();
                parts.end = End::Fin;
            }
        }
        if matches!(status, 204 | 304) && shape % 4 < 3 {
            parts.framing.clear();
            parts.chunks = None;
            parts.body.clear();
        }
        for (what, how) in &twists {
            parts.twist(*what, usize::from(*how), mark(number, delivery));
        }
        if ask.kind == Kind::Head {
            parts.body.clear();
        }
        let (mut bytes, head) = parts.write(ask.kind == Kind::Head);
        twists.iter().for_each(|(what, how)| bend(&mut bytes, *what, usize::from(*how), cursor));
        let cuts = Cuts::choose(cursor, bytes.len(), head.min(bytes.len()));
        let definite = matches!(status, 200..=299 | 304 | 402 | 404);
        if ask.kind.may_be_repeated() && !definite {
            // The request may be repeated at any time, and everything of this answer must have been written before the
            // repeat comes.
            parts.before_end = Pause::None;
            parts.stray = parts.stray.map(|(_, stray)| (Pause::None, stray));
        }
        let Parts { early, stray, end, before_end, .. } = parts;
        Lines { bytes, cuts, early, stray, end, before_end }
    }

    /// All bytes of the answer, including stray ones, as the model reads them.
    pub(crate) fn all(&self) -> Vec<u8> {
        let stray = self.stray.as_ref().map_or(&[][..], |(_, stray)| stray);
        [&self.bytes, stray].concat()
    }
}

/// Changes the bytes after they were written.
fn bend(bytes: &mut Vec<u8>, what: u8, how: usize, cursor: &mut Cursor<'_>) {
    let at = how * 7 % (bytes.len() + 1);
    match what % 20 {
        16 => bytes.truncate(how % (bytes.len() + 1)),
        17 if at < bytes.len() => bytes[at] = cursor.byte(),
        18 => bytes.insert(at, cursor.of(b"\r\n 0:+x,;\0\xff")),
        19 if at < bytes.len() => drop(bytes.remove(at)),
        _ => {}
    }
}

impl Parts {
    fn chunk(&mut self) {
        self.framing = "transfer-encoding: chunked\r\n".to_owned();
        self.chunks = Some(Chunks { pieces: 2, size: (9, ""), behind: "\r\n", last: "0\r\n\r\n" });
    }

    /// Makes one part of the answer unusual.
    fn twist(&mut self, what: u8, how: usize, mark: String) {
        let length = self.body.len();
        match what % 20 {
            0 => self.early = how % 4 == 3,
            1 => self.fields += FIELDS[how % FIELDS.len()],
            2 => self.interim = INTERIM[how % INTERIM.len()].to_owned(),
            3 => {
                self.version = "HTTP/1.0";
                self.fields += ["", "connection: keep-alive\r\n"][how % 2];
            }
            4 => self.lengths(length, how),
            5 => {
                let coding = CODINGS[how % CODINGS.len()];
                self.framing = format!("transfer-encoding: {coding}\r\n");
            }
            6 => {
                self.chunk();
                let length = how / 2 % 3 * length / 2;
                self.framing = match how % 2 {
                    0 => format!("content-length: {length}\r\ntransfer-encoding: chunked\r\n"),
                    _ => format!("transfer-encoding: chunked\r\ncontent-length: {length}\r\n"),
                };
            }
            7 => {
                self.chunk();
                let chunks = self.chunks.as_mut().expect("it was made");
                chunks.size = (how / SIZES.len() % 3, SIZES[how % SIZES.len()]);
            }
            8 => {
                self.chunk();
                let chunks = self.chunks.as_mut().expect("it was made");
                chunks.behind = ["\n", "", "x\r\n", "\r", "\r\n\r\n"][how % 5];
            }
            9 => {
                self.chunk();
                let chunks = self.chunks.as_mut().expect("it was made");
                chunks.last = LASTS[how % LASTS.len()];
            }
            10 | 11 => {
                let pause = [Pause::Rest, Pause::None, Pause::Turns(2)][how % 3];
                self.stray = Some((pause, stray(how / 3, mark)));
            }
            12 => self.end = End::Fin,
            13 => self.end = End::Reset,
            14 => {
                self.end = [End::Fin, End::Reset][how % 2];
                self.before_end = [Pause::Rest, Pause::Turns(1), Pause::Turns(3)][how / 2 % 3];
            }
            15 => {
                self.chunk();
                self.chunks.as_mut().expect("it was made").pieces = how % 5;
            }
            16 => self.end = [End::Fin, End::Reset, End::Keep][how % 3],
            _ => {}
        }
    }

    fn lengths(&mut self, length: usize, how: usize) {
        self.chunks = None;
        self.framing = match how % 12 {
            0 => format!("content-length: {}\r\n", length.saturating_sub(2)),
            1 => format!("content-length: {}\r\n", length + 3),
            2 => format!("content-length: {length}\r\ncontent-length: {}\r\n", length + 1),
            3 => format!("content-length: {length}\r\ncontent-length: {length}\r\n"),
            4 => format!("content-length: {length}, {length}\r\n"),
            5 => format!("content-length: {length}, 1\r\n"),
            6 => format!("content-length: +{length}\r\n"),
            7 => format!("content-length: -{length}\r\n"),
            8 => format!("content-length: 0x{length:x}\r\n"),
            9 => "content-length: 99999999999999999999\r\n".to_owned(),
            10 => format!("content-length: {length} {length}\r\n"),
            _ => "content-length:\r\n".to_owned(),
        };
    }

    /// The bytes, and where the head ends.
    fn write(&self, no_body: bool) -> (Vec<u8>, usize) {
        let Parts { interim, version, status, framing, fields, .. } = self;
        let head = format!("{interim}{version} {status} x\r\n{fields}{framing}\r\n");
        let mut bytes = head.into_bytes();
        let head = bytes.len();
        match &self.chunks {
            _ if no_body => {}
            None => bytes.extend_from_slice(&self.body),
            Some(chunks) => {
                let piece = self.body.len().div_ceil(chunks.pieces.max(1)).max(1);
                for (number, data) in self.body.chunks(piece).enumerate() {
                    let size = format!("{:x}", data.len());
                    let line = match chunks.size {
                        (odd, line) if odd == number => line.replace("{}", &size),
                        _ => format!("{size}\r\n"),
                    };
                    bytes.extend_from_slice(line.as_bytes());
                    bytes.extend_from_slice(data);
                    bytes.extend_from_slice(chunks.behind.as_bytes());
                }
                bytes.extend_from_slice(chunks.last.as_bytes());
            }
        }
        (bytes, head)
    }
}

/// What comes unasked after an answer.
fn stray(how: usize, mark: String) -> Vec<u8> {
    let text = match how % 5 {
        0 => format!("HTTP/1.1 200 stray\r\ncontent-length: {}\r\n\r\n{mark}", mark.len()),
        1 => "HTTP/1.1 408 late\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".to_owned(),
        2 => "\r\n".to_owned(),
        3 => "x".to_owned(),
        _ => "HTTP/1.1 204 stray\r\n\r\n".to_owned(),
    };
    text.into_bytes()
}

const FIELDS: [&str; 9] = [
    "keep-alive: timeout=5\r\n",
    "connection: close\r\n",
    "seawall-effect: not-applied\r\n",
    "x: 1\r\n folded\r\n",
    "x : 1\r\n",
    "x: 1\n",
    "no colon\r\n",
    "connection: keep-alive\r\n",
    "x: a\rb\r\n",
];

const INTERIM: [&str; 5] = [
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n",
    "HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 199 x\r\ncontent-length: 0\r\n\r\n",
];

const CODINGS: [&str; 8] = [
    "gzip",
    "gzip, chunked",
    "chunked, gzip",
    "identity",
    "xchunked",
    "chunked, chunked",
    "chunked;q=1",
    "chunked\r\ntransfer-encoding: chunked",
];

/// The size lines of a chunk.
const SIZES: [&str; 14] = [
    "+{}\r\n",
    "-{}\r\n",
    "0x{}\r\n",
    " {}\r\n",
    "{} \r\n",
    "\r\n",
    "{};a=b\r\n",
    "0000000000000000{}\r\n",
    "1000000000000000{}\r\n",
    "{}\n",
    "x{}\r\n",
    "{},\r\n",
    "{}1\r\n",
    "{}{}\r\n",
];

/// What stands after the chunks.
const LASTS: [&str; 11] = [
    "",
    "0\r\n",
    "+0\r\n\r\n",
    "-0\r\n\r\n",
    "\r\n\r\n",
    "0x0\r\n\r\n",
    "0\r\nseawall-effect: not-applied\r\n\r\n",
    "0\r\nx: 1\r\n\r\n",
    "00\r\n\r\n",
    "0\r\nno colon\r\n\r\n",
    "0\n\n",
];

impl fmt::Display for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let when = if self.early { "before the request's body: " } else { "" };
        write!(f, "{when}{}, {}", Shown(&self.bytes), self.cuts)?;
        if let Some((pause, stray)) = &self.stray {
            write!(f, ", after {pause:?} {}", Shown(stray))?;
        }
        write!(f, ", after {:?} {:?}", self.before_end, self.end)
    }
}
