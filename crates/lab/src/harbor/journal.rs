//! The books in a file: the requests in the order in which they were seen and done, one JSON line for each.
//!
//! The content of the books follows from the requests and their order alone. So a line holds a request and not its
//! result, and opening the file works off the requests again. The obvious file, a copy of the books that is written
//! again after each change, grows with the square of their length and can be caught half written.
//!
//! Work is written down before it is done, in one write: where the harbor is killed between the two, the work counts as
//! done. A last line without its line end counts as not done.

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

/// One line of it.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Line {
    /// The first line: the number at which ids begin.
    Begun { start: u32, made: u64 },
    /// A request was read whole.
    Seen { asked: Asked },
    /// Its work was done at that time.
    Done { at: Timestamp, asked: Asked },
}

impl Journal {
    /// Opens or makes the file, and returns its lines, which the books work off again. A new file has none.
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

    /// Empties the file.
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
