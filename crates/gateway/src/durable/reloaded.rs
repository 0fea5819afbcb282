//! Says what a new configuration means for the actions that are open in the ledger.
//!
//! An open action keeps what was fixed when it was recorded or sent. Everything else comes from the configuration in
//! force, so if a wrong template is corrected, the open actions use the corrected one. An action whose operation is not
//! declared any more waits until it is declared again.

use std::collections::HashMap;
use std::time::Duration;

use seawall_ledger::store::{COUNTED, OperationCount};
use seawall_policy::show_time;

use crate::config::{self, Settings};

/// Which durable operations of the old configuration a new one removes or changes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Reloaded {
    /// The names of dependency and operation, for each operation that the new configuration no longer has, or has as
    /// one that is not durable.
    removed: Vec<(String, String)>,
    changed: Vec<(String, String)>,
    undeclared_after: Duration,
}

impl Reloaded {
    pub(crate) fn between(old: &Settings, new: &Settings) -> Reloaded {
        let now: HashMap<_, _> = durable(new).collect();
        let mut found = Reloaded { undeclared_after: new.ledger.undeclared_after, ..Reloaded::default() };
        for (name, before) in durable(old) {
            match now.get(&name) {
                None => found.removed.push(name),
                Some(after) if *after != before => found.changed.push(name),
                Some(_) => {}
            }
        }
        found
    }

    /// Returns whether no durable operation was removed or changed.
    pub(crate) fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.changed.is_empty()
    }

    /// Returns one line for each removed or changed operation that has open actions. The line says what happens to
    /// these actions. `open` has the numbers of open actions.
    pub(crate) fn lines(&self, open: &[OperationCount]) -> Vec<String> {
        let count = |(dependency, operation): &(String, String)| {
            open.iter().find(|of| of.dependency == *dependency && of.operation == *operation)
        };
        let removed = self.removed.iter().filter_map(count).map(|of| waits(of, self.undeclared_after));
        let changed = self.changed.iter().filter_map(count).map(|of| {
            format!(
                "{}; the operation was changed: they keep their sent keys, requests, deadlines, amounts, the quiet times that \
                 they have reached and the ends of their keys' lives, unless a new `key_lifetime` ends earlier; all else comes \
                 from the new configuration",
                actions(of)
            )
        });
        removed.chain(changed).collect()
    }
}

/// Returns one line for each operation that has open actions and that this configuration does not declare. `open` has
/// the numbers of open actions.
pub(crate) fn undeclared(settings: &Settings, open: &[OperationCount]) -> Vec<String> {
    let declared: HashMap<_, _> = durable(settings).collect();
    let is_declared =
        |of: &&OperationCount| declared.contains_key(&(of.dependency.clone(), of.operation.clone()));
    let left = open.iter().filter(|of| !is_declared(of));
    left.map(|of| waits(of, settings.ledger.undeclared_after)).collect()
}

fn waits(of: &OperationCount, after: Duration) -> String {
    let after = show_time(after);
    format!("{}; they wait until it is declared again, and are stuck after {after}", actions(of))
}

fn actions(of: &OperationCount) -> String {
    let more = if of.number >= u64::from(COUNTED) { "at least " } else { "" };
    format!("open actions of {}/{}: {more}{}", of.dependency, of.operation, of.number)
}

/// Returns the durable operations, by the names of dependency and operation.
fn durable(settings: &Settings) -> impl Iterator<Item = ((String, String), &config::Operation)> {
    settings.dependencies.iter().flat_map(|dependency| {
        let durable = dependency.operations.iter().filter(|operation| operation.durable.is_some());
        durable.map(|operation| ((dependency.name.clone(), operation.name.clone()), operation))
    })
}
