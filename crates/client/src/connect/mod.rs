//! Makes a connection: lookup, TCP, proxy and TLS, under one deadline.
//!
//! A [`Connector`] is made once for an endpoint: it reads the certificates and keeps the addresses of the endpoint's
//! host name fresh. [`Connector::connect`] returns a [`Connection`], over which no byte of a request has gone, or a
//! [`ConnectError`] that says which part failed. In both cases the call has had no effect yet. This is why connecting
//! and sending are separate.
//!
//! The obvious way would be a ready-made connector of an HTTP library. But it would hide what the rest of this crate
//! needs to know: Was a byte written to the socket? Is an idle connection still open and silent? Which of DNS, TCP and
//! TLS used up the time? Here the socket counts its bytes ([`Meter`]), can be inspected ([`Probe`]), and can be closed
//! with a TCP reset.
//!
//! A connection is made in this order: `dns` finds addresses, `dial` connects to one of them, `proxy` opens a tunnel if
//! one is needed, and `tls` does the handshake.

mod counted;
mod descriptors;
mod dial;
mod dns;
mod error;
mod proxy;
mod socket;
mod stream;
mod target;
mod tls;
mod turn;
mod version;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use http::HeaderValue;
use tokio::time::{Instant, timeout_at};

pub use descriptors::{is_ours, is_reserved, reserve_descriptors};
pub use dns::{DnsSettings, Looking, Lookup, SystemLookup};
pub use error::{ConfigError, ConnectError, ConnectErrorKind};
pub use proxy::Proxy;
pub use socket::{Meter, Peek, Probe};
pub use stream::Stream;
pub use target::{Host, Scheme, Target};
pub use tls::{TlsFiles, TlsSettings};
pub use turn::{join_turns, send_overdue, send_turn};
pub use version::{HttpVersion, NegotiatedVersion};

use counted::Counted;
use dns::Resolver;
use tls::Tls;

/// The settings of a connector. `Settings::default()` has no proxy, no bind address, the system's root certificates,
/// and the HTTP version `Auto`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// The proxy through which connections go; `None` for direct connections. If there is a proxy, it looks up the
    /// target's name.
    pub proxy: Option<Proxy>,
    /// The local address from which connections are made (static egress). Only remote addresses of the same family
    /// (IPv4 or IPv6) are tried. With `None`, the system chooses the local address.
    pub bind: Option<IpAddr>,
    /// The certificates. Their files are read only for `https` targets.
    pub tls: TlsSettings,
    /// The HTTP versions that may be used.
    pub http: HttpVersion,
    /// For how long the looked-up addresses of a name are used.
    pub dns: DnsSettings,
}

/// A new connection. No byte of a request has gone over it, although [`Meter::written`] is not 0 after a
/// TLS or proxy handshake.
#[derive(Debug)]
pub struct Connection {
    /// The byte stream, for an HTTP/1.1 line or for hyper's HTTP/2.
    pub io: Stream,
    /// The HTTP version to use on this connection.
    pub version: NegotiatedVersion,
    /// The peer of the TCP connection: the proxy if there is one, else the server.
    pub peer: SocketAddr,
    /// Set if the connection leads to a proxy that forwards single requests. Each request then needs the whole URL as
    /// its target, and perhaps a credential for the proxy. `None` if requests go to the server itself, directly or
    /// through a tunnel.
    pub absolute_form: Option<AbsoluteForm>,
    /// Counts the bytes that pass through the socket of `io`.
    pub meter: Arc<Meter>,
    /// Inspects the connection without owning `io`.
    pub probe: Probe,
}

/// Says that requests go to a forwarding proxy. It needs the whole URL as the target of each request, and perhaps a
/// credential.
#[derive(Debug, Clone)]
pub struct AbsoluteForm {
    /// The value for `Proxy-Authorization`; `None` if the proxy's URL has no user. The value is marked as sensitive, so
    /// its `Debug` output does not show it.
    pub proxy_authorization: Option<HeaderValue>,
}

/// The source of the addresses.
enum Addresses {
    /// The addresses are known without a lookup.
    Fixed(Arc<[IpAddr]>),
    Resolved(Resolver),
}

/// Makes connections to one endpoint. Threads and runtimes may share one connector.
pub struct Connector {
    target: Target,
    addresses: Addresses,
    /// The port to connect to: the proxy's if there is a proxy, else the target's.
    port: u16,
    bind: Option<IpAddr>,
    http: HttpVersion,
    proxy: Option<Proxy>,
    tls: Option<Tls>,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("target", &self.target)
            .field("proxy", &self.proxy)
            .field("bind", &self.bind)
            .field("http", &self.http)
            .finish_non_exhaustive()
    }
}

