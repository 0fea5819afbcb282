//! The two errors of connecting. [`ConfigError`] says that a setting could never work. It is found once, when a
//! connector is made, and is a mistake of the settings' author. [`ConnectError`] says that a connection could not be
//! made this time. Its cause is the dependency, the network in between, or this process. Neither error ever contains a
//! secret.

use std::fmt;
use std::io;

/// The error for a setting with which no connection could ever be made, such as a missing file or a URL without a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    setting: &'static str,
    message: String,
}

impl ConfigError {
    /// Makes an error of the setting `setting`, named as in the configuration.
    pub fn new(setting: &'static str, message: impl Into<String>) -> ConfigError {
        ConfigError { setting, message: message.into() }
    }

    /// Returns the name of the wrong setting, as in the configuration: `url`, `proxy`, `tls.ca_file`, …
    pub fn setting(&self) -> &'static str {
        self.setting
    }

    /// Returns what is wrong with the setting, without the setting's name.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.setting, self.message)
    }
}

impl std::error::Error for ConfigError {}

/// The part of connecting that went wrong. In all cases nothing of a request was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConnectErrorKind {
    /// The name was not found, or the deadline passed during its lookup. The reason is `dns-failure`.
    Dns,
    /// The server, or the proxy before it, refused or could not be reached. The reason is `connect-refused`.
    Refused,
    /// The deadline passed after the name was resolved: during the TCP connect, the proxy's handshake or the TLS
    /// handshake. The reason is `connect-timeout`.
    Timeout,
    /// The TLS handshake failed, for example because of a certificate. The reason is `tls-failure`.
    Tls,
    /// This process has no file descriptor left, or lacks something else that a socket needs. The reason is
    /// `out-of-descriptors`.
    OutOfDescriptors,
}

/// The error if no connection could be made.
#[derive(Debug)]
pub struct ConnectError {
    kind: ConnectErrorKind,
    message: String,
    source: Option<io::Error>,
}

impl ConnectError {
    pub(crate) fn new(kind: ConnectErrorKind, message: impl Into<String>) -> ConnectError {
        ConnectError { kind, message: message.into(), source: None }
    }

    pub(crate) fn because(
        kind: ConnectErrorKind,
        message: impl Into<String>,
        source: io::Error,
    ) -> ConnectError {
        ConnectError { kind, message: message.into(), source: Some(source) }
    }

    /// Returns which part of connecting went wrong.
    pub fn kind(&self) -> ConnectErrorKind {
        self.kind
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Some(source) => write!(f, "{}: {source}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}
