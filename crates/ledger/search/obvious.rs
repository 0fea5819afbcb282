//! The machine with one of its rules replaced by an obvious one: the rule that one would write first, and that is
//! wrong.
//!
//! The machine itself has no switches. The obvious rule is put around the machine: it changes the machine's input and
//! output.

use std::time::Duration;

use seawall_ledger_search::calendar::Lifetime;
use seawall_ledger_search::machine::{
    self, AttemptOutcome, CancelBy, CancelKind, Effect, End, Event, Found, Goal, NotApplied, NotCancelled,
    NotSettled, Now, Origin, Owner, Performed, Question, Row, Rules, Stamp, Step, Undone,
};
use seawall_policy::{Draw, Idempotency};

use crate::bent::{Bent, Heard, Plan, state};
use crate::world::{FOR_EVER, TICK};

/// An obvious rule, which replaces a rule of the machine. Each comment below says what this wrong rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Obvious {
    /// An attempt's "no" is the action's outcome.
    NoIsTheOutcome,
    /// 401, 403 and 422 are definite, even as an answer to a repeat.
    EveryRefusalIsDefinite,
    /// All cancels of an action have the same key.
    OneCancelKey,
    /// A cancel that is sent without a question to the provider believes the answer "no such charge" even before the
    /// quiet time is over.
    NetCancelBelieves,
    /// "Not found" is believed if its answer is written after the quiet time, whenever the question was asked.
    QuietWhenWritten,
    /// The quiet time counts from the record of the attempt.
    QuietFromRecord,
    /// If a longer quiet time is declared after an attempt was recorded, the shorter one still counts for that attempt.
    QuietOfTheRecord,
    /// Instead of waiting for the quiet time, the provider is asked twice.
    AskTwice,
    /// `settle` returns `false`, and no caller checks that.
    SettleReturnsFalse,
    /// The deadline to settle is checked when the row is read. The cancel that follows from it is written later, even
    /// if the row was settled meanwhile.
    DeadlineReadsThenWrites,
    /// An outcome settles the action whatever its goal is.
    OutcomeSettlesAnyGoal,
    /// The write that records an attempt checks only the number of the claim, and not the version of the row.
    RecordTestsOnlyFence,
    /// The deadline to settle applies only to an action that is applied.
    DeadlineOnlyOnceApplied,
    /// An attempt may be sent again as long as the key lives when it is recorded.
    ResendUntilKeyEnds,
    /// One rule plans the next step, and a second one, the guard, checks it when it is written. The plan may say
    /// "perform" again and again, while the guard refuses that.
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
    /// At a provider without keys, an action ends after one successful cancel, although another attempt may still be on
    /// its way.
    UndoesWhatMayReturn,
    /// Two actions may be sent under the same key.
    KeysMayClash,
    /// If no lifetime of the keys is declared, keys are taken to live for ever.
    KeysLiveForEver,
    /// The lifetime of a key counts from the answer instead of from the send.
    KeyLivesFromTheAnswer,
    /// "Duplicate" is a "no".
    DuplicateIsANo,
    /// "Not found" is believed even if the provider has said that it has the key.
    AbsentAfterDuplicate,
    /// What the provider says after the end of its window is believed.
    WindowsNeverEnd,
    /// A refused cancel counts as done.
    RefusedIsUndone,
    /// A refused cancel is sent again under the same key.
    RefusedUnderTheSameKey,
    /// A cancel asks for the original amount, without asking what is left.
    CancelsWithoutAsking,
    /// A caller is told that nothing was done as soon as one attempt was not sent, and the action is tried again.
    UnsentIsTriedAgain,
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

    pub(crate) fn plan(&self, row: &Row, rules: &Rules, origin: Origin, now: Stamp, owner: Owner) -> Plan {
        let settle_by = row.settle_by;
        let mut row = row.clone();
        let mut rules = rules.clone();
        let mut origin = origin;
        match self.obvious {
            Some(Obvious::DeadlineOnlyOnceApplied) if row.effect != Effect::Applied => row.settle_by = None,
            Some(Obvious::ResendUntilKeyEnds) => {
                let flight = rules.attempt + rules.network + rules.pause;
                longer(&mut rules, flight);
                row.key_ends_at = None;
            }
            Some(Obvious::PlanAndGuardDiffer) => {
                longer(&mut rules, TICK * FOR_EVER);
                row.key_ends_at = None;
            }
            Some(Obvious::KeysLiveForEver) => {
                rules.key_lifetime = Some(Lifetime::For(TICK * FOR_EVER));
                row.key_ends_at = None;
            }
            Some(Obvious::WindowsNeverEnd) => never_ends(&mut rules),
            Some(Obvious::CancelsWithoutAsking) => {
                if let Some(cancel) = &mut rules.cancel {
                    cancel.asks_first = false;
                }
            }
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
        let mut step = Plan::from(machine::plan(&state(&row), &rules, origin, Now::sure(now), owner));
        match &mut step {
            Plan::Change(write) | Plan::Send(write) => {
                if self.is(Obvious::DeadlineOnlyOnceApplied) {
                    write.to.settle_by = write.to.settle_by.or(settle_by);
                }
                self.bend(write, &rules);
            }
            Plan::Leave | Plan::Ask(_) | Plan::SettleScope => {}
        }
        step
    }

    /// If the application has just ended the row, returns the step that a worker planned before that. The obvious rule
    /// writes this step without noticing the change. Returns `None` in all other cases.
    fn blindly(&self, row: &Row, rules: &Rules, origin: Origin, now: Stamp, owner: Owner) -> Option<Plan> {
        let changed = matches!(row.ended, Some(End::Done | End::Cancelled)) && row.owner == Some(owner);
        if !changed {
            return None;
        }
        let goal = if self.is(Obvious::RecordTestsOnlyFence) { Goal::Perform } else { row.goal };
        let before = Row { goal, ended: None, ..row.clone() };
        match Plan::from(machine::plan(&state(&before), rules, origin, Now::sure(now), owner)) {
            Plan::Send(mut write) if self.is(Obvious::RecordTestsOnlyFence) => {
                (write.to.goal, write.to.ended) = (row.goal, row.ended);
                Some(Plan::Send(write))
            }
            Plan::Change(mut write) if self.is(Obvious::DeadlineReadsThenWrites) => {
                write.to.ended = row.ended;
                Some(Plan::Change(write))
            }
            Plan::Send(_) | Plan::Change(_) | Plan::Leave | Plan::Ask(_) | Plan::SettleScope => None,
        }
    }

    /// Changes a worker's write as the obvious rule would make it.
    fn bend(&self, write: &mut Bent, rules: &Rules) {
        let line = write.attempt.clone();
        match self.obvious {
            Some(Obvious::OneCancelKey) => {
                write.to.cancel_gen = 0;
                if let Some(line) = &mut write.attempt {
                    line.generation = 0;
                    write.to.cancel_gen_early = !line.after_quiet && write.to.cancel_open > 0;
                }
            }
            Some(Obvious::QuietFromRecord) => {
                if let Some(line) =
                    line.filter(|line| line.ended_at.is_none() && write.to.quiet_until.is_some())
                {
                    write.to.quiet_until = Some(line.recorded_at.saturating_add(rules.quiet));
                    write.to.send_by = Some(line.recorded_at);
                }
            }
            Some(Obvious::NothingAfterTheEnd) => write.to.audit_at = None,
            Some(_) | None => {}
        }
    }

    pub(crate) fn told(
        &self,
        row: &Row,
        rules: &Rules,
        origin: Origin,
        owner: Owner,
        event: Event,
        now: Stamp,
    ) -> Heard {
        let mut row = row.clone();
        let mut rules = rules.clone();
        let mut event = event;
        match (self.obvious, &mut event) {
            (Some(Obvious::QuietWhenWritten), Event::Confirmed(question, _, _)) => question.asked_at = now,
            (Some(Obvious::NetCancelBelieves), Event::Cancelled(_, Undone::NoSuch, _)) => {
                row.cancel_gen_early = false
            }
            (Some(Obvious::AskTwice), Event::Confirmed(question, Found::Absent, _)) => {
                return ask_twice(&row, &rules, origin, owner, *question, now);
            }
            (Some(Obvious::UndoesWhatMayReturn), _) => rules.idempotency = Idempotency::Keyed,
            (Some(Obvious::AbsentSendsAgain), Event::Confirmed(..)) => rules.resend_absent = true,
            (Some(Obvious::EveryRefusalIsDefinite), Event::Performed(_, Performed::No(_), report)) => {
                rules.saves_refusals = true;
                report.status = Some(402);
            }
            (
                Some(Obvious::NoIsTheOutcome),
                Event::Performed(line, how @ (Performed::NotSent | Performed::No(_)), _),
            ) => {
                row.open_attempts = row.open_attempts.min(1);
                *how = Performed::No(None);
                line.outcome = AttemptOutcome::No;
            }
            (Some(Obvious::DuplicateIsANo), Event::Performed(_, how @ Performed::Duplicate, _)) => {
                *how = Performed::No(None);
            }
            (Some(Obvious::QuietOfTheRecord), _) => (row.send_by, row.cancel_send_by) = (None, None),
            (Some(Obvious::AbsentAfterDuplicate), Event::Confirmed(..)) => row.seen = false,
            (Some(Obvious::WindowsNeverEnd), _) => never_ends(&mut rules),
            (Some(Obvious::RefusedIsUndone), Event::Cancelled(_, how @ Undone::Refused, _)) => {
                *how = Undone::Yes;
            }
            (Some(Obvious::UnsentIsTriedAgain), Event::Unsent(line, report)) => {
                event = Event::Performed(line.clone(), Performed::NotSent, report.clone());
            }
            (Some(_) | None, _) => {}
        }
        let late_yes = row.ended.is_some() && matches!(event, Event::Performed(_, Performed::Yes(_), _));
        let mut told = tell(&row, &rules, origin, owner, event, now);
        if let Heard::Write(write) = &mut told {
            if self.is(Obvious::KeyLivesFromTheAnswer) {
                write.to.key_ends_at = None;
                for first in [&mut write.to.first_sent_at, &mut write.to.cancel_first_at] {
                    *first = first.map(|_| now);
                }
            }
            if self.is(Obvious::RefusedUnderTheSameKey) {
                write.to.cancel_gen = row.cancel_gen;
            }
            self.bend_told(write, &row, &rules, late_yes, now);
        }
        told
    }

    /// Changes what is written because of an event as the obvious rule would make it.
    fn bend_told(&self, write: &mut Bent, row: &Row, rules: &Rules, late_yes: bool, now: Stamp) {
        self.bend(write, rules);
        if self.is(Obvious::AuditRightAfterACancel) && write.to.reason == Some(NotApplied::Cancelled) {
            write.to.audit_at = row.audit_at;
        }
        if self.is(Obvious::LateYesAsksAtOnce) && late_yes {
            write.to.audit_at = Some(now);
        }
        let applied = write.to.effect == Effect::Applied && write.to.ended.is_none();
        if self.is(Obvious::OutcomeSettlesAnyGoal) && applied {
            write.to.ended = Some(End::Done);
        }
    }

    pub(crate) fn settle(&self, row: &Row, now: Stamp) -> Result<Option<Bent>, NotSettled> {
        let mut settled = machine::settle(&state(row), now)?.map(Bent::from);
        if let (Some(write), true) = (&mut settled, self.is(Obvious::DeadlineReadsThenWrites)) {
            keep_claim(write, row);
        }
        Ok(settled)
    }

    pub(crate) fn ignores_that_it_could_not_settle(&self) -> bool {
        self.is(Obvious::SettleReturnsFalse)
    }

    pub(crate) fn cancel(
        &self,
        row: &Row,
        rules: &Rules,
        by: CancelBy,
        now: Stamp,
    ) -> Result<Option<Bent>, NotCancelled> {
        let mut cancelled = machine::cancel(&state(row), rules, by, now)?.map(Bent::from);
        if let (Some(write), true) = (&mut cancelled, self.is(Obvious::RecordTestsOnlyFence)) {
            keep_claim(write, row);
        }
        Ok(cancelled)
    }

    pub(crate) fn retry(&self, row: &Row, now: Stamp) -> Option<Bent> {
        let mut write = Bent::from(machine::retry(&state(row), now)?);
        if self.is(Obvious::RetryPerforms) {
            write.to.goal = Goal::Perform;
        }
        Some(write)
    }

    pub(crate) fn sends_late(&self) -> bool {
        self.is(Obvious::SendsLate)
    }

    /// Returns whether a key that another action is sent under is refused.
    pub(crate) fn sent_keys_are_unique(&self) -> bool {
        !self.is(Obvious::KeysMayClash)
    }

    /// Returns whether a caller is told that nothing was done as soon as one attempt was not sent.
    pub(crate) fn tells_of_each_unsent(&self) -> bool {
        self.is(Obvious::UnsentIsTriedAgain)
    }

    /// Returns whether the other members of a scope are cancelled if one fails.
    pub(crate) fn tells_the_scope(&self) -> bool {
        !self.is(Obvious::ScopeIsNotTold)
    }

    /// Returns whether the guard of [`Obvious::PlanAndGuardDiffer`] refuses a planned step.
    pub(crate) fn forbids(&self, row: &Row, rules: &Rules, origin: Origin, now: Stamp, owner: Owner) -> bool {
        self.is(Obvious::PlanAndGuardDiffer)
            && !matches!(
                machine::plan(&state(row), rules, origin, Now::sure(now), owner),
                Step::Perform(_) | Step::Cancel(_)
            )
    }
}

