//! Reads what the gateway writes, as a strict HTTP/1.1 client does.

use super::caller::{End, Seen};

/// An answer while it is being read.
pub struct Reading {
    seen: Seen,
    to_head: bool,
    body: Option<Framing>,
    pub left: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunks,
    Trailers,
    UntilEnd,
}

type Step = Result<bool, &'static str>;

impl Reading {
    pub fn new(to_head: bool) -> Reading {
        Reading { seen: Seen::default(), to_head, body: None, left: 0 }
    }

    pub fn has_head(&self) -> bool {
        self.seen.status != 0
    }

    /// Whether the end of the connection is the end of the body.
    pub fn until_end(&self) -> bool {
        self.body == Some(Framing::UntilEnd)
    }

    pub fn seen(self, end: End) -> Seen {
        Seen { end, left: self.left, ..self.seen }
    }

    /// Takes as many bytes as it can from the front of `bytes`. Returns true once the answer is complete.
    pub fn take(&mut self, bytes: &mut Vec<u8>) -> Step {
        loop {
            let Some(framing) = self.body else {
                match self.head(bytes)? {
                    true => continue,
                    false => return Ok(false),
                }
            };
            match framing {
                Framing::Length(length) => {
                    let taken = length.min(bytes.len());
                    self.seen.body.extend(bytes.drain(..taken));
                    self.body = Some(Framing::Length(length - taken));
                    return Ok(length == taken);
                }
                Framing::UntilEnd => {
                    self.seen.body.append(bytes);
                    return Ok(false);
                }
                Framing::Chunks => {
                    if !self.chunk(bytes)? {
                        return Ok(false);
                    }
                }
                Framing::Trailers => {
                    let Some(line) = line(bytes)? else { return Ok(false) };
                    if line.is_empty() {
                        return Ok(true);
                    }
                    self.seen.trailers.push(field(&line)?);
                }
            }
        }
    }

    /// Reads a head, if all of it is there.
    fn head(&mut self, bytes: &mut Vec<u8>) -> Step {
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(false) };
        let mut head: Vec<u8> = bytes.drain(..end + 4).collect();
        let status_line = line(&mut head)?.unwrap_or_default();
        let digits = status_line.strip_prefix("HTTP/1.").ok_or("no status line")?;
        self.seen.foreign_version = !digits.starts_with("1 ");
        let digits = digits.get(2..).ok_or("no status line")?;
        let status: u16 = digits.get(..3).and_then(|digits| digits.parse().ok()).ok_or("no status")?;
        let mut fields = Vec::new();
        while let Some(line) = line(&mut head)? {
            if !line.is_empty() {
                fields.push(field(&line)?);
            }
        }
        if status < 200 {
            self.seen.interim += 1;
            return Ok(true);
        }
        self.body = Some(framing(status, &fields, self.to_head)?);
        self.seen.status = status;
        self.seen.fields = fields;
        Ok(true)
    }

    /// Reads a chunk, if all of it is there.
    fn chunk(&mut self, bytes: &mut Vec<u8>) -> Step {
        let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") else { return Ok(false) };
        let digits = std::str::from_utf8(&bytes[..end]).map_err(|_| "a chunk size that is no text")?;
        if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err("a chunk size that is none");
        }
        let size = usize::from_str_radix(digits, 16).map_err(|_| "a chunk size that is too long")?;
        let data = end + 2;
        if size == 0 {
            bytes.drain(..data);
            self.body = Some(Framing::Trailers);
            return Ok(true);
        }
        if bytes.len() < data + size + 2 {
            return Ok(false);
        }
        if &bytes[data + size..data + size + 2] != b"\r\n" {
            return Err("a chunk that does not end");
        }
        self.seen.body.extend_from_slice(&bytes[data..data + size]);
        bytes.drain(..data + size + 2);
        Ok(true)
    }
}

/// The framing of an answer's body. Fails if the framing has more than one reading, or none.
fn framing(status: u16, fields: &[(String, String)], to_head: bool) -> Result<Framing, &'static str> {
    let all = |wanted: &str| -> Vec<&str> {
        fields.iter().filter(|(name, _)| name == wanted).map(|(_, value)| value.as_str()).collect()
    };
    let (lengths, codings) = (all("content-length"), all("transfer-encoding"));
    let framing = match (&lengths[..], &codings[..]) {
        ([], []) => Framing::UntilEnd,
        ([], ["chunked"]) => Framing::Chunks,
        ([length], []) if !length.is_empty() && length.bytes().all(|digit| digit.is_ascii_digit()) => {
            Framing::Length(length.parse().map_err(|_| "a length that is too long")?)
        }
        _ => return Err("lengths or codings that can be read in two ways"),
    };
    if status == 204 && framing != Framing::UntilEnd {
        return Err("a 204 that says a length");
    }
    Ok(if to_head || matches!(status, 204 | 304) { Framing::Length(0) } else { framing })
}

/// Takes a line that ends in CRLF.
fn line(bytes: &mut Vec<u8>) -> Result<Option<String>, &'static str> {
    let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") else { return Ok(None) };
    let line: Vec<u8> = bytes.drain(..end + 2).take(end).collect();
    let bad = line.iter().any(|byte| *byte < b' ' && *byte != b'\t');
    if bad { Err("a control character in a head") } else { Ok(Some(text(&line))) }
}

fn field(line: &str) -> Result<(String, String), &'static str> {
    let (name, value) = line.split_once(':').ok_or("a field without a colon")?;
    if name.is_empty() || name.contains([' ', '\t']) {
        return Err("a field whose name is none");
    }
    Ok((name.to_lowercase(), value.trim_matches([' ', '\t']).to_owned()))
}

/// These bytes as text, with one character for each byte, so that different values stay different.
fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// The fields of a map of headers, as pairs of name and value.
pub fn listed(fields: &http::HeaderMap) -> Vec<(String, String)> {
    fields.iter().map(|(name, value)| (name.as_str().to_owned(), text(value.as_bytes()))).collect()
}
