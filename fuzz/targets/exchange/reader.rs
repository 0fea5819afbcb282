//! A strict reader of HTTP/1.1 answers, written for the model alone. It shares no code with what it checks.
//!
//! It reads a recorded stream of bytes and how that stream ended. If RFC 9112 lets a recipient either repair or refuse
//! something, the reader repairs it and marks the answer as not sure. If a recipient must refuse something, the answer
//! is broken, and the reader gives the reason.

use std::fmt;

use super::scenario::Shown;

/// How a stream of bytes ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It stays open, and nothing more comes.
    Keep,
    /// The sender has closed its direction normally.
    Fin,
    /// A reset.
    Reset,
}

/// How the reader judges an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// More bytes are needed. This result is possible only while the end of the stream is not known.
    Open,
    Whole(Whole),
    Broken(Broken),
    /// The dependency said that it never processed the request.
    Refused,
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Whole {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
    /// The position in the stream at which the answer ends, in bytes.
    pub(crate) used: usize,
    /// Whether another request may be sent on the connection after this answer.
    pub(crate) keeps: bool,
    /// Whether a recipient has to accept the answer. An answer that is not sure may be refused, or accepted exactly as
    /// it was read.
    pub(crate) sure: bool,
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) why: &'static str,
    /// The status of the final head, if there is one.
    pub(crate) status: Option<u16>,
    /// Fields of that head.
    pub(crate) fields: Vec<(String, String)>,
    /// What was read of the body.
    pub(crate) body: Vec<u8>,
}

impl fmt::Debug for Whole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Whole { status, body, trailers, used, keeps, sure, .. } = self;
        write!(f, "{status} with {}, trailers {trailers:?}, {used} bytes, ", Shown(body))?;
        write!(f, "keeps: {keeps}, sure: {sure}")
    }
}

impl fmt::Debug for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {:?} with {}", self.why, self.status, Shown(&self.body))
    }
}

const EARLY: &str = "it ended early";
pub(crate) const SILENT: &str = "nothing more came";

/// Reads one answer. `no_body` says that the request was a HEAD. `end` is `None` while more bytes may come.
pub(crate) fn read_answer(bytes: &[u8], no_body: bool, end: Option<End>) -> Reading {
    let mut at = 0;
    let mut sure = true;
    loop {
        let head = match Head::read(&bytes[at..]) {
            Err(why) => return broken(why, None, &[]),
            Ok(None) => return open(end, None, &[]),
            Ok(Some(head)) => head,
        };
        at += head.used;
        sure &= head.sure;
        if head.status == 101 {
            return broken("another protocol was begun", None, &[]);
        }
        if !(100..200).contains(&head.status) {
            return body_of(head, &bytes[at..], at, sure, no_body, end);
        }
        sure &= matches!(head.framing(), Ok((Framing::UntilEnd, true)));
    }
}

fn body_of(head: Head, rest: &[u8], at: usize, sure: bool, no_body: bool, end: Option<End>) -> Reading {
    let framing = head.framing();
    let whole = |body: &[u8], trailers, used, keeps, sure| {
        let fields = head.fields.clone();
        Reading::Whole(Whole {
            status: head.status,
            fields,
            body: body.to_vec(),
            trailers,
            used,
            keeps,
            sure,
        })
    };
    if no_body || matches!(head.status, 204 | 304) {
        let plain = match framing {
            Ok((Framing::UntilEnd, plain)) => plain,
            Ok((_, plain)) => plain && head.status != 204,
            Err(_) => false,
        };
        return whole(&[], Vec::new(), at, head.keeps, sure && plain && end != Some(End::Reset));
    }
    let (framing, plain) = match framing {
        Ok(framing) => framing,
        Err(why) => return broken(why, Some(&head), &[]),
    };
    let sure = sure && plain;
    match framing {
        Framing::Length(length) => {
            match usize::try_from(length).ok().filter(|length| *length <= rest.len()) {
                Some(length) => {
                    let sure = sure && end != Some(End::Reset);
                    whole(&rest[..length], Vec::new(), at + length, head.keeps, sure)
                }
                None => open(end, Some(&head), rest),
            }
        }
        Framing::UntilEnd => match end {
            Some(End::Fin) => whole(rest, Vec::new(), at + rest.len(), false, sure),
            Some(End::Keep | End::Reset) | None => open(end, Some(&head), rest),
        },
        Framing::Chunks => {
            let mut chunks = Chunks { bytes: rest, at: 0, body: Vec::new(), sure: true };
            match chunks.read() {
                Ok(Some(trailers)) => {
                    let sure = sure && chunks.sure && end != Some(End::Reset);
                    whole(&chunks.body, trailers, at + chunks.at, head.keeps, sure)
                }
                Ok(None) => open(end, Some(&head), &chunks.body),
                Err(why) => broken(why, Some(&head), &chunks.body),
            }
        }
    }
}

