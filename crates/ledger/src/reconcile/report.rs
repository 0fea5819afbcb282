//! The types of a reconciliation's result, as it is stored and shown.

use std::fmt;

use uuid::Uuid;

use super::{Amount, Difference, ListedState, Window};
use crate::action::ActionId;
use crate::machine::Stamp;
use crate::store::Standing;

/// The id of a report: a UUID of version 7, so that the ids of later reports sort later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReportId(Uuid);

impl ReportId {
    /// Makes a new id.
    #[must_use]
    pub(crate) fn new() -> ReportId {
        ReportId(Uuid::now_v7())
    }

    /// Reads an id in the form that [`fmt::Display`] writes; `None` if the text has another form.
    #[must_use]
    pub fn parse(text: &str) -> Option<ReportId> {
        Uuid::try_parse(text).ok().map(ReportId)
    }
}

impl fmt::Display for ReportId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whether a report is finished, and what its differences mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// A worker is working on the report, or another worker will take it over when the lease of the last worker ends.
    Running,
    /// The provider's list was read whole. The report has all differences.
    Complete,
    /// The list was not read whole. No differences are shown, since the rest of the list could explain each of them.
    Incomplete,
}

impl Status {
    /// The word for this status in the store and in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Status::Running => "running",
            Status::Complete => "complete",
            Status::Incomplete => "incomplete",
        }
    }

    pub(crate) fn parse(word: &str) -> Option<Status> {
        [Status::Running, Status::Complete, Status::Incomplete].into_iter().find(|s| s.as_str() == word)
    }
}

/// One comparison of the ledger with the provider's list, and its result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The id of the report.
    pub id: ReportId,
    /// The dependency whose provider was asked.
    pub dependency: String,
    /// The window of time that was compared.
    pub window: Window,
    /// The person who requested the report, or `schedule`.
    pub asked_by: String,
    /// Whether the differences of this report are corrected, as far as the operation allows.
    pub fix: bool,
    /// When the report was requested.
    pub asked_at: Stamp,
    /// When the report became complete; `None` if it is not complete.
    pub finished_at: Option<Stamp>,
    /// Whether the report is running, complete or incomplete.
    pub status: Status,
    /// Why the list could not be read whole the last time that it was read; `None` if no reading has failed.
    pub why: Option<String>,
    /// The number of tries so far. Each try begins to read the list at its first page.
    pub tries: u32,
    /// When the list will be asked for again. `None` if the report is running or complete, or if the list will not be
    /// read again.
    pub next_at: Option<Stamp>,
    /// The counts and sums of a complete report; `None` otherwise.
    pub totals: Option<Totals>,
}

/// The counts and sums of a complete report. A sum is `None` if one of its amounts is missing, or if the sum is too
/// large. The two sums of the ledger's amounts, `sum_here` and `sum_only_here`, are also `None` if amounts are not
/// compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// The number of records of the window that are applied at the provider.
    pub there: u64,
    /// The sum of the amounts of the records that are counted in `there`. `None` if one of them has no amount, or if
    /// the sum is too large.
    pub sum_there: Option<Amount>,
    /// The number of actions of the compared operations that were recorded in the window and are applied in the ledger.
    pub here: u64,
    /// The sum of the amounts of the actions that are counted in `here`. `None` if amounts are not compared, if one of
    /// these actions has no amount, or if the sum is too large.
    pub sum_here: Option<Amount>,
    /// The number of the provider's records of the window that agree with the ledger.
    pub agreed: u64,
    /// The number of applied records that are counted in `agreed` although the amounts could not be compared, because
    /// the record or our request names no amount.
    pub uncompared: u64,
    /// The number of differences of each kind, in the order of [`Difference::ALL`].
    pub differences: [u64; 6],
    /// The sum of the amounts of the actions that are [`Difference::OnlyHere`]. `None` in the same cases as for
    /// `sum_here`.
    pub sum_only_here: Option<Amount>,
    /// The sum of the amounts of the applied records that are [`Difference::OnlyThere`]. `None` in the same cases as
    /// for `sum_there`.
    pub sum_only_there: Option<Amount>,
}

