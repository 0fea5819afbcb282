//! Reads the two files with tokens: one has the tokens of callers, and the other has the tokens of operators.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use subtle::{Choice, ConstantTimeEq};

use crate::files;

/// The minimum number of characters in a token. A shorter token could be found by trying.
const SHORTEST: usize = 16;

/// What each line of a file of tokens contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// A token, as in files for callers.
    Plain,
    /// A token, or a name and a token, as in files for operators.
    Named,
}

/// The tokens of a file, as they were last read. All clones share them, so every listener knows a new token as soon as
/// it is in force.
#[derive(Clone)]
pub(crate) struct TokenFile {
    path: PathBuf,
    kind: TokenKind,
    lines: Arc<ArcSwap<Vec<Vec<u8>>>>,
}

impl fmt::Debug for TokenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenFile").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Tokens that were read from a file and are not in force yet.
#[derive(Debug)]
pub(crate) struct Fresh {
    file: TokenFile,
    lines: Vec<Vec<u8>>,
}

impl TokenFile {
    /// Reads a file of tokens, and returns its tokens.
    ///
    /// # Errors
    /// If the file cannot be read, may be written by others, or holds no token, or if a token is too short. The error
    /// says so in words.
    pub(crate) fn open(path: &Path, kind: TokenKind) -> Result<TokenFile, String> {
        let lines = Arc::new(ArcSwap::from_pointee(read_tokens(path, kind)?));
        Ok(TokenFile { path: path.to_owned(), kind, lines })
    }

    #[cfg(test)]
    pub(crate) fn of(tokens: &[&str]) -> TokenFile {
        let lines = tokens.iter().map(|token| token.as_bytes().to_vec()).collect();
        TokenFile {
            path: PathBuf::new(),
            kind: TokenKind::Plain,
            lines: Arc::new(ArcSwap::from_pointee(lines)),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the lines of the file, without those that are empty or begin with `#`.
    pub(crate) fn lines(&self) -> Arc<Vec<Vec<u8>>> {
        self.lines.load_full()
    }

    /// Returns whether `shown` is one of the file's tokens. It is compared with every token, and each comparison goes
    /// on after the first difference, so the time that this takes reveals only lengths.
    pub(crate) fn knows(&self, shown: &[u8]) -> bool {
        self.lines.load().iter().fold(Choice::from(0), |known, token| known | token.ct_eq(shown)).into()
    }

    /// Reads the file again, and returns its tokens without putting them in force.
    ///
    /// # Errors
    /// As for [`TokenFile::open`].
    pub(crate) fn read_again(&self) -> Result<Fresh, String> {
        Ok(Fresh { file: self.clone(), lines: read_tokens(&self.path, self.kind)? })
    }
}

impl Fresh {
    /// Puts the tokens in force. Returns whether anything changed.
    pub(crate) fn take(self) -> bool {
        let differs = **self.file.lines.load() != self.lines;
        self.file.lines.store(Arc::new(self.lines));
        differs
    }
}

/// Returns the lines of a file of tokens. Empty lines and lines that begin with `#` are left out. Fails if the file
/// cannot be read, if it has no token, or if a token is too short.
fn read_tokens(path: &Path, kind: TokenKind) -> Result<Vec<Vec<u8>>, String> {
    let text = files::read(path).map_err(|why| format!("{}: {why}", path.display()))?;
    let mut tokens = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let token = match kind {
            TokenKind::Plain => line,
            TokenKind::Named => line.split_once(char::is_whitespace).map_or(line, |(_, token)| token.trim()),
        };
        check_length(token).map_err(|why| format!("{}: line {}: {why}", path.display(), number + 1))?;
        tokens.push(line.as_bytes().to_vec());
    }
    if tokens.is_empty() { Err(format!("{}: it holds no token", path.display())) } else { Ok(tokens) }
}

/// Checks that a token has at least 16 characters.
///
/// # Errors
/// If the token is too short. The error says so in words, and does not contain the token.
pub(crate) fn check_length(token: &str) -> Result<(), String> {
    let length = token.chars().count();
    if length >= SHORTEST {
        return Ok(());
    }
    Err(format!(
        "this token has {length} characters and needs at least {SHORTEST}: `openssl rand -hex 32` makes one"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_token_is_refused_by_its_line_and_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read_tokens(&path, TokenKind::Named).map(|tokens| tokens.len())
        };
        assert_eq!(read("# who\n\nsixteen-and-more\nana  sixteen-and-more\n"), Ok(2));
        assert_eq!(read_tokens(&path, TokenKind::Plain).map(|tokens| tokens.len()), Ok(2));
        for text in ["sixteen-and-more\n#\nhunter2\n", "sixteen-and-more\n\nsomebody-of-ours hunter2\n"] {
            let why = read(text).unwrap_err();
            assert!(
                why.contains("line 3") && why.contains("7 characters") && why.contains("at least 16"),
                "{why}"
            );
            assert!(!why.contains("hunter2"), "{why}");
        }
        assert!(read("# none\n").unwrap_err().contains("it holds no token"));
    }

    #[test]
    fn tokens_are_known_once_they_are_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        std::fs::write(&path, "the-first-token-of-all\n").unwrap();
        let (file, listener) = {
            let file = TokenFile::open(&path, TokenKind::Plain).unwrap();
            (file.clone(), file)
        };
        std::fs::write(&path, "the-second-token-of-all\n").unwrap();
        let fresh = file.read_again().unwrap();
        assert!(listener.knows(b"the-first-token-of-all") && !listener.knows(b"the-second-token-of-all"));
        assert!(fresh.take());
        assert!(!listener.knows(b"the-first-token-of-all") && listener.knows(b"the-second-token-of-all"));
        assert!(!file.read_again().unwrap().take(), "nothing is different");
        std::fs::write(&path, "short\n").unwrap();
        assert!(file.read_again().is_err() && listener.knows(b"the-second-token-of-all"));
        assert!(!listener.knows(b"") && !listener.knows(b"the-second-token-of-al"));
    }
}
