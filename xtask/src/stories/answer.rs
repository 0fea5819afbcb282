//! Runs curl, and reads from curl's output the answer that curl received.

use std::process::Command;

use serde_json::Value;

use crate::process::{Outcome, said};

/// The status, headers and body of an answer.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// The statuses of the interim answers (1xx) that came before this answer.
    pub(super) interim: Vec<u16>,
}

/// Runs curl with these arguments, and returns the answer whatever its status is. Fails if curl itself fails.
pub(super) fn curl(args: &[&str]) -> Outcome<Answer> {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--include", "--max-time", "20", "--noproxy", "*"]).args(args);
    let said = said(&command);
    let out = command.output().map_err(|e| format!("`{said}`: {e}"))?;
    if !out.status.success() {
        return Err(format!("`{said}`: {}", String::from_utf8_lossy(&out.stderr).trim()));
    }
    Answer::parse(&out.stdout).ok_or_else(|| format!("`{said}`: no answer in what curl printed"))
}

impl Answer {
    /// Reads an answer from what curl printed: the heads of the interim answers, then the head of the final answer,
    /// then its body. Returns `None` if a head is not complete or does not begin with a status line.
    fn parse(mut bytes: &[u8]) -> Option<Answer> {
        let mut interim = Vec::new();
        loop {
            let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            bytes = &bytes[end + 4..];
            let mut lines = head.lines();
            let status: u16 = lines.next()?.split_whitespace().nth(1)?.parse().ok()?;
            if status >= 200 {
                let pairs = lines.filter_map(|line| line.split_once(':'));
                let headers = pairs.map(|(n, v)| (n.to_lowercase(), v.trim().to_owned())).collect();
                return Some(Answer { status, headers, body: bytes.to_vec(), interim });
            }
            interim.push(status);
        }
    }

    /// Returns the value of the first header with this name, which must be in lower case; `None` if there is none.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// Returns all header fields in the order in which they came. Their names are in lower case.
    pub(super) fn headers(&self) -> impl Iterator<Item = &(String, String)> {
        self.headers.iter()
    }

    /// Returns this answer if it has this status and these headers. Otherwise the error shows what was wanted, and the
    /// answer with the first 500 characters of its body.
    pub(super) fn expect(&self, status: u16, headers: &[(&str, &str)]) -> Outcome<&Answer> {
        let wrong = headers.iter().find(|(name, value)| self.header(name) != Some(value));
        match wrong {
            None if self.status == status => Ok(self),
            None => Err(format!("wanted status {status}; got {self}")),
            Some((name, value)) => Err(format!("wanted {status} and `{name}: {value}`; got {self}")),
        }
    }

    /// Returns the body as text.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.status)?;
        for (name, value) in &self.headers {
            writeln!(f, "{name}: {value}")?;
        }
        f.write_str(&self.text().chars().take(500).collect::<String>())
    }
}

/// Returns the body of an answer as JSON. The error shows the answer.
pub(super) fn json(answer: &Answer) -> Outcome<Value> {
    serde_json::from_slice(&answer.body).map_err(|e| format!("{e} in {answer}"))
}

/// Fails with this text if the condition does not hold.
pub(super) fn expect(holds: bool, what: impl FnOnce() -> String) -> Outcome<()> {
    if holds { Ok(()) } else { Err(what()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interim_heads_are_passed_over() {
        let text = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/2 201 \r\nX-Two: a: b\r\n\r\nbody\r\n\r\nrest";
        let answer = Answer::parse(text).unwrap();
        assert_eq!(answer.status, 201);
        assert_eq!(answer.interim, [100]);
        assert_eq!(answer.header("x-two"), Some("a: b"));
        assert_eq!(answer.text(), "body\r\n\r\nrest");
        assert!(answer.expect(201, &[("x-two", "a: b")]).is_ok());
        assert!(answer.expect(200, &[]).is_err());
        assert!(answer.expect(201, &[("x-two", "a")]).is_err());
    }
}
