//! Reads the two files with tokens: one has the tokens of callers, and the other has the tokens of operators.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use subtle::ConstantTimeEq;

use crate::files;

/// The minimum number of characters in a token. A shorter token could be found by trying.
const SHORTEST: usize = 16;

/// The maximum number of characters in the name of a caller. With `key_scope = "client"`, the ledger records each key
/// of the caller with this name before it, and both together have at most 255 bytes.
const LONGEST_NAME: usize = 64;

/// Whose tokens a file holds. Each line is `TOKEN` or `NAME TOKEN`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// Tokens of callers. A name has 1 to 64 letters, digits, `-`, `_` and `.`. It may stand on several lines, so that
    /// a caller has two tokens while one replaces the other. A token has no spaces, and stands under one name only.
    Callers,
    /// Tokens of operators. A name is any word.
    Operators,
}

/// The tokens of a file, as they were last read. All clones share them, so every listener knows a new token as soon as
/// it is in force.
#[derive(Clone)]
pub(crate) struct TokenFile {
    path: PathBuf,
    kind: TokenKind,
    tokens: Arc<ArcSwap<Vec<Token>>>,
}

/// A token of a file, with the name that stands before it; the name is `None` if none does.
#[derive(Clone, PartialEq, Eq)]
struct Token {
    name: Option<Arc<str>>,
    secret: Vec<u8>,
}

impl fmt::Debug for TokenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenFile").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Tokens that were read from a file and are not in force yet.
pub(crate) struct Fresh {
    file: TokenFile,
    lines: Lines,
}

/// What was read from a file of tokens.
struct Lines {
    tokens: Vec<Token>,
    /// The number of the first line, from 1, that has a token without a name. `None` if every token has a name.
    nameless: Option<usize>,
}

impl TokenFile {
    /// Returns the tokens of a file, without putting them in force.
    ///
    /// # Errors
    /// If the file cannot be read, may be written by others, or holds no token, or if a line is not `TOKEN` or `NAME
    /// TOKEN` as [`TokenKind`] describes them for this kind of file. The error says so in words, and shows no token.
    pub(crate) fn read(path: &Path, kind: TokenKind) -> Result<Fresh, String> {
        TokenFile { path: path.to_owned(), kind, tokens: Arc::default() }.read_again()
    }

    #[cfg(test)]
    pub(crate) fn of(tokens: &[(Option<&str>, &str)]) -> TokenFile {
        let token = |&(name, secret): &(Option<&str>, &str)| Token {
            name: name.map(Into::into),
            secret: secret.as_bytes().to_vec(),
        };
        let tokens = Arc::new(ArcSwap::from_pointee(tokens.iter().map(token).collect()));
        TokenFile { path: PathBuf::new(), kind: TokenKind::Callers, tokens }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the name that belongs to the token `shown`, which a caller has sent; `None` if it is not one of the
    /// file's tokens. `shown` is compared with every token of the file, and each comparison goes on after the first
    /// difference. So the time that this takes reveals only the lengths of the tokens.
    pub(crate) fn holder(&self, shown: &[u8]) -> Option<Holder> {
        let tokens = self.tokens.load();
        let mut found = None;
        for token in tokens.iter() {
            if bool::from(token.secret.ct_eq(shown)) {
                found = Some(token);
            }
        }
        found.map(|token| Holder { name: token.name.clone() })
    }

    /// Returns the tokens that the file holds now, without putting them in force.
    ///
    /// # Errors
    /// As for [`TokenFile::read`].
    pub(crate) fn read_again(&self) -> Result<Fresh, String> {
        Ok(Fresh { lines: read_tokens(&self.path, self.kind)?, file: self.clone() })
    }
}

/// The caller or the operator to whom a token belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    /// The name that stands before the token; `None` if none does.
    pub(crate) name: Option<Arc<str>>,
}

impl Fresh {
    /// Puts the tokens in force. Returns the file, and whether anything changed.
    pub(crate) fn take(self) -> (TokenFile, bool) {
        let differs = **self.file.tokens.load() != self.lines.tokens;
        self.file.tokens.store(Arc::new(self.lines.tokens));
        (self.file, differs)
    }

