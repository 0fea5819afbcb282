//! The token that lets somebody change something.
//!
//! The obvious default, no token on loopback, lets every process and every page on the machine open a breaker. So
//! there always is one: from `gateway.admin_token_file`, or made at start and written where only the owner of the
//! process can read it. `seawall breaker` finds it there.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use axum::http::HeaderValue;
use subtle::ConstantTimeEq;

use crate::config::Settings;
use crate::gate::read_tokens;

/// Random bytes of a token that is made here.
const RANDOM_BYTES: usize = 32;
/// Who it is when the token has no name of its own.
const NAMELESS: &str = "admin";

/// Tokens that may change something, each with a name. A file that was made for one is removed with it.
pub struct AdminToken {
    tokens: Vec<Named>,
    source: PathBuf,
    /// The file was made here.
    made: bool,
}

struct Named {
    name: String,
    secret: String,
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminToken").field("source", &self.source).finish_non_exhaustive()
    }
}

impl AdminToken {
    /// Reads `gateway.admin_token_file`, or makes a token and writes it to [`default_token_path`]. `admin` is the
    /// address that the admin side listens on.
    ///
    /// Each line of the file holds `TOKEN` or `NAME TOKEN`; the name stands beside what its owner changed. Empty lines
    /// and those that begin with `#` hold none.
    ///
    /// # Errors
    /// In words: the file cannot be read or holds no token; the made one cannot be written; the address is not
    /// loopback and no file is named.
    pub fn prepare(settings: &Settings, admin: SocketAddr) -> Result<AdminToken, String> {
        match &settings.gateway.admin_token_file {
            Some(path) => AdminToken::read(path),
            None if !admin.ip().to_canonical().is_loopback() => Err(format!(
                "the admin side listens on {admin}, which is not loopback: it needs `admin_token_file` in [gateway]"
            )),
            None => AdminToken::make(default_token_path(admin.port())),
        }
    }

    fn read(path: &Path) -> Result<AdminToken, String> {
        let lines = read_tokens(path).map_err(|why| format!("admin_token_file: {why}"))?;
        let tokens = lines.iter().map(|line| {
            let line = String::from_utf8_lossy(line);
            match line.split_once(char::is_whitespace) {
                Some((name, secret)) => Named { name: name.to_owned(), secret: secret.trim().to_owned() },
                None => Named { name: NAMELESS.to_owned(), secret: line.into_owned() },
            }
        });
        Ok(AdminToken { tokens: tokens.collect(), source: path.to_owned(), made: false })
    }

    fn make(path: PathBuf) -> Result<AdminToken, String> {
        let mut random = [0_u8; RANDOM_BYTES];
        getrandom::fill(&mut random).map_err(|error| format!("no randomness for an admin token: {error}"))?;
        let secret: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        write_private(&path, &secret).map_err(|error| {
            format!("the admin token cannot be written to {}: {error}; name a file of your own with `admin_token_file`", path.display())
        })?;
        tracing::info!(path = %path.display(), "the admin token is in a file that only its owner can read");
        let tokens = vec![Named { name: NAMELESS.to_owned(), secret }];
        Ok(AdminToken { tokens, source: path, made: true })
    }

    /// The file that the token is in.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.source
    }

    /// The name of the token in this `Authorization` value. All are compared, and each whole, so that the time
    /// tells nothing.
    pub(super) fn name_of(&self, authorization: &HeaderValue) -> Option<&str> {
        let (scheme, shown) = authorization.to_str().ok()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let shown = shown.trim().as_bytes();
        let mut found = None;
        for token in &self.tokens {
            if bool::from(token.secret.as_bytes().ct_eq(shown)) {
                found = Some(token.name.as_str());
            }
        }
        found
    }

    /// Where to find the token, in words. Paths of a configured file are not told to whoever asks.
    pub(super) fn source(&self) -> String {
        if self.made { self.source.display().to_string() } else { "`admin_token_file`".to_owned() }
    }
}

impl Drop for AdminToken {
    fn drop(&mut self) {
        // The next gateway on this port may have written its own there already.
        let ours = |text: String| self.tokens.iter().any(|token| text.trim_end() == token.secret);
        if self.made && std::fs::read_to_string(&self.source).is_ok_and(ours) {
            let _ = std::fs::remove_file(&self.source);
        }
    }
}

/// Where the token is of a gateway whose admin side listens on this port, if none is configured:
/// `$XDG_RUNTIME_DIR/seawall-PORT.token`, or in the folder for temporary files.
#[must_use]
pub fn default_token_path(port: u16) -> PathBuf {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let folder =
        runtime.filter(|folder| folder.is_absolute() && folder.is_dir()).unwrap_or_else(std::env::temp_dir);
    folder.join(format!("seawall-{port}.token"))
}

/// Writes a file that only its owner can read. One that stands there is from a gateway that is gone, since the
/// port is ours now; it is removed, not written over: it may be a link, or readable for others.
fn write_private(path: &Path, secret: &str) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Err(_) | Ok(()) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(secret.as_bytes())?;
    file.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn bearer(token: &str) -> HeaderValue {
        HeaderValue::from_str(&format!("Bearer {token}")).unwrap()
    }

    #[test]
    fn a_made_token_is_long_and_private_and_goes_with_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seawall-1.token");
        let token = AdminToken::make(path.clone()).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.trim().len(), 64);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(token.name_of(&bearer(text.trim())), Some("admin"));
        assert!(!format!("{token:?}").contains(text.trim()));

        let next = AdminToken::make(path.clone()).unwrap();
        drop(token);
        let kept = std::fs::read_to_string(&path).expect("the next one's stays");
        assert_ne!(kept, text);
        drop(next);
        assert!(!path.exists());
    }

    #[test]
    fn a_link_is_replaced_and_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, victim) = (folder.path().join("seawall-1.token"), folder.path().join("victim"));
        std::fs::write(&victim, "precious").unwrap();
        symlink(&victim, &path).unwrap();
        let _token = AdminToken::make(path.clone()).unwrap();
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
        assert!(std::fs::symlink_metadata(&path).unwrap().is_file());
    }

    #[test]
    fn what_stands_there_and_cannot_go_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seawall-1.token");
        std::fs::create_dir(&path).unwrap();
        assert!(AdminToken::make(path).unwrap_err().contains("admin_token_file"));
    }

    #[test]
    fn a_file_holds_tokens_with_and_without_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        std::fs::write(&path, "# who\nplain-token\nana  token-of-ana\n\n").unwrap();
        let token = AdminToken::read(&path).unwrap();
        for (shown, name) in [
            (bearer("plain-token"), Some("admin")),
            (bearer("token-of-ana"), Some("ana")),
            (HeaderValue::from_static("bearer token-of-ana"), Some("ana")),
            (bearer("token-of-an"), None),
            (bearer("token-of-anaa"), None),
            (bearer("ana"), None),
            (bearer("ana  token-of-ana"), None),
            (bearer(""), None),
            (HeaderValue::from_static("Basic plain-token"), None),
            (HeaderValue::from_static("plain-token"), None),
        ] {
            assert_eq!(token.name_of(&shown), name, "{shown:?}");
        }
        drop(token);
        assert!(path.exists(), "a configured file is not ours to remove");
        std::fs::write(&path, "# none\n").unwrap();
        assert!(AdminToken::read(&path).is_err());
    }
}
