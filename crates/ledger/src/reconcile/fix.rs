//! Decides how a difference between the ledger and the provider's list is corrected, and corrects it.
//!
//! Code that wrote the ledger's rows directly would soon break the ledger's guarantee that no effect is lost or
//! doubled. So the provider's record goes to the state machine of the action, as an input that the machine already
//! handles: in the same form as a webhook's report, or as a person's decision about a stuck action. The machine decides
//! what follows. Each correction is recorded twice: in the audit trail of the action, and in the report's entry for the
//! difference.
//!
//! An effect that the ledger does not know is never undone here, even if all corrections are allowed. Without a row in
//! the ledger, nobody can say how to undo the effect, or whether this application caused it.

use super::report::Entry;
use super::shelf::Hold;
use super::tables::Tables;
use super::{Corrections, Difference, ListedState, Reconciler};
use crate::action::{Action, ActionId};
use crate::error::{Error, Refusal};
use crate::ledger::Ledger;
use crate::machine::{self, Observed, Resolution, Rules, Stamp};
use crate::store::{Standing, Store};
use crate::wishes::By;

/// The correction of one difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Correction {
    /// The effect of the action is unknown, and the provider lists it as applied. The action is recorded as applied.
    Adopt,
    /// The action is stuck. It is resolved as applied or as not applied, as the provider's list says.
    Resolve(Resolution),
    /// The effect of the action is unknown, and the provider lists it as cancelled. A worker asks the provider about
    /// it.
    Ask,
    /// The action failed or was cancelled, and the provider lists it as applied. The effect is recorded, and a worker
    /// undoes it.
    Undo,
    /// The difference is noted in the action's audit trail. Nothing else of the action changes.
    Mark,
}

impl Correction {
    const fn as_str(self) -> &'static str {
        match self {
            Correction::Adopt | Correction::Resolve(_) => "adopted",
            Correction::Ask => "asked again",
            Correction::Undo => "to be cancelled there",
            Correction::Mark => "marked",
        }
    }
}

/// Returns how the difference of this entry is corrected. Returns `None` if the ledger has no action for it, or if
/// `allowed` permits no correction for it.
pub(super) fn step(entry: &Entry, allowed: Corrections) -> Option<Correction> {
    let same_amount = match (entry.amount_here, entry.amount_there) {
        (Some(here), Some(there)) => here == there,
        (Some(_) | None, Some(_) | None) => true,
    };
    let adopt = allowed.adopt && same_amount;
    let mark = allowed.mark.then_some(Correction::Mark);
    match (entry.difference, entry.state_here?, entry.state_there) {
        (Difference::OnlyThere, _, _) => None,
        (Difference::Pending, Standing::Unknown, Some(ListedState::Applied)) => {
            adopt.then_some(Correction::Adopt)
        }
        (Difference::Pending, Standing::Unknown, Some(ListedState::Cancelled)) => {
            adopt.then_some(Correction::Ask)
        }
        (Difference::Pending, Standing::Stuck, Some(ListedState::Applied)) if adopt => {
            Some(Correction::Resolve(Resolution::Applied))
        }
        (Difference::Pending, Standing::Stuck, Some(ListedState::Cancelled)) if adopt => {
            Some(Correction::Resolve(Resolution::NotApplied))
        }
        (Difference::Pending, _, _) => None,
        (Difference::State, Standing::Failed | Standing::Cancelled, Some(ListedState::Applied))
            if allowed.cancel =>
        {
            Some(Correction::Undo)
        }
        (Difference::State | Difference::OnlyHere | Difference::Amount | Difference::Doubled, _, _) => mark,
    }
}

impl<S: Store> Ledger<S> {
    /// Writes a note into the audit trail of an action, and returns the action. Nothing else of the action changes.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotFound`] if there is no such action, or an error of the store.
    pub async fn note(&self, id: ActionId, by: &By) -> Result<Action, Error> {
        let wish = |action: &Action, _: &Rules, now: Stamp| Ok(Some(machine::note(&action.state, now)));
        self.amend(id, Some((by, "note")), wish).await
    }
}

impl<S: Store + Tables> Reconciler<S> {
    /// Corrects the differences of a report as far as each operation allows. Skips differences that already have a
    /// correction. Returns `false` if another worker has taken the report over.
    pub(super) async fn fix(&self, hold: &Hold) -> Result<bool, Error> {
        let shelf = self.shelf();
        let mut after = String::new();
        loop {
            if !shelf.keep(hold).await? {
                return Ok(false);
            }
            let entries = shelf.entries(hold.report.id, None, &after, self.settings.batch).await?;
            let Some(last) = entries.last() else { return Ok(true) };
            after.clone_from(&last.name);
            for entry in entries.iter().filter(|entry| entry.correction.is_none()) {
                let declared = entry.operation.as_ref().and_then(|name| self.settings.operations.get(name));
                let allowed = declared.map(|compared| compared.corrections).unwrap_or_default();
                let (Some(step), Some(id)) = (step(entry, allowed), entry.action) else {
                    continue;
                };
                let what = self.correct(hold, entry, id, step).await?;
                shelf.corrected(hold.report.id, &entry.name, &what).await?;
            }
        }
    }

