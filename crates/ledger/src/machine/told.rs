//! Decides what changes in the row when an attempt ends or the provider answers a question.
//!
//! An answer only says what became of its own attempt. The row says "not applied" only when no attempt can still take
//! effect. The obvious rule would take the last attempt's answer as the action's outcome. It would leave charges
//! behind, because an earlier attempt may have succeeded: attempt 1 took effect and its answer was lost, attempt 2
//! could not connect, and the action would be recorded as failed.

use seawall_policy::{Draw, Idempotency};
use std::time::Duration;

use super::plan::Question;
use super::transition::Draft;
use super::{
    AttemptOutcome, AttemptRow, End, Goal, Known, NotApplied, OnUnknown, Origin, Owner, Rules, Stamp, State,
    Write,
};

/// The details of a request's end, besides the outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Report {
    /// The HTTP status or another status code of the provider; `None` if there is none.
    pub status: Option<u16>,
    /// What went wrong, in words, without secrets. `None` if nothing is to be said.
    pub detail: Option<String>,
    /// The time for which the provider asked to get no further requests; `None` if it did not ask for that.
    pub retry_after: Option<Duration>,
}

/// The outcome of a perform attempt.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Performed {
    /// It is proved that no byte was sent.
    NotSent,
    /// The provider performed the action. The value is the provider's answer, which later requests may need.
    Yes(Option<Vec<u8>>),
    /// The provider did not perform the action, and this attempt cannot take effect later.
    No,
    /// It is not known whether the provider performed the action.
    Unknown,
}

/// What the provider answered to a question.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Found {
    /// The effect exists. The value is the provider's answer, which later requests may need.
    Applied(Option<Vec<u8>>),
    /// The effect existed, and was undone.
    Cancelled,
    /// The effect does not exist.
    Absent,
    /// The action is pending, or the answer says nothing about it, or there was no answer.
    Other,
}

/// The outcome of a cancel attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Undone {
    /// The effect is undone, was undone before, or can never take place any more.
    Yes,
    /// The provider does not know the effect.
    NoSuch,
    /// It is proved that no byte was sent.
    NotSent,
    /// It is not known whether the effect was undone, or the provider refused for now.
    Unknown,
}

/// An event of a claimed row, as a worker reports it to the machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// A perform attempt ended. The fields are its line of the attempt log as it was recorded, its outcome, and the
    /// details.
    Performed(AttemptRow, Performed, Report),
    /// A question ended, with or without an answer.
    Confirmed(Question, Found, Report),
    /// A cancel attempt ended. The fields are as for [`Event::Performed`].
    Cancelled(AttemptRow, Undone, Report),
    /// Not all members of the scope are applied yet.
    ScopeWaits,
    /// A member of the scope failed or is being cancelled.
    ScopeBroken,
}

/// What is to be written because of an event.
#[expect(
    clippy::large_enum_variant,
    reason = "taken apart where it is made; a box would be an allocation for each action"
)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Write this change of the row.
    Write(Write),
    /// The event came too late to change the row. Only complete the attempt's line in the attempt log, whatever version
    /// the row has.
    Late(AttemptRow),
    /// Write nothing.
    Nothing,
}

/// Returns what is to be written because of an event. If the store finds another version of the row, read the row and
/// call this function again.
#[must_use]
pub fn told(
    state: &State,
    rules: &Rules,
    origin: Origin,
    owner: Owner,
    event: Event,
    now: Stamp,
    draw: Draw,
) -> Told {
    let case = Case { state, rules, origin, owner, now, draw };
    match event {
        Event::Performed(line, how, report) => case.performed(line, how, report),
        Event::Confirmed(question, found, report) => case.confirmed(question, found, report),
        Event::Cancelled(line, how, report) => case.cancelled(line, how, report),
        Event::ScopeWaits => case.scope(|draft| draft.to.next_at = now.saturating_add(rules.backoff.cap)),
        Event::ScopeBroken => case.scope(|draft| {
            draft.turn(rules);
            draft.to.why = Some("another member of its scope failed".to_owned());
        }),
    }
}

struct Case<'a> {
    state: &'a State,
    rules: &'a Rules,
    origin: Origin,
    owner: Owner,
    now: Stamp,
    draw: Draw,
}

