//! An answer over HTTP/2: a well-formed answer with up to three changes. It is written frame by frame. The model judges
//! it by its steps alone, according to RFC 9113, section 8.1.

use std::fmt;

use super::ask::{Ask, Kind};
use super::lines::body_for;
use super::reader::{Broken, End, Reading, SILENT, Whole};
use super::scenario::{Cursor, Pause, Shown, mark};

type Fields = Vec<(String, String)>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A head, interim or final, or trailers.
    Fields {
        fields: Fields,
        end: bool,
    },
    Data {
        bytes: Vec<u8>,
        end: bool,
    },
    Reset(u32),
    /// A GOAWAY. `covers` says whether the stream is still answered.
    GoAway {
        covers: bool,
    },
    Pause(Pause),
    Close(End),
}

/// What the dependency does for one delivery.
#[derive(Clone, Debug)]
pub(crate) struct Frames {
    pub(crate) steps: Vec<Step>,
}

const NO_ERROR: u32 = 0;
const REFUSED_STREAM: u32 = 7;
const STATUSES: [&str; 8] = ["200", "200", "200", "201", "204", "402", "500", "304"];
const CODES: [u32; 8] = [NO_ERROR, 8, 2, NO_ERROR, REFUSED_STREAM, 1, 0x0b, 0x0d];

impl Frames {
    pub(crate) fn decode(cursor: &mut Cursor<'_>, ask: &Ask, number: usize, delivery: usize) -> Frames {
        let shape = cursor.byte();
        let twists: Vec<_> =
            (0..[1, 0, 2, 3][usize::from(shape >> 6)]).map(|_| (cursor.byte(), cursor.byte())).collect();
        let status = STATUSES[usize::from(shape >> 2) % STATUSES.len()];
        let mut body = body_for(cursor, ask, number, delivery);
        if ask.kind == Kind::Head || matches!(status, "204" | "304") {
            body.clear();
        }
        let mut fields = vec![(":status".to_owned(), status.to_owned())];
        if shape.is_multiple_of(2) && status != "204" {
            fields.push(("content-length".to_owned(), body.len().to_string()));
        }
        let mut steps = vec![Step::Fields { fields, end: body.is_empty() }];
        let pieces: Vec<_> = body.chunks(body.len().div_ceil(2).max(1)).collect();
        for (at, piece) in pieces.iter().enumerate() {
            steps.push(Step::Data { bytes: piece.to_vec(), end: at + 1 == pieces.len() });
        }
        for (what, how) in twists {
            twist(&mut steps, what, usize::from(how), &mark(number, delivery));
        }
        Frames { steps }
    }

    /// What a recipient may believe.
    pub(crate) fn reading(&self, no_body: bool) -> Reading {
        let mut seen =
            Seen { head: None, fields: Vec::new(), body: Vec::new(), length: None, no_body, sure: true };
        for step in &self.steps {
            match seen.take(step) {
                Ok(None) => {}
                Ok(Some(trailers)) => return seen.whole(trailers, self.ends_badly()),
                Err(None) => return Reading::Refused,
                Err(Some(why)) => return seen.broken(why),
            }
        }
        seen.broken(SILENT)
    }

    /// Whether the dependency says, rightly or wrongly, that the request was not processed.
    pub(crate) fn refuse(&self) -> bool {
        let refuses =
            |step: &Step| matches!(step, Step::Reset(REFUSED_STREAM) | Step::GoAway { covers: false });
        self.steps.iter().any(refuses)
    }

    /// Whether something follows that may prevent a recipient from seeing what came before it.
    fn ends_badly(&self) -> bool {
        let bad = |step: &Step| match step {
            Step::Reset(code) => *code != NO_ERROR,
            Step::Close(end) => *end == End::Reset,
            Step::GoAway { covers } => !covers,
            Step::Fields { .. } | Step::Data { .. } => false,
            Step::Pause(pause) => *pause == Pause::Long,
        };
        // Anything that follows the end of a stream is an error of the connection.
        let ends =
            |step: &Step| matches!(step, Step::Fields { end: true, .. } | Step::Data { end: true, .. });
        let end = self.steps.iter().position(ends).unwrap_or(0);
        let more = self.steps[end + 1..].iter().any(|s| matches!(s, Step::Fields { .. } | Step::Data { .. }));
        more || self.steps.iter().any(bad)
    }
}

/// What was seen of an answer so far.
struct Seen {
    head: Option<u16>,
    fields: Fields,
    body: Vec<u8>,
    length: Option<u64>,
    no_body: bool,
    sure: bool,
}

