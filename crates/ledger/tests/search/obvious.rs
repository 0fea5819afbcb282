//! The machine, and what it becomes when one of its rules is replaced by the obvious one.
//!
//! The machine itself has no switches. The obvious rule is put around the machine: it changes the machine's input and
//! output.

use seawall_ledger::machine::{
    self, AttemptOutcome, CancelBy, CancelKind, End, Event, Found, Goal, Known, NotApplied, NotCancelled,
    NotSettled, Origin, Owner, Performed, Question, Rules, Stamp, State, Step, Told, Undone, Write,
};
use seawall_policy::{Draw, Idempotency};

/// A rule that one would write first, and that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Obvious {
    /// An attempt's "no" is the action's outcome.
    NoIsTheOutcome,
    /// 401, 403 and 422 are definite, even as an answer to a repeat.
    EveryRefusalIsDefinite,
    /// All cancels of an action have the same key.
    OneCancelKey,
    /// A net cancel believes the answer "no such charge" even before the quiet time is over.
    NetCancelBelieves,
    /// "Not found" is believed if its answer is written after the quiet time, whenever the question was asked.
    QuietWhenWritten,
    /// The quiet time counts from the record of the attempt.
    QuietFromRecord,
    /// Instead of waiting for the quiet time, the provider is asked twice.
    AskTwice,
    /// `settle` returns `false`, and no caller checks that.
    SettleReturnsFalse,
    /// The deadline is read first, and written later without a check in between.
    DeadlineReadsThenWrites,
    /// An outcome settles the action whatever its goal is.
    OutcomeSettlesAnyGoal,
    /// The record of an attempt checks only the fence.
    RecordTestsOnlyFence,
    /// The deadline to settle applies only to an action that is applied.
    DeadlineOnlyOnceApplied,
    /// An attempt may be sent again as long as the key lives when it is recorded.
    ResendUntilKeyEnds,
    /// The plan and the guard are two rules, so that the plan may say "perform" and the guard "no".
    PlanAndGuardDiffer,
    /// A refund is sent again if its answer was lost.
    RefundSentAgain,
    /// "Retry" on a stuck cancel performs the action again.
    RetryPerforms,
    /// After "absent" an attempt is sent again, even if the provider knows no keys.
    AbsentSendsAgain,
    /// The provider is not asked after the end of an action.
    NothingAfterTheEnd,
    /// A cancel names an id that was only in the lost answer.
    CancelByLostId,
    /// The members of a scope settle one by one.
    ScopeSettlesApart,
    /// If a member of a scope fails, the others are not cancelled.
    ScopeIsNotTold,
    /// An attempt is sent even after its `send_by`.
    SendsLate,
    /// The question after an absence is asked at the planned time, although a cancel came meanwhile.
    AuditRightAfterACancel,
    /// After a late "yes" to a closed action, the provider is asked immediately.
    LateYesAsksAtOnce,
    /// Without keys, one cancel is taken as enough, although another attempt is on its way.
    UndoesWhatMayReturn,
}

/// The machine that is searched, with one obvious rule or none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Machine {
    pub(crate) obvious: Option<Obvious>,
}

impl Machine {
    fn is(&self, what: Obvious) -> bool {
        self.obvious == Some(what)
    }

    pub(crate) fn plan(&self, row: &State, rules: &Rules, origin: Origin, now: Stamp, owner: Owner) -> Step {
        let settle_by = row.settle_by;
        let mut row = row.clone();
        let mut rules = rules.clone();
        let mut origin = origin;
        match self.obvious {
            Some(Obvious::DeadlineOnlyOnceApplied) if row.known != Known::Applied => row.settle_by = None,
            Some(Obvious::ResendUntilKeyEnds) => {
                rules.key_lifetime += rules.attempt + rules.network + rules.pause;
            }
            Some(Obvious::PlanAndGuardDiffer) => rules.key_lifetime *= 1000,
            Some(Obvious::RefundSentAgain) => {
                if let Some(cancel) = &mut rules.cancel {
                    cancel.kind = CancelKind::State;
                }
            }
            Some(Obvious::CancelByLostId) => {
                if let Some(cancel) = &mut rules.cancel {
                    cancel.by_key = true;
                }
            }
            Some(Obvious::UndoesWhatMayReturn) => rules.idempotency = Idempotency::Keyed,
            Some(Obvious::ScopeSettlesApart) => origin.scoped = false,
            Some(Obvious::RecordTestsOnlyFence | Obvious::DeadlineReadsThenWrites) => {
                if let Some(step) = self.blindly(&row, &rules, origin, now, owner) {
                    return step;
                }
            }
            Some(_) | None => {}
        }
        let mut step = machine::plan(&row, &rules, origin, now, owner);
        match &mut step {
            Step::Change(write) | Step::Perform(write) | Step::Cancel(write) => {
                if self.is(Obvious::DeadlineOnlyOnceApplied) {
                    write.to.settle_by = write.to.settle_by.or(settle_by);
                }
                self.bend(write, &rules);
            }
            Step::Leave | Step::Ask(_) | Step::SettleScope => {}
        }
        step
    }