fn broken(why: &'static str, head: Option<&Head>, body: &[u8]) -> Reading {
    let fields = head.map(|head| head.fields.clone()).unwrap_or_default();
    Reading::Broken(Broken { why, status: head.map(|head| head.status), fields, body: body.to_vec() })
}

/// The answer is not complete.
fn open(end: Option<End>, head: Option<&Head>, body: &[u8]) -> Reading {
    match end {
        None => Reading::Open,
        Some(End::Keep) => broken(SILENT, head, body),
        Some(End::Fin | End::Reset) => broken(EARLY, head, body),
    }
}

struct Head {
    status: u16,
    /// Names are in lower case, and values are without the white space around them.
    fields: Vec<(String, String)>,
    old: bool,
    used: usize,
    keeps: bool,
    sure: bool,
}

enum Framing {
    Length(u64),
    Chunks,
    UntilEnd,
}

impl Head {
    fn read(bytes: &[u8]) -> Result<Option<Head>, &'static str> {
        let mut lines = Lines { bytes, at: 0, sure: true };
        let first = loop {
            match lines.next() {
                None => return begins_well(&bytes[lines.at..]).map(|()| None),
                Some(line) if line.is_empty() => lines.sure = false,
                Some(line) => break line,
            }
        };
        let (old, status, plain) = status_line(&first)?;
        let (mut fields, mut sure) = (Vec::new(), plain);
        loop {
            match lines.next() {
                None => return Ok(None),
                Some(line) if line.is_empty() => break,
                Some(line) => sure &= field(&line, &mut fields),
            }
        }
        sure &= lines.sure;
        let used = lines.at;
        let named = |name| values(&fields, "connection").any(|token| token.eq_ignore_ascii_case(name));
        let keeps = !named("close") && (!old || named("keep-alive"));
        Ok(Some(Head { status, fields, old, used, keeps, sure }))
    }

    /// How the end of the body is found, and whether the head is unambiguous about it.
    fn framing(&self) -> Result<(Framing, bool), &'static str> {
        let count = |name: &str| self.fields.iter().filter(|(found, _)| found == name).count();
        let (lengths, codings) = (count("content-length"), count("transfer-encoding"));
        if codings > 0 {
            if lengths > 0 {
                return Err("both lengths");
            }
            if self.old {
                return Err("a transfer coding in HTTP/1.0");
            }
            let named: Vec<&str> = values(&self.fields, "transfer-encoding").collect();
            let full = named.iter().filter(|token| !token.is_empty()).count();
            let one = full == 1 && named.iter().any(|token| token.eq_ignore_ascii_case("chunked"));
            return if one {
                Ok((Framing::Chunks, named.len() == 1))
            } else {
                Err("another transfer coding")
            };
        }
        if lengths == 0 {
            return Ok((Framing::UntilEnd, true));
        }
        let all: Vec<&str> = values(&self.fields, "content-length").collect();
        let digits = |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !all.iter().all(digits) {
            return Err("a length that is no number");
        }
        if all.iter().any(|length| *length != all[0]) {
            return Err("two lengths that differ");
        }
        let length = all[0].parse().map_err(|_| "a length that is no number")?;
        Ok((Framing::Length(length), all.len() == 1))
    }
}

/// Whether an incomplete first line may still become a status line.
fn begins_well(bytes: &[u8]) -> Result<(), &'static str> {
    let common = bytes.len().min(7);
    if bytes[..common] == b"HTTP/1."[..common] { Ok(()) } else { Err("not HTTP") }
}

/// Whether the version is 1.0, the status, and whether the line is well-formed.
fn status_line(line: &str) -> Result<(bool, u16, bool), &'static str> {
    let old = line.starts_with("HTTP/1.0 ");
    if !old && !line.starts_with("HTTP/1.1 ") {
        return Err("not HTTP");
    }
    let rest = &line[9..];
    let digits = rest.get(..3).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    let status: u16 = digits.and_then(|digits| digits.parse().ok()).ok_or("not HTTP")?;
    let plain = rest[3..].starts_with(' ') && visible(&rest[3..]) && (100..600).contains(&status);
    if plain || rest.len() == 3 || rest[3..].starts_with(' ') {
        Ok((old, status, plain))
    } else {
        Err("not HTTP")
    }
}

