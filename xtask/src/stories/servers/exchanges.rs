//! Requests answers with each kind of framing, directly and through the gateway. Both answers must be equal.

use std::fs;
use std::process::Command;

use super::case::{Case, Seen};
use crate::process::{Outcome, output};
use crate::stories::answer::{Answer, curl};

/// The versions of HTTP with which the caller calls the gateway, as arguments for curl.
const VERSIONS: [&str; 2] = ["--http1.1", "--http2-prior-knowledge"];

/// Header fields that are not compared. The first three belong to one connection, and the value of `date` changes every
/// second.
const NOT_COMPARED: [&str; 4] = ["connection", "keep-alive", "transfer-encoding", "date"];

pub(super) fn length(case: &Case) -> Outcome<Seen> {
    let direct = both(case, case.kind.paths.length, &[])?;
    let length = direct.body.len().to_string();
    direct.expect(200, &[("content-length", &length)])?;
    Ok(Seen::Passed)
}

pub(super) fn chunked(case: &Case) -> Outcome<Seen> {
    let Some(path) = case.kind.paths.chunked else { return Ok(Seen::NotOffered) };
    let direct = both(case, path, &[])?;
    direct.expect(200, &[])?;
    if direct.header("content-length").is_some() || direct.body.is_empty() {
        return Err(format!("the server did not leave the length out: {direct}"));
    }
    let framing = direct.header("transfer-encoding").unwrap_or("none, ends with the connection");
    Ok(if framing == "chunked" { Seen::Passed } else { Seen::Noted(format!("framing: {framing}")) })
}

pub(super) fn gzip(case: &Case) -> Outcome<Seen> {
    let Some(path) = case.kind.paths.gzip else { return Ok(Seen::NotOffered) };
    let direct = both(case, path, &["--header", "accept-encoding: gzip"])?;
    direct.expect(200, &[("content-encoding", "gzip")])?;
    if direct.body.starts_with(&[0x1f, 0x8b]) { Ok(Seen::Passed) } else { Err(format!("no gzip: {direct}")) }
}

pub(super) fn head(case: &Case) -> Outcome<Seen> {
    let path = case.kind.paths.length;
    let length = case.call(&case.direct(path), &[])?.body.len().to_string();
    let direct = both(case, path, &["--head"])?;
    direct.expect(200, &[("content-length", &length)])?;
    Ok(Seen::Passed)
}

pub(super) fn no_content(case: &Case) -> Outcome<Seen> {
    let Some(path) = case.kind.paths.none else { return Ok(Seen::NotOffered) };
    both(case, path, &[])?.expect(204, &[])?;
    Ok(Seen::Passed)
}

/// Requests a path whose answer has a validator: `etag`, `last-modified` or both. For each validator, then requests the
/// path again under the condition that the content has changed. The answer to this second request must have the status
/// 304. Fails if the server sends no validator.
pub(super) fn not_modified(case: &Case) -> Outcome<Seen> {
    let Some(path) = case.kind.paths.tagged else { return Ok(Seen::NotOffered) };
    let full = both(case, path, &[])?;
    let pairs = [("etag", "if-none-match"), ("last-modified", "if-modified-since")];
    let mut asked = 0;
    for (validator, condition) in pairs {
        if let Some(value) = full.header(validator) {
            both(case, path, &["--header", &format!("{condition}: {value}")])?.expect(304, &[])?;
            asked += 1;
        }
    }
    if asked > 0 { Ok(Seen::Passed) } else { Err(format!("no validator in {full}")) }
}

pub(super) fn long_answer_head(case: &Case) -> Outcome<Seen> {
    let Some(path) = case.kind.paths.long else { return Ok(Seen::NotOffered) };
    let direct = both(case, path, &[])?;
    direct.expect(200, &[])?;
    let long = direct.headers().filter(|(name, value)| name.starts_with("x-long-") && value.len() == 500);
    if long.count() == 60 { Ok(Seen::Passed) } else { Err(format!("not 60 long fields: {direct}")) }
}

pub(super) fn long_request_head(case: &Case) -> Outcome<Seen> {
    let Some(path) = case.kind.paths.heads else { return Ok(Seen::NotOffered) };
    let values: Vec<String> =
        (b'a'..=b'z').cycle().take(60).map(|c| char::from(c).to_string().repeat(500)).collect();
    let fields: Vec<String> = values.iter().enumerate().map(|(n, v)| format!("x-long-{n}: {v}")).collect();
    let args: Vec<&str> = fields.iter().flat_map(|field| ["--header", field.as_str()]).collect();
    let direct = both(case, path, &args)?;
    direct.expect(200, &[])?;
    let all = direct.text() == values.join("\n");
    if all { Ok(Seen::Passed) } else { Err(format!("the server saw other fields: {direct}")) }
}

