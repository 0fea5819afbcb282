//! What is accepted, and not acted upon yet.
//!
//! The whole file is parsed and checked from the first release on, so that a file written for a later one is not an
//! error. But a setting that is accepted in silence and wired to nothing is a lie: each one found in a file is said
//! at start and by `seawall check`. A feature that lands is taken out of the one table here.

/// A setting that has no effect yet.
struct NotYet {
    /// Its key.
    key: &'static str,
    /// The tables in which it may stand, as `keys` names them.
    tables: &'static [&'static str],
    /// What happens instead; reads on from the key.
    says: &'static str,
}

const EVERYWHERE: &[&str] = &["[defaults]", "[dependency.NAME]"];
const OPERATION: &[&str] = &["[[dependency.NAME.operation]]"];
const GATEWAY: &[&str] = &["[gateway]"];

const NOT_YET: &[NotYet] = &[
    NotYet { key: "ledger", tables: &["the file"], says: "is not in force yet: nothing is recorded" },
    NotYet {
        key: "durable",
        tables: OPERATION,
        says: "is not in force yet: the operation is not recorded, and an unknown outcome goes back to the caller",
    },
    NotYet { key: "cancel", tables: OPERATION, says: "is not in force yet: nothing is undone" },
    NotYet { key: "slow_call", tables: OPERATION, says: "is not in force yet: it needs the breaker" },
    NotYet { key: "breaker", tables: EVERYWHERE, says: "is not in force yet: no call is refused for it" },
    NotYet { key: "concurrency", tables: EVERYWHERE, says: "is not in force yet: no call is refused for it" },
    NotYet { key: "fleet", tables: &["`concurrency`"], says: "is not in force yet: no limit is shared" },
    NotYet { key: "instances", tables: GATEWAY, says: "is not in force yet: it needs the breaker's window" },
    NotYet {
        key: "health",
        tables: &["[dependency.NAME]"],
        says: "is not in force yet: it needs the breaker",
    },
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

/// What to say of a key that is in the file and not in force.
pub(super) fn not_yet(table: &str, key: &str) -> Option<&'static str> {
    NOT_YET.iter().find(|entry| entry.key == key && entry.tables.contains(&table)).map(|entry| entry.says)
}

/// Whether the setting of this name is acted upon, wherever it may stand.
#[must_use]
pub fn is_in_force(key: &str) -> bool {
    !NOT_YET.iter().any(|entry| entry.key == key)
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
}
