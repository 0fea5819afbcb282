//! Versions of HTTP.

use std::fmt;

/// The HTTP versions that may be used with an endpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HttpVersion {
    /// Over TLS, the version is negotiated, and HTTP/2 is preferred. On plain TCP, HTTP/1.1 is used. This is the
    /// default.
    #[default]
    Auto,
    /// HTTP/1.1 only.
    Http1,
    /// HTTP/2 only. Under TLS, connecting fails with a TLS failure if the server does not negotiate HTTP/2. On plain
    /// TCP, HTTP/2 is used without negotiation (prior knowledge).
    Http2,
}

/// The HTTP version that a connection uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NegotiatedVersion {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// Writes the version as in a configuration.
impl fmt::Display for HttpVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HttpVersion::Auto => "auto",
            HttpVersion::Http1 => "1.1",
            HttpVersion::Http2 => "2",
        })
    }
}

impl HttpVersion {
    /// Returns the version that is used on plain TCP, where nothing is negotiated.
    pub(super) fn without_tls(self) -> NegotiatedVersion {
        match self {
            HttpVersion::Auto | HttpVersion::Http1 => NegotiatedVersion::Http1,
            HttpVersion::Http2 => NegotiatedVersion::Http2,
        }
    }
}
