//! The first pass over a configuration: checks that every key is known, and that every value by itself is well formed.
//!
//! This pass uses the table of keys and nothing else. What depends on two values is checked in `read`.

use seawall_actions::nearest::{advice, nearest};
use seawall_actions::shown::quoted;
use toml::de::{DeArray, DeTable, DeValue};

use super::in_force;
use super::keys::{Kind, ROOT, Spec};
use super::section::Section;
use super::shape::judge;
use super::values::{Wrong, wrong_kind};

/// Checks a table and everything below it, and reports each mistake at its place.
pub(super) fn walk(section: &Section<'_>, table: &DeTable<'_>) {
    let (book, spec) = (section.book, section.spec);
    for (name, value) in table {
        let Some(key) = spec.key(name.get_ref()) else {
            book.wrong(name.span(), unknown(spec, name.get_ref()));
            continue;
        };
        if let Some(says) = in_force::not_yet(spec.name, key.name) {
            book.note(name.span(), format!("`{}` {says}", key.name));
        }
        match (&key.kind, value.get_ref()) {
            (Kind::Table(_), DeValue::Table(inner)) => walk(&section.child(key.name), inner),
            (Kind::Tables(_), DeValue::Array(items)) => walk_list(section, key.name, items),
            (Kind::Named(_), DeValue::Table(tables)) => walk_named(section, key.name, tables),
            (kind, _) => {
                for (span, wrong) in judge(kind, value) {
                    book.wrong(
                        span,
                        Wrong { message: format!("`{}`: {}", key.name, wrong.message), ..wrong },
                    );
                }
            }
        }
    }
    for key in spec.keys().filter(|key| key.required) {
        if section.lacks(key.name) && !book.broken {
            let message = format!("`{}` is missing in {}", key.name, spec.name);
            book.wrong(section.at.clone(), Wrong::new(message).help(key.doc));
        }
    }
}

fn walk_list(section: &Section<'_>, name: &str, items: &DeArray<'_>) {
    for item in items.iter() {
        if !item.get_ref().is_table() {
            section.book.wrong(item.span(), wrong_kind("a table", item.get_ref()));
        }
    }
    for child in section.children(name) {
        child.walk();
    }
}

fn walk_named(section: &Section<'_>, name: &str, tables: &DeTable<'_>) {
    for (own, value) in tables {
        if let Err(wrong) = dependency_name(own.get_ref()) {
            section.book.wrong(own.span(), wrong);
        }
        if !value.get_ref().is_table() {
            let wrong = wrong_kind("a table", value.get_ref()).help("as in [dependency.payments]");
            section.book.wrong(value.span(), wrong);
        }
    }
    for (_, child) in section.named(name) {
        child.walk();
    }
}

impl Section<'_> {
    /// Checks this table and everything below it, and reports each mistake at its place.
    fn walk(&self) {
        if let Some(table) = self.table() {
            walk(self, table);
        }
    }
}

fn unknown(spec: &Spec, name: &str) -> Wrong {
    let shown = quoted(name, spec.names(), "this key");
    let wrong = Wrong::new(format!("{shown} is not known in {}", spec.name));
    let mut homes = Vec::new();
    homes_of(&ROOT, name, &mut homes);
    if nearest(name, spec.names()).is_none() && !homes.is_empty() {
        return wrong.help(format!("`{name}` belongs in {}", homes.join(" or ")));
    }
    wrong.help(advice(name, spec.names()))
}

/// Adds to `homes` the names of the tables that may have the key `name`: of `spec` and of all tables below it.
fn homes_of(spec: &'static Spec, name: &str, homes: &mut Vec<&'static str>) {
    if spec.key(name).is_some() && !homes.contains(&spec.name) {
        homes.push(spec.name);
    }
    for key in spec.keys() {
        if let Kind::Table(inner) | Kind::Tables(inner) | Kind::Named(inner) = key.kind {
            homes_of(inner, name, homes);
        }
    }
}

fn dependency_name(name: &str) -> Result<(), Wrong> {
    let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    if name.is_empty() || name.len() > 64 || !name.bytes().all(fine) {
        return Err(Wrong::new("the name of a dependency is 1 to 64 lowercase letters, digits, - and _")
            .help("it is the first segment of the path that applications call"));
    }
    if name.starts_with('-') {
        return Err(Wrong::new("the name of a dependency does not begin with -")
            .help("paths under /-/ are Seawall's own"));
    }
    Ok(())
}
