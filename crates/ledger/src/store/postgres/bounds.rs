//! Decides from which time on the index of due rows is searched.
//!
//! Each change of a row leaves its old entry in the index `action_due`. VACUUM removes such entries, and so does a
//! search that meets them. But neither can do so while a transaction is open that began before the change. A claim
//! takes the rows that are due first, so it reads all old entries of rows that were due before. While another
//! transaction had been open for 45 s, a claim took 204 ms instead of 8 ms.
//!
//! The obvious remedy is to begin each search where the last one found its first row. It misses rows: an application
//! records an action in a transaction and commits later. That row is then due before rows that were found meanwhile.
//!
//! So each operation has a *bound*, the time at which polls and claims begin to search. Bounds are used only while a
//! search without them reads many entries. The time below the bounds is searched in short *pieces*, from the bounds
//! backwards, with each poll. Once a piece has reached back to the beginning of time, the next piece begins at the
//! bounds again. If a piece has a row that is due, the bound is lowered to this row, so that the next claim takes it.
//!
//! A wrong bound loses no row; bounds only save work. Each process has its own bounds, and has none when it starts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::machine::Stamp;
use crate::store::Declared;
use crate::store::dialect::Dialect;
use crate::store::polled::{self, Answers, BEGINNING};

use super::rows::At;
use super::statements::NOW;

/// The maximum number of old and new index entries that one search for due rows should read. If a poll without bounds
/// reads more, the process begins to use bounds. Reading an old entry takes up to 5 µs. The entries are counted,
/// because the time of a poll says little: on a busy machine a short search takes long, too.
const MANY: u64 = 2000;

/// Polls and claims search for due rows of an operation only from its bound on. The bound is set this much before the
/// due time of the operation's first due row. If no row is due, it is set this much before now. The margin is for rows
/// that are written a moment after the time from which they are due.
const MARGIN: Duration = Duration::from_secs(1);

/// The length of the shortest [`Piece`]. Polls search for due rows from the bounds on. The time before the bounds is
/// searched piece by piece, and the first piece has this length. The next piece is longer if few index entries were
/// read.
const SHORTEST: Duration = Duration::from_secs(2);

/// A piece of this length or more is not limited: it reaches back to the beginning of time.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// A declared operation: the names of the dependency and of the operation.
type Name = (String, String);

/// A span of time before the bound of each operation, in which one statement searches for due rows. The span ends at
/// the time that is `back` before the bound. For example, with `back` 6 s and `length` 32 s it begins 38 s before the
/// bound and ends 6 s before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    back: Duration,
    /// `None` if the span reaches back to the beginning of time.
    length: Option<Duration>,
}

impl Piece {
    /// Returns the begin and the end of the span that this piece searches for an operation. `bound` is the time from
    /// which on polls search for that operation's due rows. The begin is `None` if the span reaches back to the
    /// beginning of time.
    pub(super) fn below(self, bound: Stamp) -> (Option<Stamp>, Stamp) {
        let end = bound.saturating_sub(self.back);
        (self.length.map(|length| end.saturating_sub(length)), end)
    }
}

/// The bounds of the declared operations of one process: the time from which on polls and claims search for the due
/// rows of an operation.
#[derive(Debug)]
pub(super) struct Bounds {
    /// The bound of each operation. Empty as long as polls read few index entries.
    of: HashMap<Name, Stamp>,
    /// The time before the bounds is searched piece by piece, backwards from the bounds to the beginning of time. Then
    /// the search starts again at the bounds. `back` is how far before the bounds it has come, and `length` is the
    /// length of the next piece.
    back: Duration,
    length: Duration,
    /// The number of index entries that the pieces have read since the last start at the bounds.
    walked: u64,
}

impl Bounds {
    pub(super) fn new() -> Bounds {
        Bounds { of: HashMap::new(), back: Duration::ZERO, length: LONGEST, walked: 0 }
    }

    /// Returns the time from which on due rows of this operation are searched; `None` if there is no bound.
    pub(super) fn from(&self, dependency: &str, operation: &str) -> Option<Stamp> {
        if self.of.is_empty() {
            return None;
        }
        self.of.get(&(dependency.to_owned(), operation.to_owned())).copied()
    }

