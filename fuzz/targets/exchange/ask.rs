//! What a caller asks for, and how it breaks off.

use std::fmt;

use super::scenario::{Cursor, Cuts, Protocol, Shown};

/// The method, and whether the request may be delivered twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Get,
    Head,
    /// A POST that must not be delivered twice.
    Post,
    /// The same, with an operation that declares the meaning of its answers.
    Judged,
    /// A POST with an idempotency key.
    Keyed,
    /// A POST with a key that is not sent on, because `Connection` names it or because it is empty. The dependency
    /// honours keys.
    Nominated,
    Put,
}

impl Kind {
    pub(crate) fn method(self) -> &'static str {
        match self {
            Kind::Get => "GET",
            Kind::Head => "HEAD",
            Kind::Post | Kind::Judged | Kind::Keyed | Kind::Nominated => "POST",
            Kind::Put => "PUT",
        }
    }

    pub(crate) fn path(self) -> &'static str {
        match self {
            Kind::Get | Kind::Head => "get",
            Kind::Post => "post",
            Kind::Judged => "judged",
            Kind::Keyed => "keyed",
            Kind::Nominated => "nominated",
            Kind::Put => "put",
        }
    }

    pub(crate) fn is_safe(self) -> bool {
        matches!(self, Kind::Get | Kind::Head)
    }

    pub(crate) fn may_be_repeated(self) -> bool {
        !matches!(self, Kind::Post | Kind::Judged | Kind::Nominated)
    }
}

/// The length of the longest target that the HTTP library reads.
const LONGEST: usize = 65_534;

/// How the body is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Upload {
    None,
    /// With its length.
    Length,
    /// In chunks. Over HTTP/2 this means without a length.
    Chunks,
}

/// How the caller breaks off in the middle of its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaves {
    Fin,
    Reset,
    /// Over HTTP/2: RST_STREAM with this code.
    Code(u32),
    /// It stays connected, and sends no more.
    Stalls,
}

/// What is wrong with the framing of an HTTP/1.1 request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    BothLengths,
    TwoLengths,
    LengthWithSign,
    SizeWithSign,
    ChunkTooLong,
    SpaceBeforeColon,
}

#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) number: usize,
    pub(crate) kind: Kind,
    /// Whether the target has the maximum length. With the endpoint's base path before it, it is then too long.
    pub(crate) long: bool,
    pub(crate) upload: Upload,
    pub(crate) body: Vec<u8>,
    pub(crate) leaves: Option<Leaves>,
    pub(crate) flaw: Option<Flaw>,
    /// Everything that is written over HTTP/1.1. For HTTP/2 it is empty.
    pub(crate) bytes: Vec<u8>,
    pub(crate) cuts: Cuts,
}

impl Ask {
    pub(crate) fn decode(cursor: &mut Cursor<'_>, caller: Protocol, number: usize) -> Ask {
        const KINDS: [Kind; 8] = [
            Kind::Get,
            Kind::Post,
            Kind::Judged,
            Kind::Head,
            Kind::Keyed,
            Kind::Put,
            Kind::Nominated,
            Kind::Get,
        ];
        let choice = cursor.byte();
        let kind = KINDS[usize::from(choice) % KINDS.len()];
        let mut ask = Ask {
            number,
            kind,
            long: choice >= 252,
            upload: Upload::None,
            body: Vec::new(),
            leaves: None,
            flaw: None,
            bytes: Vec::new(),
            cuts: Cuts::default(),
        };
        if !kind.is_safe() {
            ask.add_body(cursor, caller);
        }
        if caller == Protocol::Http1 {
            let head = ask.write();
            if ask.leaves.is_some() {
                let body = ask.bytes.len() - head;
                ask.bytes.truncate(head + body * 2 / 3);
            }
            ask.cuts = Cuts::choose(cursor, ask.bytes.len(), head);
        }
        ask
    }

