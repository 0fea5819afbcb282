//! Checks the settings that a page names: as `table.key`, in the tables of docs/configuration.md, and in blocks of
//! TOML.
//!
//! The names are checked against the gateway's own JSON Schema, which is made from the table that the gateway's parser
//! uses. Only the tests check settings, so that the commands of this package do not have to build the gateway.

use serde_json::{Map, Value};

use super::page::{Page, Spot, codes};
use super::paths::KINDS;

/// The tables of the configuration, as the schema describes them.
pub(crate) struct Settings<'a> {
    root: &'a Value,
    tables: Vec<&'a Value>,
}

impl<'a> Settings<'a> {
    pub(crate) fn of(schema: &'a Value) -> Settings<'a> {
        let mut tables = vec![schema];
        let mut next = 0;
        while let Some(table) = tables.get(next).copied() {
            tables.extend(keys(table).into_iter().flat_map(Map::values).filter_map(inner));
            next += 1;
        }
        Settings { root: schema, tables }
    }

    /// Returns the schemas of all tables that `name` can mean, since tables in different places can have the same short
    /// name. Examples of such a name are `[gateway.limits]`, `[[dependency.NAME.endpoint]]` and `timeout`.
    fn named(&self, name: &str) -> Vec<&'a Value> {
        self.tables.iter().filter_map(|table| follow(table, &parts(name))).filter_map(inner).collect()
    }

    /// Returns whether any table has a setting of this name; `None` if `name` does not begin with the name of a table.
    fn has(&self, name: &str) -> Option<bool> {
        let parts = parts(name);
        let begins = self
            .tables
            .iter()
            .any(|table| follow(table, &parts[..1]).is_some_and(|key| inner(key).is_some()));
        begins.then(|| self.tables.iter().any(|table| follow(table, &parts).is_some()))
    }

    /// Returns whether there is a table with this full name. A full name contains the names of all outer tables, as in
    /// `dependency.NAME.timeout`.
    fn has_table(&self, name: &str) -> bool {
        follow(self.root, &parts(name)).is_some_and(|table| inner(table).is_some())
    }
}

/// Returns the parts of the name of a table: `gateway` and `limits` for `[gateway.limits]`.
fn parts(name: &str) -> Vec<&str> {
    name.trim_matches(['[', ']']).split('.').collect()
}

/// Returns the keys of a table; `None` if `table` is not a table.
fn keys(table: &Value) -> Option<&Map<String, Value>> {
    table["properties"].as_object()
}

/// Returns the table to which a key leads; `None` if it leads to no table. The table is:
///
/// - the key's value, if the value is a table;
/// - an item of the value, if the value is a list of tables;
/// - a table inside the value, if users choose the names of the tables in it: for the key `dependency`, the table of
///   one dependency.
fn inner(key: &Value) -> Option<&Value> {
    [key, &key["items"], &key["additionalProperties"]].into_iter().find(|table| keys(table).is_some())
}

/// Goes from `table` through the keys in `parts`. Returns the schema of the last key; `None` if one of the keys does
/// not exist.
fn follow<'a>(table: &'a Value, parts: &[&str]) -> Option<&'a Value> {
    let mut at = table;
    for part in parts {
        // A word in capitals stands for a name that the user chooses. The schema has no key for such a name, so it is
        // skipped.
        if !part.chars().all(|c| c.is_ascii_uppercase()) {
            at = keys(inner(at)?)?.get(*part)?;
        }
    }
    Some(at)
}

/// Finds the settings and tables on a page that do not exist.
pub(super) fn unknown(page: &Page, settings: &Settings<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for span in &page.spans {
        let name = span.text.split([' ', '=']).next().unwrap_or_default();
        let is_name =
            |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphabetic() || c == '_');
        let bare = name.trim_matches(['[', ']']);
        let is_file = KINDS.iter().any(|end| name.ends_with(end));
        let dotted = (bare.contains('.') || name.starts_with('[')) && !is_file;
        if dotted && bare.split('.').all(is_name) && settings.has(name) == Some(false) {
            found.push(format!("{}: there is no setting `{name}`", span.place(page)));
        }
    }
    // `[dependencies]` and `[dev-dependencies]` are tables of a `Cargo.toml`, so they are not checked.
    let cargo = ["[dependencies", "[dev-dependencies"];
    let ours =
        |line: &&Spot| line.language == "toml" && !cargo.iter().any(|table| line.text.starts_with(table));
    let blocks = page.blocks.iter().filter(ours);
    for line in blocks.filter(|line| line.text.starts_with('[')) {
        let name = line.text.split(" #").next().unwrap_or_default().trim();
        if name.ends_with(']') && !settings.has_table(&named_by_users(name)) {
            found.push(format!("{}: there is no table {name}", line.place(page)));
        }
    }
    if page.path == "docs/configuration.md" {
        found.extend(rows(page, settings));
    }
    found
}

/// Returns the name of a table with `NAME` in place of the name that a user gave to a dependency:
/// `dependency.NAME.retry` for `[dependency.payments.retry]`.
fn named_by_users(name: &str) -> String {
    let mut parts: Vec<&str> = name.trim_matches(['[', ']']).split('.').collect();
    if parts.len() > 1 && parts[0] == "dependency" {
        parts[1] = "NAME";
    }
    parts.join(".")
}

/// Checks the rows of the page's tables. If the heading above a row names a table of the configuration, this table must
/// have each key in the row's first cell. Returns one line for each key that it does not have.
fn rows(page: &Page, settings: &Settings<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for cell in &page.cells {
        let heading = page.headings.iter().rfind(|heading| heading.line < cell.line);
        let names = heading.iter().flat_map(|heading| codes(&heading.text));
        let tables: Vec<&Value> = names.flat_map(|name| settings.named(name)).collect();
        let has =
            |key: &str| tables.iter().filter_map(|table| keys(table)).any(|keys| keys.contains_key(key));
        let missing = codes(&cell.text).filter(|key| !has(key));
        if !tables.is_empty() {
            found
                .extend(missing.map(|key| format!("{}: there is no setting `{key}` here", cell.place(page))));
        }
    }
    found
}
