//! stub

use crate::process::Outcome;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {}

pub(crate) fn run(_: &Options) -> Outcome<()> {
    Ok(())
}

pub(crate) fn run_all() -> Outcome<()> {
    Ok(())
}