impl Case<'_> {
    /// Returns whether the row still has the claim under which the attempt or the question began.
    fn is_mine(&self, fence: u64) -> bool {
        self.state.owner == Some(self.owner) && self.state.fence == fence
    }

    fn later(&self, repeat: u32, report: &Report) -> Stamp {
        self.now.saturating_add(self.rules.backoff.wait(repeat.max(1), report.retry_after, self.draw))
    }

    fn scope(&self, how: impl FnOnce(&mut Draft)) -> Told {
        let waits = self.state.goal == Goal::Perform
            && self.state.known == Known::Applied
            && self.state.end.is_none();
        if self.state.owner != Some(self.owner) || !waits {
            return Told::Nothing;
        }
        let mut draft = Draft::of(self.state, self.now);
        how(&mut draft);
        Told::Write(draft.rested())
    }

    // ---- perform ----

    fn performed(&self, line: AttemptRow, how: Performed, report: Report) -> Told {
        let outcome = match how {
            Performed::NotSent => AttemptOutcome::NotSent,
            Performed::Yes(_) => AttemptOutcome::Yes,
            Performed::No if self.says_nothing(&report) => AttemptOutcome::Unknown,
            Performed::No => AttemptOutcome::No,
            Performed::Unknown => AttemptOutcome::Unknown,
        };
        let closed = self.closed(&line, outcome, &report);
        let under_way = self.state.in_flight == Some(line.number);
        if !self.is_mine(line.fence) || !under_way || self.state.end.is_some() {
            return self.late(closed, how);
        }
        let mut draft = Draft::of(self.state, self.now);
        draft.log(closed);
        draft.to.in_flight = None;
        match how {
            Performed::NotSent => self.not_sent(&mut draft, &report),
            Performed::Yes(answer) => {
                draft.applied(answer);
                self.wait_before_cancel(&mut draft);
            }
            // If the effect became known meanwhile, for example from a webhook, a refusal closes only the attempt that
            // was refused.
            Performed::No if self.state.known == Known::Unknown && self.speaks_for_all(&line, &report) => {
                draft.to.open_attempts = 0;
                draft.to.known = Known::NotApplied(NotApplied::Refused);
                draft.to.next_at = self.now;
            }
            Performed::No if outcome == AttemptOutcome::No => {
                draft.to.open_attempts = draft.to.open_attempts.saturating_sub(1);
                draft.to.next_at = self.after_doubt(&report);
            }
            Performed::No | Performed::Unknown => draft.to.next_at = self.after_doubt(&report),
        }
        draft.conclude(self.rules, self.origin);
        Told::Write(draft.rested())
    }

    fn closed(&self, line: &AttemptRow, outcome: AttemptOutcome, report: &Report) -> AttemptRow {
        AttemptRow {
            ended_at: Some(self.now),
            outcome,
            status: report.status,
            detail: report.detail.clone(),
            ..line.clone()
        }
    }

    /// Records that the attempt was not sent, so that it can take no effect. If no attempt at all may have been sent,
    /// neither the quiet time nor the lifetime of the key has begun.
    fn not_sent(&self, draft: &mut Draft, report: &Report) {
        let to = &mut draft.to;
        to.open_attempts = to.open_attempts.saturating_sub(1);
        to.attempts = to.attempts.saturating_sub(1);
        to.maybe_sent = to.maybe_sent.saturating_sub(1);
        if to.open_attempts == 0 && to.known == Known::Unknown {
            to.known = Known::Never;
        }
        if to.maybe_sent == 0 {
            to.quiet_until = None;
            to.key_first_at = None;
        }
        to.next_at = self.later(to.logged, report);
    }

    /// Returns whether a refusal proves nothing, not even about the attempt that was refused. That is so for a 401, 403
    /// or 422 while another attempt is still open: the provider may have refused before it looked up the key.
    fn says_nothing(&self, report: &Report) -> bool {
        self.state.open_attempts > 1 && matches!(report.status, Some(401 | 403 | 422))
    }

    /// Returns whether a refusal holds for the whole action, and not only for the attempt that was refused. That is so
    /// if no other attempt is open, or if the provider would give an earlier attempt the same answer.
    fn speaks_for_all(&self, line: &AttemptRow, report: &Report) -> bool {
        let binds = report.status.is_some_and(|status| self.rules.refusal_binds.contains(&status));
        let alone = self.state.open_attempts <= 1;
        let saved = self.rules.saves_refusals && !self.says_nothing(report);
        alone || saved || (line.after_quiet && binds)
    }

    /// Returns when the row is due again after an attempt whose effect is unknown.
    fn after_doubt(&self, report: &Report) -> Stamp {
        match (self.state.goal, self.rules.on_unknown, self.rules.confirm) {
            (Goal::Perform, OnUnknown::Hold | OnUnknown::Cancel, _) => self.now,
            (Goal::Perform | Goal::Cancel, _, Some(confirm)) => {
                self.now.saturating_add(confirm.after.max(report.retry_after.unwrap_or_default()))
            }
            (Goal::Perform | Goal::Cancel, _, None) => self.later(self.state.attempts, report),
        }
    }

    fn wait_before_cancel(&self, draft: &mut Draft) {
        if let (Goal::Cancel, Some(cancel)) = (draft.to.goal, self.rules.cancel) {
            draft.to.next_at = self.now.saturating_add(cancel.after);
        }
    }

    /// Handles an answer that came after the row had changed. The answer is kept as evidence. If the answer is "yes"
    /// although the row was closed as not applied, the provider is asked about the effect. If it cannot be asked, the
    /// effect is undone.
    fn late(&self, closed: AttemptRow, how: Performed) -> Told {
        match how {
            Performed::Yes(answer) if contradicts(self.state) => {
                let mut draft = Draft::of(self.state, self.now);
                draft.log(closed);
                draft.contradicted(self.rules, answer);
                Told::Write(draft.written())
            }
            Performed::Yes(_) | Performed::NotSent | Performed::No | Performed::Unknown => Told::Late(closed),
        }
    }

    // ---- confirm ----

    fn confirmed(&self, question: Question, found: Found, report: Report) -> Told {
        let next = self.state.logged.saturating_add(1);
        if !self.is_mine(question.fence) || question.number != next || self.state.in_flight.is_some() {
            return Told::Nothing;
        }
        let mut draft = Draft::of(self.state, self.now);
        let outcome = match found {
            Found::Applied(_) => AttemptOutcome::Yes,
            Found::Cancelled | Found::Absent => AttemptOutcome::No,
            Found::Other => AttemptOutcome::Unknown,
        };
        let line = draft.question(self.rules, question.asked_at, outcome);
        draft.log(AttemptRow { status: report.status, detail: report.detail.clone(), ..line });
        draft.to.asks = draft.to.asks.saturating_add(1);
        match self.state.end {
            Some(End::Failed | End::Cancelled) => self.audited(&mut draft, question, found, &report),
            Some(End::Done | End::Stuck) => return Told::Nothing,
            None => {
                match found {
                    Found::Applied(answer) => self.found(&mut draft, question, answer),
                    Found::Cancelled => self.found_cancelled(&mut draft, question),
                    Found::Absent => self.found_nothing(&mut draft, question),
                    Found::Other => draft.to.next_at = self.later(draft.to.asks, &report),
                }
                draft.conclude(self.rules, self.origin);
            }
        }
        Told::Write(draft.rested())
    }

    fn found(&self, draft: &mut Draft, question: Question, answer: Option<Vec<u8>>) {
        let cancel_quiet = self.state.cancel_quiet_until.is_none_or(|quiet| question.asked_at >= quiet);
        match self.state.known {
            Known::Unknown => draft.applied(answer),
            Known::Applied | Known::Never | Known::NotApplied(_) => {
                draft.to.answer = answer.or(draft.to.answer.take());
                draft.to.asks = 0;
                draft.to.next_at = self.now;
            }
        }
        self.wait_before_cancel(draft);
        // No cancel of this generation can still arrive, and the effect still exists. So the key of this generation is
        // of no more use, and the next cancel gets a new key.
        if draft.to.cancel_open > 0 && cancel_quiet {
            draft.next_generation();
        }
    }

    fn found_cancelled(&self, draft: &mut Draft, question: Question) {
        match self.state.known {
            // Without a key, another attempt may still apply the effect again, so the row waits for the end of the
            // quiet time.
            Known::Unknown if self.may_return(question.asked_at) => {
                draft.to.next_at = self.state.quiet_until.unwrap_or(self.now);
            }
            Known::Unknown => draft.cancelled_there(self.rules),
            Known::Applied if self.state.goal == Goal::Cancel => draft.cancelled_there(self.rules),
            Known::Applied | Known::Never | Known::NotApplied(_) => draft.to.next_at = self.now,
        }
    }

    fn may_return(&self, asked_at: Stamp) -> bool {
        let keyed = self.rules.idempotency == Idempotency::Keyed;
        !keyed && self.state.open_attempts > 1 && self.state.quiet_until.is_some_and(|quiet| asked_at < quiet)
    }

    /// Handles the answer "not found". It is believed only if the question was asked after the quiet time; the time of
    /// the answer does not matter.
    fn found_nothing(&self, draft: &mut Draft, question: Question) {
        let quiet = self.state.quiet_until.unwrap_or(question.asked_at);
        let cancel_quiet = self.state.cancel_quiet_until.unwrap_or(question.asked_at);
        let believable_from = match self.state.known {
            Known::Unknown => quiet,
            // The effect may be gone if a cancel of it may have been sent. Without a cancel, "not found" proves nothing
            // against an effect that is known to exist.
            Known::Applied if self.state.goal == Goal::Cancel && self.state.cancel_open > 0 => {
                quiet.max(cancel_quiet)
            }
            Known::Applied | Known::Never | Known::NotApplied(_) => {
                draft.to.next_at = self.later(draft.to.asks, &Report::default());
                return;
            }
        };
        if question.asked_at < believable_from {
            draft.to.next_at = believable_from;
            return;
        }
        draft.to.absences = draft.to.absences.saturating_add(1);
        let wanted = self.rules.confirm.map_or(1, |confirm| confirm.absences);
        if draft.to.absences < wanted {
            let again = question.asked_at.saturating_add(self.rules.quiet);
            draft.to.quiet_until = Some(quiet.max(again));
            draft.to.next_at = quiet.max(again);
            return;
        }
        draft.absent(self.rules, self.after_absence());
    }

    fn after_absence(&self) -> Known {
        let resend = match self.rules.idempotency {
            Idempotency::Safe | Idempotency::Idempotent | Idempotency::Keyed => true,
            Idempotency::None => self.rules.resend_absent,
        };
        match self.state.goal {
            Goal::Perform if resend => Known::Never,
            Goal::Perform | Goal::Cancel => Known::NotApplied(NotApplied::Absent),
        }
    }

    /// Handles the answer to the question that is asked after the row's end.
    fn audited(&self, draft: &mut Draft, question: Question, found: Found, report: &Report) {
        let moved = self.state.audit_at.is_some_and(|at| question.asked_at < at);
        match found {
            Found::Applied(answer) => {
                draft.reopen(answer);
                self.wait_before_cancel(draft);
            }
            // Meanwhile a report said that the effect exists, so a later question is planned already.
            Found::Absent | Found::Cancelled if moved => {}
            Found::Absent | Found::Cancelled => draft.to.audit_at = None,
            // This answer says nothing about the effect. After the maximum number of questions the provider is asked
            // less often, but the questions never stop: our side believes that nothing exists, so nobody else would
            // look for the effect.
            Found::Other if draft.to.asks < self.rules.limits.confirm => {
                draft.to.audit_at = Some(self.later(draft.to.asks, report));
            }
            Found::Other => {
                draft.to.asks = self.rules.limits.confirm;
                draft.to.audit_at = Some(self.now.saturating_add(self.rules.audit_after));
            }
        }
    }

    // ---- cancel ----

    fn cancelled(&self, line: AttemptRow, how: Undone, report: Report) -> Told {
        let outcome = match how {
            Undone::Yes => AttemptOutcome::Yes,
            Undone::NoSuch => AttemptOutcome::No,
            Undone::NotSent => AttemptOutcome::NotSent,
            Undone::Unknown => AttemptOutcome::Unknown,
        };
        let closed = self.closed(&line, outcome, &report);
        let under_way = self.state.in_flight == Some(line.number);
        if !self.is_mine(line.fence) || !under_way || self.state.end.is_some() {
            return Told::Late(closed);
        }
        let mut draft = Draft::of(self.state, self.now);
        draft.log(closed);
        draft.to.in_flight = None;
        match how {
            Undone::Yes => draft.cancelled_there(self.rules),
            Undone::NoSuch => self.no_such(&mut draft, &report),
            Undone::NotSent => {
                draft.to.cancel_open = draft.to.cancel_open.saturating_sub(1);
                if draft.to.cancel_open == 0 {
                    draft.to.cancel_quiet_until = None;
                }
                draft.to.next_at = self.later(draft.to.cancel_tries, &report);
            }
            Undone::Unknown => draft.to.next_at = self.later(draft.to.cancel_tries, &report),
        }
        draft.conclude(self.rules, self.origin);
        Told::Write(draft.rested())
    }

    /// Handles the answer "no such effect" to a cancel. The key of this generation is not used again, since the
    /// provider may repeat its first answer to every later request with the same key. The answer is believed only if
    /// the generation was first sent after the quiet time.
    fn no_such(&self, draft: &mut Draft, report: &Report) {
        match self.state.known {
            Known::Unknown if self.state.cancel_gen_early => {
                draft.next_generation();
                draft.to.cancel_tries = draft.to.cancel_tries.saturating_sub(1);
                draft.to.next_at = self.state.quiet_until.unwrap_or(self.now);
            }
            Known::Unknown => {
                draft.to.cancel_open = 0;
                draft.absent(self.rules, Known::NotApplied(NotApplied::NoSuch));
            }
            Known::Applied | Known::Never | Known::NotApplied(_) => {
                draft.next_generation();
                draft.to.next_at = self.later(draft.to.cancel_tries, report);
            }
        }
    }
}

/// Returns whether a report that the effect exists would contradict the row: the row was closed as not applied, but not
/// because the effect was undone.
pub(super) fn contradicts(state: &State) -> bool {
    let closed = matches!(state.end, Some(End::Failed | End::Cancelled));
    closed && state.known != Known::NotApplied(NotApplied::Cancelled)
}
