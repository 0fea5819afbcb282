//! Decides what the end of a cancel attempt changes in the row.

use super::stuck::Stuck;
use super::told::{Case, Report, Told, Undone};
use super::transition::Draft;
use super::write::Evidence;
use super::{AttemptOutcome, AttemptRow, CancelKind, Known, NotApplied};

impl Case<'_> {
    /// Handles the end of a cancel attempt.
    pub(super) fn cancelled(&self, line: AttemptRow, how: Undone, report: Report) -> Told {
        let outcome = match how {
            Undone::Yes => AttemptOutcome::Yes,
            Undone::NoSuch | Undone::Refused | Undone::Never => AttemptOutcome::No,
            Undone::NotSent => AttemptOutcome::NotSent,
            Undone::Unknown => AttemptOutcome::Unknown,
        };
        let closed = self.closed(&line, outcome, &report);
        let under_way = self.state.in_flight() == Some(line.number);
        if !self.is_mine(line.fence) || !under_way || self.state.end.is_some() {
            return Told::Late(Evidence(closed));
        }
        let mut draft = Draft::at(self.state, self.time);
        draft.log(closed);
        draft.set_in_flight(None);
        match how {
            Undone::Yes => draft.cancelled_there(self.rules),
            Undone::NoSuch => self.no_such(&mut draft, &report),
            Undone::Refused => self.refused(&mut draft, &report),
            Undone::Never => draft.stick(Stuck::CannotBeUndone),
            Undone::NotSent => {
                draft.close_one_cancel();
                draft.to.undo.tries = draft.to.undo.tries.saturating_sub(1);
                self.undid_nothing(draft.to.logged, &mut draft, &report);
            }
            Undone::Unknown => self.undid_nothing(draft.to.undo.tries, &mut draft, &report),
        }
        draft.conclude(self.rules, self.origin);
        Told::Write(draft.rested())
    }

    /// Handles a cancel that is not known to have undone the effect: plans when the next one is sent. The wait before
    /// that grows with `tries`. If no cancel has undone anything for as long as the rules allow, the row is stuck.
    fn undid_nothing(&self, tries: u32, draft: &mut Draft, report: &Report) {
        draft.to.next_at = self.later(tries, report);
        if draft.brought_nothing(self.rules) {
            draft.stick(Stuck::CancelledForTooLong);
        }
    }

    /// Handles the answer "no such effect" to a cancel. The key of this cancel is not used again, since the provider
    /// may repeat its first answer to every later request with the same key. The answer is believed only if the first
    /// cancel of this generation (of those with the same key) was sent after the quiet time. Before that, the perform
    /// attempt might still arrive.
    fn no_such(&self, draft: &mut Draft, report: &Report) {
        let seen = self.state.sent.is_some_and(|sent| sent.seen);
        let early = self.state.undo.open.as_ref().is_some_and(|open| open.early);
        match self.state.known {
            Known::Unknown if early || !self.time.is_sure() => {
                draft.next_generation();
                draft.to.failing_since = None;
                draft.to.undo.tries = draft.to.undo.tries.saturating_sub(1);
                draft.to.next_at = self.time.rested(self.quiet_until().unwrap_or(self.now));
            }
            Known::Unknown if !seen && self.wants_another_absence(draft) => {
                draft.next_generation();
                draft.to.failing_since = None;
                draft.to.undo.tries = draft.to.undo.tries.saturating_sub(1);
                draft.to.next_at = self.now.saturating_add(self.rules.quiet);
            }
            Known::Unknown if !seen => {
                draft.to.undo.open = None;
                draft.absent(self.rules, Known::NotApplied(NotApplied::NoSuch));
            }
            // The effect is known to exist, or the provider has said that the attempt arrived. So "no such" is not
            // believed.
            Known::Unknown | Known::Applied | Known::Never | Known::NotApplied(_) => {
                draft.next_generation();
                self.undid_nothing(draft.to.undo.tries, draft, report);
            }
        }
    }

    /// Counts an answer "no such". Returns whether more such answers are needed before they are believed.
    fn wants_another_absence(&self, draft: &mut Draft) -> bool {
        let wanted = self.rules.cancel.as_ref().map_or(1, |cancel| cancel.absences);
        let absences = &mut draft.to.questions.absences;
        *absences = absences.saturating_add(1);
        *absences < wanted
    }

    /// Handles a refused cancel. Usually the next cancel gets a new key, since a provider that saves answers would
    /// repeat its refusal to the same key. The key stays in one case: an earlier cancel under this key has no answer.
    /// It may have undone the effect, and a cancel under a new key could undo the effect twice. Then this refusal
    /// counts like a missing answer.
    fn refused(&self, draft: &mut Draft, report: &Report) {
        let alone = self.state.undo.open.as_ref().is_none_or(|open| open.count == 1);
        let sets_a_state = self.rules.cancel.as_ref().is_some_and(|cancel| cancel.kind == CancelKind::State);
        if alone || sets_a_state {
            draft.next_generation();
        }
        self.undid_nothing(draft.to.undo.tries, draft, report);
    }
}
