//! The machine, and what it becomes when one of its rules is replaced by the obvious one.
//!
//! The machine itself has no switches. The obvious rule is put around it, where its questions go in and its answers
//! come out.

use seawall_ledger::machine::{
    self, AttemptOutcome, CancelBy, CancelKind, End, Event, Found, Goal, Known, NotApplied, NotCancelled,
    NotSettled, Origin, Owner, Performed, Question, Rules, Stamp, State, Step, Told, Undone, Write,
};
use seawall_policy::{Draw, Idempotency};

/// A rule that would be written first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Obvious {
    /// An attempt's "no" is the action's outcome.
    NoIsTheOutcome,
    /// 401, 403 and 422 on a repeat are definite.
    EveryRefusalIsDefinite,
    /// The cancel has one stable key.
    OneCancelKey,
    /// A net cancel believes "no such charge".
    NetCancelBelieves,
    /// The quiet time is compared when the answer is written.
    QuietWhenWritten,
    /// The quiet time counts from the record.
    QuietFromRecord,
    /// Instead of waiting, ask twice.
    AskTwice,
    /// `settle` returns false, and no caller looks at that.
    SettleReturnsFalse,
    /// The deadline is read first, and written later.
    DeadlineReadsThenWrites,
    /// An outcome settles whatever the goal.
    OutcomeSettlesAnyGoal,
    /// The record of an attempt tests only the fence.
    RecordTestsOnlyFence,
    /// The settle deadline matters only once applied.
    DeadlineOnlyOnceApplied,
    /// It is sent again until the key's lifetime ends.
    ResendUntilKeyEnds,
    /// The plan says perform, the guard says no.
    PlanAndGuardDiffer,
    /// A lost answer of a refund is sent again.
    RefundSentAgain,
    /// "Retry" on a stuck cancel performs again.
    RetryPerforms,
    /// "Absent" lets a provider without keys be called again.
    AbsentSendsAgain,
    /// Nothing is asked after the end.
    NothingAfterTheEnd,
    /// Cancel by an id that only the lost answer had.
    CancelByLostId,
    /// The members of a scope settle one by one.
    ScopeSettlesApart,
    /// A failed member does not tell the others.
    ScopeIsNotTold,
    /// An attempt that is late is sent all the same.
    SendsLate,
    /// A question that was planned after an absence is asked at the planned time, although a cancel came between.
    AuditRightAfterACancel,
    /// A late "yes" to what was closed is asked about immediately.
    LateYesAsksAtOnce,
    /// Even without keys, one cancel is enough while another attempt is on its way.
    UndoesWhatMayReturn,
}

/// The machine under search.
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

    /// What was planned for a row before the application changed it, written with a guard that does not look at that
    /// change.
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

    /// What every write of a worker becomes.
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

    /// Two absences are believed, however shortly one follows the other.
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

    /// A failed member has the others cancelled.
    pub(crate) fn tells_the_scope(&self) -> bool {
        !self.is(Obvious::ScopeIsNotTold)
    }

    /// A guard that knows more than the plan.
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

/// The longest back-off is just below a tick.
const LATEST: Draw = Draw::new(u64::MAX);