    async fn correct(
        &self,
        hold: &Hold,
        entry: &Entry,
        id: ActionId,
        step: Correction,
    ) -> Result<String, Error> {
        let report = &hold.report;
        let found = entry.state_there.map_or("not listed", ListedState::as_str);
        let why = format!("reconciliation {}: {}, {found} there", report.id, entry.difference.as_str());
        let by = By::new(report.asked_by.clone(), why);
        let before = self.ledger.load(id).await?;
        let done: Result<Action, Error> = match step {
            Correction::Adopt | Correction::Undo => {
                self.ledger.observe(id, Observed::Applied(None), &by).await
            }
            Correction::Ask => self.ledger.observe(id, Observed::Otherwise, &by).await,
            Correction::Resolve(as_what) => self.ledger.resolve(id, as_what, &by).await,
            Correction::Mark => self.ledger.note(id, &by).await,
        };
        match done {
            Ok(after) if after.state.version() == before.state.version() => {
                Ok("nothing: the protocol had no use for it".to_owned())
            }
            Ok(_) => Ok(format!("{} for {}", step.as_str(), report.asked_by)),
            Err(Error::Store(e)) => Err(Error::Store(e)),
            Err(Error::Refused(Refusal::NotFound)) => Ok("nothing: the action is gone".to_owned()),
            Err(e) => Ok(format!("nothing: {e}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::Amount;

    fn entry(difference: Difference, here: Option<Standing>, there: Option<ListedState>) -> Entry {
        Entry {
            name: "n".into(),
            difference,
            key: None,
            id_there: None,
            action: None,
            operation: None,
            state_here: here,
            state_there: there,
            amount_here: None,
            amount_there: None,
            at_there: None,
            correction: None,
        }
    }

    #[test]
    fn nothing_is_corrected_unless_it_is_allowed() {
        let states =
            [None, Some(ListedState::Applied), Some(ListedState::Cancelled), Some(ListedState::Other)];
        for difference in Difference::ALL {
            for here in Standing::ALL.into_iter().map(Some).chain([None]) {
                for there in states {
                    assert_eq!(step(&entry(difference, here, there), Corrections::default()), None);
                }
            }
        }
    }

    #[test]
    fn each_difference_leads_to_what_the_protocol_knows() {
        let applied = Some(ListedState::Applied);
        let cancelled = Some(ListedState::Cancelled);
        let table = [
            (Difference::OnlyThere, None, applied, None),
            (Difference::Pending, Some(Standing::Unknown), applied, Some(Correction::Adopt)),
            (Difference::Pending, Some(Standing::Unknown), cancelled, Some(Correction::Ask)),
            (Difference::Pending, Some(Standing::Unknown), None, None),
            (Difference::Pending, Some(Standing::Open), applied, None),
            (
                Difference::Pending,
                Some(Standing::Stuck),
                applied,
                Some(Correction::Resolve(Resolution::Applied)),
            ),
            (
                Difference::Pending,
                Some(Standing::Stuck),
                cancelled,
                Some(Correction::Resolve(Resolution::NotApplied)),
            ),
            (Difference::Pending, Some(Standing::Stuck), None, None),
            (Difference::State, Some(Standing::Failed), applied, Some(Correction::Undo)),
            (Difference::State, Some(Standing::Cancelled), applied, Some(Correction::Undo)),
            (Difference::State, Some(Standing::Done), cancelled, Some(Correction::Mark)),
            (Difference::OnlyHere, Some(Standing::Done), None, Some(Correction::Mark)),
            (Difference::Doubled, Some(Standing::Done), applied, Some(Correction::Mark)),
        ];
        for (difference, here, there, wanted) in table {
            assert_eq!(
                step(&entry(difference, here, there), Corrections::ALL),
                wanted,
                "{difference:?} {here:?} {there:?}"
            );
        }
    }

    #[test]
    fn another_amount_is_not_adopted() {
        let amounts = |entry: Entry| Entry {
            amount_here: Some(Amount::from(5)),
            amount_there: Some(Amount::from(6)),
            ..entry
        };
        let open = entry(Difference::Pending, Some(Standing::Unknown), Some(ListedState::Applied));
        assert_eq!(step(&amounts(open), Corrections::ALL), None);
    }
}
