//! Second pass: turns values into settings, merges tables, and checks what depends on two values.
//!
//! The first pass has reported every malformed value, and the code here relies on this. A malformed value reads as
//! absent, and checks that need it are skipped.

mod action;
mod dependency;
mod gateway;
mod operation;
mod own;
mod policies;
mod readers;
mod taken;

use super::section::{Layers, Section};
use super::settings::Settings;

/// Reads the settings of a file.
pub(super) fn settings(root: &Section<'_>) -> Settings {
    let gateway_table = root.child("gateway");
    let gateway = gateway::gateway(&gateway_table);
    let ledger_table = root.child("ledger");
    let ledger = gateway::ledger(&ledger_table);
    let defaults = Layers(vec![root.child("defaults")]);
    let named = root.named("dependency");
    let context = dependency::Context {
        defaults,
        gateway: &gateway,
        gateway_table: &gateway_table,
        ledger: &ledger,
        ledger_table: &ledger_table,
    };
    let dependencies = named
        .iter()
        .filter_map(|(name, section)| dependency::dependency(name, section, &context))
        .collect::<Vec<_>>();
    let mut operations = dependencies.iter().flat_map(|dependency| &dependency.operations);
    if ledger_table.is_present() && operations.all(|operation| operation.durable.is_none()) {
        let says = "`ledger` has no effect: no operation is durable";
        ledger_table.book.note(ledger_table.at.clone(), says);
    }
    own::check(&named, &gateway, &dependencies);
    gateway::check_addresses(&gateway_table, &named, &gateway);
    Settings { gateway, ledger, dependencies }
}
