//! Reads the files of the repository, so that the house rules can check them.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::process::{Outcome, output, root};

/// A file of the repository.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) path: String,
    /// The content of the file; `None` if it is not valid UTF-8.
    pub(crate) text: Option<String>,
}

/// Returns the files that git tracks, and the new files that git does not ignore.
pub(crate) fn files() -> Outcome<Vec<Source>> {
    let mut git = Command::new("git");
    // git refuses to read a clone that does not belong to the user who runs git. The tests may be run by a different
    // user than the clone's owner, so all folders are declared safe.
    git.current_dir(root()).args([
        "-c",
        "safe.directory=*",
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
    ]);
    let listed = output(&mut git)?;
    // git also lists files that were deleted without a commit. They cannot be read, so only the files that exist are
    // kept.
    let root = root();
    Ok(read(&root, listed.lines().filter(|path| root.join(path).is_file())))
}

/// Returns the files at these paths below `folder`. A file that cannot be read counts as empty.
pub(crate) fn read<'a>(folder: &Path, paths: impl Iterator<Item = &'a str>) -> Vec<Source> {
    let sources = paths.map(|path| {
        let bytes = fs::read(folder.join(path)).unwrap_or_default();
        Source { path: path.to_owned(), text: String::from_utf8(bytes).ok() }
    });
    sources.collect()
}
