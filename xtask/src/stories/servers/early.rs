//! Tests that the caller receives a refusal that comes during an upload. The servers send the refusal after they have
//! read the request's head or the first megabyte, and then continue to read. So the caller must receive the refusal in
//! every case, even if it reads only after it has sent the whole upload.
//!
//! The obvious rule for a gateway is to close the connection when the answer is sent. This loses the answer: if bytes
//! of the upload are unread when the connection is closed, the kernel sends a reset, and a caller that is still writing
//! sees the reset before the answer.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use super::case::{Case, Seen};
use super::kinds::{HUGE_BYTES, Upload};
use crate::process::{Outcome, output};
use crate::stories::world::{found, story_file};

/// The number of uploads that each caller makes.
const TRIES: usize = 20;

/// The size of the upload of the caller that reads an answer only after it has sent everything, in bytes.
const BLIND_BYTES: usize = 8 * 1024 * 1024;

/// The maximum time of one read or write of the caller that sends everything first.
const PATIENCE: Duration = Duration::from_secs(10);

/// Tests that curl receives the server's refusal (413), which comes while curl is still sending its upload. curl looks
/// for an answer while it sends, and stops sending when the refusal comes. Calls are made through the gateway and
/// directly.
pub(super) fn to_curl(case: &Case) -> Outcome<Seen> {
    let path = case.kind.paths.refuse;
    let tries = |url: &str| (0..TRIES).map(|_| by_curl(case, url)).collect();
    counted(&[(THROUGH, tries(&case.through_apart(path))), (PAST, tries(&case.direct(path)))])
}

/// Tests that Node's HTTP/2 client receives the server's refusal (413), which comes while the client is still sending
/// its upload. This client looks for an answer while it sends. Calls are made only through the gateway: the servers
/// speak only HTTP/1.1, so this client cannot call them directly for comparison.
pub(super) fn over_http2(case: &Case) -> Outcome<Seen> {
    let path = format!("/{}_apart{}", case.kind.name, case.kind.paths.refuse);
    let mut command = Command::new(found("node")?);
    command.arg(story_file("servers").join("early.mjs")).args([case.gateway.to_string(), path]);
    command.arg(method(case)).args([HUGE_BYTES.to_string(), TRIES.to_string()]);
    let said = output(&mut command)?;
    let tries = said.lines().map(|line| line.parse().map_err(|_| line.to_owned())).collect();
    counted(&[(THROUGH, tries)])
}

/// Tests that a caller receives a refusal that the server sends before it has read the whole upload. The caller reads
/// nothing until it has sent everything, or until sending has failed. The calls are made through the gateway and
/// directly.
///
/// All calls must receive the refusal; otherwise this fails. If all do, but sending failed in some calls through the
/// gateway, the result is [`Seen::Noted`].
pub(super) fn to_a_blind_caller(case: &Case) -> Outcome<Seen> {
    let path = case.kind.paths.refuse;
    let through = format!("/{}_apart{path}", case.kind.name);
    let mut broken = 0;
    let ours = (0..TRIES).map(|_| sends_all_first(case, case.gateway, &through, &mut broken)).collect();
    let theirs = (0..TRIES).map(|_| sends_all_first(case, case.port, path, &mut 0)).collect();
    let seen = counted(&[(THROUGH, ours), (PAST, theirs)])?;
    Ok(if broken == 0 { seen } else { Seen::Noted(format!("{broken} of {TRIES} uploads were cut")) })
}

const THROUGH: &str = "through the gateway";
const PAST: &str = "past the gateway";

/// Returns [`Seen::Passed`] if the refusal (413) was received for all uploads of all callers. Otherwise fails. The
/// error has a line for each caller: the number of uploads for which the caller received the refusal, and how its first
/// upload without a refusal ended.
fn counted(callers: &[(&str, Vec<Outcome<u16>>)]) -> Outcome<Seen> {
    let mut lines = Vec::new();
    let mut lost = 0;
    for (name, tries) in callers {
        let read = tries.iter().filter(|seen| matches!(seen, Ok(413))).count();
        let other = match tries.iter().find(|seen| !matches!(seen, Ok(413))) {
            None => String::new(),
            Some(Ok(status)) => format!(", else status {status}"),
            Some(Err(e)) => format!(", else {e}"),
        };
        lines.push(format!("{name} {read} of {TRIES}{other}"));
        lost += TRIES - read;
    }
    if lost == 0 { Ok(Seen::Passed) } else { Err(lines.join("\n")) }
}

fn method(case: &Case) -> &'static str {
    if matches!(case.kind.paths.upload, Some(Upload::Store(_))) { "PUT" } else { "POST" }
}

fn by_curl(case: &Case, url: &str) -> Outcome<u16> {
    let file = case.huge().display().to_string();
    let form = "content-type: application/x-www-form-urlencoded";
    let head = ["--http1.1", "--header", "expect:", "--header", form, "--request", method(case)];
    Ok(case.call(url, &[&head[..], &["--upload-file", &file]].concat())?.status)
}

/// Makes one upload, reads only after sending has ended, and returns the status of the answer. If sending failed, adds
/// one to `broken`.
fn sends_all_first(case: &Case, port: u16, path: &str, broken: &mut usize) -> Outcome<u16> {
    let failed = |what: &str, e: &std::io::Error| format!("{what}: {e}");
    let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(|e| failed("connect", &e))?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(|e| failed("timeout", &e))?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(|e| failed("timeout", &e))?;
    let head = format!(
        "{} {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n{}content-type: application/x-www-form-urlencoded\r\n\
         content-length: {BLIND_BYTES}\r\n\r\n",
        method(case),
        case.kind.fields
    );
    let body = vec![b'x'; BLIND_BYTES];
    let sent = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
    *broken += usize::from(sent.is_err());
    let mut line = [0; 12];
    match (stream.read_exact(&mut line), sent) {
        (Ok(()), _) => {}
        (Err(read), Ok(())) => return Err(failed("all was sent, then read", &read)),
        (Err(read), Err(write)) => return Err(format!("write: {write}; read: {read}")),
    }
    let status = std::str::from_utf8(&line[9..]).ok().and_then(|digits| digits.parse().ok());
    status.ok_or_else(|| format!("no status in {:?}", String::from_utf8_lossy(&line)))
}
