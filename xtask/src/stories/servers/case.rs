//! One exchange with one server: the addresses where the server is called, and the result.

use std::path::{Path, PathBuf};

use super::kinds::Kind;
use crate::process::Outcome;
use crate::stories::answer::{Answer, curl};

/// The result of an exchange that did not fail.
pub(super) enum Seen {
    Passed,
    /// The exchange passed, and this note is printed with its name.
    Noted(String),
    /// The server does not offer what the exchange needs, so the exchange was not made.
    NotOffered,
}

/// One running server, which can be called directly and through the gateway.
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

    /// Returns the URL of a path at this server, through the gateway's second dependency for the server. It is for
    /// exchanges that could open a breaker: each dependency has a breaker of its own, so the other exchanges are not
    /// affected.
    pub(super) fn through_apart(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{}_apart{path}", self.gateway, self.kind.name)
    }

    /// Calls a URL with curl, and returns the answer. curl gets `args`, and before them the arguments that every call
    /// of this kind of server needs.
    pub(super) fn call(&self, url: &str, args: &[&str]) -> Outcome<Answer> {
        curl(&[self.kind.curl, args, &[url]].concat())
    }

    /// Returns the path of the file whose bytes the exchanges transfer. Its size is
    /// [`HUGE_BYTES`](super::kinds::HUGE_BYTES).
    pub(super) fn huge(&self) -> PathBuf {
        self.folder.join("files").join("huge")
    }
}
