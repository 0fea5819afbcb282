//! Reads values from the tables of the file by their names.
//!
//! A mistake in one value must not cause a second report elsewhere. If a key is misspelt or its value is malformed,
//! checks that need this value are skipped. So a look-up has three results, not two: the value is absent, broken, or
//! there.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use seawall_actions::nearest::nearest;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{Key, Kind, Spec};
use super::report::{Mistake, Note, Place};
use super::secret::{self, Environment};
use super::shape;
use super::values::{Value, Wrong};

/// The file that is being read, and the mistakes found in it so far.
pub(super) struct Book<'a> {
    pub(super) text: &'a str,
    pub(super) env: &'a Environment<'a>,
    /// The folder at which relative paths begin.
    pub(super) base: &'a Path,
    /// Whether the text is not valid TOML. If so, a missing key is not reported, since it may stand in the part that
    /// cannot be read.
    pub(super) broken: bool,
    pub(super) mistakes: RefCell<Vec<Mistake>>,
    pub(super) notes: RefCell<Vec<Note>>,
    /// The files that settings name and whose content is needed. Each has the number that [`crate::files::stamp`]
    /// returned for its content, by which a later change of the content is noticed; `None` if the file cannot be read.
    pub(super) files: RefCell<BTreeMap<PathBuf, Option<u64>>>,
    /// Every key that the reader asked for, with the name of its table. A test compares them with the table of all
    /// keys.
    #[cfg(test)]
    pub(super) asked: RefCell<std::collections::BTreeSet<(&'static str, &'static str)>>,
}

impl<'a> Book<'a> {
    pub(super) fn wrong(&self, span: Range<usize>, wrong: Wrong) {
        self.mistakes.borrow_mut().push(Mistake::at(span, wrong));
    }

    pub(super) fn note(&self, span: Range<usize>, text: impl Into<String>) {
        let note = Note { place: Some(Place::of(self.text, span.start)), text: text.into() };
        let mut notes = self.notes.borrow_mut();
        if !notes.contains(&note) {
            notes.push(note);
        }
    }

    /// Returns the text of `value` with every `${env:NAME}` and `${file:PATH}` replaced by its secret. If this fails,
    /// reports a mistake at the place of `value`, and returns `None`. Also returns `None` if `value` is not a text.
    pub(super) fn fill(&self, value: &Value<'_>) -> Option<String> {
        let written = value.get_ref().as_str()?;
        let mut files = self.files.borrow_mut();
        secret::fill(written, self.env, self.base, &mut files)
            .map_err(|wrong| self.wrong(value.span(), wrong))
            .ok()
    }
}

/// The result of a look-up of a key in a table.
#[derive(Clone, Debug)]
pub(super) enum Found<T> {
    Absent,
    /// A value is there, but it is wrong, and has been reported.
    Broken,
    Value(T, Range<usize>),
}

/// A table of the file, or the place where an absent table could stand.
#[derive(Clone)]
pub(super) struct Section<'a> {
    pub(super) book: &'a Book<'a>,
    pub(super) spec: &'static Spec,
    table: Option<&'a DeTable<'a>>,
    /// The place in the file for messages about the table as a whole.
    pub(super) at: Range<usize>,
}

impl<'a> Section<'a> {
    pub(super) fn new(
        book: &'a Book<'a>,
        spec: &'static Spec,
        table: &'a DeTable<'a>,
        at: Range<usize>,
    ) -> Self {
        Section { book, spec, table: Some(table), at }
    }

    pub(super) fn table(&self) -> Option<&'a DeTable<'a>> {
        self.table
    }

    pub(super) fn is_present(&self) -> bool {
        self.table.is_some()
    }

