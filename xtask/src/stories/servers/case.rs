//! One exchange with one server: where the server is called, and the result.

use std::path::{Path, PathBuf};

use super::kinds::Kind;
use crate::process::Outcome;
use crate::stories::answer::{Answer, curl};

/// The result of an exchange that did not fail.
pub(super) enum Seen {
    Passed,
    /// It passed, with a note.
    Noted(String),
    /// The server cannot do this.
    NotOffered,
}

/// One running server, reached directly and through the gateway.
pub(super) struct Case<'a> {
    pub(super) kind: &'a Kind,
    pub(super) port: u16,
    pub(super) gateway: u16,
    pub(super) folder: &'a Path,
}

impl Case<'_> {
    pub(super) fn direct(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub(super) fn through(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{}{path}", self.gateway, self.kind.name)
    }

    /// The address of the same server as a separate dependency. Its breaker may open without an effect on other
    /// exchanges.
    pub(super) fn through_apart(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{}_apart{path}", self.gateway, self.kind.name)
    }

    /// Calls a server with curl and the arguments that this kind needs.
    pub(super) fn call(&self, url: &str, args: &[&str]) -> Outcome<Answer> {
        curl(&[self.kind.curl, args, &[url]].concat())
    }

    /// The file of [`HUGE_BYTES`](super::kinds::HUGE_BYTES).
    pub(super) fn huge(&self) -> PathBuf {
        self.folder.join("files").join("huge")
    }
}
