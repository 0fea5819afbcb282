//! `seawall check`: prints all mistakes together, or the settings in force.

use std::path::Path;

use super::failure::Failure;
use super::terminal;
use crate::config;
use crate::running::process::Running;

pub(super) fn run(path: &Path) -> Result<(), Failure> {
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
    out.push_str(&format!("\n{}: no mistakes\n", path.display()));
    terminal::print(&out)
}