    /// A step that was planned for a row before the application changed it, and that is written without a check for
    /// that change.
    fn blindly(&self, row: &State, rules: &Rules, origin: Origin, now: Stamp, owner: Owner) -> Option<Step> {
        let goal = if self.is(Obvious::RecordTestsOnlyFence) { Goal::Perform } else { row.goal };
        let before = State { goal, end: None, settled: false, owner: Some(owner), ..row.clone() };
        let changed = matches!(row.end, Some(End::Done | End::Cancelled)) && row.owner == Some(owner);
        match machine::plan(&before, rules, origin, now, owner) {
            Step::Perform(mut write) if changed && self.is(Obvious::RecordTestsOnlyFence) => {
                (write.to.goal, write.to.end) = (row.goal, row.end);
                Some(Step::Perform(write))
            }
            Step::Change(mut write) if changed && self.is(Obvious::DeadlineReadsThenWrites) => {
                write.to.settled = row.settled;
                Some(Step::Change(write))
            }
            _ => None,
        }
    }

    /// Changes a worker's write as the obvious rule would make it.
    fn bend(&self, write: &mut Write, rules: &Rules) {
        let line = write.attempt.clone();
        match self.obvious {
            Some(Obvious::OneCancelKey) => {
                write.to.cancel_gen = 0;
                if let Some(line) = &mut write.attempt {
                    line.generation = 0;
                    write.to.cancel_gen_early = !line.after_quiet;
                }
            }
            Some(Obvious::QuietFromRecord) => {
                if let Some(line) =
                    line.filter(|line| line.ended_at.is_none() && write.to.quiet_until.is_some())
                {
                    write.to.quiet_until = Some(line.recorded_at.saturating_add(rules.quiet));
                }
            }
            Some(Obvious::NothingAfterTheEnd) => write.to.audit_at = None,
            Some(_) | None => {}
        }
    }

    pub(crate) fn told(
        &self,
        row: &State,
        rules: &Rules,
        origin: Origin,
        owner: Owner,
        event: Event,
        now: Stamp,
    ) -> Told {
        let mut row = row.clone();
        let mut event = event;
        match (self.obvious, &mut event) {
            (Some(Obvious::QuietWhenWritten), Event::Confirmed(question, _, _)) => question.asked_at = now,
            (Some(Obvious::NetCancelBelieves), Event::Cancelled(_, Undone::NoSuch, _)) => {
                row.cancel_gen_early = false
            }
            (Some(Obvious::AskTwice), Event::Confirmed(question, Found::Absent, _)) => {
                return self.ask_twice(&row, rules, origin, owner, *question, now);
            }
            (Some(Obvious::UndoesWhatMayReturn), _) => {
                let rules = Rules { idempotency: Idempotency::Keyed, ..rules.clone() };
                return machine::told(&row, &rules, origin, owner, event, now, LATEST);
            }
            (Some(Obvious::AbsentSendsAgain), Event::Confirmed(..)) => {
                let rules = Rules { resend_absent: true, ..rules.clone() };
                return machine::told(&row, &rules, origin, owner, event, now, LATEST);
            }
            (Some(Obvious::EveryRefusalIsDefinite), Event::Performed(_, Performed::No, _)) => {
                let rules = Rules { saves_refusals: true, ..rules.clone() };
                if let Event::Performed(_, _, report) = &mut event {
                    report.status = Some(402);
                }
                return machine::told(&row, &rules, origin, owner, event, now, LATEST);
            }
            (Some(Obvious::NoIsTheOutcome), Event::Performed(_, Performed::NotSent | Performed::No, _)) => {
                row.open_attempts = row.open_attempts.min(1);
                if let Event::Performed(line, how, _) = &mut event {
                    *how = Performed::No;
                    line.outcome = AttemptOutcome::No;
                }
            }
            (Some(_) | None, _) => {}
        }
        let late_yes = row.end.is_some() && matches!(event, Event::Performed(_, Performed::Yes(_), _));
        let mut told = machine::told(&row, rules, origin, owner, event, now, LATEST);
        if let Told::Write(write) = &mut told {
            self.bend(write, rules);
            let cancelled = write.to.known == Known::NotApplied(NotApplied::Cancelled);
            if self.is(Obvious::AuditRightAfterACancel) && cancelled {
                write.to.audit_at = row.audit_at;
            }
            if self.is(Obvious::LateYesAsksAtOnce) && late_yes {
                write.to.audit_at = Some(now);
            }
            if self.is(Obvious::OutcomeSettlesAnyGoal)
                && write.to.known == Known::Applied
                && write.to.end.is_none()
            {
                write.to.settled = true;
                write.to.end = Some(End::Done);
            }
        }
        told
    }