impl Seen {
    /// Takes one step of the answer. When the answer is complete, returns its trailers. An error without a reason says
    /// that the request was refused.
    fn take(&mut self, step: &Step) -> Result<Option<Fields>, Option<&'static str>> {
        match step {
            Step::Pause(_) | Step::GoAway { covers: true } => Ok(None),
            Step::GoAway { covers: false } if self.head.is_none() => Err(None),
            Step::GoAway { covers: false } => {
                // This GOAWAY contradicts the head that came before.
                self.sure = false;
                Ok(None)
            }
            Step::Reset(REFUSED_STREAM) if self.head.is_none() => Err(None),
            Step::Reset(NO_ERROR) => Err(Some("a reset with NO_ERROR before the end")),
            Step::Reset(8) => Err(Some("a reset with CANCEL before the end")),
            Step::Reset(_) => Err(Some("a reset before the end")),
            Step::Close(End::Keep) => Ok(None),
            Step::Close(End::Fin | End::Reset) => Err(Some("the connection ended early")),
            Step::Data { .. } if self.head.is_none() => Err(Some("DATA before the head")),
            Step::Data { bytes, end } => {
                self.body.extend_from_slice(bytes);
                let came = self.body.len() as u64;
                if self.no_body {
                    self.sure &= bytes.is_empty();
                    return if *end { Ok(Some(Vec::new())) } else { Ok(None) };
                }
                match self.length {
                    Some(length) if came > length => Err(Some("more than its length")),
                    Some(length) if *end && came < length => Err(Some("less than its length")),
                    _ if *end => Ok(Some(Vec::new())),
                    _ => Ok(None),
                }
            }
            Step::Fields { fields, end } if self.head.is_some() => {
                // `:status` is forbidden in trailers, and most recipients ignore it.
                self.sure &= fields.iter().all(|(name, _)| name != ":status");
                if fields.iter().any(|(name, _)| name != ":status" && !plain(name)) {
                    return Err(Some("trailers that are malformed"));
                }
                match self.length.filter(|_| !self.no_body) {
                    _ if !end => Err(Some("trailers that do not end the stream")),
                    Some(length) if (self.body.len() as u64) < length => Err(Some("less than its length")),
                    _ => Ok(Some(fields.clone())),
                }
            }
            Step::Fields { fields, end } => self.head(fields, *end).map_err(Some),
        }
    }

    fn head(&mut self, fields: &Fields, end: bool) -> Result<Option<Fields>, &'static str> {
        let status = match fields.first() {
            Some((name, value)) if name == ":status" => value.parse::<u16>().ok(),
            _ => None,
        };
        let status = status.filter(|s| (100..=999).contains(s)).ok_or("a head without a status")?;
        // 101 does not exist over HTTP/2. It changes nothing, so a recipient may ignore it like other interim heads.
        self.sure &= status != 101;
        if fields[1..].iter().any(|(name, _)| !plain(name)) {
            return Err("a head with fields that HTTP/2 forbids");
        }
        if status < 200 {
            self.sure &= fields[1..].iter().all(|(name, _)| name != "content-length");
            return if end { Err("an interim head that ends the stream") } else { Ok(None) };
        }
        self.no_body |= matches!(status, 204 | 304);
        let lengths: Vec<_> = fields.iter().filter(|(name, _)| name == "content-length").collect();
        for (_, value) in &lengths {
            let digits = value.bytes().all(|byte| byte.is_ascii_digit());
            self.length = value.parse().ok().filter(|_| digits);
            if self.length.is_none() && !self.no_body {
                return Err("a length that is no number");
            }
            self.sure &= self.length.is_some();
        }
        if lengths.len() > 1 {
            self.sure = false;
            if lengths.iter().any(|length| length.1 != lengths[0].1) && !self.no_body {
                return Err("two lengths that differ");
            }
        }
        if status == 204 && !lengths.is_empty() {
            self.sure = false;
        }
        self.head = Some(status);
        self.fields = fields[1..].to_vec();
        match self.length {
            Some(length) if end && length > 0 && !self.no_body => Err("less than its length"),
            _ if end => Ok(Some(Vec::new())),
            _ => Ok(None),
        }
    }

    fn whole(self, trailers: Fields, ends_badly: bool) -> Reading {
        let Seen { head, fields, body, no_body, sure, .. } = self;
        Reading::Whole(Whole {
            status: head.unwrap_or_default(),
            fields,
            body: if no_body { Vec::new() } else { body },
            trailers,
            used: 0,
            keeps: true,
            sure: sure && !ends_badly,
        })
    }

    /// Ends the reading of a broken answer. An answer without a body still counts as complete if its head has arrived.
    /// An answer of known length counts as complete if all its bytes have arrived, because they may have been passed on
    /// before the error.
    fn broken(mut self, why: &'static str) -> Reading {
        let length = self.length.filter(|_| !self.no_body).and_then(|length| usize::try_from(length).ok());
        let all = self.no_body || length.is_some_and(|length| self.body.len() >= length);
        if self.head.is_some() && all {
            self.body.truncate(length.unwrap_or_default());
            return self.whole(Vec::new(), true);
        }
        Reading::Broken(Broken { why, status: self.head, fields: self.fields, body: self.body })
    }
}

