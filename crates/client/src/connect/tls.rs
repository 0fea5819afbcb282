//! TLS by rustls, with the crate ring for its cryptography. This choice is made here and not taken from the process's
//! default, because another library could set a different default and change what protects these connections.
//!
//! Sessions are resumed. Early data (0-RTT) is never sent, since a network can replay it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::client::Resumption;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::error::ConfigError;
use super::target::Host;
use super::version::{HttpVersion, NegotiatedVersion};

/// The certificates that are trusted, and our own certificate. All files hold PEM.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// A file with the certificates to trust *instead of* the system's. With `None`, the system's certificates are
    /// trusted. A connector never trusts both, because a person who names a private authority does not want a public
    /// one to be able to act in its place.
    pub ca_file: Option<PathBuf>,
    /// Our certificate, with its chain, for servers that ask for one; `None` if we have none. Needs `client_key`.
    pub client_cert: Option<PathBuf>,
    /// The private key of `client_cert`.
    pub client_key: Option<PathBuf>,
    /// The content of the files `ca_file`, `client_cert` and `client_key`, if it was read already by
    /// [`TlsSettings::read`]. Connectors that are made with this content use it, even if the files change or vanish.
    /// With `None`, each connector reads the files when it is made.
    pub files: Option<TlsFiles>,
}

impl TlsSettings {
    /// Reads the files and returns their content. The content is not checked before a connector is made.
    ///
    /// # Errors
    /// If one of the files cannot be read.
    pub fn read(&self) -> Result<TlsFiles, ConfigError> {
        let read =
            |setting: &'static str, path: &Option<PathBuf>| -> Result<Option<Arc<[u8]>>, ConfigError> {
                let Some(path) = path else { return Ok(None) };
                let content = std::fs::read(path)
                    .map_err(|error| ConfigError::new(setting, format!("{}: {error}", path.display())))?;
                Ok(Some(content.into()))
            };
        Ok(TlsFiles {
            ca: read("tls.ca_file", &self.ca_file)?,
            cert: read("tls.client_cert", &self.client_cert)?,
            key: read("tls.client_key", &self.client_key)?,
        })
    }
}

/// The content of the files of [`TlsSettings`]. Two values are equal if every file has the same content.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    ca: Option<Arc<[u8]>>,
    cert: Option<Arc<[u8]>>,
    key: Option<Arc<[u8]>>,
}

impl fmt::Debug for TlsFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsFiles").finish_non_exhaustive()
    }
}

/// Does the TLS handshakes with one endpoint. It is made once, together with the connector.
pub(super) struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
    http: HttpVersion,
    /// Whether no root certificate is trusted, so that every handshake fails. The error of a failed handshake then says
    /// this.
    rootless: bool,
}

impl Tls {
    /// Reads the certificates, and returns what is needed for handshakes with `host`. Fails if a file cannot be read or
    /// used, or if TLS cannot check the name of the host.
    pub(super) fn new(host: &Host, settings: &TlsSettings, http: HttpVersion) -> Result<Tls, ConfigError> {
        let name = match host {
            Host::Ip(ip) => ServerName::IpAddress((*ip).into()),
            Host::Name(name) => ServerName::try_from(name.to_string())
                .map_err(|_| ConfigError::new("url", format!("`{name}` is not a name that TLS can check")))?,
        };
        let files = match &settings.files {
            Some(files) => files.clone(),
            None => settings.read()?,
        };
        let roots = match (&settings.ca_file, &files.ca) {
            (Some(path), Some(content)) => Arc::new(roots_in(path, content)?),
            _ => system_roots(),
        };
        let rootless = roots.is_empty();
        let mut config =
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .expect("ring offers the cipher suites of TLS 1.2 and 1.3")
                .with_root_certificates(roots)
                .with_client_identity(settings, &files)?;
        config.alpn_protocols = match http {
            HttpVersion::Auto => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            HttpVersion::Http1 => vec![b"http/1.1".to_vec()],
            HttpVersion::Http2 => vec![b"h2".to_vec()],
        };
        // This configuration is used for one server only. So it is enough to keep the session tickets of one server
        // (rustls keeps up to eight tickets for each server).
        config.resumption = Resumption::in_memory_sessions(8);
        Ok(Tls { connector: TlsConnector::from(Arc::new(config)), name, http, rootless })
    }

    /// Does the handshake over the connection `io`. Returns the TLS stream and the HTTP version that was agreed on.
    /// Fails if the handshake fails, or if the settings demand HTTP/2 and the server does not offer it.
    pub(super) async fn handshake<S>(&self, io: S) -> io::Result<(TlsStream<S>, NegotiatedVersion)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let stream = self.connector.connect(self.name.clone(), io).await.map_err(|error| {
            let hint = if self.rootless {
                " (no system root certificates were found; set `tls.ca_file`)"
            } else {
                ""
            };
            io::Error::new(error.kind(), format!("{error}{hint}"))
        })?;
        let version = match (stream.get_ref().1.alpn_protocol(), self.http) {
            (Some(b"h2"), _) => NegotiatedVersion::Http2,
            (_, HttpVersion::Auto | HttpVersion::Http1) => NegotiatedVersion::Http1,
            (_, HttpVersion::Http2) => return Err(io::Error::other("the server does not offer HTTP/2")),
        };
        Ok((stream, version))
    }
}

