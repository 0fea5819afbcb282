//! Tests of whole configuration files: which are accepted, which are refused, and at which place in the file a mistake
//! is reported.

mod accepted;
mod declared;
mod masked;
mod refused;
mod schema;
mod taken;
mod wild;

use super::*;

const CONTRACT: &str = include_str!("fixtures/contract.toml");
const EVERYTHING: &str = include_str!("fixtures/everything.toml");
const MISTAKES: &str = include_str!("fixtures/mistakes.toml");

/// An environment with two secrets.
fn env(name: &str) -> Option<String> {
    match name {
        "PAY_KEY" => Some("sk_live_S3CRET".to_owned()),
        "DB" => Some("pg-S3CRET".to_owned()),
        _ => None,
    }
}

/// Returns the path of a configuration file in this crate's folder. Relative paths in the test files begin at that
/// folder, so they lead to files that exist.
fn name() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/seawall.toml").to_owned()
}

fn read(text: &str) -> Result<Loaded, Report> {
    parse(&name(), text, &env)
}

fn accept(text: &str) -> Loaded {
    read(text).unwrap_or_else(|report| panic!("{report}"))
}

/// Reads a text that must be refused. Returns the mistakes, each with the number of its line and its message.
fn refuse(text: &str) -> Vec<(usize, String)> {
    let report = read(text).expect_err("the text is accepted");
    report.mistakes().iter().map(|it| (it.place.unwrap().line, it.message.clone())).collect()
}

/// Returns a file with a dependency that has these lines.
fn dependency(lines: &str) -> String {
    format!("[dependency.pay]\nurl = \"https://pay.example\"\n{lines}\n")
}

/// Returns a file with a keyed operation that has these lines, which begin at line 7. Its dependency has credentials.
fn operation(lines: &str) -> String {
    dependency(&format!(
        "[[dependency.pay.operation]]\nname = \"charge\"\nmatch = \"POST /charges\"\nidempotency = \"keyed\"\n{lines}\n\
         [dependency.pay.headers]\nauthorization = \"Bearer x\""
    ))
}
