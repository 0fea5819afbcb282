//! Compares the ledger's row and the provider's record of one key.
//!
//! Perhaps an action had not ended when the provider was asked for its list. If the row and the record of such an
//! action do not agree, the result is only [`Difference::Pending`]: a later report will decide.
//!
//! The obvious rule would compare the two lists as they are. It would report many keys that are only late:
//!
//! - an action that was sent while the list was being read;
//! - a charge that was cancelled after its page of the list was read;
//! - an action about which a worker will soon ask the provider.
//!
//! In the next report, these differences would be gone. So people would learn to ignore the reports.

use super::{Amount, ListedState};
use crate::machine::{End, Goal, Known};

/// How the ledger and the provider's list differ about one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Difference {
    /// The action is applied and settled in the ledger, and the provider's list has no record of its key.
    OnlyHere,
    /// The provider lists a record, but the ledger has no row with its key.
    OnlyThere,
    /// The effect is applied both in the ledger and in the provider's list, but with different amounts.
    Amount,
    /// The ledger and the provider's list both have the key, but the effect is applied in only one of them.
    State,
    /// The provider applied the effect of one key more than once.
    Doubled,
    /// The ledger and the provider's list do not agree about an action, but the action may still change. It is stuck,
    /// so a person will decide about it. Or it was still under way when the provider was asked for its list. A later
    /// report will decide.
    Pending,
}

impl Difference {
    /// All kinds of differences.
    pub const ALL: [Difference; 6] = [
        Difference::OnlyHere,
        Difference::OnlyThere,
        Difference::Amount,
        Difference::State,
        Difference::Doubled,
        Difference::Pending,
    ];

    /// Returns the word for this kind of difference in the store and in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Difference::OnlyHere => "only-here",
            Difference::OnlyThere => "only-there",
            Difference::Amount => "amount",
            Difference::State => "state",
            Difference::Doubled => "doubled",
            Difference::Pending => "pending",
        }
    }

    /// Finds the kind of difference for which [`Difference::as_str`] returns this word; `None` if there is none.
    #[must_use]
    pub fn parse(word: &str) -> Option<Difference> {
        Difference::ALL.into_iter().find(|difference| difference.as_str() == word)
    }
}

/// The part of a row that the comparison needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Here {
    pub(crate) goal: Goal,
    pub(crate) known: Known,
    pub(crate) end: Option<End>,
    /// Whether the row was final before the provider was asked for its list: the action had ended, and no request that
    /// was sent for it could still arrive.
    pub(crate) rested: bool,
    pub(crate) amount: Option<Amount>,
}

impl Here {
    /// Whether the effect is applied according to the ledger.
    pub(crate) fn counts(&self) -> bool {
        self.goal == Goal::Perform && self.known == Known::Applied
    }
}

/// The part of a record that the comparison needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct There {
    pub(crate) state: ListedState,
    pub(crate) amount: Option<Amount>,
}

/// Returns how the row and the record of one key differ; `None` if they agree. `here` is `None` if the ledger has no
/// row with the key, and `there` is `None` if the provider lists no record.
pub(crate) fn judge(here: Option<&Here>, there: Option<&There>) -> Option<Difference> {
    let Some(here) = here else { return there.map(|_| Difference::OnlyThere) };
    let Some(end) = here.end else { return unless_agreed(here, there) };
    match end {
        End::Stuck => unless_agreed(here, there),
        End::Done | End::Failed | End::Cancelled if !here.rested => unless_agreed(here, there),
        End::Done => match there.map(|there| there.state) {
            None => Some(Difference::OnlyHere),
            Some(ListedState::Applied) => amounts(here, there),
            Some(ListedState::Cancelled | ListedState::Other) => Some(Difference::State),
        },
        End::Failed | End::Cancelled => match there.map(|there| there.state) {
            Some(ListedState::Applied) => Some(Difference::State),
            Some(ListedState::Cancelled | ListedState::Other) | None => None,
        },
    }
}

/// Compares the row of an action that may still change with the provider's record. Returns `None` if the row and the
/// record agree already, and [`Difference::Pending`] otherwise.
fn unless_agreed(here: &Here, there: Option<&There>) -> Option<Difference> {
    let over = matches!(here.end, Some(End::Failed | End::Cancelled));
    let agreed = match there.map(|there| there.state) {
        Some(ListedState::Applied) => here.counts() && amounts(here, there).is_none(),
        Some(ListedState::Cancelled | ListedState::Other) | None => over,
    };
    if agreed { None } else { Some(Difference::Pending) }
}

