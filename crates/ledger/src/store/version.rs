//! Decides which tables a program can work with, and on which rows it may work.
//!
//! The store of a ledger keeps two numbers about its tables. One is the version of the tables: the number of steps that
//! made them. The other is `works_from`: the earliest version of the program that can work with the tables. A step that
//! only adds columns does not change `works_from`, because earlier programs ignore the new columns. A step that removes
//! old columns raises `works_from`. So programs of both versions can work on one ledger during an upgrade.
//!
//! In the same way each row has a number `needs`. A program claims only rows whose `needs` is not above the highest
//! number that the program knows.

use crate::error::{StoreError, Trouble};
use crate::machine::KNOWS;

use super::Result;

/// A step that creates or changes the tables. Once a step is released, it is never edited.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) text: &'static str,
    /// The earliest version of the program that can work with the tables after this step.
    pub(crate) works_from: i64,
}

/// What a program knows: the steps that make its tables, and the rows that it can work on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Version {
    pub(crate) steps: &'static [Step],
    /// The highest `needs` of a row that this program works on.
    pub(crate) knows: u32,
}

impl Version {
    pub(crate) const fn of(steps: &'static [Step]) -> Version {
        Version { steps, knows: KNOWS }
    }

    /// Returns the version of the tables that this program makes.
    pub(crate) fn known(&self) -> i64 {
        i64::try_from(self.steps.len()).unwrap_or(i64::MAX)
    }

    /// Returns the steps that are missing in the tables of a database, with the version that each of them makes.
    /// `found` is the version of the tables. `works_from` is the earliest version of the program that can work with
    /// them.
    ///
    /// # Errors
    ///
    /// If a newer program has made the tables, and they need a newer program than this one.
    pub(crate) fn missing(&self, found: i64, works_from: i64) -> Result<impl Iterator<Item = (i64, &Step)>> {
        let known = self.known();
        if found > known && works_from > known {
            let text = format!(
                "they are of version {found}, which programs from version {works_from} can use, and this program is of \
                 version {known}: update the program"
            );
            return Err(StoreError::new(Trouble::Foreign, text));
        }
        Ok((1..).zip(self.steps).skip(usize::try_from(found).unwrap_or(0)))
    }
}
