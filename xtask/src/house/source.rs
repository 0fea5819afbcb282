//! The files of the repository, as the rules see them.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::process::{Outcome, output, root};

/// A file of the repository.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) path: String,
    /// `None` for a file that is not text.
    pub(crate) text: Option<String>,
}

/// The files that git tracks or would add; ignored files are left out.
pub(crate) fn files() -> Outcome<Vec<Source>> {
    let mut git = Command::new("git");
    // The clone may belong to a different user from the one that runs the tests.
    git.current_dir(root()).args([
        "-c",
        "safe.directory=*",
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
    ]);
    let listed = output(&mut git)?;
    // git also lists a file that is deleted without a commit, but such a file cannot be read.
    let root = root();
    Ok(read(&root, listed.lines().filter(|path| root.join(path).is_file())))
}

/// Files below a folder.
pub(crate) fn read<'a>(folder: &Path, paths: impl Iterator<Item = &'a str>) -> Vec<Source> {
    let sources = paths.map(|path| {
        let bytes = fs::read(folder.join(path)).unwrap_or_default();
        Source { path: path.to_owned(), text: String::from_utf8(bytes).ok() }
    });
    sources.collect()
}
