//! What a reconciliation found, as it is stored and shown.

use std::fmt;

use uuid::Uuid;

use super::{Amount, Difference, ListedState, Window};
use crate::action::ActionId;
use crate::machine::Stamp;
use crate::store::Standing;

/// The id of a report: a UUID of version 7, so that later ones sort later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReportId(Uuid);

impl ReportId {
    /// A new one.
    #[must_use]
    pub(crate) fn new() -> ReportId {
        ReportId(Uuid::now_v7())
    }

    /// Reads an id as [`fmt::Display`] writes it.
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

/// What a report is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// A worker has it, or will take it over once the lease of the last worker has run out.
    Running,
    /// The provider's list was read whole: the report says what differs, and nothing else differs.
    Complete,
    /// The list was not read whole. No differences are shown, since the rest of the list could explain each of them.
    Incomplete,
}

impl Status {
    /// The word for it.
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

/// One comparison of the ledger with the provider's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Its name.
    pub id: ReportId,
    /// The dependency whose provider was asked.
    pub dependency: String,
    /// The time that was compared.
    pub window: Window,
    /// The person who asked for it, or `schedule`.
    pub asked_by: String,
    /// Whether differences are corrected where the operation allows it.
    pub fix: bool,
    /// When it was asked for.
    pub asked_at: Stamp,
    /// When it became complete.
    pub finished_at: Option<Stamp>,
    /// What it is worth.
    pub status: Status,
    /// Why the last try ended without a whole list.
    pub why: Option<String>,
    /// How often the list was begun from its first page.
    pub tries: u32,
    /// When it will be asked for again; `None` for a running or complete report, and where no tries are left.
    pub next_at: Option<Stamp>,
    /// What was counted, in a complete report.
    pub totals: Option<Totals>,
}

/// Counts and sums of a complete report. A sum is `None` where amounts are not compared, or where it is too large.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Records of the window that are applied at the provider.
    pub there: u64,
    /// The sum of their amounts.
    pub sum_there: Option<Amount>,
    /// Actions recorded in the window that are applied in the ledger.
    pub here: u64,
    /// The sum of their amounts.
    pub sum_here: Option<Amount>,
    /// Records of the window on which both sides agree.
    pub agreed: u64,
    /// Of those, applied ones whose amounts were not compared because a side named none.
    pub uncompared: u64,
    /// Differences by kind, in the order of [`Difference::ALL`].
    pub differences: [u64; 6],
    /// The sum of the amounts that are only here.
    pub sum_only_here: Option<Amount>,
    /// The sum of the amounts that are only there and applied.
    pub sum_only_there: Option<Amount>,
}

impl Totals {
    /// The number of differences of this kind.
    #[must_use]
    pub fn of(&self, kind: Difference) -> u64 {
        self.differences[place(kind)]
    }

    pub(crate) fn count(&mut self, kind: Difference) {
        self.differences[place(kind)] += 1;
    }

    /// Whether nothing differs and nothing is pending.
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

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name within the report; entries are listed in this order.
    pub name: String,
    /// How the sides differ.
    pub difference: Difference,
    /// Our key, where there is one.
    pub key: Option<String>,
    /// The provider's own name for its record.
    pub id_there: Option<String>,
    /// The action, where the ledger has it.
    pub action: Option<ActionId>,
    /// Its operation.
    pub operation: Option<String>,
    /// How the action stood when it was compared.
    pub state_here: Option<Standing>,
    /// What had become of the record at the provider.
    pub state_there: Option<ListedState>,
    /// The amount that our request names.
    pub amount_here: Option<Amount>,
    /// The amount of the record.
    pub amount_there: Option<Amount>,
    /// When the record was made, according to the provider.
    pub at_there: Option<Stamp>,
    /// What was done about it, and by whom.
    pub correction: Option<String>,
}

impl ListedState {
    /// The word for it. The words' alphabetical order is the order of their weight: where a key has several records, an
    /// applied one stands for it before a cancelled one.
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

/// Adds up amounts. Once an amount is missing or the sum is too large, there is no sum, so that no wrong one is shown.
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