/// Adds to the builder of rustls the certificate with which we identify ourselves, or none if the settings name none.
/// Fails if the certificate or its key cannot be used.
trait WithClientIdentity {
    fn with_client_identity(
        self,
        settings: &TlsSettings,
        files: &TlsFiles,
    ) -> Result<ClientConfig, ConfigError>;
}

impl WithClientIdentity for rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    fn with_client_identity(
        self,
        settings: &TlsSettings,
        files: &TlsFiles,
    ) -> Result<ClientConfig, ConfigError> {
        let (cert, key) = match (&settings.client_cert, &settings.client_key) {
            (None, None) => return Ok(self.with_no_client_auth()),
            (Some(_), None) => {
                return Err(ConfigError::new("tls.client_key", "missing beside `client_cert`"));
            }
            (None, Some(_)) => {
                return Err(ConfigError::new("tls.client_cert", "missing beside `client_key`"));
            }
            (Some(cert), Some(key)) => (cert, key),
        };
        let content = |content: &Option<Arc<[u8]>>| content.clone().unwrap_or_default();
        let chain = certificates("tls.client_cert", cert, &content(&files.cert))?;
        let secret = PrivateKeyDer::from_pem_slice(&content(&files.key)).map_err(|error| {
            ConfigError::new("tls.client_key", format!("{}: {}", key.display(), words(&error, "key")))
        })?;
        self.with_client_auth_cert(chain, secret).map_err(|error| {
            let why = match error {
                rustls::Error::InconsistentKeys(_) => "the key of `client_key` does not fit it".to_owned(),
                other => other.to_string(),
            };
            ConfigError::new("tls.client_cert", format!("{}: {why}", cert.display()))
        })
    }
}

/// Returns the certificates in the content of a PEM file. Fails if there is none.
fn certificates(
    setting: &'static str,
    path: &Path,
    content: &[u8],
) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let wrong = |why: String| ConfigError::new(setting, format!("{}: {why}", path.display()));
    let found: Vec<_> = CertificateDer::pem_slice_iter(content)
        .collect::<Result<_, _>>()
        .map_err(|error| wrong(words(&error, "certificate")))?;
    if found.is_empty() {
        return Err(wrong("no certificate in it".into()));
    }
    Ok(found)
}

/// Returns what is wrong with a PEM file, in our own words. `what` is what the file should contain. The library's error
/// text is not used, because it can quote a line of the file. In a file without line breaks that line contains the
/// whole key.
fn words(error: &pem::Error, what: &str) -> String {
    match error {
        pem::Error::NoItemsFound => format!("no {what} in it"),
        pem::Error::MissingSectionEnd { .. } | pem::Error::IllegalSectionStart { .. } => {
            format!(
                "the lines around a {what} (-----BEGIN … and -----END …) are malformed, or one is missing"
            )
        }
        pem::Error::Base64Decode(_) => format!("a {what} in it is not base64"),
        _ => "it is not PEM".to_owned(),
    }
}

fn roots_in(path: &Path, content: &[u8]) -> Result<RootCertStore, ConfigError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("tls.ca_file", path, content)? {
        roots
            .add(certificate)
            .map_err(|error| ConfigError::new("tls.ca_file", format!("{}: {error}", path.display())))?;
    }
    Ok(roots)
}

/// Returns whether this error of a connection means that the server refused our certificate, or demands one.
///
/// Under TLS 1.3 our side of the handshake ends before the server has looked at our certificate. So the request may be
/// on its way when the server refuses. But the server has not worked on the request: it takes no application data
/// before it has taken the handshake's last message, which follows the certificate (RFC 8446, section 4.4.4). Nor can a
/// server ask for a certificate again while it works. For that, the client would have to offer it (section 4.6.2), and
/// our clients do not.
///
/// Under TLS 1.2 the handshake ends after the server's decision, so such an alert in the middle of a connection means
/// something else.
pub(super) fn refuses_our_certificate(error: &io::Error) -> bool {
    let alert = match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::AlertReceived(alert)) => *alert,
        _ => return false,
    };
    matches!(
        alert,
        AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            // A signature of the handshake is wrong, perhaps that of the certificate.
            | AlertDescription::DecryptError
    )
}

/// Returns the system's root certificates. They are read once in a process, when they are first needed. If a system has
/// none, the configuration is still accepted: the handshakes fail, and their errors say why.
fn system_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    Arc::clone(ROOTS.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "system root certificates");
        }
        let mut roots = RootCertStore::empty();
        // Some systems have roots that no longer parse. These are not trusted, and the others are still used.
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            tracing::warn!("no system root certificates found: TLS works only where `tls.ca_file` is set");
        }
        Arc::new(roots)
    }))
}