/// Adds one field, and returns whether its line is well-formed.
fn field(line: &str, fields: &mut Vec<(String, String)>) -> bool {
    if line.starts_with([' ', '\t']) {
        if let Some((_, value)) = fields.last_mut() {
            *value = format!("{value} {}", line.trim()).trim().to_owned();
        }
        return false;
    }
    let Some((name, value)) = line.split_once(':') else { return false };
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let value = value.trim_matches([' ', '\t']);
    fields.push((name.trim().to_ascii_lowercase(), value.to_owned()));
    !name.is_empty() && name.bytes().all(token) && visible(value)
}

fn visible(text: &str) -> bool {
    text.chars().all(|char| char == '\t' || (char >= ' ' && char != '\u{7f}'))
}

/// The members of all lists under a name.
pub(crate) fn values<'a>(
    fields: &'a [(String, String)],
    name: &'a str,
) -> impl Iterator<Item = &'a str> + use<'a> {
    let named = fields.iter().filter(move |(found, _)| found == name);
    named.flat_map(|(_, value)| value.split(',').map(|token| token.trim_matches([' ', '\t'])))
}

/// Lines of text, each byte a character.
struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
    sure: bool,
}

impl Lines<'_> {
    fn next(&mut self) -> Option<String> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        self.at += end + 1;
        let line = match rest[..end].strip_suffix(b"\r") {
            Some(line) => line,
            None => {
                self.sure = false;
                &rest[..end]
            }
        };
        Some(line.iter().map(|byte| char::from(*byte)).collect())
    }
}

pub(crate) struct Chunks<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) at: usize,
    pub(crate) body: Vec<u8>,
    pub(crate) sure: bool,
}

impl Chunks<'_> {
    /// The trailers, if all of them have arrived.
    pub(crate) fn read(&mut self) -> Result<Option<Vec<(String, String)>>, &'static str> {
        loop {
            let rest = &self.bytes[self.at..];
            let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
                let line = rest.strip_suffix(b"\r").unwrap_or(rest);
                return if line.is_empty() { Ok(None) } else { self.size(line).map(|_| None) };
            };
            let line = rest[..end].strip_suffix(b"\r").ok_or("a chunk size without its line end")?;
            let size = self.size(line)?;
            let data = &rest[end + 1..];
            if size == 0 {
                self.at += end + 1;
                return self.trailers();
            }
            let came = usize::try_from(size).unwrap_or(usize::MAX).min(data.len());
            let behind = &data[came..];
            self.body.extend_from_slice(&data[..came]);
            if !b"\r\n"[..behind.len().min(2)].eq(&behind[..behind.len().min(2)]) {
                return Err("a chunk longer or shorter than its size");
            }
            if behind.len() < 2 {
                return Ok(None);
            }
            self.at += end + 1 + came + 2;
        }
    }

    fn size(&mut self, line: &[u8]) -> Result<u64, &'static str> {
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let behind = line[digits..].trim_ascii_start();
        self.sure &= digits == line.len() && digits <= 16;
        if line.contains(&b'\r') {
            return Err("a chunk size without its line end");
        }
        if digits == 0 {
            return Err(match line.first() {
                None => "an empty chunk size",
                Some(b'+' | b'-') => "a sign in a chunk size",
                Some(_) => "a chunk size that is no number",
            });
        }
        if !behind.is_empty() && behind[0] != b';' {
            return Err("a chunk size that is no number");
        }
        let text = std::str::from_utf8(&line[..digits]).map_err(|_| "a chunk size that is no number")?;
        let text = text.trim_start_matches('0');
        if text.is_empty() {
            return Ok(0);
        }
        u64::from_str_radix(text, 16).map_err(|_| "a chunk size of too many digits")
    }

    fn trailers(&mut self) -> Result<Option<Vec<(String, String)>>, &'static str> {
        let mut lines = Lines { bytes: self.bytes, at: self.at, sure: true };
        let mut fields = Vec::new();
        while let Some(line) = lines.next() {
            if line.is_empty() {
                self.sure &= lines.sure;
                self.at = lines.at;
                return Ok(Some(fields));
            }
            self.sure &= field(&line, &mut fields);
        }
        Ok(None)
    }
}