impl Totals {
    /// Returns the number of differences of this kind.
    #[must_use]
    pub fn of(&self, kind: Difference) -> u64 {
        self.differences[place(kind)]
    }

    pub(crate) fn count(&mut self, kind: Difference) {
        self.differences[place(kind)] += 1;
    }

    /// Returns whether the report has no difference of any kind, pending ones included.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.differences.iter().all(|count| *count == 0)
    }
}

fn place(kind: Difference) -> usize {
    match kind {
        Difference::OnlyHere => 0,
        Difference::OnlyThere => 1,
        Difference::Amount => 2,
        Difference::State => 3,
        Difference::Doubled => 4,
        Difference::Pending => 5,
    }
}

/// One difference of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name of the entry within its report. Entries are listed in the order of their names.
    pub name: String,
    /// How the ledger and the provider's list differ.
    pub difference: Difference,
    /// Our key; `None` if the provider's record has no key.
    pub key: Option<String>,
    /// The provider's own name for its record; `None` if there is no record, or if it has no name.
    pub id_there: Option<String>,
    /// The id of the action; `None` if the ledger has no action with the key.
    pub action: Option<ActionId>,
    /// The operation of the action; `None` if there is no action.
    pub operation: Option<String>,
    /// The state of the action when it was compared; `None` if there is no action.
    pub state_here: Option<Standing>,
    /// The state of the provider's record when it was listed; `None` if there is no record.
    pub state_there: Option<ListedState>,
    /// The amount of the action: the one in its row, or else the one that is read from its request. `None` if there is
    /// neither.
    pub amount_here: Option<Amount>,
    /// The amount that the provider's record names; `None` if there is none.
    pub amount_there: Option<Amount>,
    /// When the record was made, according to the provider; `None` if that is not known.
    pub at_there: Option<Stamp>,
    /// What was done about the difference, and in whose name; `None` if nothing was done.
    pub correction: Option<String>,
}

impl ListedState {
    /// Returns the word for this state in the store and in reports. The alphabetical order of the words matters: if a
    /// key has several records, the record whose word comes first stands for the key. So an applied record comes before
    /// a cancelled one.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            ListedState::Applied => "applied",
            ListedState::Cancelled => "cancelled",
            ListedState::Other => "other",
        }
    }

    pub(crate) fn parse(word: &str) -> Option<ListedState> {
        [ListedState::Applied, ListedState::Cancelled, ListedState::Other]
            .into_iter()
            .find(|state| state.as_str() == word)
    }
}

/// A sum of amounts. `None` means that an amount is missing or that the sum is too large; then no sum is shown, because
/// it would be wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sum(Option<Amount>);

impl Default for Sum {
    fn default() -> Sum {
        Sum(Some(Amount::ZERO))
    }
}

impl Sum {
    pub(crate) fn add(&mut self, amount: Option<Amount>) {
        self.0 = self.0.and_then(|sum| sum.plus(amount?));
    }

    pub(crate) const fn total(self) -> Option<Amount> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_counted_in_its_own_place() {
        let mut totals = Totals::default();
        for (times, kind) in Difference::ALL.into_iter().enumerate() {
            (0..=times).for_each(|_| totals.count(kind));
        }
        let counts: Vec<u64> = Difference::ALL.into_iter().map(|kind| totals.of(kind)).collect();
        assert_eq!(counts, [1, 2, 3, 4, 5, 6]);
        assert!(!totals.is_clean() && Totals::default().is_clean());
    }

    #[test]
    fn a_sum_with_a_missing_part_is_no_sum() {
        let mut sum = Sum::default();
        sum.add(Some(Amount::from(2)));
        assert_eq!(sum.total(), Some(Amount::from(2)));
        sum.add(None);
        sum.add(Some(Amount::from(2)));
        assert_eq!(sum.total(), None);
    }
}