/// Tests that the gateway keeps connections open. An answer is requested with each kind of framing that the server
/// offers, and after each of these requests comes a HEAD request. All these requests are made twice, on one connection
/// between the caller and the gateway. The test fails in three cases:
///
/// - An answer has the wrong status or body.
/// - The caller needs a second connection.
/// - The gateway opens more than one connection to a server that keeps connections open. This is checked only if the
///   server shows how many connections it has accepted.
pub(super) fn kept(case: &Case) -> Outcome<Seen> {
    let paths = &case.kind.paths;
    let offered =
        [Some(paths.length), paths.chunked, paths.none, paths.gzip, paths.tagged, Some(paths.length)];
    let round: Vec<&str> = offered.into_iter().flatten().collect();
    let gets: Vec<&str> = [&round[..], &round[..]].concat();
    let mut wanted = Vec::new();
    for path in &round {
        wanted.push(case.call(&case.direct(path), &[])?);
    }
    let before = connections(case)?;
    let mut command = Command::new("curl");
    for (n, path) in gets.iter().enumerate() {
        let file = case.folder.join(format!("kept-{n}"));
        // If an answer has no body, curl does not write the file. So the file is emptied before the request. Otherwise
        // it would still contain the body of an earlier run.
        fs::write(&file, "").map_err(|e| format!("{}: {e}", file.display()))?;
        let head = case.folder.join("kept-head");
        let own = ["--silent", "--show-error", "--max-time", "20", "--noproxy", "*", "--http1.1"];
        command.args(own).args(case.kind.curl).args([
            "--write-out",
            "%{http_code} %{num_connects}\n",
            "--output",
        ]);
        command.arg(file).arg(case.through(path)).arg("--next");
        command.args(own).args(case.kind.curl).args([
            "--write-out",
            "200 %{num_connects}\n",
            "--head",
            "--output",
        ]);
        command.arg(head).arg(case.through(paths.length));
        if n + 1 < gets.len() {
            command.arg("--next");
        }
    }
    let said = output(&mut command)?;
    let lines: Vec<&str> = said.lines().collect();
    if lines.len() != 2 * gets.len() {
        return Err(format!("{} answers of {}:\n{said}", lines.len(), 2 * gets.len()));
    }
    for (n, line) in lines.iter().enumerate() {
        let wanted = &wanted[n / 2 % round.len()];
        let status = if n % 2 == 0 { wanted.status } else { 200 };
        let connects = usize::from(n == 0);
        if *line != format!("{status} {connects}") {
            return Err(format!(
                "answer {n}: wanted `{status} {connects}` (status, new connections), got `{line}`"
            ));
        }
        let file = case.folder.join(format!("kept-{}", n / 2));
        if fs::read(&file).unwrap_or_default() != wanted.body {
            return Err(format!("{}: another body in {}", gets[n / 2], file.display()));
        }
    }
    match (before, connections(case)?) {
        (Some(before), Some(after)) => {
            // The number `after` was read with a request on a new connection, and the server has counted this
            // connection too. So one is subtracted.
            let made = after.saturating_sub(before + 1);
            let note = format!("{} answers, {made} new connections at the server", lines.len());
            if case.kind.keeps && made > 1 { Err(note) } else { Ok(Seen::Noted(note)) }
        }
        _ => Ok(Seen::Passed),
    }
}

/// Returns the number of connections that the server has accepted since it started; `None` if the server has no path
/// that shows this number.
fn connections(case: &Case) -> Outcome<Option<u64>> {
    let Some(path) = case.kind.paths.connections else { return Ok(None) };
    let text = curl(&[&case.direct(path)])?.text();
    // nginx prints several lines. The first number in its third line is the number of accepted connections.
    let line = text.lines().nth(2).or_else(|| text.lines().next()).unwrap_or_default();
    let number = line.split_whitespace().next().and_then(|word| word.parse().ok());
    number.map(Some).ok_or_else(|| format!("no number of connections in:\n{text}"))
}

/// Makes the request directly to the server, and through the gateway with each of [`VERSIONS`]. Returns the direct
/// answer. Fails if an answer through the gateway has another status, other header fields or another body. The fields
/// in [`NOT_COMPARED`] and Seawall's own may differ.
fn both(case: &Case, path: &str, args: &[&str]) -> Outcome<Answer> {
    let direct = case.call(&case.direct(path), args)?;
    for version in VERSIONS {
        let through = case.call(&case.through(path), &[args, &[version]].concat())?;
        same(&direct, &through).map_err(|e| format!("{version}: {e}"))?;
    }
    Ok(direct)
}

fn same(direct: &Answer, through: &Answer) -> Outcome<()> {
    if direct.status != through.status {
        return Err(format!("status {} became {through}", direct.status));
    }
    let fields = |answer: &Answer| {
        let all = answer
            .headers()
            .filter(|(name, _)| !NOT_COMPARED.contains(&name.as_str()) && !name.starts_with("seawall-"));
        let mut all: Vec<(String, String)> = all.cloned().collect();
        all.sort();
        all
    };
    let (theirs, mut ours) = (fields(direct), fields(through));
    // If all chunks of the server's answer came together with the head, the gateway sends them as one body with a
    // `content-length`. The server itself did not send this field, so it is left out of the comparison.
    let length = ("content-length".to_owned(), through.body.len().to_string());
    let chunked = direct.headers().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
    if chunked {
        ours.retain(|field| *field != length);
    }
    if theirs != ours {
        let lost: Vec<_> = theirs.iter().filter(|field| !ours.contains(field)).collect();
        let added: Vec<_> = ours.iter().filter(|field| !theirs.contains(field)).collect();
        return Err(format!("fields differ: lost {lost:?}, added {added:?}"));
    }
    if direct.body == through.body {
        return Ok(());
    }
    Err(format!("another body: {} bytes became {}", direct.body.len(), through.body.len()))
}
