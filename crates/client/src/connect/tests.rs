//! Connections over real sockets on loopback: every way to fail, TLS with its certificates, a proxy, and what `Meter`
//! and `Probe` report.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use socket2::SockRef;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::*;

mod descriptors;
mod proxy;

fn target(url: &str) -> Target {
    Target::try_from(&url.parse::<http::Uri>().unwrap()).unwrap()
}

fn connector(url: &str, settings: Settings) -> Connector {
    Connector::new(target(url), settings).unwrap()
}

fn within(time: Duration) -> Instant {
    Instant::now() + time
}

/// Returns a time so far in the future that no passing test waits for it.
fn later() -> Instant {
    within(Duration::from_secs(20))
}

async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// A port where nobody listens.
async fn deaf_port() -> u16 {
    listener().await.1
}

/// Makes one plain connection, and returns both its ends.
async fn pair(settings: Settings) -> (Connection, TcpStream) {
    let (listener, port) = listener().await;
    let connector = connector(&format!("http://127.0.0.1:{port}"), settings);
    let (ours, theirs) = tokio::join!(connector.connect(later()), listener.accept());
    (ours.unwrap(), theirs.unwrap().0)
}

/// Waits until a peek shows the state `expected`. The wait is needed because the kernel delivers bytes with a short
/// delay.
async fn wait_for(probe: &Probe, expected: Peek) {
    tokio::time::timeout(Duration::from_secs(10), async {
        while probe.peek() != expected {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("expected {expected:?}, got {:?}", probe.peek()));
}

/// A private certificate authority with a folder for its files.
struct Authority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Authority { folder, issuer }
    }

    fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    fn issue(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    /// Writes a client certificate, and returns the files of certificate and key.
    fn client_files(&self) -> (PathBuf, PathBuf) {
        let (certificate, key) = self.issue("client");
        let (cert_file, key_file) =
            (self.folder.path().join("client.pem"), self.folder.path().join("client.key"));
        std::fs::write(&cert_file, certificate.pem()).unwrap();
        std::fs::write(&key_file, key.serialize_pem()).unwrap();
        (cert_file, key_file)
    }

    fn trusted(&self) -> Settings {
        let mut settings = Settings::default();
        settings.tls.ca_file = Some(self.ca_file());
        settings
    }

    /// Returns the TLS side of a server that has a certificate for `name`. If `ask_client` is set, it asks the client
    /// for a certificate of this authority.
    fn acceptor(&self, name: &str, alpn: &[&str], ask_client: bool) -> TlsAcceptor {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let (certificate, key) = self.issue(name);
        let builder =
            ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        let builder = if ask_client {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from(self.issuer.der().to_vec())).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.unwrap().with_client_cert_verifier(verifier)
        } else {
            builder.unwrap().with_no_client_auth()
        };
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = builder.with_single_cert(vec![certificate.der().clone()], key).unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// Accepts one connection with TLS, sends `hi`, then echoes. Returns the port, and a task whose result is the number of
/// client certificates or the failure of the handshake.
async fn greeter(acceptor: TlsAcceptor) -> (u16, JoinHandle<Result<usize, String>>) {
    let (listener, port) = listener().await;
    let task = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let mut tls = acceptor.accept(tcp).await.map_err(|error| error.to_string())?;
        let certificates = tls.get_ref().1.peer_certificates().map_or(0, <[_]>::len);
        tls.write_all(b"hi").await.map_err(|error| error.to_string())?;
        let (mut from, mut to) = tokio::io::split(tls);
        let _ = tokio::io::copy(&mut from, &mut to).await;
        Ok(certificates)
    });
    (port, task)
}

fn is_shared<T: Send + Sync + 'static>() {}
fn is_sent<T: Send>(_: &T) {}

#[tokio::test]
async fn everything_can_move_between_threads() {
    is_shared::<Connector>();
    is_shared::<Probe>();
    is_shared::<Meter>();
    is_shared::<Connection>();
    let connector = connector("http://127.0.0.1:1", Settings::default());
    is_sent(&connector.connect(later()));
}

