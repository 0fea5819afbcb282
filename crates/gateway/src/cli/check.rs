//! `seawall check`: prints all mistakes together, or the settings in force.

use std::path::Path;

use super::failure::Failure;
use super::terminal;
use crate::config;
use crate::durable::books::Database;
use crate::durable::reloaded::undeclared;
use crate::running::process::Running;

/// Checks the file at `path`. With `ledger`, also says which actions in the ledger have not ended and are of an
/// operation that the file does not declare.
pub(super) fn run(path: &Path, ledger: bool) -> Result<(), Failure> {
    let env = |name: &str| std::env::var(name).ok();
    let loaded = config::load(path, &env)
        .map_err(|report| Failure::misuse(report.render(terminal::colour_on_errors())))?;
    // `seawall check` builds what `seawall serve` builds. This finds mistakes that would otherwise show only at a
    // start: a certificate that cannot be read, or two operations that cannot be told apart.
    Running::new(loaded.settings.clone(), 1)
        .map_err(|why| Failure::misuse(format!("{}: {why}", path.display())))?;

    let mut out = config::effective(&loaded.settings);
    if !loaded.notes.is_empty() {
        out.push_str("\nnotes\n");
        loaded.notes.iter().for_each(|note| out.push_str(&format!("  {note}\n")));
    }
    if ledger {
        out.push_str("\nthe ledger\n");
        let lines = in_ledger(&loaded.settings).map_err(|why| {
            Failure::failed(format!("{}: the ledger cannot be read: {why}", path.display()))
        })?;
        lines.iter().for_each(|line| out.push_str(&format!("  {line}\n")));
    }
    out.push_str(&format!("\n{}: no mistakes\n", path.display()));
    terminal::print(&out)
}

/// Reads from the ledger how many actions of each operation have not ended. Returns the lines that the command prints
/// about them: one for each operation that the file does not declare, or a single line if all are declared.
fn in_ledger(settings: &config::Settings) -> Result<Vec<String>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
    let open = runtime.block_on(Database::look(settings.ledger.url.reveal()));
    let Some(open) = open.map_err(|error| error.to_string())? else {
        return Ok(vec!["there is no ledger yet".to_owned()]);
    };
    let undeclared = undeclared(settings, &open);
    if undeclared.is_empty() {
        return Ok(vec!["all open actions are of operations that this file declares".to_owned()]);
    }
    Ok(undeclared)
}
