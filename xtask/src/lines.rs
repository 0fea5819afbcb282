//! `cargo xtask lines`: counts the lines of production code of each crate, at two commits.
//!
//! A line counts if it contains code. Comments, docs, blank lines and code that is built only for tests do not count.
//! Both commits are first formatted by the installed rustfmt with the settings of the working tree, so a change of the
//! layout does not change the counts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, File, ImplItem, Item};

use crate::house::source::{Source, read};
use crate::house::tree::{Tree, attributes, is_test, roots};
use crate::process::{Outcome, output, root};

/// The two commits that are compared.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// The earlier commit.
    #[arg(long, value_name = "REV")]
    from: String,
    /// The later commit [default: HEAD].
    #[arg(long, value_name = "REV", default_value = "HEAD")]
    to: String,
}

/// Prints a table with the lines of each crate at both commits, and the difference.
pub(crate) fn compare(options: &Options) -> Outcome<()> {
    let (before, after) = (at(&options.from)?, at(&options.to)?);
    let crates: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    println!("{:<24} {:>9} {:>9} {:>9}", "crate", "before", "after", "change");
    let row = |name: &str, before: usize, after: usize| {
        let change = i64::try_from(after).unwrap_or(i64::MAX) - i64::try_from(before).unwrap_or(i64::MAX);
        println!("{name:<24} {before:>9} {after:>9} {change:>+9}");
    };
    let of = |lines: &BTreeMap<String, usize>, name: &String| lines.get(name).copied().unwrap_or_default();
    for name in crates {
        row(name, of(&before, name), of(&after, name));
    }
    let product = |lines: &BTreeMap<String, usize>| {
        lines.iter().filter(|(name, _)| name.starts_with("crates/")).map(|(_, lines)| lines).sum()
    };
    row("all in crates/", product(&before), product(&after));
    row("all", before.values().sum(), after.values().sum());
    Ok(())
}

/// Returns the number of lines of each crate at one commit. Fails if git does not know the commit.
fn at(commit: &str) -> Outcome<BTreeMap<String, usize>> {
    let id = output(git().args(["rev-parse", "--verify", "--quiet"]).arg(format!("{commit}^{{commit}}")))
        .map_err(|_| format!("no commit `{commit}`"))?;
    let folder = crate::process::target().join("lines").join(id.trim());
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let archive = folder.join("all.tar");
    output(git().args(["archive", "--format=tar", "-o"]).arg(&archive).arg(id.trim()))?;
    output(Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(&folder))?;
    let listed = output(git().args(["ls-tree", "-r", "--name-only", id.trim()]))?;
    let rust: Vec<&str> =
        listed.lines().filter(|path| path.ends_with(".rs") && path.contains("/src/")).collect();
    let mut formatted = Command::new("rustfmt");
    formatted
        .current_dir(&folder)
        .args(["--edition", "2024", "--config-path"])
        .arg(root().join("rustfmt.toml"));
    output(formatted.args(&rust))?;
    let lines = counted(&read(&folder, rust.iter().copied()));
    let _ = fs::remove_dir_all(&folder);
    lines
}

fn git() -> Command {
    let mut git = Command::new("git");
    git.current_dir(root()).args(["-c", "safe.directory=*"]);
    git
}

/// Returns the number of lines of each crate in `files`.
fn counted(files: &[Source]) -> Outcome<BTreeMap<String, usize>> {
    let texts: BTreeMap<&str, &str> =
        files.iter().filter_map(|file| Some((file.path.as_str(), file.text.as_deref()?))).collect();
    let mut of_crates: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (folder, root) in roots(files) {
        let tree = Tree::read(root, files)?;
        // A `path` attribute can include a file from another crate's folder. Such a file is counted only for the crate
        // in whose folder it is.
        let own = tree.modules.into_iter().map(|module| module.file).filter(|file| file.starts_with(folder));
        of_crates.entry(folder.to_owned()).or_default().extend(own);
    }
    let sum = |files: BTreeSet<String>| {
        let lines = files.iter().filter_map(|file| texts.get(file.as_str())).map(|text| lines_of(text));
        lines.sum::<Outcome<usize>>()
    };
    of_crates.into_iter().map(|(name, files)| Ok((name, sum(files)?))).collect()
}

/// Returns the number of lines of production code in the text of one file. This is 0 for a file that is only for tests.
/// Fails if the text is not valid Rust.
fn lines_of(text: &str) -> Outcome<usize> {
    let file = syn::parse_file(text).map_err(|e| e.to_string())?;
    if is_test(&file.attrs) {
        return Ok(0);
    }
    let tests = Tests::of(&file);
    let tokens: TokenStream = text.parse().map_err(|e: proc_macro2::LexError| e.to_string())?;
    let mut lines = BTreeSet::new();
    take(tokens, &mut lines);
    Ok(lines.difference(&tests.0).count())
}

