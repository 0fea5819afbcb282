//! The token that a request needs to change something.
//!
//! There always is a token. It comes from `gateway.admin_token_file`, or it is made at start and written to a file that
//! only the owner of the process can read. `seawall breaker` finds the token there. The obvious default, no token on
//! loopback, would let every process and every web page on the machine open a breaker.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use axum::http::HeaderValue;
use subtle::ConstantTimeEq;

use crate::files::read_made;
use crate::running::process::Running;
use crate::running::tokens::TokenFile;

/// The number of random bytes in a token that the gateway makes.
const RANDOM_BYTES: usize = 32;
/// The name that is shown for an operator whose token has no name of its own.
const NAMELESS: &str = "admin";

/// The tokens whose owners may change something, each with a name.
#[derive(Debug)]
pub struct AdminToken {
    source: Source,
}

/// Where the tokens come from.
enum Source {
    /// The tokens of `gateway.admin_token_file`. A reload reads the file again.
    Named(TokenFile),
    /// One token that the gateway made, and the path of its file.
    Made { path: PathBuf, secret: String },
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = match self {
            Source::Named(file) => file.path(),
            Source::Made { path, .. } => path,
        };
        f.debug_struct("Source").field("path", &path).finish_non_exhaustive()
    }
}

/// The file of a token that the gateway made. Dropping this value removes the file if it still holds this token.
#[must_use = "the file is removed when this value is dropped"]
pub struct MadeFile {
    path: PathBuf,
    secret: String,
}

impl fmt::Debug for MadeFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MadeFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Drop for MadeFile {
    fn drop(&mut self) {
        // The file is removed only if it still holds this token. The next gateway on this port may have written its own
        // token to this path already.
        if read_made(&self.path).is_ok_and(|text| text.trim_end() == self.secret) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl AdminToken {
    /// Returns the tokens of `gateway.admin_token_file`. If no such file is configured, makes a token and writes it to
    /// [`default_token_path`]. In that case a [`MadeFile`] is returned as well; dropping it removes the file. `admin`
    /// is the address that the admin side listens on.
    ///
    /// Each line of the configured file holds `TOKEN` or `NAME TOKEN`. The name is shown beside every change that is
    /// made with the token. Empty lines and lines that begin with `#` are skipped.
    ///
    /// # Errors
    /// If the token that was made cannot be written, or if `admin` is not a loopback address and no file is configured.
    /// The error says so in words.
    pub fn prepare(running: &Running, admin: SocketAddr) -> Result<(AdminToken, Option<MadeFile>), String> {
        match running.admin_tokens() {
            Some(file) => Ok((AdminToken { source: Source::Named(file) }, None)),
            None if !admin.ip().to_canonical().is_loopback() => Err(format!(
                "the admin side listens on {admin}, which is not loopback: it needs `admin_token_file` in [gateway]"
            )),
            None => {
                let (token, file) = AdminToken::make(default_token_path(admin.port()))?;
                Ok((token, Some(file)))
            }
        }
    }

    fn make(path: PathBuf) -> Result<(AdminToken, MadeFile), String> {
        let mut random = [0_u8; RANDOM_BYTES];
        getrandom::fill(&mut random)
            .map_err(|error| format!("no random bytes for an admin token: {error}"))?;
        let secret: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        write_private(&path, &secret).map_err(|error| {
            format!("the admin token cannot be written to {}: {error}; name a file of your own with `admin_token_file`", path.display())
        })?;
        tracing::info!(path = %path.display(), "the admin token is in a file that only its owner can read");
        let file = MadeFile { path: path.clone(), secret: secret.clone() };
        Ok((AdminToken { source: Source::Made { path, secret } }, file))
    }

    /// Returns the name of the token in the value of an `Authorization` field. Returns `None` if the token is not
    /// known. Every known token is compared in full, so that the time of the comparison reveals nothing about the
    /// tokens.
    pub(super) fn name_of(&self, authorization: &HeaderValue) -> Option<String> {
        let (scheme, shown) = authorization.to_str().ok()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let shown = shown.trim().as_bytes();
        match &self.source {
            Source::Made { secret, .. } => {
                bool::from(secret.as_bytes().ct_eq(shown)).then(|| NAMELESS.to_owned())
            }
            Source::Named(file) => {
                let holder = file.holder(shown)?;
                Some(holder.name.map_or_else(|| NAMELESS.to_owned(), |name| name.to_string()))
            }
        }
    }

    /// Returns where an operator finds the token, in words. The path of a configured file is not part of the text,
    /// since any caller may read the text.
    pub(super) fn source(&self) -> String {
        match &self.source {
            Source::Made { path, .. } => path.display().to_string(),
            Source::Named(_) => "`admin_token_file`".to_owned(),
        }
    }
}

/// Returns the path of the token file of a gateway that has no `admin_token_file` and whose admin side listens on this
/// port. The path is `$XDG_RUNTIME_DIR/seawall-PORT.token`. If `XDG_RUNTIME_DIR` is not the absolute path of a folder,
/// the file lies in the folder for temporary files.
#[must_use]
pub fn default_token_path(port: u16) -> PathBuf {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let folder =
        runtime.filter(|folder| folder.is_absolute() && folder.is_dir()).unwrap_or_else(std::env::temp_dir);
    folder.join(format!("seawall-{port}.token"))
}

/// Writes a file that only its owner can read. The path contains the port of the admin side, and this gateway listens
/// on that port. So a file that has this path already was left by a gateway that has ended. The old file is removed and
/// not overwritten, since it may be a link, or readable for others. Fails if the old file cannot be removed or the new
/// one cannot be written.
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
    use crate::running::tokens::TokenKind;

    fn bearer(token: &str) -> HeaderValue {
        HeaderValue::from_str(&format!("Bearer {token}")).unwrap()
    }

    #[test]
    fn a_made_token_is_long_and_private_and_goes_with_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seawall-1.token");
        let (token, file) = AdminToken::make(path.clone()).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.trim().len(), 64);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(token.name_of(&bearer(text.trim())).as_deref(), Some("admin"));
        assert!(!format!("{token:?}").contains(text.trim()));

        let (_, next) = AdminToken::make(path.clone()).unwrap();
        drop(file);
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
        std::fs::write(&path, "# who\nplain-token-of-sixteen\nana  token-of-anna-sixteen\n\n").unwrap();
        let (file, _) = TokenFile::read(&path, TokenKind::Operators).unwrap().take();
        let token = AdminToken { source: Source::Named(file) };
        for (shown, name) in [
            (bearer("plain-token-of-sixteen"), Some("admin")),
            (bearer("token-of-anna-sixteen"), Some("ana")),
            (HeaderValue::from_static("bearer token-of-anna-sixteen"), Some("ana")),
            (bearer("token-of-anna-"), None),
            (bearer("token-of-anna-sixteena"), None),
            (bearer("ana"), None),
            (bearer("ana  token-of-anna-sixteen"), None),
            (bearer(""), None),
            (HeaderValue::from_static("Basic plain-token-of-sixteen"), None),
            (HeaderValue::from_static("plain-token-of-sixteen"), None),
        ] {
            assert_eq!(token.name_of(&shown).as_deref(), name, "{shown:?}");
        }
        drop(token);
        assert!(path.exists(), "a configured file is not ours to remove");
    }
}
