//! Keeps the books in a file: one JSON line for each request that came, and one for each work that was done, in the
//! order in which this happened.
//!
//! The content of the books depends only on the requests and their order. So a line holds a request and not its result,
//! and the requests are done again when the file is opened. A copy of the whole books after each change would be
//! simpler. But then the number of bytes written would grow with the square of the number of changes, and a kill could
//! leave a copy that is half written.
//!
//! The line for a request's work is written before the work is done, in one write. If the harbor is killed after this
//! write and before the work, the work counts as done. If the last line of the file has no line end, the work of that
//! line counts as not done.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::asked::Asked;

/// An open file of books.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
}

/// One line of the file.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Line {
    /// The first line. It holds the two numbers from which the ids of charges and refunds are made: `start`, which is
    /// random, and `made`, which counts the ids.
    Begun { start: u32, made: u64 },
    /// A request was read whole.
    Seen { asked: Asked },
    /// The work of a request was done at the time `at`.
    Done { at: Timestamp, asked: Asked },
}

impl Journal {
    /// Opens the file or creates it. Returns its lines in their order, so that the books can apply them again; a new
    /// file has none. If the last line is incomplete, it is removed from the file. Fails if the file cannot be opened
    /// or read, if another process has locked it, or if it holds something other than books.
    pub(super) fn open(path: &Path) -> io::Result<(Journal, Vec<Line>)> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        file.try_lock()?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let numbered = text[..whole].split_inclusive(|byte| *byte == b'\n').zip(1_u32..);
        let lines = numbered.map(|(line, number)| {
            serde_json::from_slice(line).map_err(|error| {
                let what = format!("{}: line {number} is none of the books: {error}", path.display());
                io::Error::new(io::ErrorKind::InvalidData, what)
            })
        });
        let lines = lines.collect::<io::Result<Vec<Line>>>()?;
        let mut journal = Journal { file };
        journal.cut(whole as u64)?;
        Ok((journal, lines))
    }

    /// Empties the file and writes its first line.
    pub(super) fn begin(&mut self, start: u32, made: u64) -> io::Result<()> {
        self.cut(0)?;
        self.write(&Line::Begun { start, made })
    }

    pub(super) fn write(&mut self, line: &Line) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        self.file.write_all(&bytes)
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.file.set_len(length)?;
        self.file.seek(io::SeekFrom::End(0)).map(|_| ())
    }
}