#[tokio::test]
async fn refused_port_is_refused_at_once() {
    let port = deaf_port().await;
    for host in ["127.0.0.1", "localhost"] {
        let before = Instant::now();
        let error = connector(&format!("http://{host}:{port}"), Settings::default())
            .connect(later())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ConnectErrorKind::Refused, "{error}");
        assert!(error.to_string().contains(&port.to_string()), "{error}");
        assert!(before.elapsed() < Duration::from_secs(5));
    }
}

#[tokio::test]
async fn localhost_is_never_looked_up() {
    struct Never;
    impl Lookup for Never {
        fn lookup<'a>(&'a self, name: &'a str) -> Looking<'a> {
            panic!("lookup of {name}")
        }
    }
    let (listener, port) = listener().await;
    let target = target(&format!("http://api.localhost:{port}"));
    let connector = Connector::with_lookup(target, Settings::default(), Arc::new(Never)).unwrap();
    let (ours, theirs) = tokio::join!(connector.connect(later()), listener.accept());
    theirs.unwrap();
    let ours = ours.unwrap();
    assert_eq!((ours.peer.port(), ours.version), (port, NegotiatedVersion::Http1));
    assert!(ours.absolute_form.is_none());
}

#[tokio::test]
async fn name_is_looked_up_once_and_connected_to() {
    struct Here;
    impl Lookup for Here {
        fn lookup<'a>(&'a self, name: &'a str) -> Looking<'a> {
            assert_eq!(name, "pay.example");
            Box::pin(async { Ok(vec![Ipv4Addr::LOCALHOST.into()]) })
        }
    }
    let (listener, port) = listener().await;
    let target = target(&format!("http://Pay.example:{port}"));
    let connector = Connector::with_lookup(target, Settings::default(), Arc::new(Here)).unwrap();
    let (ours, theirs) = tokio::join!(connector.connect(later()), listener.accept());
    theirs.unwrap();
    assert_eq!(ours.unwrap().peer.to_string(), format!("127.0.0.1:{port}"));
}

#[tokio::test]
async fn lookup_past_the_deadline_is_a_dns_error() {
    struct Silent;
    impl Lookup for Silent {
        fn lookup<'a>(&'a self, _: &'a str) -> Looking<'a> {
            Box::pin(std::future::pending())
        }
    }
    let connector =
        Connector::with_lookup(target("https://pay.example"), Settings::default(), Arc::new(Silent)).unwrap();
    let error = connector.connect(within(Duration::from_millis(30))).await.unwrap_err();
    assert_eq!(error.kind(), ConnectErrorKind::Dns, "{error}");
}

#[tokio::test]
async fn bind_address_is_the_one_seen_by_the_other_side() {
    let settings = Settings { bind: Some("127.0.0.7".parse().unwrap()), ..Settings::default() };
    let (_ours, theirs) = pair(settings).await;
    assert_eq!(theirs.peer_addr().unwrap().ip().to_string(), "127.0.0.7");
}

