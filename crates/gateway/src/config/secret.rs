//! Replaces `${env:NAME}` in a text by the value of an environment variable, and `${file:PATH}` by the content of a
//! file. They are for secrets, which must not stand in the configuration file itself.
//!
//! Both are replaced once, when the configuration is read. So a missing secret is reported as a mistake, with its line
//! in the file, and no request is sent without credentials. The secret itself is never part of a message.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use seawall_actions::nearest::advice;
use seawall_actions::shown::tellable;

use super::shown::is_variable;
use super::values::Wrong;

/// A function that looks up an environment variable by its name. It returns `None` if the variable is not set.
pub type Environment<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Returns `written` with every `${…}` replaced by its secret; `$${` becomes `${`. Relative paths begin at `base`. Each
/// file that a `${file:PATH}` names is added to `files` with its [`crate::files::stamp`], by which a later change of
/// its content is noticed. Returns a mistake if a variable is not set, a file cannot be read, or a `${…}` has another
/// form.
pub(super) fn fill(
    written: &str,
    env: &Environment<'_>,
    base: &Path,
    files: &mut BTreeMap<PathBuf, Option<u64>>,
) -> Result<String, Wrong> {
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
        out.push_str(&look_up(&rest[at + 2..at + close], env, base, files)?);
        rest = &rest[at + close + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

fn look_up(
    inner: &str,
    env: &Environment<'_>,
    base: &Path,
    files: &mut BTreeMap<PathBuf, Option<u64>>,
) -> Result<String, Wrong> {
    match inner.split_once(':') {
        Some((_, "")) => Err(Wrong::new("`${…:}` names nothing").help("as in ${env:NAME} or ${file:PATH}")),
        // The text should be the name of a variable, but somebody may have pasted the secret itself here. So the text
        // is shown only if it looks like a name.
        Some(("env", name)) => env(name).ok_or_else(|| {
            let shown = if is_variable(name) { format!("`{name}`") } else { "of this name".to_owned() };
            Wrong::new(format!("the environment variable {shown} is not set"))
        }),
        Some(("file", path)) => {
            let path = base.join(path);
            files.entry(path.clone()).or_insert_with(|| crate::files::stamp(&path));
            read(&path).map_err(|why| {
                Wrong::new(format!("the file of `${{file:…}}` cannot be read: {why}"))
                    .help("relative paths begin at the configuration file")
            })
        }
        Some((word, _)) if tellable(word, ["env", "file"]) => {
            Err(Wrong::new(format!("`${{{word}:…}}` is not known")).help(advice(word, ["env", "file"])))
        }
        Some(_) => {
            Err(Wrong::new("`${…}` needs `env:` or `file:`").help("as in ${env:NAME} or ${file:PATH}"))
        }
        None => Err(Wrong::new("`${…}` needs `env:` or `file:`").help("as in ${env:NAME} or ${file:PATH}")),
    }
}

/// Returns the text of a file. If the text ends with a line end, this one line end is left out. Fails with the reason,
/// in words, if the file cannot be read.
fn read(path: &Path) -> Result<String, String> {
    let mut text = crate::files::read(path)?;
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
        let mut files = BTreeMap::new();
        let mut fill = |written| fill(written, &env, dir.path(), &mut files).unwrap();
        assert_eq!(fill("Bearer ${env:KEY}!"), "Bearer s3cret!");
        assert_eq!(fill("${file:token}"), "abc\n", "one line end is trimmed");
        assert_eq!(fill("a$b $${env:KEY}"), "a$b ${env:KEY}");
        assert_eq!(files.into_keys().collect::<Vec<_>>(), [dir.path().join("token")]);
    }

    #[test]
    fn what_is_missing_is_a_mistake_that_names_no_secret() {
        for bad in [
            "${env:NONE}",
            "${file:none}",
            "${env:KEY",
            "${KEY}",
            "${enw:KEY}",
            "${env:}",
            "${env:sk_live_s3cret}",
            "${sk_live_s3cret:x}",
            "${s3cret}",
        ] {
            let wrong = fill(bad, &env, Path::new("/nonexistent"), &mut BTreeMap::new()).unwrap_err();
            assert!(!format!("{wrong:?}").contains("s3cret"), "{bad}");
        }
    }
}
