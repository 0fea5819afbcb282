//! Builds the program of `docs/ledger.md` as a newcomer would: in a package outside of this workspace, and only with
//! the dependencies and features that the page names.
//!
//! The tests of this workspace cannot check this. Their packages turn on all features together, and may use crates that
//! a newcomer does not have.

use std::fs;

use crate::process::{Outcome, cargo, root, said, target};

/// The page with the program.
const PAGE: &str = "docs/ledger.md";

/// Builds the newcomer's package. A compiler warning is an error, even if it is about a crate of this workspace.
pub(crate) fn check() -> Outcome<()> {
    let failed = |e: std::io::Error| format!("the package outside: {e}");
    let page = fs::read_to_string(root().join(PAGE)).map_err(failed)?;
    let folder = target().join("outside");
    fs::create_dir_all(folder.join("src")).map_err(failed)?;
    fs::write(folder.join("Cargo.toml"), manifest(block(&page, "toml")?)).map_err(failed)?;
    fs::write(folder.join("src/main.rs"), block(&page, "rust")?).map_err(failed)?;
    // The package gets the workspace's versions of all crates. So the crates that are already compiled are used again.
    fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).map_err(failed)?;
    let mut command = cargo();
    command.args(["check", "--color", "never", "--manifest-path"]).arg(folder.join("Cargo.toml"));
    let words = said(&command);
    let out = command.env("CARGO_TARGET_DIR", target()).output().map_err(failed)?;
    let text = String::from_utf8_lossy(&out.stderr);
    let warned = text.lines().any(|line| line.starts_with("warning"));
    if out.status.success() && !warned { Ok(()) } else { Err(format!("`{words}`:\n{text}")) }
}

/// Returns the first block of code in this language.
fn block<'p>(page: &'p str, language: &str) -> Outcome<&'p str> {
    let (_, rest) = page.split_once(&format!("```{language}\n")).ok_or(format!("{PAGE}: no {language}"))?;
    Ok(rest.split("```").next().unwrap_or_default())
}

/// Makes a manifest from the dependencies that the page names.
fn manifest(dependencies: &str) -> String {
    let crates = root().join("crates").display().to_string();
    let dependencies = dependencies.replace("../seawall/crates", &crates);
    format!(
        "[package]\nname = \"outside\"\nedition = \"2024\"\n\n[workspace]\n\n{dependencies}\n[profile.dev]\ndebug = \"line-tables-only\"\n"
    )
}