#[tokio::test]
async fn bind_address_that_cannot_serve_is_named() {
    // 192.0.2.1 is reserved for documentation, so no machine has it, and nothing can be sent from it.
    for (bind, part) in [("192.0.2.1", "bind to 192.0.2.1"), ("::1", "same family")] {
        let settings = Settings { bind: Some(bind.parse().unwrap()), ..Settings::default() };
        let port = deaf_port().await;
        let error =
            connector(&format!("http://127.0.0.1:{port}"), settings).connect(later()).await.unwrap_err();
        assert_eq!(error.kind(), ConnectErrorKind::Refused);
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[tokio::test]
async fn plain_connections_speak_what_is_set() {
    for (http, expected) in [
        (HttpVersion::Auto, NegotiatedVersion::Http1),
        (HttpVersion::Http1, NegotiatedVersion::Http1),
        (HttpVersion::Http2, NegotiatedVersion::Http2),
    ] {
        let settings = Settings { http, ..Settings::default() };
        assert_eq!(pair(settings).await.0.version, expected, "{http:?}");
    }
}

#[tokio::test]
async fn plain_bytes_are_counted_both_ways() {
    let (mut ours, mut theirs) = pair(Settings::default()).await;
    assert_eq!((ours.meter.written(), ours.meter.read()), (0, 0));
    ours.io.write_all(b"hello").await.unwrap();
    let pieces = [std::io::IoSlice::new(b"12"), std::io::IoSlice::new(b"345")];
    assert!(AsyncWrite::is_write_vectored(&ours.io));
    assert_eq!(ours.io.write_vectored(&pieces).await.unwrap(), 5);
    assert_eq!((ours.meter.written(), ours.meter.read()), (10, 0));
    let mut got = [0; 10];
    theirs.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"hello12345");
    theirs.write_all(b"abc").await.unwrap();
    let mut got = [0; 3];
    ours.io.read_exact(&mut got).await.unwrap();
    assert_eq!((&got, ours.meter.written(), ours.meter.read()), (b"abc", 10, 3));
}

#[tokio::test]
async fn only_what_the_kernel_took_is_counted() {
    let (mut ours, theirs) = pair(Settings::default()).await;
    let chunk = vec![0; 256 * 1024];
    let mut taken = 0;
    // Nobody reads: the buffers fill up, and the write that no longer fits stays pending.
    let full = std::future::poll_fn(|cx| {
        loop {
            match Pin::new(&mut ours.io).poll_write(cx, &chunk) {
                Poll::Ready(Ok(bytes)) => taken += bytes as u64,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Ready(Ok(())),
            }
        }
    });
    full.await.unwrap();
    assert!(taken > 0);
    assert_eq!(ours.meter.written(), taken);
    drop(theirs);
}

#[tokio::test]
async fn peek_tells_quiet_readable_ended_and_broken() {
    let (mut ours, mut theirs) = pair(Settings::default()).await;
    assert_eq!(ours.probe.peek(), Peek::Quiet);
    theirs.write_all(b"late").await.unwrap();
    wait_for(&ours.probe, Peek::Readable).await;
    // A peek takes no bytes.
    assert_eq!((ours.probe.peek(), ours.meter.read()), (Peek::Readable, 0));
    let mut got = [0; 4];
    ours.io.read_exact(&mut got).await.unwrap();
    assert_eq!((&got, ours.probe.peek()), (b"late", Peek::Quiet));
    drop(theirs);
    wait_for(&ours.probe, Peek::Ended).await;

    let (ours, theirs) = pair(Settings::default()).await;
    SockRef::from(&theirs).set_linger(Some(Duration::ZERO)).unwrap();
    drop(theirs);
    wait_for(&ours.probe, Peek::Broken(ErrorKind::ConnectionReset)).await;
}

#[tokio::test]
async fn probe_does_not_keep_a_dropped_connection_open() {
    let (ours, mut theirs) = pair(Settings::default()).await;
    let Connection { io, probe, .. } = ours;
    drop(io);
    assert_eq!(probe.peek(), Peek::Ended);
    assert_eq!(theirs.read(&mut [0; 1]).await.unwrap(), 0);
}

#[tokio::test]
async fn drop_sends_an_end_or_where_asked_a_reset() {
    for reset in [false, true] {
        let (ours, mut theirs) = pair(Settings::default()).await;
        ours.meter.reset_on_drop(reset);
        drop(ours);
        let ended = theirs.read(&mut [0; 1]).await.map_err(|error| error.kind());
        assert_eq!(ended, if reset { Err(ErrorKind::ConnectionReset) } else { Ok(0) });
    }
}

#[tokio::test]
async fn shutdown_ends_our_direction_alone() {
    let (mut ours, mut theirs) = pair(Settings::default()).await;
    ours.io.shutdown().await.unwrap();
    assert_eq!(theirs.read(&mut [0; 1]).await.unwrap(), 0);
    theirs.write_all(b"x").await.unwrap();
    assert_eq!(ours.io.read(&mut [0; 1]).await.unwrap(), 1);
}

/// Tokio learns of new bytes only when its thread is idle. A forced read asks the kernel immediately.
#[tokio::test]
async fn forced_read_asks_the_kernel_and_else_the_reactor_is_believed() {
    use std::io::Write;
    let (listener, port) = listener().await;
    let connector = connector(&format!("http://127.0.0.1:{port}"), Settings::default());
    let (ours, theirs) = tokio::join!(connector.connect(later()), listener.accept());
    let (mut ours, theirs) = (ours.unwrap(), theirs.unwrap().0);
    let mut theirs = theirs.into_std().unwrap();
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let mut poll = |io: &mut Stream| {
        let mut room = [0; 16];
        let mut buf = tokio::io::ReadBuf::new(&mut room);
        AsyncRead::poll_read(Pin::new(io), &mut cx, &mut buf).map(|done| done.map(|()| buf.filled().to_vec()))
    };
    assert!(poll(&mut ours.io).is_pending());
    // From here on there is no await. So tokio does not ask the kernel which sockets are readable, and does not notice
    // that bytes have come. An ordinary read finds nothing; only a forced read finds the bytes.
    theirs.write_all(b"now").unwrap();
    while ours.probe.peek() != Peek::Readable {
        std::thread::yield_now();
    }
    assert!(poll(&mut ours.io).is_pending());
    ours.meter.force_read(true);
    assert!(matches!(poll(&mut ours.io), Poll::Ready(Ok(bytes)) if bytes == b"now"));
    assert_eq!(ours.meter.read(), 3);
    assert!(poll(&mut ours.io).is_pending());
    ours.meter.force_read(false);
    // After a forced read, an ordinary read is still woken.
    theirs.write_all(b"then").unwrap();
    let mut got = [0; 4];
    ours.io.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"then");
}