    fn add_body(&mut self, cursor: &mut Cursor<'_>, caller: Protocol) {
        let choice = cursor.byte();
        self.upload = [Upload::Length, Upload::Chunks, Upload::None][usize::from(choice) % 3];
        if self.upload == Upload::None {
            return;
        }
        let length = [12, 200, 3000][usize::from(choice) / 3 % 3];
        self.body = format!("[{}]", self.number).into_bytes().into_iter().cycle().take(length).collect();
        match usize::from(choice) / 9 % 4 {
            1 if caller == Protocol::Http1 => {
                let flaws = [Flaw::BothLengths, Flaw::SizeWithSign, Flaw::TwoLengths, Flaw::LengthWithSign];
                let rare = [Flaw::ChunkTooLong, Flaw::SpaceBeforeColon];
                let all = [&flaws[..], &rare[..]].concat();
                self.flaw = Some(cursor.of(&all));
            }
            1 | 2 => {
                let codes = [0, 8, 2, 0x0a].map(Leaves::Code);
                let codes = [&codes[..], &[Leaves::Stalls]].concat();
                let ends = [Leaves::Fin, Leaves::Reset, Leaves::Stalls];
                let choices = if caller == Protocol::Http1 { &ends[..] } else { &codes[..] };
                self.leaves = Some(cursor.of(choices));
            }
            _ => {}
        }
    }

    pub(crate) fn target(&self, dependency: Protocol) -> String {
        let name = match dependency {
            Protocol::Http1 => "lines",
            Protocol::Http2 => "frames",
        };
        let target = format!("/{name}/{}/{}", self.kind.path(), self.number);
        if self.long { format!("{target}?{:x<1$}", "", LONGEST - 1 - target.len()) } else { target }
    }

    /// Writes the request without its target, which is added later. Returns the length of its head.
    fn write(&mut self) -> usize {
        let mut head = String::from("host: localhost\r\n");
        let length = self.body.len();
        let mut body = match self.upload {
            Upload::None => Vec::new(),
            Upload::Length => self.body.clone(),
            Upload::Chunks => {
                let (first, second) = self.body.split_at(length / 2);
                let size = |part: &[u8]| format!("{:x}\r\n", part.len()).into_bytes();
                [&size(first), first, b"\r\n", &size(second), second, b"\r\n0\r\n\r\n"].concat()
            }
        };
        match (self.flaw, self.upload) {
            (Some(Flaw::SizeWithSign), _) => {
                body = [format!("+{length:x}\r\n").as_bytes(), &self.body, b"\r\n0\r\n\r\n"].concat();
                head += "transfer-encoding: chunked\r\n";
            }
            (Some(Flaw::ChunkTooLong), _) => {
                body = [format!("{length:x}\r\n").as_bytes(), &self.body, b"x\r\n0\r\n\r\n"].concat();
                head += "transfer-encoding: chunked\r\n";
            }
            (Some(Flaw::BothLengths), _) => {
                head += &format!("content-length: {length}\r\ntransfer-encoding: chunked\r\n");
            }
            (Some(Flaw::TwoLengths), _) => {
                head += &format!("content-length: {length}\r\ncontent-length: {}\r\n", length + 1);
            }
            (Some(Flaw::LengthWithSign), _) => head += &format!("content-length: +{length}\r\n"),
            (Some(Flaw::SpaceBeforeColon), _) => head += &format!("content-length : {length}\r\n"),
            (None, Upload::Chunks) => head += "transfer-encoding: chunked\r\n",
            (None, Upload::Length) => head += &format!("content-length: {length}\r\n"),
            (None, Upload::None) if !self.kind.is_safe() => head += "content-length: 0\r\n",
            (None, Upload::None) => {}
        }
        match self.kind {
            Kind::Keyed => head += "idempotency-key: k\r\n",
            Kind::Nominated => head += "connection: idempotency-key\r\nidempotency-key: k\r\n",
            Kind::Get | Kind::Head | Kind::Post | Kind::Judged | Kind::Put => {}
        }
        head += "\r\n";
        let length = head.len();
        self.bytes = [head.as_bytes(), &body].concat();
        length
    }

    /// The request line for HTTP/1.1, with which the bytes begin.
    pub(crate) fn line(&self, dependency: Protocol) -> String {
        format!("{} {} HTTP/1.1\r\n", self.kind.method(), self.target(dependency))
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, {} bytes with {:?}", self.kind, self.body.len(), self.upload)?;
        if self.long {
            write!(f, ", at a target of {LONGEST} bytes")?;
        }
        if let Some(leaves) = self.leaves {
            write!(f, ", breaks off in the middle with {leaves:?}")?;
        }
        if let Some(flaw) = self.flaw {
            write!(f, ", with a flaw: {flaw:?}")?;
        }
        if !self.bytes.is_empty() {
            write!(f, ", as {}, {}", Shown(&self.bytes), self.cuts)?;
        }
        Ok(())
    }
}
