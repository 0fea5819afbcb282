//! `cargo xtask bench call`: measures what a call costs in one process, compared with other libraries.
//!
//! The measuring program is a separate package outside of the workspace. So a build of the workspace does not compile
//! the other libraries; only this benchmark does.

use crate::process::{Outcome, cargo, root, run};

/// The options of `cargo xtask bench call`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Run only five rounds, and make them short.
    #[arg(long)]
    quick: bool,
    /// Run only the cases whose name contains this text.
    only: Option<String>,
}

/// Builds the measuring program and runs it. The program prints the figures.
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