#[tokio::test]
async fn silent_tls_server_is_a_connect_timeout() {
    let authority = Authority::new();
    let (_listener, port) = listener().await;
    let connector = connector(&format!("https://127.0.0.1:{port}"), authority.trusted());
    let before = Instant::now();
    let error = connector.connect(within(Duration::from_millis(60))).await.unwrap_err();
    assert_eq!(error.kind(), ConnectErrorKind::Timeout, "{error}");
    let took = before.elapsed();
    assert!((Duration::from_millis(60)..Duration::from_secs(3)).contains(&took), "{took:?}");
}

#[tokio::test]
async fn server_that_does_not_speak_tls_is_a_tls_failure() {
    let authority = Authority::new();
    for answer in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b""] {
        let (listener, port) = listener().await;
        let connector = connector(&format!("https://127.0.0.1:{port}"), authority.trusted());
        let serve = async {
            let (mut tcp, _) = listener.accept().await.unwrap();
            let _ = tcp.read(&mut [0; 4096]).await.unwrap();
            tcp.write_all(answer).await.unwrap();
        };
        let (outcome, ()) = tokio::join!(connector.connect(later()), serve);
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), ConnectErrorKind::Tls, "{error}");
    }
}

#[tokio::test]
async fn wrong_certificates_are_tls_failures() {
    let (ours, foreign) = (Authority::new(), Authority::new());
    let table = [
        // Both authorities have the same name; only their keys differ. So only the signature shows the difference.
        (ours.trusted(), foreign.acceptor("localhost", &[], false), "BadSignature"),
        (ours.trusted(), ours.acceptor("other.example", &[], false), "not valid for name"),
        (Settings::default(), ours.acceptor("localhost", &[], false), "UnknownIssuer"),
    ];
    for (settings, acceptor, part) in table {
        let (port, server) = greeter(acceptor).await;
        let error =
            connector(&format!("https://localhost:{port}"), settings).connect(later()).await.unwrap_err();
        assert_eq!(error.kind(), ConnectErrorKind::Tls, "{error}");
        assert!(error.to_string().contains(part), "{error}");
        assert!(server.await.unwrap().is_err());
    }
}

#[tokio::test]
async fn tls_bytes_are_counted_below_tls() {
    let authority = Authority::new();
    for host in ["localhost", "127.0.0.1"] {
        let (port, _server) = greeter(authority.acceptor(host, &[], false)).await;
        let connector = connector(&format!("https://{host}:{port}"), authority.trusted());
        let mut ours = connector.connect(later()).await.unwrap();
        assert_eq!(ours.version, NegotiatedVersion::Http1);
        let handshake = ours.meter.written();
        assert!(handshake > 100, "{handshake}");
        let mut got = [0; 2];
        ours.io.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"hi");
        assert!(ours.meter.read() > 500, "{}", ours.meter.read());
        assert_eq!(ours.meter.written(), handshake);
        ours.io.write_all(&[7; 1000]).await.unwrap();
        ours.io.flush().await.unwrap();
        let record = ours.meter.written() - handshake;
        assert!((1001..1100).contains(&record), "{record}");
        let mut echo = [0; 1000];
        ours.io.read_exact(&mut echo).await.unwrap();
        assert_eq!(echo, [7; 1000]);
    }
}

