//! `${env:NAME}` and `${file:PATH}`: what must not stand in the file.
//!
//! Filled in once, when the file is read, so that a missing secret is a mistake at its place and not a request that
//! goes out without credentials. What was filled in is never part of a message.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::nearest::advice;
use super::values::Wrong;

/// The longest secret that is read from a file.
const LONGEST: u64 = 64 << 10;

/// Looks up environment variables.
pub type Environment<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Fills every `${…}` of `written`; `$${` stands for `${` itself. Relative paths begin at `base`.
pub(super) fn fill(written: &str, env: &Environment<'_>, base: &Path) -> Result<String, Wrong> {
    let mut out = String::new();
    let mut rest = written;
    while let Some(at) = rest.find("${") {
        if let Some(before) = rest[..at].strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        out.push_str(&rest[..at]);
        let Some(close) = rest[at..].find('}') else {
            return Err(Wrong::new("`${` is not closed").help("write `$${` for the characters themselves"));
        };
        out.push_str(&look_up(&rest[at + 2..at + close], env, base)?);
        rest = &rest[at + close + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

fn look_up(inner: &str, env: &Environment<'_>, base: &Path) -> Result<String, Wrong> {
    match inner.split_once(':') {
        Some((_, "")) => Err(Wrong::new("`${…:}` names nothing").help("as in ${env:NAME} or ${file:PATH}")),
        Some(("env", name)) => {
            env(name).ok_or_else(|| Wrong::new(format!("the environment variable `{name}` is not set")))
        }
        Some(("file", path)) => read(&base.join(path)).map_err(|why| {
            Wrong::new(format!("the file `{path}` cannot be read: {why}"))
                .help("relative paths begin at the configuration file")
        }),
        Some((word, _)) => {
            Err(Wrong::new(format!("`${{{word}:…}}` is not known")).help(advice(word, ["env", "file"])))
        }
        None => Err(Wrong::new("`${…}` needs `env:` or `file:`").help("as in ${env:NAME} or ${file:PATH}")),
    }
}

/// A file's text without one trailing line end.
fn read(path: &Path) -> Result<String, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let mut text = String::new();
    file.take(LONGEST + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > LONGEST {
        return Err("it is larger than 64 KiB".to_owned());
    }
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        (name == "KEY").then(|| "s3cret".to_owned())
    }

    #[test]
    fn variables_and_files_are_filled_in() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("token"), "abc\n\n").unwrap();
        let fill = |written| fill(written, &env, dir.path()).unwrap();
        assert_eq!(fill("Bearer ${env:KEY}!"), "Bearer s3cret!");
        assert_eq!(fill("${file:token}"), "abc\n", "one line end is trimmed");
        assert_eq!(fill("a$b $${env:KEY}"), "a$b ${env:KEY}");
    }

    #[test]
    fn what_is_missing_is_a_mistake_that_names_no_secret() {
        for bad in ["${env:NONE}", "${file:none}", "${env:KEY", "${KEY}", "${enw:KEY}", "${env:}"] {
            let wrong = fill(bad, &env, Path::new("/nonexistent")).unwrap_err();
            assert!(!format!("{wrong:?}").contains("s3cret"), "{bad}");
        }
    }
}