/// Changes the rules so that the provider can be asked for ever and takes a cancel for ever.
fn never_ends(rules: &mut Rules) {
    if let Some(confirm) = &mut rules.confirm {
        confirm.until = None;
    }
    if let Some(cancel) = &mut rules.cancel {
        cancel.until = None;
    }
}

/// Makes the declared lifetime of a key longer.
fn longer(rules: &mut Rules, by: Duration) {
    let lifetime = rules.key_lifetime.as_ref().map(|lifetime| Lifetime::For(lifetime.shortest() + by));
    rules.key_lifetime = lifetime;
}

/// Keeps a worker's claim in a row that the application or a person has ended.
fn keep_claim(write: &mut Bent, row: &Row) {
    (write.to.owner, write.to.leased_until, write.to.in_flight) =
        (row.owner, row.leased_until, row.in_flight);
}

fn tell(row: &Row, rules: &Rules, origin: Origin, owner: Owner, event: Event, now: Stamp) -> Heard {
    machine::told(&state(row), rules, origin, owner, event, Now::sure(now), LATEST).into()
}

/// Handles the answer "not found" as [`Obvious::AskTwice`] does: the second such answer is believed, even if it comes
/// immediately after the first one.
fn ask_twice(
    row: &Row,
    rules: &Rules,
    origin: Origin,
    owner: Owner,
    question: Question,
    now: Stamp,
) -> Heard {
    let event = Event::Confirmed(question, Found::Absent, machine::Report::default());
    let mut sure = row.clone();
    if row.absences > 0 {
        sure.quiet_until = sure.quiet_until.map(|quiet| quiet.min(question.asked_at));
        sure.send_by = None;
        return tell(&sure, rules, origin, owner, event, now);
    }
    let mut told = tell(&sure, rules, origin, owner, event, now);
    if let Heard::Write(write) = &mut told {
        write.to.absences = 1;
        write.to.next_at = now;
    }
    told
}

/// The draw that makes each wait as long as it can be, which is just below one tick.
pub(crate) const LATEST: Draw = Draw::new(u64::MAX);