    /// Believes two absences, however shortly one follows the other.
    fn ask_twice(
        &self,
        row: &State,
        rules: &Rules,
        origin: Origin,
        owner: Owner,
        question: Question,
        now: Stamp,
    ) -> Told {
        let event = |question| Event::Confirmed(question, Found::Absent, machine::Report::default());
        let mut sure = row.clone();
        if row.absences > 0 {
            sure.quiet_until = None;
            return machine::told(&sure, rules, origin, owner, event(question), now, LATEST);
        }
        let mut told = machine::told(&sure, rules, origin, owner, event(question), now, LATEST);
        if let Told::Write(write) = &mut told {
            write.to.absences = 1;
            write.to.next_at = now;
        }
        told
    }

    pub(crate) fn settle(&self, row: &State, now: Stamp) -> Result<Option<Write>, NotSettled> {
        let mut settled = machine::settle(row, now);
        if let (Ok(Some(write)), true) = (&mut settled, self.is(Obvious::DeadlineReadsThenWrites)) {
            write.to.owner = row.owner;
        }
        settled
    }

    pub(crate) fn ignores_that_it_could_not_settle(&self) -> bool {
        self.is(Obvious::SettleReturnsFalse)
    }

    pub(crate) fn cancel(
        &self,
        row: &State,
        rules: &Rules,
        by: CancelBy,
        now: Stamp,
    ) -> Result<Option<Write>, NotCancelled> {
        let mut cancelled = machine::cancel(row, rules, by, now);
        if let (Ok(Some(write)), true) = (&mut cancelled, self.is(Obvious::RecordTestsOnlyFence)) {
            write.to.owner = row.owner;
        }
        cancelled
    }

    pub(crate) fn retry(&self, row: &State, now: Stamp) -> Option<Write> {
        let mut write = machine::retry(row, now)?;
        if self.is(Obvious::RetryPerforms) {
            write.to.goal = Goal::Perform;
        }
        Some(write)
    }

    pub(crate) fn sends_late(&self) -> bool {
        self.is(Obvious::SendsLate)
    }

    /// Whether the other members of a scope are cancelled if one fails.
    pub(crate) fn tells_the_scope(&self) -> bool {
        !self.is(Obvious::ScopeIsNotTold)
    }

    /// Whether a guard refuses what the plan wants.
    pub(crate) fn forbids(
        &self,
        row: &State,
        rules: &Rules,
        origin: Origin,
        now: Stamp,
        owner: Owner,
    ) -> bool {
        self.is(Obvious::PlanAndGuardDiffer)
            && !matches!(machine::plan(row, rules, origin, now, owner), Step::Perform(_) | Step::Cancel(_))
    }
}

/// With this draw the longest back-off is just below a tick.
const LATEST: Draw = Draw::new(u64::MAX);