/// Whether a head or trailers may have a field of this name (RFC 9113, section 8.2).
fn plain(name: &str) -> bool {
    let hop = ["connection", "transfer-encoding", "keep-alive", "upgrade", "proxy-connection"];
    !name.starts_with(':') && !hop.contains(&name) && !name.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// Makes one step of the answer unusual.
fn twist(steps: &mut Vec<Step>, what: u8, how: usize, mark: &str) {
    let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let at = how / 8 % (steps.len() + 1);
    match what % 16 {
        1 | 2 => {
            // The reset is put into the middle, so no step before it may end the stream.
            steps.iter_mut().for_each(Step::never_ends);
            let at = how / 8 % 4;
            steps.insert(steps.len().saturating_sub(at), Step::Reset(CODES[how % 8]));
        }
        3 => {
            let code = CODES[how % 8];
            steps.push(Step::Reset(code));
        }
        4 => {
            let lengths: &[&str] = [&["3"][..], &["99999"], &["+5"], &["5", "6"], &["0"], &["5, 5"]][how % 6];
            if let Some(Step::Fields { fields, .. }) = steps.first_mut() {
                fields.retain(|(name, _)| name != "content-length");
                lengths.iter().for_each(|length| fields.push(field("content-length", length)));
            }
        }
        5 => {
            let odd = [
                field("connection", "close"),
                field("transfer-encoding", "chunked"),
                field("Upper", "x"),
                field("seawall-effect", "not-applied"),
                field("x", mark),
            ];
            if let Some(Step::Fields { fields, .. }) = steps.first_mut() {
                fields.push(odd[how % 5].clone());
            }
        }
        6 => {
            let status = ["103", "100", "101", "abc", "", "600"][how % 6];
            steps.insert(0, Step::Fields { fields: vec![field(":status", status)], end: how / 6 % 4 == 3 });
        }
        7 => {
            steps.iter_mut().for_each(Step::never_ends);
            let names = ["x", "seawall-effect", ":status", "connection"];
            let fields = vec![field(names[how % 4], "not-applied")];
            steps.push(Step::Fields { fields, end: how / 4 % 4 != 3 });
        }
        8 => steps.insert(at, Step::Pause(Pause::Rest)),
        9 => steps.insert(at, Step::Pause(Pause::Turns(how as u8 % 8 + 1))),
        10 => steps.insert(at, Step::Close([End::Fin, End::Reset][how % 2])),
        11 => steps.insert(at, Step::GoAway { covers: how.is_multiple_of(2) }),
        12 => steps.iter_mut().for_each(Step::never_ends),
        13 => {
            steps.iter_mut().for_each(Step::never_ends);
            steps.push(Step::Data { bytes: Vec::new(), end: true });
        }
        14 => drop(steps.remove(at.min(steps.len() - 1))),
        15 => steps.insert(at, Step::Data { bytes: mark.as_bytes().to_vec(), end: how % 8 == 7 }),
        _ => {}
    }
    if steps.is_empty() {
        steps.push(Step::Close(End::Fin));
    }
}

impl Step {
    fn never_ends(&mut self) {
        if let Step::Fields { end, .. } | Step::Data { end, .. } = self {
            *end = false;
        }
    }

    /// The bytes of this step as a frame on a stream; `None` if the step is not a frame.
    pub(crate) fn write(&self, stream: u32) -> Option<Vec<u8>> {
        match self {
            Step::Fields { fields, end } => {
                let mut block = Vec::new();
                for (name, value) in fields {
                    // A literal field without indexing; name and value are not compressed (RFC 7541, section 6.2.2).
                    block.extend([0, name.len() as u8]);
                    block.extend(name.bytes());
                    block.push(value.len() as u8);
                    block.extend(value.bytes());
                }
                Some(frame(1, 4 | u8::from(*end), stream, &block))
            }
            Step::Data { bytes, end } => Some(frame(0, u8::from(*end), stream, bytes)),
            Step::Reset(code) => Some(frame(3, 0, stream, &code.to_be_bytes())),
            Step::GoAway { covers } => {
                let last = if *covers { stream } else { stream.saturating_sub(2) };
                Some(frame(7, 0, 0, &[last.to_be_bytes(), NO_ERROR.to_be_bytes()].concat()))
            }
            Step::Pause(_) | Step::Close(_) => None,
        }
    }
}

/// A frame (RFC 9113, section 4.1).
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

impl fmt::Display for Frames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in self.steps.iter().enumerate() {
            let comma = if number > 0 { ", " } else { "" };
            match step {
                Step::Data { bytes, end } => write!(f, "{comma}Data {} end: {end}", Shown(bytes))?,
                other => write!(f, "{comma}{other:?}")?,
            }
        }
        Ok(())
    }
}
