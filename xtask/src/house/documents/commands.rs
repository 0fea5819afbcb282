//! Checks the commands that a page tells its reader to type.
//!
//! The commands and flags of the two programs, `seawall` and `cargo xtask`, are read from the types in their source
//! that derive clap's traits. For `seawall lab harbor --listen ADDRESS`, the program must have the commands `lab` and
//! `harbor` and the flag `--listen`. A flag of any other command of the program is accepted, too. Values are not
//! checked.

use std::collections::BTreeSet;

use syn::visit::{self, Visit};
use syn::{Attribute, Fields, Ident, ItemEnum, ItemStruct, Meta};

use super::page::Page;
use crate::house::source::Source;

/// The commands and flags that a program accepts.
#[derive(Debug, Default)]
pub(super) struct Program {
    commands: BTreeSet<String>,
    flags: BTreeSet<String>,
}

impl Program {
    /// Returns the commands and flags that the Rust files below `folder` declare.
    pub(super) fn of(folder: &str, files: &[Source]) -> Program {
        let mut program = Program::default();
        let own = files.iter().filter(|file| file.path.starts_with(folder) && file.path.ends_with(".rs"));
        for file in own.filter_map(|file| syn::parse_file(file.text.as_deref()?).ok()) {
            program.visit_file(&file);
        }
        program
    }

    fn take(&mut self, fields: &Fields) {
        for field in fields {
            let Some(long) = field.attrs.iter().find_map(long) else { continue };
            let own = field.ident.as_ref().map(kebab).unwrap_or_default();
            self.flags.insert(if long.is_empty() { own } else { long });
        }
    }

    /// Checks the words that follow the program's name in a command. Returns an error text for the first wrong word;
    /// `None` if all words are right.
    fn wrong(&self, words: &str) -> Option<String> {
        let mut is_command = true;
        // The command ends at a comment, at `--`, or at a sign of the shell such as `|`, `>` or `&&`.
        for word in words.split(" #").next().unwrap_or_default().split_whitespace() {
            if word == "--" || ["|", ">", "&&", ";", "&"].contains(&word) {
                break;
            }
            if let Some(flag) = word.strip_prefix("--") {
                let flag = flag.split('=').next().unwrap_or_default();
                if !self.flags.contains(flag) && !["help", "version"].contains(&flag) {
                    return Some(format!("there is no flag --{flag}"));
                }
                is_command = false;
            } else if is_command
                && word.chars().all(|c| c.is_ascii_lowercase() || c == '-')
                && !word.starts_with('-')
            {
                if !self.commands.contains(word) {
                    return Some(format!("there is no command `{word}`"));
                }
                // Only `lab` and `bench` have subcommands. The word after any other command is a value.
                is_command = ["lab", "bench"].contains(&word);
            } else {
                is_command = false;
            }
        }
        None
    }
}

impl<'ast> Visit<'ast> for Program {
    fn visit_item_enum(&mut self, item: &'ast ItemEnum) {
        if derives(&item.attrs, "Subcommand") {
            for variant in &item.variants {
                self.commands.insert(kebab(&variant.ident));
                self.take(&variant.fields);
            }
        }
    }

    fn visit_item_struct(&mut self, item: &'ast ItemStruct) {
        if derives(&item.attrs, "Args") || derives(&item.attrs, "Parser") {
            self.take(&item.fields);
        }
        visit::visit_item_struct(self, item);
    }
}

pub(super) fn derives(attributes: &[Attribute], name: &str) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("derive") => {
            list.tokens.clone().into_iter().any(|token| token.to_string() == name)
        }
        _ => false,
    })
}

/// Returns the name that an attribute gives to a flag: `name` for `#[arg(long = "name")]`. For `#[arg(long)]` it is the
/// empty text, because clap derives the name from the field. If the attribute declares no flag, this is `None`.
fn long(attribute: &Attribute) -> Option<String> {
    let Meta::List(list) = &attribute.meta else { return None };
    let mut words = list.tokens.clone().into_iter().map(|token| token.to_string()).filter(|word| word != ",");
    if !list.path.is_ident("arg") || !words.any(|word| word == "long") {
        return None;
    }
    let named = words.next().filter(|word| word == "=").and_then(|_| words.next());
    Some(named.map(|name| name.trim_matches('"').to_owned()).unwrap_or_default())
}

/// Returns the name that clap gives to a command or flag: `beside-stalled` for `BesideStalled` and for
/// `beside_stalled`.
fn kebab(name: &Ident) -> String {
    let mut text = String::new();
    for c in name.to_string().chars() {
        if c.is_uppercase() && !text.is_empty() {
            text.push('-');
        }
        text.extend(c.to_lowercase());
    }
    text.replace('_', "-")
}

/// Checks the commands on a page. Returns one line for each that names a command, flag, package, test or example that
/// does not exist.
pub(super) fn unknown(
    page: &Page,
    own: &Program,
    xtask: &Program,
    targets: &BTreeSet<String>,
) -> Vec<String> {
    let mut found = Vec::new();
    for spot in page.spans.iter().chain(&page.blocks) {
        let text = spot.text.trim().trim_start_matches("$ ");
        let serve = text.strip_prefix("cargo run --release -- ");
        let wrong = if let Some(words) = text.strip_prefix("cargo xtask ") {
            xtask.wrong(words)
        } else if let Some(words) = text.strip_prefix("seawall ").or(serve) {
            own.wrong(words)
        } else if text.starts_with("cargo run ") || text.starts_with("cargo test ") {
            no_target(text, targets)
        } else {
            None
        };
        found.extend(wrong.map(|why| format!("{}: `{text}`: {why}", spot.place(page))));
    }
    found
}

/// Returns an error text if a cargo command names a package, test or example that does not exist; otherwise `None`.
fn no_target(text: &str, targets: &BTreeSet<String>) -> Option<String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let named = words.windows(2).filter(|pair| ["-p", "--package", "--test", "--example"].contains(&pair[0]));
    let mut lost = named.filter(|pair| !targets.contains(pair[1]));
    lost.next().map(|pair| format!("there is no {} {}", pair[0], pair[1]))
}
