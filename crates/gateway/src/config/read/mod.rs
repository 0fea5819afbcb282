//! Second pass: values become settings, tables are merged, and what depends on two values is checked.
//!
//! Everything here may assume nothing of the first pass but that what is malformed was reported: such a value reads
//! as absent, and checks against it fall silent.

mod action;
mod dependency;
mod gateway;
mod operation;
mod own;
mod policies;

use toml::de::DeValue;

use super::section::{Layers, Section};
use super::settings::{HttpVersion, Settings};
use super::values::{self, Wrong};

/// The settings of a file.
pub(super) fn settings(root: &Section<'_>) -> Settings {
    let gateway = gateway::gateway(&root.child("gateway"));
    let ledger_table = root.child("ledger");
    let ledger = gateway::ledger(&ledger_table);
    let defaults = Layers(vec![root.child("defaults")]);
    let named = root.named("dependency");
    let context = dependency::Context { defaults, ledger: &ledger, ledger_table: &ledger_table };
    let dependencies = named
        .iter()
        .filter_map(|(name, section)| dependency::dependency(name, section, &context))
        .collect::<Vec<_>>();
    own::check(&named, &gateway, &dependencies);
    gateway::check_addresses(&root.child("gateway"), &named, &gateway);
    Settings { gateway, ledger, dependencies }
}

/// `"auto"`, `"1.1"`, `"2"`, and the bare numbers that people write.
pub(super) fn http_version(value: &DeValue<'_>) -> Result<HttpVersion, Wrong> {
    let wrong = || Wrong::new("this is not a version of HTTP").help("\"auto\", \"1.1\" or \"2\"");
    match value {
        DeValue::String(text) if text == "auto" => Ok(HttpVersion::Auto),
        DeValue::String(text) if text == "1.1" => Ok(HttpVersion::Http1),
        DeValue::String(text) if text == "2" => Ok(HttpVersion::Http2),
        DeValue::Integer(_) if values::integer(value) == Ok(2) => Ok(HttpVersion::Http2),
        DeValue::Float(digits) if digits.as_str() == "1.1" => Ok(HttpVersion::Http1),
        _ => Err(wrong()),
    }
}
