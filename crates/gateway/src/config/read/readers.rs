//! Functions that read several tables of an operation.

use seawall_ledger::KeyRules;
use seawall_policy::Predicate;
use toml::de::DeValue;

use super::super::action::{KeyScope, Ledger, SqlRoles};
use super::super::predicate;
use super::super::section::{Layers, Section};
use super::super::settings::{Breaker, Dangerous};
use super::super::values::{self, Wrong};

/// What an operation inherits from its dependency and from the rest of the file.
pub(super) struct Inherited<'a, 's> {
    pub(super) layers: &'s Layers<'a>,
    pub(super) breaker: &'s Breaker,
    pub(super) dangerous: &'s Dangerous,
    /// The number of endpoints.
    pub(super) endpoints: usize,
    /// Whether the file has credentials for the first endpoint.
    pub(super) has_credentials: bool,
    pub(super) key: &'s KeyRules,
    pub(super) key_scope: KeyScope,
    pub(super) sql_roles: Option<SqlRoles>,
    pub(super) ledger: &'s Ledger,
    pub(super) ledger_table: &'s Section<'a>,
}

pub(super) fn statuses(section: &Section<'_>, key: &str) -> Vec<u16> {
    section.raw(key).map(|value| predicate::statuses(value, &mut Vec::new())).unwrap_or_default()
}

pub(super) fn predicates(section: &Section<'_>, key: &str) -> Vec<Predicate> {
    section.raw(key).map(|value| predicate::predicates(value).0).unwrap_or_default()
}

/// Reads a value that must be one of these words, and returns what the word stands for. Any other value is a mistake.
pub(super) fn word<T: Copy>(words: &[(&str, T)], value: &DeValue<'_>) -> Result<T, Wrong> {
    let written = values::text(value)?;
    let found = words.iter().find(|(word, _)| *word == written);
    found.map(|(_, meaning)| *meaning).ok_or_else(|| Wrong::new("this word is not known here"))
}
