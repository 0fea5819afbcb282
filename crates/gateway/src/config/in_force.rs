//! The settings that are accepted but have no effect yet.
//!
//! The whole file is parsed and checked from the first release on, so that a file that was written for a later release
//! is not an error. But a setting must not be accepted in silence and then do nothing. So each such setting in a file
//! is named at start and by `seawall check`. When a feature is built, its entry is removed from the table here.

/// A setting that has no effect yet.
struct NotYet {
    /// The setting's key.
    key: &'static str,
    /// The names of the tables in which the key may stand, such as `[ledger]`. They are the names that the module
    /// `keys` uses.
    tables: &'static [&'static str],
    /// What is true while the setting has no effect. This text is the rest of a sentence that begins with the key, for
    /// example "is not in force yet: nothing is compared".
    says: &'static str,
}

const NOT_YET: &[NotYet] = &[
    NotYet {
        key: "reconcile",
        tables: &["[dependency.NAME]"],
        says: "is not in force yet: nothing is compared",
    },
    NotYet {
        key: "ca_file",
        tables: &["`clients`"],
        says: "is not in force yet: client certificates are not asked for",
    },
];

/// Returns the note on a key that stands in the file. `table` is the name of the key's table. `None` if the setting is
/// in force.
pub(super) fn not_yet(table: &str, key: &str) -> Option<&'static str> {
    let entry = NOT_YET.iter().find(|entry| entry.key == key && entry.tables.contains(&table))?;
    Some(entry.says)
}

/// Returns whether the setting of this name is in force in every table in which it may stand.
#[must_use]
pub fn is_in_force(key: &str) -> bool {
    !NOT_YET.iter().any(|entry| entry.key == key)
}

/// Returns the remark that `seawall check` prints after a setting that has no effect yet; empty for every other
/// setting.
pub(super) fn pending(key: &str) -> &'static str {
    if is_in_force(key) { "" } else { "  (not in force yet)" }
}

#[cfg(test)]
mod tests {
    use super::super::keys::{Kind, ROOT, Spec};
    use super::*;

    fn knows(spec: &'static Spec, table: &str, key: &str) -> bool {
        (spec.name == table && spec.key(key).is_some())
            || spec.keys().any(|inner| match inner.kind {
                Kind::Table(spec) | Kind::Tables(spec) | Kind::Named(spec) => knows(spec, table, key),
                _ => false,
            })
    }

    #[test]
    fn every_entry_names_a_key_that_exists() {
        for entry in NOT_YET {
            for table in entry.tables {
                assert!(knows(&ROOT, table, entry.key), "{} in {table}", entry.key);
            }
        }
    }

    #[test]
    fn every_key_stands_in_the_documentation() {
        fn names(spec: &'static Spec, found: &mut Vec<&'static str>) {
            for key in spec.keys() {
                found.push(key.name);
                if let Kind::Table(inner) | Kind::Tables(inner) | Kind::Named(inner) = key.kind {
                    names(inner, found);
                }
            }
        }
        let mut keys = Vec::new();
        names(&ROOT, &mut keys);
        let page = include_str!("../../../../docs/configuration.md");
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let missing = |key: &&str| !page.split(|c| !word(c)).any(|found| found == *key);
        assert_eq!(keys.into_iter().filter(missing).collect::<Vec<_>>(), Vec::<&str>::new());
    }

    #[test]
    fn what_is_idle_is_marked_in_the_documentation() {
        let page = include_str!("../../../../docs/configuration.md");
        let row = |key: &str| format!("| `{key}` |");
        for entry in NOT_YET {
            let marked = page.lines().filter(|line| line.starts_with(&row(entry.key)));
            assert!(marked.clone().any(|line| line.contains("**not yet**")), "{}", entry.key);
        }
        let marked = page.lines().filter(|line| line.contains("| **not yet** |"));
        for line in marked {
            let known = NOT_YET.iter().any(|entry| line.starts_with(&row(entry.key)));
            assert!(known, "{line}");
        }
    }

    fn notes(lines: &str) -> Vec<String> {
        let text = format!("[dependency.pay]\nurl = \"https://pay.example\"\n{lines}\n");
        let loaded = super::super::parse("f", &text, &|_| None).expect("a good file");
        loaded.notes.into_iter().map(|note| note.text).collect()
    }

    #[test]
    fn what_the_guards_obey_is_not_called_idle() {
        let obeyed = "concurrency = { max = 5, adaptive = false, queue = 5, queue_wait = \"1s\", key = \"operation\" }\n\
                      breaker = { slow_call = \"2s\", consecutive = 3, key = \"header:x-tenant\" }\n\
                      health = \"GET /health\"\n\
                      operation = [{ name = \"a\", match = \"GET /a\", slow_call = \"1s\" }]";
        assert_eq!(notes(obeyed), Vec::<String>::new());
    }

    #[test]
    fn what_the_ledger_obeys_is_not_called_idle() {
        let obeyed = "headers = { authorization = \"x\" }\nkey = { max = 64 }\n\
                      operation = [{ name = \"a\", match = \"POST /a\", idempotency = \"keyed\", durable = true, refuses = 429, \
                      confirm = { request = \"GET /a\", applied = { status = 200 } }, cancel = { request = \"POST /r\", kind = \"state\" } }]\n\
                      [ledger]\nlease = \"3m\"";
        let told = notes(obeyed);
        assert!(!told.iter().any(|note| note.contains("not in force yet")), "{told:?}");
    }

    #[test]
    fn what_nothing_obeys_is_told() {
        let lines = "reconcile = { list = \"GET /l?from={from}&to={to}\", items = \"/d\", key = \"/k\", state = { pointer = \"/s\", applied = [\"a\"] } }";
        let notes = notes(lines);
        let told = |note: &String| note.starts_with("`reconcile`") && note.contains("not in force yet");
        assert!(notes.iter().any(told), "{notes:?}");
    }
}