    /// Sets the bound of each operation after a poll. `first` has the due time of the first due row of each operation,
    /// or `None` if no row is due. `walked` is the number of index entries that the poll has read. As long as there
    /// are no bounds and this number is small, none are set.
    pub(super) fn polled(
        &mut self,
        first: impl Iterator<Item = (Name, Option<Stamp>)>,
        now: Stamp,
        walked: u64,
    ) {
        if self.of.is_empty() {
            if walked < MANY {
                return;
            }
            (self.back, self.length, self.walked) = (Duration::ZERO, SHORTEST, 0);
        }
        for (name, due) in first {
            let bound = due.unwrap_or(now).min(now).saturating_sub(MARGIN);
            let before = self.of.entry(name).or_insert(bound);
            // The bound is after `now` if the database's clock was set back. Then the bound is set back, too.
            *before = if *before > now { bound } else { bound.max(*before) };
        }
    }

    /// Raises the bounds of these operations to nearly `now`. It is called after a claim that has taken all due rows
    /// that it could lock. Due rows that another transaction holds may be left before the raised bounds, where polls
    /// and claims do not search. But the time before the bounds is searched by pieces, too, and a due row that is found
    /// there lowers its bound again.
    pub(super) fn emptied(&mut self, dependency: &str, operations: &[String], now: Stamp) {
        let bound = now.saturating_sub(MARGIN);
        for operation in operations {
            if let Some(before) = self.of.get_mut(&(dependency.to_owned(), operation.clone())) {
                *before = bound.max(*before);
            }
        }
    }

    /// Returns the span of time before the bounds that is to be searched next, since polls search only from the bounds
    /// on. Returns `None` if there are no bounds.
    pub(super) fn piece(&self) -> Option<Piece> {
        let length = (self.length < LONGEST).then_some(self.length);
        (!self.of.is_empty()).then_some(Piece { back: self.back, length })
    }

    /// Notes the result of a search of the span that [`Bounds::piece`] returned. `found` has the operations for which a
    /// due row was found there, with its due time: the bound of such an operation is lowered to that time. `walked` is
    /// the number of index entries that the search has read. Returns whether the next span can be searched immediately.
    /// It cannot if this search has read [`MANY`] entries or more, or if it has reached the beginning of time.
    pub(super) fn searched(&mut self, found: impl Iterator<Item = (Name, Stamp)>, walked: u64) -> bool {
        for (name, due) in found {
            self.of.entry(name).and_modify(|bound| *bound = due.min(*bound));
        }
        self.walked = self.walked.saturating_add(walked);
        let was_last = self.length >= LONGEST;
        self.back = self.back.saturating_add(self.length);
        let few = walked < MANY;
        if few {
            self.length = self.length.saturating_mul(4).min(LONGEST);
        } else if walked > MANY * 4 {
            self.length = (self.length / 2).max(SHORTEST);
        }
        if was_last {
            if self.walked < MANY {
                self.of.clear();
            }
            (self.back, self.length, self.walked) = (Duration::ZERO, SHORTEST, 0);
        }
        few && !was_last
    }
}

/// The bounds, as all handles of a store share them.
#[derive(Clone)]
pub(super) struct SharedBounds(Arc<Mutex<Bounds>>);

