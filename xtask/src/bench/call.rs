//! `cargo xtask bench call`: measures what a call costs in one process, compared with other libraries.
//!
//! The measuring program is a package of its own outside of the workspace, so the other libraries are compiled only for
//! it.

use crate::process::{Outcome, cargo, root, run};

/// The options of a run.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Run five short rounds.
    #[arg(long)]
    quick: bool,
    /// Run only cases whose name contains this.
    only: Option<String>,
}

/// Builds the measuring program, and runs it.
pub(crate) fn call(options: &Options) -> Outcome<()> {
    let mut command = cargo();
    let manifest = root().join("xtask/bench-call/Cargo.toml");
    command.args(["run", "--release", "--quiet", "--manifest-path"]).arg(manifest).arg("--");
    if options.quick {
        command.arg("--quick");
    }
    command.args(&options.only);
    run(&mut command)
}