    fn key(&self, name: &str) -> &'static Key {
        let key = self.spec.key(name);
        let key = key.unwrap_or_else(|| {
            panic!("the reader asks {} for `{name}`, which the table of keys lacks", self.spec.name)
        });
        #[cfg(test)]
        self.book.asked.borrow_mut().insert((self.spec.name, key.name));
        key
    }

    pub(super) fn raw(&self, name: &str) -> Option<&'a Value<'a>> {
        self.key(name);
        self.table?.get(name)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.raw(name).is_some()
    }

    /// Returns whether the key `name` is absent, and the table has no unknown key that may be a misspelt form of
    /// `name`.
    pub(super) fn lacks(&self, name: &str) -> bool {
        let Some(table) = self.table else { return true };
        !self.has(name)
            && !table.keys().any(|key| {
                let written = key.get_ref().as_ref();
                self.spec.key(written).is_none() && nearest(written, self.spec.names()) == Some(name)
            })
    }

    /// Returns the place of a key's name, or the place of the table if the key is absent.
    pub(super) fn key_span(&self, name: &str) -> Range<usize> {
        let found = self.table.and_then(|table| table.get_key_value(name));
        found.map_or_else(|| self.at.clone(), |(key, _)| key.span())
    }

    /// Reads the value of a key with `read`. Returns `Absent` if the key is not there, and `Broken` if it is misspelt
    /// or its value is wrong. Otherwise returns the value and its place.
    pub(super) fn get<T>(&self, name: &str, read: impl Fn(&'a DeValue<'a>) -> Result<T, Wrong>) -> Found<T> {
        match self.raw(name) {
            None if self.lacks(name) => Found::Absent,
            None => Found::Broken,
            Some(value) if !shape::judge(&self.key(name).kind, value).is_empty() => Found::Broken,
            Some(value) => {
                read(value.get_ref()).map_or(Found::Broken, |read| Found::Value(read, value.span()))
            }
        }
    }

    pub(super) fn opt<T>(&self, name: &str, read: impl Fn(&'a DeValue<'a>) -> Result<T, Wrong>) -> Option<T> {
        match self.get(name, read) {
            Found::Value(value, _) => Some(value),
            Found::Absent | Found::Broken => None,
        }
    }

    pub(super) fn wrong(&self, name: &str, wrong: Wrong) {
        let span = match self.raw(name) {
            Some(value) if !matches!(value.get_ref(), DeValue::Table(_)) => value.span(),
            _ => self.key_span(name),
        };
        self.book.wrong(span, wrong);
    }

    /// Returns the table under a key. The table is empty if the key is absent.
    pub(super) fn child(&self, name: &str) -> Section<'a> {
        let Kind::Table(spec) = self.key(name).kind else { panic!("`{name}` is not a table") };
        let table = self.raw(name).and_then(|value| value.get_ref().as_table());
        Section { book: self.book, spec, table, at: self.key_span(name) }
    }

    /// Returns the tables of the list under a key, such as `[[dependency.NAME.operation]]`. There are none if the key
    /// is absent.
    pub(super) fn children(&self, name: &str) -> Vec<Section<'a>> {
        let Kind::Tables(spec) = self.key(name).kind else { panic!("`{name}` is not a list of tables") };
        let Some(DeValue::Array(items)) = self.raw(name).map(Spanned::get_ref) else { return Vec::new() };
        items
            .iter()
            .filter_map(|item| {
                item.get_ref().as_table().map(|table| Section::new(self.book, spec, table, item.span()))
            })
            .collect()
    }

    /// Returns the tables under a key such as `dependency`, where the user chooses the names of the tables. Each comes
    /// with its name. There are none if the key is absent.
    pub(super) fn named(&self, name: &str) -> Vec<(&'a str, Section<'a>)> {
        let Kind::Named(spec) = self.key(name).kind else { panic!("`{name}` has no named tables") };
        let Some(DeValue::Table(tables)) = self.raw(name).map(Spanned::get_ref) else { return Vec::new() };
        tables
            .iter()
            .filter_map(|(key, value)| {
                let table = value.get_ref().as_table()?;
                Some((key.get_ref().as_ref(), Section::new(self.book, spec, table, key.span())))
            })
            .collect()
    }

    /// Reads the value of a key as the path of a file, and returns the path. A relative path begins at the
    /// configuration file's folder. Returns `None` if the key is absent or its value is wrong. If the file cannot be
    /// opened, reports a mistake, and returns the path nevertheless.
    pub(super) fn file(&self, name: &str) -> Option<PathBuf> {
        let path = self.book.base.join(self.opt(name, super::values::text)?);
        if let Err(why) = crate::files::open(&path) {
            let help = "relative paths begin at the configuration file";
            self.wrong(name, Wrong::new(format!("this file cannot be read: {why}")).help(help));
        }
        self.book.files.borrow_mut().entry(path.clone()).or_insert_with(|| crate::files::stamp(&path));
        Some(path)
    }
}

/// One table as it stands at several levels of the file, for example in `[defaults]`, in a dependency and in an
/// operation. The most general level comes first. A key takes its value from the last level that has this key.
#[derive(Clone)]
pub(super) struct Layers<'a>(pub(super) Vec<Section<'a>>);

/// The value of a key that may stand in several [`Layers`], taken from the last layer that has it.
pub(super) struct Picked<T> {
    pub(super) value: T,
    /// The number of the layer that the value comes from. The layers are counted from 1, which is the most general
    /// level of the file. The number is 0 if the value is the default.
    pub(super) layer: usize,
    /// The value's place in the file.
    pub(super) at: Range<usize>,
    /// Whether this is the value that the file asks for. It is `false` if a more specific table has a value for this
    /// key that cannot be read. In that case this value only takes the place of the unreadable one.
    pub(super) sound: bool,
}

impl<T> Picked<T> {
    /// Returns the place of the value, without the value.
    pub(super) fn without_value(self) -> Picked<()> {
        let Picked { layer, at, sound, .. } = self;
        Picked { value: (), layer, at, sound }
    }
}

impl<'a> Layers<'a> {
    pub(super) fn pick<T>(
        &self,
        name: &str,
        read: impl Fn(&'a DeValue<'a>) -> Result<T, Wrong>,
        silent: T,
    ) -> Picked<T> {
        let mut sound = true;
        for (index, section) in self.0.iter().enumerate().rev() {
            match section.get(name, &read) {
                Found::Value(value, at) => return Picked { value, layer: index + 1, at, sound },
                Found::Broken => sound = false,
                Found::Absent => {}
            }
        }
        Picked { value: silent, layer: 0, at: 0..0, sound }
    }

    /// Returns the tables under a key in every layer.
    pub(super) fn child(&self, name: &str) -> Layers<'a> {
        Layers(self.0.iter().map(|section| section.child(name)).collect())
    }

    /// Returns these layers with one more layer, whose values override those of all others.
    pub(super) fn with(&self, section: Section<'a>) -> Layers<'a> {
        let mut all = self.0.clone();
        all.push(section);
        Layers(all)
    }

    /// Returns the file that these layers are read from.
    pub(super) fn book(&self) -> &'a Book<'a> {
        self.0.last().expect("layers are made with at least one section").book
    }
}