/// Compares the amounts of the row and the record. Returns [`Difference::Amount`] if they differ. Returns `None` if
/// they are equal or if one of them is missing. The report counts a record with a missing amount as not compared.
fn amounts(here: &Here, there: Option<&There>) -> Option<Difference> {
    match (here.amount, there.and_then(|there| there.amount)) {
        (Some(ours), Some(theirs)) if ours != theirs => Some(Difference::Amount),
        (Some(_) | None, Some(_) | None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::NotApplied;

    const YES: Known = Known::Applied;
    const NO: Known = Known::NotApplied(NotApplied::Refused);
    const SOME_TIME: Option<i64> = Some(5);

    fn here(goal: Goal, known: Known, end: Option<End>, rested: bool) -> Here {
        Here { goal, known, end, rested, amount: Some(Amount::from(5)) }
    }

    fn there(state: ListedState, amount: Option<i64>) -> There {
        There { state, amount: amount.map(Amount::from) }
    }

    #[test]
    fn every_pair_has_its_verdict() {
        use Difference as D;
        use Goal::{Cancel, Perform};
        use ListedState as L;
        let done = here(Perform, YES, Some(End::Done), true);
        let failed = here(Perform, NO, Some(End::Failed), true);
        let cancelled = here(Cancel, NO, Some(End::Cancelled), true);
        let open = here(Perform, Known::Unknown, None, true);
        let unsettled = here(Perform, YES, None, true);
        let undoing = here(Cancel, YES, None, true);
        let stuck = here(Perform, Known::Unknown, Some(End::Stuck), true);
        let moved = |row: Here| Here { rested: false, ..row };
        // The columns are the action's state in the provider's list: applied, cancelled, another state, not listed.
        let table = [
            (done, [None, Some(D::State), Some(D::State), Some(D::OnlyHere)]),
            (failed, [Some(D::State), None, None, None]),
            (cancelled, [Some(D::State), None, None, None]),
            (open, [Some(D::Pending); 4]),
            (unsettled, [None, Some(D::Pending), Some(D::Pending), Some(D::Pending)]),
            (undoing, [Some(D::Pending); 4]),
            (stuck, [Some(D::Pending); 4]),
            (moved(done), [None, Some(D::Pending), Some(D::Pending), Some(D::Pending)]),
            (moved(failed), [Some(D::Pending), None, None, None]),
            (moved(cancelled), [Some(D::Pending), None, None, None]),
        ];
        for (row, verdicts) in table {
            let theirs = [Some(L::Applied), Some(L::Cancelled), Some(L::Other), None];
            for (state, verdict) in theirs.into_iter().zip(verdicts) {
                let record = state.map(|state| there(state, SOME_TIME));
                assert_eq!(judge(Some(&row), record.as_ref()), verdict, "{row:?} {state:?}");
            }
        }
        for state in [L::Applied, L::Cancelled, L::Other] {
            assert_eq!(judge(None, Some(&there(state, None))), Some(D::OnlyThere));
        }
        assert_eq!(judge(None, None), None);
    }

    #[test]
    fn amounts_differ_only_where_both_sides_name_one_and_both_applied() {
        let done = here(Goal::Perform, YES, Some(End::Done), true);
        let other = there(ListedState::Applied, Some(6));
        assert_eq!(judge(Some(&done), Some(&other)), Some(Difference::Amount));
        assert_eq!(judge(Some(&done), Some(&there(ListedState::Applied, None))), None);
        let silent = Here { amount: None, ..done };
        assert_eq!(judge(Some(&silent), Some(&other)), None);
        let unsettled = Here { end: None, ..done };
        assert_eq!(judge(Some(&unsettled), Some(&other)), Some(Difference::Pending));
        let failed = here(Goal::Perform, NO, Some(End::Failed), true);
        assert_eq!(judge(Some(&failed), Some(&there(ListedState::Cancelled, Some(6)))), None);
    }

    #[test]
    fn words_are_read_back() {
        for difference in Difference::ALL {
            assert_eq!(Difference::parse(difference.as_str()), Some(difference));
        }
        assert_eq!(Difference::parse("odd"), None);
    }
}