    /// Checks that every token has a name.
    ///
    /// # Errors
    /// If a token has none. The error names the file and the first such line.
    pub(crate) fn check_names(&self) -> Result<(), String> {
        let Some(line) = self.lines.nameless else { return Ok(()) };
        Err(format!(
            "{}: line {line}: this token has no name, and a durable operation has `key_scope = \"client\"`: write NAME TOKEN",
            self.file.path.display()
        ))
    }
}

/// Returns what stands in a file of tokens. Empty lines and lines that begin with `#` are left out. Fails if the file
/// cannot be read, if it has no token, or if a line is not `TOKEN` or `NAME TOKEN` as [`TokenKind`] describes them for
/// this kind of file.
fn read_tokens(path: &Path, kind: TokenKind) -> Result<Lines, String> {
    let text = files::read(path).map_err(|why| format!("{}: {why}", path.display()))?;
    let mut read = Lines { tokens: Vec::new(), nameless: None };
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let here = |why: String| format!("{}: line {number}: {why}", path.display());
        let token = read_token(line, kind).map_err(here)?;
        if kind == TokenKind::Callers && read.tokens.iter().any(|it| it.is_of_another_than(&token)) {
            return Err(here("this token stands in an earlier line too, under another name".to_owned()));
        }
        if token.name.is_none() {
            read.nameless.get_or_insert(number);
        }
        read.tokens.push(token);
    }
    if read.tokens.is_empty() { Err(format!("{}: it holds no token", path.display())) } else { Ok(read) }
}

/// Reads one line, `TOKEN` or `NAME TOKEN`. An error shows neither of them, since the first word may be a part of a
/// token.
fn read_token(line: &str, kind: TokenKind) -> Result<Token, String> {
    let (name, secret) = match line.split_once(char::is_whitespace) {
        Some((name, secret)) => (Some(name), secret.trim()),
        None => (None, line),
    };
    check_length(secret)?;
    if kind == TokenKind::Callers {
        if secret.contains(char::is_whitespace) {
            return Err("a line is TOKEN or NAME TOKEN, and this one has three words or more".to_owned());
        }
        let fine = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_some_and(|name| name.len() > LONGEST_NAME || !name.chars().all(fine)) {
            return Err("the name of a caller is 1 to 64 letters, digits, -, _ and .".to_owned());
        }
    }
    Ok(Token { name: name.map(Into::into), secret: secret.as_bytes().to_vec() })
}

impl Token {
    /// Returns whether both are the same token with different names.
    fn is_of_another_than(&self, other: &Token) -> bool {
        self.secret == other.secret && self.name != other.name
    }
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