/// Adds to `lines` the numbers of the lines that contain code. Docs are skipped.
fn take(tokens: TokenStream, lines: &mut BTreeSet<usize>) {
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        if let TokenTree::Punct(mark) = &token
            && mark.as_char() == '#'
        {
            let inner = matches!(tokens.peek(), Some(TokenTree::Punct(mark)) if mark.as_char() == '!');
            let mut ahead = tokens.clone();
            if let Some(TokenTree::Group(group)) = if inner { ahead.nth(1) } else { ahead.next() }
                && group.delimiter() == Delimiter::Bracket
                && is_doc(group.stream())
            {
                tokens = ahead;
                continue;
            }
        }
        match token {
            TokenTree::Group(group) => {
                add(group.span_open(), lines);
                add(group.span_close(), lines);
                take(group.stream(), lines);
            }
            other => add(other.span(), lines),
        }
    }
}

/// Returns whether these tokens are `doc = "…"`. The parser turns a doc comment into this form, too.
fn is_doc(tokens: TokenStream) -> bool {
    let mut tokens = tokens.into_iter();
    matches!(tokens.next(), Some(TokenTree::Ident(word)) if word == "doc")
        && matches!(tokens.next(), Some(TokenTree::Punct(mark)) if mark.as_char() == '=')
}

fn add(span: Span, lines: &mut BTreeSet<usize>) {
    lines.extend(span.start().line..=span.end().line);
}

/// The numbers of the lines that are built only for tests.
struct Tests(BTreeSet<usize>);

impl Tests {
    fn of(file: &File) -> Tests {
        let mut tests = Tests(BTreeSet::new());
        tests.visit_file(file);
        tests
    }

    /// Returns whether the attributes of `what`, which is an item or a part of one, say that it is only for tests. If
    /// so, adds its lines to the set. If not, the caller looks at the parts of `what`, which may be only for tests
    /// themselves.
    fn keep(&mut self, attributes: &[Attribute], what: &impl Spanned) -> bool {
        let is_test = is_test(attributes);
        if is_test {
            add(what.span(), &mut self.0);
        }
        is_test
    }
}

impl<'ast> Visit<'ast> for Tests {
    fn visit_item(&mut self, item: &'ast Item) {
        if !self.keep(attributes(item), item) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let attributes: &[Attribute] = match item {
            ImplItem::Const(item) => &item.attrs,
            ImplItem::Fn(item) => &item.attrs,
            ImplItem::Type(item) => &item.attrs,
            _ => &[],
        };
        if !self.keep(attributes, item) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        self.keep(&field.attrs, field);
    }

    fn visit_local(&mut self, local: &'ast syn::Local) {
        self.keep(&local.attrs, local);
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        self.keep(&arm.attrs, arm);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"//! What this is.

use std::fmt; // a comment

/// What it does,
/// in two lines.
#[derive(Debug)]
pub struct A {
    /// A field.
    a: u8,
    #[cfg(test)]
    b: u8,
}

#[cfg(test)]
use crate::b;

impl A {
    /* a block
       of words */
    fn text() -> &'static str {
        "one

         three"
    }

    /// For tests.
    #[cfg(test)]
    fn for_tests() {
        let _ = 1;
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a() {}
}
"#;

    #[test]
    fn lines_with_code_count_and_those_of_tests_do_not() {
        // Twelve lines of `FILE` count. Five belong to `use` and `struct A` (use, derive, struct, field, brace), and
        // seven to `impl A` (impl, fn, three lines of text, two braces).
        assert_eq!(lines_of(FILE).unwrap(), 12);
        assert_eq!(lines_of("#![cfg(test)]\nfn a() {}\n").unwrap(), 0);
    }

    #[test]
    fn each_crate_is_counted_for_itself_and_files_of_tests_are_left_out() {
        let source = |path: &str, text: &str| Source { path: path.to_owned(), text: Some(text.to_owned()) };
        let files = [
            source("crates/a/src/lib.rs", "mod b;\n#[cfg(test)]\nmod c_tests;\n"),
            source("crates/a/src/b.rs", "fn b() {}\n"),
            source("crates/a/src/c_tests.rs", "fn c() {}\n"),
            source("xtask/src/main.rs", "fn main() {\n}\n"),
        ];
        let lines = counted(&files).unwrap();
        assert_eq!(lines, BTreeMap::from([("crates/a".to_owned(), 2), ("xtask".to_owned(), 2)]));
    }
}
