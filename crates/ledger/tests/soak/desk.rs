//! The folder of a run, through which the soak and its programs speak with each other.
//!
//! Each program appends to a journal of its own. Each line is one write to the file, so a line that was written is not
//! lost when the program is killed. The soak writes two small files that the programs read: how handlers behave, and
//! whether to place more orders.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What one program uses of the folder. A clone shares the journal.
#[derive(Clone)]
pub(crate) struct Desk(Arc<Inner>);

struct Inner {
    folder: PathBuf,
    program: String,
    journal: File,
}

/// The journal of a program, by the program's name.
pub(crate) fn journal(folder: &Path, program: &str) -> PathBuf {
    folder.join(format!("{program}.journal"))
}

impl Desk {
    /// Opens the journal of the program `program`.
    pub(crate) fn open(folder: &Path, program: &str) -> std::io::Result<Desk> {
        let journal = OpenOptions::new().create(true).append(true).open(journal(folder, program))?;
        Ok(Desk(Arc::new(Inner { folder: folder.to_path_buf(), program: program.to_owned(), journal })))
    }

    pub(crate) fn program(&self) -> &str {
        &self.0.program
    }

    /// Appends a line to the journal. A line that cannot be written ends the program, since the comparison at the end
    /// would miss it.
    pub(crate) fn line(&self, text: &str) {
        (&self.0.journal).write_all(format!("{text}\n").as_bytes()).expect("the journal can be written");
    }

    /// Says that a fault of this kind took effect in this program.
    pub(crate) fn reached(&self, kind: &str) {
        self.line(&format!("reached {kind}"));
    }

    /// Returns how handlers behave now: `fail`, `panic`, or nothing in particular.
    pub(crate) fn handlers(&self) -> String {
        fs::read_to_string(self.0.folder.join("handlers")).unwrap_or_default()
    }

    /// Returns whether no more orders are to be placed.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.folder.join("closed").exists()
    }
}

/// Returns the lines of all journals.
pub(crate) fn lines(folder: &Path) -> impl Iterator<Item = String> {
    let files = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let journals = files.filter(|path| path.extension().is_some_and(|end| end == "journal"));
    let texts = journals.map(|path| fs::read_to_string(path).unwrap_or_default());
    texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
}

/// Says how handlers behave from now on.
pub(crate) fn set_handlers(folder: &Path, word: &str) {
    // A rename replaces the file whole, so that no program reads an empty one.
    let next = folder.join("handlers.next");
    let written = fs::write(&next, word).and_then(|()| fs::rename(&next, folder.join("handlers")));
    written.expect("the folder of the run can be written");
}

/// Says that no more orders are to be placed.
pub(crate) fn close(folder: &Path) {
    fs::write(folder.join("closed"), "").expect("the folder of the run can be written");
}
