//! Reads the configuration of the gateway: returns the settings, or a report on all mistakes.
//!
//! A file is read in two passes:
//!
//! - The first ([`walk`]) knows every key from one table ([`keys`]), and judges each value by itself.
//! - The second ([`read`]) takes each setting from the operation, else from the dependency, else from `[defaults]`. It
//!   also checks what depends on two values.
//!
//! Both passes collect all mistakes: a file with ten mistakes gives ten reports, each at its line. To deserialise the
//! file into structures would be simpler. But deserialising stops at the first mistake, and for flattened structures it
//! does not know at which line a value stood.
//!
//! A setting that is accepted but has no effect yet is never passed over in silence: it comes back as a note
//! ([`Loaded::notes`]).
//!
//! ```
//! let text = "[dependency.pay]\nurl = 'https://api.pay.example'\ntimeout = { raed = '1s' }\n";
//! let report = seawall_gateway::config::parse("seawall.toml", text, &|_| None).unwrap_err();
//! let mistake = &report.mistakes()[0];
//! assert_eq!(mistake.help.as_deref(), Some("did you mean `read`?"));
//! assert_eq!(mistake.place.unwrap().to_string(), "3:13");
//! ```

mod action;
pub mod defaults;
mod effective;
mod hidden;
mod in_force;
mod keys;
mod pattern;
mod predicate;
mod read;
mod repair;
mod report;
mod rows;
mod schema;
mod secret;
mod section;
mod settings;
mod shape;
mod shown;
#[cfg(test)]
mod tests;
mod values;
mod walk;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

pub use action::{KeyScope, Ledger, OnStuck, Reconcile, SqlRoles, Taken};
pub use effective::effective;
pub use hidden::Secret;
pub use in_force::is_in_force;
pub use pattern::{Pattern, Segment};
pub use report::{Mistake, Note, Place, Report};
pub use schema::schema;
pub use secret::Environment;
pub use settings::{
    Breaker, Clients, Concurrency, Dangerous, Dependency, Endpoint, Fallback, Gateway, GuardKey, Health,
    Limits, Operation, Retry, Settings,
};

use repair::Repaired;
use section::{Book, Section};
use values::Wrong;
pub(crate) use values::length_of_time;

/// A file that was accepted.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The settings in force.
    pub settings: Settings,
    /// Remarks, in the order of the file: which settings are not in force yet, and which settings have effects that a
    /// person may not expect.
    pub notes: Vec<Note>,
    /// The files whose content the settings need (secrets, certificates, keys, tokens). Each stands with a number that
    /// is computed from its content, or with `None` if the file cannot be read. The number changes when the content
    /// changes, which shows that a reload is needed. It means nothing in another process.
    pub files: BTreeMap<PathBuf, Option<u64>>,
}

/// Reads a file and returns its settings. `env` looks up environment variables for `${env:NAME}`. Relative paths in the
/// file begin at the file's own folder.
///
/// # Errors
/// If the file cannot be read, or if it has mistakes. The report lists all of them.
pub fn load(path: &Path, env: &Environment<'_>) -> Result<Loaded, Report> {
    parse(&path.display().to_string(), &text(path)?, env)
}

/// Returns the text of the configuration file at `path`.
///
/// # Errors
/// If the file cannot be read, or is not UTF-8 text.
pub fn text(path: &Path) -> Result<String, Report> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|error| {
        let help = "name a file with -c FILE; `seawall serve --demo` needs none";
        Report::unreadable(&name, format!("the file cannot be read: {error}"), Some(help.to_owned()))
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let before = String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned();
        let place = Place::of(&before, before.len());
        Report::unreadable(&name, format!("the file is not UTF-8 text (at {place})"), None)
    })
}

/// Reads a text and returns its settings. `name` is the name of the text's file. It is shown in messages, and relative
/// paths begin at its folder.
///
/// # Errors
/// If the text has mistakes. The report lists all of them.
pub fn parse(name: &str, text: &str, env: &Environment<'_>) -> Result<Loaded, Report> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let repaired = repaired(text);
    let source = repaired.as_ref().map_or(text, |it| it.text.as_str());
    let (document, syntax) = DeTable::parse_recoverable(source);
    let book = Book {
        text: source,
        env,
        base: Path::new(name).parent().unwrap_or(Path::new("")),
        broken: !syntax.is_empty() || repaired.is_some(),
        mistakes: RefCell::default(),
        notes: RefCell::default(),
        files: RefCell::default(),
        #[cfg(test)]
        asked: RefCell::default(),
    };
    let root = Section::new(&book, &keys::ROOT, document.get_ref(), 0..0);
    walk::walk(&root, document.get_ref());
    let settings = read::settings(&root);
    let mut mistakes = book.mistakes.take();
    let mut shown = shown::ranges(source, document.get_ref(), book.broken);
    let mut unreadable: Vec<Mistake> = syntax.iter().map(|error| syntax_mistake(source, error)).collect();
    if let Some(repaired) = &repaired {
        let original = |span: &Range<usize>| repaired.original(span.start)..repaired.original(span.end);
        mistakes.iter_mut().chain(&mut unreadable).for_each(|it| it.span = original(&it.span));
        shown.iter_mut().for_each(|range| *range = original(range));
        let open = repaired.mistakes().map(|(span, wrong)| Mistake::at(span, wrong));
        unreadable = open.chain(unreadable).collect();
    }
    let mut mistakes = without_echoes(text, mistakes, unreadable);
    if mistakes.is_empty() && settings.dependencies.is_empty() {
        // Most likely the file was emptied. If it were accepted, every call would be refused.
        let wrong = Wrong::new("no dependency is declared, so there is nothing to call")
            .help("as in [dependency.payments] with url = \"https://api.pay.example\"");
        mistakes.push(Mistake::at(0..0, wrong));
    }
    if !mistakes.is_empty() {
        return Err(Report::new(name, text, &shown, mistakes));
    }
    let mut notes = book.notes.take();
    notes.sort_by_key(|note| note.place);
    Ok(Loaded { settings, notes, files: book.files.take() })
}

/// Returns the text with its open brackets and quotes closed. Returns `None` if the text is valid TOML, or if the
/// parser finds no fewer mistakes in the closed text.
fn repaired(text: &str) -> Option<Repaired> {
    let complaints = |text: &str| DeTable::parse_recoverable(text).1.len();
    let before = complaints(text);
    if before == 0 {
        return None;
    }
    Repaired::of(text).filter(|repaired| complaints(&repaired.text) < before)
}

fn syntax_mistake(source: &str, error: &toml::de::Error) -> Mistake {
    let span = error.span().unwrap_or(0..0);
    let span = span.start.min(source.len())..span.end.min(source.len());
    Mistake::at(span, Wrong::new(error.message()))
}

/// Returns `mistakes` together with `unreadable`, which are the places that are not valid TOML. If a line has several
/// unreadable places, only the first place is kept, since the mistake there is the cause of the others. All other
/// mistakes on a line with an unreadable place are dropped.
fn without_echoes(text: &str, mut mistakes: Vec<Mistake>, unreadable: Vec<Mistake>) -> Vec<Mistake> {
    let line = |mistake: &Mistake| Place::of(text, mistake.span.start).line;
    let mut first = BTreeMap::new();
    for mistake in unreadable {
        first.entry(line(&mistake)).or_insert(mistake);
    }
    mistakes.retain(|mistake| !first.contains_key(&line(mistake)));
    mistakes.extend(first.into_values());
    mistakes
}
