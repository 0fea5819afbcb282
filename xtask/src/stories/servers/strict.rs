//! Reads the servers' own bytes as strictly as possible. Every deviation from RFC 9112 is reported as an oddity, even
//! if most readers accept it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::case::{Case, Seen};
use super::kinds::Upload;
use crate::process::Outcome;

/// If a server sends nothing for this time, its answer is taken as complete.
const SILENCE: Duration = Duration::from_secs(5);

/// Requests each kind of answer from the server, without the gateway. Fails if the oddities in the answers are not
/// exactly the known ones.
pub(super) fn look(case: &Case) -> Outcome<Seen> {
    let paths = &case.kind.paths;
    let gets = [Some(paths.length), paths.chunked, paths.gzip, paths.none, paths.tagged, paths.long];
    let mut asked: Vec<(&str, &str, &str)> =
        gets.into_iter().flatten().map(|path| ("GET", path, "accept-encoding: gzip\r\n")).collect();
    asked.push(("HEAD", paths.length, ""));
    asked.extend(paths.chunked.map(|path| ("HEAD", path, "")));
    if let Some(Upload::Sum(path)) = paths.upload
        && case.kind.keeps
    {
        asked.push(("POST", path, "content-length: 3\r\nexpect: 100-continue\r\n"));
    }
    asked.push(("GET", "/not-there", ""));
    if let Some(path) = paths.tagged {
        // Both requests ask for a 304, which means that the entity tag matches. `"one"` is the tag of every server
        // except nginx. nginx makes its own tags, so there only `*` matches, which matches any tag.
        asked.push(("GET", path, "if-none-match: \"one\"\r\n"));
        asked.push(("GET", path, "if-none-match: *\r\n"));
    }
    let mut found: Vec<String> = Vec::new();
    for (method, path, more) in asked {
        let bytes = raw(case, method, path, more)?;
        for oddity in oddities(method == "HEAD", &bytes) {
            if !found.contains(&oddity) {
                found.push(oddity);
            }
        }
    }
    found.sort();
    if found == case.kind.oddities {
        return Ok(if found.is_empty() { Seen::Passed } else { Seen::Noted(found.join(", ")) });
    }
    Err(format!("wanted {:?}, found {found:?}", case.kind.oddities))
}

/// Sends one request, and returns all bytes that the server sends until it closes the connection or sends nothing for
/// [`SILENCE`].
fn raw(case: &Case, method: &str, path: &str, more: &str) -> Outcome<Vec<u8>> {
    let failed = |e: std::io::Error| format!("{method} {path}: {e}");
    let mut stream = TcpStream::connect(("127.0.0.1", case.port)).map_err(failed)?;
    stream.set_read_timeout(Some(SILENCE)).map_err(failed)?;
    let port = case.port;
    let fields = case.kind.fields;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n{fields}{more}connection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).map_err(failed)?;
    let mut waits = more.contains("expect:");
    let mut bytes = Vec::new();
    let mut piece = [0; 16 * 1024];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return Ok(bytes),
            Ok(length) => {
                bytes.extend_from_slice(&piece[..length]);
                if waits && bytes.ends_with(b"\r\n\r\n") {
                    stream.write_all(b"abc").map_err(failed)?;
                    waits = false;
                }
            }
            Err(_) if !bytes.is_empty() => return Ok(bytes),
            Err(e) => return Err(failed(e)),
        }
    }
}

/// Returns the oddities in `bytes`, which are the interim answers to one request and its final answer. `head_only` says
/// whether this was a HEAD request. The server was told to close the connection after the answer, so nothing may follow
/// the answer.
fn oddities(head_only: bool, bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return vec!["no end of the head".to_owned()];
    };
    let (head, body) = (&bytes[..end], &bytes[end + 4..]);
    let text = String::from_utf8_lossy(head).into_owned();
    let bare = |byte: u8, beside: &dyn Fn(usize) -> Option<u8>, wanted: u8| {
        (0..head.len()).any(|at| head[at] == byte && beside(at) != Some(wanted))
    };
    if bare(b'\n', &|at| at.checked_sub(1).map(|before| head[before]), b'\r') {
        found.push("LF without CR".to_owned());
    }
    if bare(b'\r', &|at| head.get(at + 1).copied(), b'\n') {
        found.push("CR without LF".to_owned());
    }
    let mut lines = text.split("\r\n");
    let status = status_line(lines.next().unwrap_or_default(), &mut found);
    let fields: Vec<(String, &str)> = lines.filter_map(|line| field(line, &mut found)).collect();
    let all = |name: &str| fields.iter().filter(|(own, _)| own == name).map(|(_, v)| *v).collect::<Vec<_>>();
    let (lengths, codings) = (all("content-length"), all("transfer-encoding"));
    if status < 200 {
        if !lengths.is_empty() || !codings.is_empty() {
            found.push(format!("a length or coding in a {status}"));
        }
        found.extend(oddities(head_only, body));
        return found;
    }
    framing(head_only, status, &lengths, &codings, body, &mut found);
    found
}

/// Returns the status from the first line of an answer; 0 if the line has none. Oddities of this line are added to
/// `found`.
fn status_line(line: &str, found: &mut Vec<String>) -> u16 {
    match line.get(..9) {
        Some("HTTP/1.1 ") => {}
        Some("HTTP/1.0 ") => found.push("speaks HTTP/1.0".to_owned()),
        _ => found.push(format!("status line `{line}`")),
    }
    let digits = line.get(9..12).unwrap_or_default();
    if !digits.bytes().all(|b| b.is_ascii_digit()) || line.as_bytes().get(12) != Some(&b' ') {
        found.push(format!("status line `{line}`"));
    }
    digits.parse().unwrap_or_default()
}