    /// Returns the names and tokens of a file with this text, or the error.
    fn read(text: &str, kind: TokenKind) -> Result<Vec<(Option<String>, String)>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        std::fs::write(&path, text).unwrap();
        let tokens = read_tokens(&path, kind)?.tokens.into_iter();
        let shown = |token: Token| (token.name.map(|name| name.to_string()), token.secret);
        Ok(tokens.map(shown).map(|(name, secret)| (name, String::from_utf8(secret).unwrap())).collect())
    }

    #[test]
    fn lines_are_tokens_with_or_without_names() {
        let text = "# who\n\nsixteen-and-more\nana \t another-of-sixteen\n ana a-third-of-sixteen \n";
        let expected = [
            (None, "sixteen-and-more".to_owned()),
            (Some("ana".to_owned()), "another-of-sixteen".to_owned()),
            (Some("ana".to_owned()), "a-third-of-sixteen".to_owned()),
        ];
        for kind in [TokenKind::Callers, TokenKind::Operators] {
            assert_eq!(read(text, kind), Ok(expected.to_vec()));
        }
    }

    #[test]
    fn wrong_line_is_named_and_not_shown() {
        let both = [TokenKind::Callers, TokenKind::Operators];
        let (short, callers) = ("7 characters and needs at least 16", [TokenKind::Callers]);
        let long = format!("\n\n{} hunter2-hunter2-hunter2\n", "a".repeat(65));
        for (text, kinds, says) in [
            ("sixteen-and-more\n#\nhunter2\n", &both[..], short),
            ("sixteen-and-more\n\nsomebody-of-ours hunter2\n", &both, short),
            ("\n#\nhunter2 hunter2 hunter2-hunter2\n", &callers, "three words or more"),
            ("\n#\nhunter2! hunter2-hunter2-hunter2\n", &callers, "the name of a caller is 1 to 64 letters"),
            (long.as_str(), &callers, "the name of a caller is 1 to 64 letters"),
            ("ana hunter2-hunter2-hunter2\n\nbob hunter2-hunter2-hunter2\n", &callers, "under another name"),
            ("hunter2-hunter2-hunter2\n\nbob hunter2-hunter2-hunter2\n", &callers, "under another name"),
        ] {
            for &kind in kinds {
                let why = read(text, kind).unwrap_err();
                assert!(why.contains("line 3: ") && why.contains(says), "{kind:?} {text}: {why}");
                assert!(!why.contains("hunter2"), "{why}");
            }
            if kinds == callers {
                assert!(read(text, TokenKind::Operators).is_ok(), "{text}");
            }
        }
        assert!(read("# none\n", TokenKind::Callers).unwrap_err().contains("it holds no token"));
        let twice = "ana sixteen-and-more\nana sixteen-and-more\n";
        assert!(read(twice, TokenKind::Callers).is_ok());
    }

    #[test]
    fn the_first_token_without_a_name_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        let check = |text: &str| {
            std::fs::write(&path, text).unwrap();
            TokenFile::read(&path, TokenKind::Callers).unwrap().check_names()
        };
        assert_eq!(check("ana sixteen-and-more\n"), Ok(()));
        let why = check("ana sixteen-and-more\n\nanother-of-sixteen\na-third-of-sixteen\n").unwrap_err();
        assert!(why.contains("tokens: line 3: this token has no name"), "{why}");
        assert!(!why.contains("another-of"), "{why}");
    }

    #[test]
    fn the_holder_of_a_token_is_found() {
        let file = TokenFile::of(&[(Some("ana"), "one"), (None, "two"), (Some("ana"), "three")]);
        let name = |shown: &str| file.holder(shown.as_bytes()).map(|holder| holder.name);
        assert_eq!(name("one"), Some(Some("ana".into())));
        assert_eq!(name("three"), Some(Some("ana".into())));
        assert_eq!(name("two"), Some(None));
        for wrong in ["", "ana", "on", "onee", "ana one"] {
            assert_eq!(name(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn tokens_are_known_once_they_are_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        std::fs::write(&path, "the-first-token-of-all\n").unwrap();
        let (file, listener) = {
            let (file, _) = TokenFile::read(&path, TokenKind::Callers).unwrap().take();
            (file.clone(), file)
        };
        let knows = |shown: &[u8]| listener.holder(shown).is_some();
        std::fs::write(&path, "the-second-token-of-all\n").unwrap();
        let fresh = file.read_again().unwrap();
        assert!(knows(b"the-first-token-of-all") && !knows(b"the-second-token-of-all"));
        assert!(fresh.take().1);
        assert!(!knows(b"the-first-token-of-all") && knows(b"the-second-token-of-all"));
        std::fs::write(&path, "# a comment changes nothing\nthe-second-token-of-all\n").unwrap();
        assert!(!file.read_again().unwrap().take().1, "nothing is different");
        std::fs::write(&path, "ana the-second-token-of-all\n").unwrap();
        assert!(file.read_again().unwrap().take().1, "a name is different");
        std::fs::write(&path, "short\n").unwrap();
        assert!(file.read_again().is_err() && knows(b"the-second-token-of-all"));
        assert!(!knows(b"") && !knows(b"the-second-token-of-al"));
    }
}
