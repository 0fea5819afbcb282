//! Reads what the dependency receives, as strictly as `reader` reads answers.

use super::reader::{Chunks, values};

/// A request, as far as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) body: Vec<u8>,
    /// Whether the last byte of the request has arrived.
    pub(crate) whole: bool,
    pub(crate) used: usize,
}

impl Request {
    /// The exchange to which it belongs.
    pub(crate) fn number(&self) -> Option<usize> {
        let path = self.target.split('?').next()?;
        path.rsplit('/').next()?.parse().ok()
    }
}

/// Reads one request; `None` if its head is not complete yet.
pub(crate) fn read_request(bytes: &[u8]) -> Result<Option<Request>, &'static str> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| "a head that is no text")?;
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err("no request line");
    };
    // After an answer in HTTP/1.0, the gateway may send a request in HTTP/1.0, too.
    let old = version == "HTTP/1.0";
    if !old && version != "HTTP/1.1" {
        return Err("another version");
    }
    let mut fields = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(':').ok_or("a line without a colon")?;
        if name.contains(|c: char| !c.is_ascii_graphic()) || line.contains(['\r', '\n', '\0']) {
            return Err("a field that is none");
        }
        fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    if values(&fields, "host").count() != 1 {
        return Err("not exactly one host");
    }
    let lengths: Vec<&str> = values(&fields, "content-length").collect();
    let codings: Vec<&str> = values(&fields, "transfer-encoding").collect();
    let rest = &bytes[end + 4..];
    let (body, whole, used) = match (&lengths[..], &codings[..]) {
        ([], []) => (Vec::new(), true, 0),
        ([length], []) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
            let length: usize = length.parse().map_err(|_| "a length that is none")?;
            let came = length.min(rest.len());
            (rest[..came].to_vec(), came == length, came)
        }
        ([], ["chunked"]) if !old => {
            let mut chunks = Chunks { bytes: rest, at: 0, body: Vec::new(), sure: true };
            let whole = chunks.read()?.is_some();
            (chunks.body, whole, chunks.at)
        }
        _ => return Err("an end that is read in two ways"),
    };
    let (method, target) = (method.to_owned(), target.to_owned());
    Ok(Some(Request { method, target, body, whole, used: end + 4 + used }))
}