#[tokio::test]
async fn alpn_decides_the_version() {
    use HttpVersion::{Auto, Http1, Http2};
    let authority = Authority::new();
    let (one, two) = ("http/1.1", "h2");
    let table: [(HttpVersion, &[&str], Result<NegotiatedVersion, &str>); 8] = [
        (Auto, &[two, one], Ok(NegotiatedVersion::Http2)),
        (Auto, &[one], Ok(NegotiatedVersion::Http1)),
        (Auto, &[], Ok(NegotiatedVersion::Http1)),
        (Http1, &[two, one], Ok(NegotiatedVersion::Http1)),
        (Http1, &[], Ok(NegotiatedVersion::Http1)),
        (Http2, &[two, one], Ok(NegotiatedVersion::Http2)),
        (Http2, &[one], Err("NoApplicationProtocol")),
        (Http2, &[], Err("does not offer HTTP/2")),
    ];
    for (http, offered, expected) in table {
        let (port, _server) = greeter(authority.acceptor("localhost", offered, false)).await;
        let settings = Settings { http, ..authority.trusted() };
        let outcome = connector(&format!("https://localhost:{port}"), settings).connect(later()).await;
        match (outcome, expected) {
            (Ok(connection), Ok(version)) => assert_eq!(connection.version, version, "{http:?} {offered:?}"),
            (Err(error), Err(part)) => {
                assert_eq!(error.kind(), ConnectErrorKind::Tls, "{error}");
                assert!(error.to_string().contains(part), "{http:?} {offered:?}: {error}");
            }
            other => panic!("{http:?} {offered:?}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn client_certificate_is_shown_to_a_server_that_asks() {
    let authority = Authority::new();
    let (cert, key) = authority.client_files();
    let mut settings = authority.trusted();
    settings.tls.client_cert = Some(cert);
    settings.tls.client_key = Some(key);
    let (port, server) = greeter(authority.acceptor("localhost", &[], true)).await;
    let mut ours = connector(&format!("https://localhost:{port}"), settings).connect(later()).await.unwrap();
    let mut got = [0; 2];
    ours.io.read_exact(&mut got).await.unwrap();
    drop(ours);
    assert_eq!(server.await.unwrap(), Ok(1));
}

#[test]
fn broken_tls_files_are_named_when_the_connector_is_made() {
    let authority = Authority::new();
    let (cert, key) = authority.client_files();
    let (_, other_key) = authority.issue("other");
    let file = |name: &str, text: &str| {
        let path = authority.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        Some(path)
    };
    let empty = file("empty.pem", "");
    let broken = file("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let other_key = file("other.key", &other_key.serialize_pem());
    let tls =
        |ca_file, client_cert, client_key| TlsSettings { ca_file, client_cert, client_key, files: None };
    let missing = Some(PathBuf::from("/does/not/exist.pem"));
    let table = [
        (tls(missing, None, None), "tls.ca_file", "/does/not/exist.pem"),
        (tls(empty.clone(), None, None), "tls.ca_file", "no certificate"),
        (tls(broken, None, None), "tls.ca_file", "broken.pem"),
        (tls(None, Some(cert.clone()), None), "tls.client_key", "missing"),
        (tls(None, None, Some(key.clone())), "tls.client_cert", "missing"),
        (tls(None, Some(cert.clone()), empty), "tls.client_key", "empty.pem"),
        (tls(None, Some(cert), other_key), "tls.client_cert", "client.pem"),
    ];
    for (tls, setting, part) in table {
        let settings = Settings { tls, ..Settings::default() };
        let error = Connector::new(target("https://localhost"), settings.clone()).unwrap_err();
        assert_eq!(error.setting(), setting, "{error}");
        assert!(error.message().contains(part), "{error}");
        // Without TLS the files are not read.
        assert!(Connector::new(target("http://localhost"), settings).is_ok());
    }
}
