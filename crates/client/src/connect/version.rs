//! Versions of HTTP.

use std::fmt;

/// Which HTTP to speak with an endpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HttpVersion {
    /// What TLS negotiates, HTTP/2 first; HTTP/1.1 on plain TCP. The default.
    #[default]
    Auto,
    /// HTTP/1.1 only.
    Http1,
    /// HTTP/2 only. Under TLS, a server that does not negotiate it is a TLS failure. On plain TCP, HTTP/2 is used
    /// without negotiation (prior knowledge).
    Http2,
}

/// The HTTP that a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NegotiatedVersion {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// As in a configuration.
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
    /// The version that is used if nothing is negotiated.
    pub(super) fn without_tls(self) -> NegotiatedVersion {
        match self {
            HttpVersion::Auto | HttpVersion::Http1 => NegotiatedVersion::Http1,
            HttpVersion::Http2 => NegotiatedVersion::Http2,
        }
    }
}