impl Connector {
    /// Makes a connector: reads the certificates, and prepares everything that does not need the network. Looks up no
    /// name yet. Fails if a setting could never work.
    pub fn new(target: Target, settings: Settings) -> Result<Connector, ConfigError> {
        Connector::with_lookup(target, settings, Arc::new(SystemLookup))
    }

    /// Like [`Connector::new`], but `lookup` finds the addresses. Literal addresses and `localhost` are not looked up.
    /// Fails if a setting could never work.
    pub fn with_lookup(
        target: Target,
        settings: Settings,
        lookup: Arc<dyn Lookup>,
    ) -> Result<Connector, ConfigError> {
        let tls = match target.scheme {
            Scheme::Http => None,
            Scheme::Https => Some(Tls::new(&target.host, &settings.tls, settings.http)?),
        };
        let (host, port) = match &settings.proxy {
            Some(proxy) => (&proxy.host, proxy.port),
            None => (&target.host, target.port),
        };
        let addresses = match host {
            Host::Ip(ip) => Addresses::Fixed([*ip].into()),
            name if name.is_loopback_name() => {
                Addresses::Fixed([Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()].into())
            }
            Host::Name(name) => Addresses::Resolved(Resolver::new(name.clone(), settings.dns, lookup)),
        };
        let Settings { proxy, bind, http, .. } = settings;
        Ok(Connector { target, addresses, port, bind, http, proxy, tls })
    }

    /// Returns the scheme, host and port of the endpoint.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Makes one connection, or fails by `deadline` at the latest. The error says which part failed. If the future is
    /// dropped, no connection is made, but a lookup that is under way goes on for the next caller. Must run inside a
    /// tokio runtime with IO and time.
    pub async fn connect(&self, deadline: Instant) -> Result<Connection, ConnectError> {
        let addresses = match &self.addresses {
            Addresses::Fixed(addresses) => Arc::clone(addresses),
            Addresses::Resolved(resolver) => resolver.resolve(deadline).await?,
        };
        match timeout_at(deadline, self.establish(&addresses)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(ConnectError::new(
                ConnectErrorKind::Timeout,
                format!("no connection to {} within the connect timeout", self.target),
            )),
        }
    }

    /// Makes the TCP connection. Then opens a tunnel if one is needed, and does the TLS handshake if the target is
    /// `https`. Returns the connection. The error says which of these parts failed.
    async fn establish(&self, addresses: &[IpAddr]) -> Result<Connection, ConnectError> {
        let tcp =
            dial::dial(addresses, self.port, self.bind).await.map_err(|error| self.unreachable(error))?;
        let peer = tcp.peer_addr().map_err(|error| self.unreachable(error))?;
        let mut socket = Counted::dialed(tcp);
        let (meter, probe) = (socket.meter(), socket.probe());

        let mut absolute_form = None;
        if let Some(proxy) = &self.proxy {
            // A forwarding proxy speaks HTTP/1.1 to us. So TLS and plain HTTP/2 both need a tunnel.
            if self.tls.is_some() || self.http == HttpVersion::Http2 {
                proxy::tunnel(&mut socket, &self.target, proxy.authorization())
                    .await
                    .map_err(|error| self.unreachable(error))?;
            } else {
                absolute_form = Some(AbsoluteForm { proxy_authorization: proxy.authorization().cloned() });
            }
        }

        let (io, version) = match &self.tls {
            Some(tls) => {
                let (stream, version) = tls.handshake(socket).await.map_err(|error| {
                    ConnectError::because(ConnectErrorKind::Tls, format!("TLS with {}", self.target), error)
                })?;
                (Stream::tls(stream, Arc::clone(&meter)), version)
            }
            None => (Stream::plain(socket), self.http.without_tls()),
        };
        Ok(Connection { io, version, peer, absolute_form, meter, probe })
    }

    /// Returns the error for a TCP connection or a tunnel that could not be made. If the kernel itself gave up, which
    /// it does after some minutes, the error is a timeout.
    fn unreachable(&self, error: io::Error) -> ConnectError {
        let kind = match error.kind() {
            _ if is_ours(&error) => ConnectErrorKind::OutOfDescriptors,
            io::ErrorKind::TimedOut => ConnectErrorKind::Timeout,
            _ => ConnectErrorKind::Refused,
        };
        ConnectError::because(kind, format!("connection to {}", self.target), error)
    }
}