/// Reads a header line: the name in lower case, and the value; `None` if the line has no colon. Oddities of the line
/// are added to `found`.
fn field<'a>(line: &'a str, found: &mut Vec<String>) -> Option<(String, &'a str)> {
    let Some((name, value)) = line.split_once(':') else {
        found.push(format!("line without a colon `{line}`"));
        return None;
    };
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(token) {
        found.push(format!("field name `{name}`"));
    }
    if value.bytes().any(|b| (b < b' ' && b != b'\t') || b == 0x7f) {
        found.push(format!("control byte in `{name}`"));
    }
    Some((name.to_ascii_lowercase(), value.trim_matches([' ', '\t'])))
}

fn framing(
    head_only: bool,
    status: u16,
    lengths: &[&str],
    codings: &[&str],
    body: &[u8],
    found: &mut Vec<String>,
) {
    let mut add = |what: &str| found.push(what.to_owned());
    if !lengths.is_empty() && !codings.is_empty() {
        add("both Content-Length and Transfer-Encoding");
    }
    if lengths.len() > 1 {
        add("two lengths");
    }
    if lengths.iter().any(|value| value.is_empty() || !value.bytes().all(|b| b.is_ascii_digit())) {
        add("a length that is no number");
    }
    if codings.len() > 1 || codings.iter().any(|value| !value.eq_ignore_ascii_case("chunked")) {
        add("a coding that is not chunked alone");
    }
    if status == 204 && (!lengths.is_empty() || !codings.is_empty()) {
        add("a length or coding in a 204");
    }
    if head_only || status == 204 || status == 304 {
        if !body.is_empty() {
            add("a body where none may be");
        }
    } else if !codings.is_empty() {
        found.extend(chunks(body).err());
    } else if let Some(length) = lengths.first().and_then(|value| value.parse::<usize>().ok()) {
        if body.len() < length {
            add("a body shorter than its length");
        }
        if body.len() > length {
            add("bytes behind the body");
        }
    }
}

/// Checks a chunked body. If something in it is odd, the error says what.
fn chunks(mut rest: &[u8]) -> Result<(), String> {
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n").ok_or("chunks without an end")?;
        let line = String::from_utf8_lossy(&rest[..end]).into_owned();
        let plain = !line.is_empty() && line.len() <= 8 && line.bytes().all(|b| b.is_ascii_hexdigit());
        let size = usize::from_str_radix(&line, 16).ok().filter(|_| plain);
        let size = size.ok_or_else(|| format!("chunk size `{line}`"))?;
        rest = &rest[end + 2..];
        if size == 0 {
            return if rest == b"\r\n" {
                Ok(())
            } else {
                Err("trailers, or bytes behind the chunks".to_owned())
            };
        }
        if rest.get(size..size + 2) != Some(&b"\r\n"[..]) {
            return Err("a chunk without CRLF at its end".to_owned());
        }
        rest = &rest[size + 2..];
    }
}

#[cfg(test)]
mod tests {
    use super::oddities;

    #[track_caller]
    fn finds(answer: &str, wanted: &[&str]) {
        assert_eq!(oddities(false, answer.as_bytes()), wanted, "{answer:?}");
    }

    #[test]
    fn strict_answers_have_no_oddities() {
        finds("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", &[]);
        finds("HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", &[]);
        finds("HTTP/1.1 200 OK\r\n\r\nuntil the end", &[]);
        finds("HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n", &[]);
    }

    #[test]
    fn oddities_of_the_head_are_named() {
        finds("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", &["status line `HTTP/1.1 200`"]);
        finds("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", &["speaks HTTP/1.0"]);
        finds("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", &["field name `A `"]);
        finds("HTTP/1.1 200 OK\r\nA: b\r\n c: d\r\n\r\n", &["field name ` c`"]);
        finds("HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n", &["LF without CR"]);
    }

    #[test]
    fn oddities_of_the_framing_are_named() {
        let head = "HTTP/1.1 200 OK\r\n";
        finds(&format!("{head}Content-Length: 1\r\n\r\nok"), &["bytes behind the body"]);
        finds(&format!("{head}Content-Length: 3\r\n\r\nok"), &["a body shorter than its length"]);
        let two = format!("{head}Content-Length: 2\r\nContent-Length: 2\r\n\r\nok");
        finds(&two, &["two lengths"]);
        let coded = format!("{head}Transfer-Encoding: chunked\r\n");
        finds(&format!("{coded}\r\n2 \r\nok\r\n0\r\n\r\n"), &["chunk size `2 `"]);
        finds(&format!("{coded}\r\n2\r\nok0\r\n\r\n"), &["a chunk without CRLF at its end"]);
        finds(&format!("{coded}\r\n2\r\nok\r\n"), &["chunks without an end"]);
        let both = format!("{coded}Content-Length: 5\r\n\r\n0\r\n\r\n");
        finds(&both, &["both Content-Length and Transfer-Encoding"]);
        let interim = "HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n";
        finds(interim, &["a length or coding in a 100"]);
        finds("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", &["a length or coding in a 204"]);
    }
}
