//! Tests uploads, and transfers of 100 MB in both directions. The checksum of what was sent is compared with the
//! checksum of what was received.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::case::{Case, Seen};
use super::kinds::{HUGE_BYTES, Upload};
use crate::process::{Outcome, output, said};
use crate::stories::answer::{Answer, curl};

/// The maximum time of one transfer, in seconds. The largest transfer has 100 MB.
const LONG: &str = "60";

pub(super) fn down(case: &Case) -> Outcome<Seen> {
    let Some(path) = case.kind.paths.large else { return Ok(Seen::NotOffered) };
    let wanted = sum_of(&case.huge())?;
    let got = sum_of_url(&case.through(path))?;
    if got == wanted { Ok(Seen::Passed) } else { Err(format!("the caller got {got}, wanted {wanted}")) }
}

pub(super) fn up(case: &Case) -> Outcome<Seen> {
    upload(case, &case.huge(), &["--header", "expect:"])
}

/// Uploads 1.5 MB with the header field `expect: 100-continue`. Fails if the caller does not receive the interim answer
/// `100 Continue`.
pub(super) fn expect_continue(case: &Case) -> Outcome<Seen> {
    let file = part(case, "part", 1_500_000)?;
    upload(case, &file, &["--header", "expect: 100-continue"])
}

pub(super) fn chunked_upload(case: &Case) -> Outcome<Seen> {
    if !case.kind.reads_chunks {
        return Ok(Seen::NotOffered);
    }
    let file = part(case, "chunks", 300_000)?;
    upload(case, &file, &["--header", "transfer-encoding: chunked", "--header", "expect:"])
}

/// Copies the first `bytes` bytes of the file of [`HUGE_BYTES`] to a file with the name `name`. Returns the path of the
/// copy.
fn part(case: &Case, name: &str, bytes: usize) -> Outcome<std::path::PathBuf> {
    let file = case.folder.join(name);
    let all = fs::read(case.huge()).map_err(|e| format!("{}: {e}", case.huge().display()))?;
    fs::write(&file, &all[..bytes.min(HUGE_BYTES)]).map_err(|e| format!("{}: {e}", file.display()))?;
    Ok(file)
}

/// Sends the file through the gateway. Fails if its length and checksum differ from those of what the server received.
/// If the server takes no uploads, nothing is sent, and [`Seen::NotOffered`] is returned.
fn upload(case: &Case, file: &Path, args: &[&str]) -> Outcome<Seen> {
    let Some(way) = case.kind.paths.upload else { return Ok(Seen::NotOffered) };
    let name = file.display().to_string();
    let send = |method: &str, path: &str| -> Outcome<Answer> {
        let fixed = ["--http1.1", "--max-time", LONG, "--request", method, "--upload-file", &name];
        curl(&[&fixed[..], args, &[&case.through(path)]].concat())
    };
    let (answer, got) = match way {
        Upload::Sum(path) => {
            let answer = send("POST", path)?;
            answer.expect(200, &[("seawall-attempts", "1")])?;
            let got = answer.text().trim().to_owned();
            (answer, got)
        }
        Upload::Store(path) => {
            let answer = send("PUT", path)?;
            // nginx answers 201 when the file is stored for the first time, and 204 after that.
            let status = answer.status;
            answer.expect(if status == 201 { 201 } else { 204 }, &[("seawall-attempts", "1")])?;
            (answer, sum_of(&case.folder.join("files").join(path.trim_start_matches('/')))?)
        }
    };
    let wanted = sum_of(file)?;
    if got != wanted {
        return Err(format!("the server got {got}, wanted {wanted}"));
    }
    let asked = args.contains(&"expect: 100-continue");
    if asked && !answer.interim.contains(&100) {
        return Err(format!("no 100 before {answer}"));
    }
    Ok(Seen::Passed)
}

/// Returns the length and the checksum of a file, as `LENGTH SUM`.
fn sum_of(file: &Path) -> Outcome<String> {
    let length = fs::metadata(file).map_err(|e| format!("{}: {e}", file.display()))?.len();
    let text = output(Command::new("sha256sum").arg(file))?;
    Ok(format!("{length} {}", text.split_whitespace().next().unwrap_or_default()))
}

/// Returns `LENGTH SUM` of what curl receives from this URL. The received bytes are not stored in a file.
fn sum_of_url(url: &str) -> Outcome<String> {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--fail", "--max-time", LONG, "--noproxy", "*", "--http1.1"]);
    command.args(["--write-out", "%{stderr}%{size_download}", url]);
    let said = said(&command);
    let failed = |e: std::io::Error| format!("`{said}`: {e}");
    let mut caller = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(failed)?;
    let body = caller.stdout.take().map_or_else(Stdio::null, Stdio::from);
    let sum = Command::new("sha256sum").stdin(body).output().map_err(failed)?;
    let ended = caller.wait_with_output().map_err(failed)?;
    let length = String::from_utf8_lossy(&ended.stderr).trim().to_owned();
    if !ended.status.success() {
        return Err(format!("`{said}`: {length}"));
    }
    let text = String::from_utf8_lossy(&sum.stdout).into_owned();
    Ok(format!("{length} {}", text.split_whitespace().next().unwrap_or_default()))
}