impl SharedBounds {
    pub(super) fn new() -> SharedBounds {
        SharedBounds(Arc::new(Mutex::new(Bounds::new())))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Bounds> {
        // If another thread panicked while it held the lock, the bounds may be too low or too high. Both are harmless.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns for each of these operations the time from which on a claim searches for its due rows.
    pub(super) fn of(&self, declared: &Declared) -> Vec<At> {
        let bounds = self.lock();
        let from = |operation: &String| bounds.from(&declared.dependency, operation).unwrap_or(BEGINNING);
        declared.operations.iter().map(|operation| At(from(operation))).collect()
    }

    /// Returns the SQL with which a poll asks which operations have due rows. The search begins at the bounds.
    pub(super) fn question(&self, declared: &[Declared], knows: u32, within: Duration) -> String {
        let bounds = self.lock();
        polled::due(Dialect::Postgres, NOW, declared, knows, within, |dependency, operation| {
            bounds.from(dependency, operation)
        })
    }

    /// Sets the bounds, which are the times from which on later polls look for due rows. They follow from the answers
    /// to [`SharedBounds::question`].
    pub(super) fn polled(&self, declared: &[Declared], answers: &Answers) {
        if let Some(now) = answers.now {
            self.lock().polled(firsts(declared, answers), now, answers.walked);
        }
    }

    /// Returns the SQL that searches for due rows in the next span of time before the bounds, since polls search only
    /// from the bounds on. Returns `None` if there are no bounds.
    pub(super) fn question_below(&self, declared: &[Declared], knows: u32) -> Option<String> {
        let bounds = self.lock();
        let piece = bounds.piece()?;
        Some(polled::due_in(Dialect::Postgres, NOW, declared, knows, |dependency, operation| {
            let bound = bounds.from(dependency, operation).unwrap_or(BEGINNING);
            let (begin, end) = piece.below(bound);
            (begin.unwrap_or(BEGINNING), end)
        }))
    }

    /// Takes the answers to [`SharedBounds::question_below`], and lowers the bounds of the operations for which a due
    /// row was found. Returns whether the next span can be searched immediately.
    pub(super) fn searched(&self, declared: &[Declared], answers: &Answers) -> bool {
        let found = firsts(declared, answers).filter_map(|(name, due)| Some((name, due?)));
        self.lock().searched(found, answers.walked)
    }
}

/// Returns since when the first row of each operation is due.
fn firsts(declared: &[Declared], answers: &Answers) -> impl Iterator<Item = (Name, Option<Stamp>)> {
    answers.first.iter().filter_map(|(number, operation, due)| {
        Some(((declared.get(*number)?.dependency.clone(), operation.clone()), *due))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> Name {
        ("pay".to_owned(), "charge".to_owned())
    }

    fn at(seconds: i64) -> Stamp {
        Stamp::from_micros(seconds * 1_000_000)
    }

    fn walked() -> Bounds {
        let mut bounds = Bounds::new();
        bounds.polled([(name(), Some(at(1000)))].into_iter(), at(2000), 200_000);
        bounds
    }

    #[test]
    fn polls_that_read_few_entries_have_no_bound() {
        let mut bounds = Bounds::new();
        bounds.polled([(name(), Some(at(1000)))].into_iter(), at(2000), MANY - 1);
        assert_eq!((bounds.from("pay", "charge"), bounds.piece()), (None, None));
    }

    #[test]
    fn after_a_long_walk_the_search_begins_at_the_first_due_row() {
        let mut bounds = walked();
        assert_eq!(bounds.from("pay", "charge"), Some(at(999)));
        assert_eq!(bounds.from("pay", "refund"), None);
        bounds.polled([(name(), None)].into_iter(), at(2005), 1);
        assert_eq!(
            bounds.from("pay", "charge"),
            Some(at(2004)),
            "nothing is due, so the search begins at now"
        );
        bounds.polled([(name(), Some(at(1990)))].into_iter(), at(2006), 1);
        assert_eq!(bounds.from("pay", "charge"), Some(at(2004)), "a poll does not lower the bound");
        bounds.polled([(name(), None)].into_iter(), at(1500), 1);
        assert_eq!(bounds.from("pay", "charge"), Some(at(1499)), "the clock was set back");
    }

    #[test]
    fn a_row_below_the_bound_is_found_however_old_it_is() {
        for age in [1, 30, 3_000, 400_000_000] {
            let mut bounds = walked();
            let late = at(999 - age);
            let mut pieces = 0;
            while bounds.from("pay", "charge") != Some(late) {
                let bound = bounds.from("pay", "charge").unwrap();
                let (begin, end) = bounds.piece().unwrap().below(bound);
                let hit = late < end && begin.is_none_or(|begin| late >= begin);
                // The bound was 999 s at first. All old entries lie in the 60 s before it, as they do while a long
                // transaction is open. So only the spans that reach into these 60 s (after 939 s) read many entries.
                let walked = if end > at(939) { 3 * MANY } else { 1 };
                bounds.searched(hit.then(|| (name(), late)).into_iter(), walked);
                pieces += 1;
                assert!(pieces < 60, "a row of {age} s before the bound was not found");
            }
        }
    }

    #[test]
    fn a_row_that_stays_locked_does_not_hold_the_bound() {
        let mut bounds = walked();
        bounds.emptied("pay", &["charge".to_owned(), "refund".to_owned()], at(2010));
        assert_eq!((bounds.from("pay", "charge"), bounds.from("pay", "refund")), (Some(at(2009)), None));
        let mut none = Bounds::new();
        none.emptied("pay", &["charge".to_owned()], at(2010));
        assert_eq!(none.from("pay", "charge"), None);
    }

    #[test]
    fn the_bounds_end_when_a_whole_round_read_few_entries() {
        let mut bounds = walked();
        bounds.searched(std::iter::empty(), 3 * MANY);
        while bounds.searched(std::iter::empty(), 1) {}
        assert!(bounds.piece().is_some(), "the first piece of the round had many entries");
        while bounds.searched(std::iter::empty(), 1) {}
        assert_eq!((bounds.from("pay", "charge"), bounds.piece()), (None, None));
    }
}
