//! Decides what the answer to a question changes in the row.

use seawall_policy::Idempotency;

use super::plan::Question;
use super::state::Questions;
use super::stuck::Stuck;
use super::told::{Case, Found, Report, Told};
use super::transition::Draft;
use super::{AttemptOutcome, AttemptRow, End, Goal, Known, NotApplied, Stamp};

impl Case<'_> {
    /// Handles the answer to a question.
    pub(super) fn confirmed(&self, question: Question, found: Found, report: Report) -> Told {
        let next = self.state.logged.saturating_add(1);
        if !self.is_mine(question.fence) || question.number != next || self.state.in_flight().is_some() {
            return Told::Nothing;
        }
        let mut draft = Draft::at(self.state, self.time);
        let outcome = match found {
            Found::Applied(_) => AttemptOutcome::Yes,
            Found::Cancelled | Found::Absent => AttemptOutcome::No,
            Found::Other => AttemptOutcome::Unknown,
            Found::NotSent => AttemptOutcome::NotSent,
        };
        let line = draft.question(self.rules, question.asked_at, outcome);
        draft.log(AttemptRow { status: report.status, detail: report.detail.clone(), ..line });
        if found != Found::NotSent {
            draft.to.questions.asked = draft.to.questions.asked.saturating_add(1);
        }
        match self.state.end {
            Some(End::Failed | End::Cancelled) => self.audited(&mut draft, question, found, &report),
            Some(End::Done | End::Stuck) => return Told::Nothing,
            None => {
                match found {
                    Found::Applied(answer) => self.found(&mut draft, question, answer),
                    Found::Cancelled => self.found_cancelled(&mut draft, question),
                    Found::Absent => self.found_nothing(&mut draft, question),
                    Found::Other => self.learned_nothing(draft.to.questions.asked, &mut draft, &report),
                    Found::NotSent => self.learned_nothing(draft.to.logged, &mut draft, &report),
                }
                draft.conclude(self.rules, self.origin);
            }
        }
        Told::Write(draft.rested())
    }

    /// Plans the next question after one that brought no result. `tries` is the number of questions, and the wait grows
    /// with it. If questions have brought no result for as long as the rules allow, the row is stuck.
    fn learned_nothing(&self, tries: u32, draft: &mut Draft, report: &Report) {
        draft.to.next_at = self.later(tries, report);
        if draft.brought_nothing(self.rules) {
            draft.stick(Stuck::AskedForTooLong);
        }
    }

    fn found(&self, draft: &mut Draft, question: Question, answer: Option<Vec<u8>>) {
        match self.state.known {
            Known::Unknown => draft.applied(answer),
            Known::Applied | Known::Never | Known::NotApplied(_) => {
                draft.to.answer = answer.or(draft.to.answer.take());
                draft.to.questions = Questions::default();
                draft.to.next_at = self.now;
            }
        }
        // The question was asked after the quiet time of the cancels, so none of them can still arrive. The effect
        // still exists. So the key of these cancels is of no more use, and the next cancel gets a new key.
        let open = self.state.undo.open.as_ref();
        let arrived = open.is_some_and(|open| question.asked_at >= self.rules.cancel_quiet_until(open));
        if arrived && self.can_prove(question.sure) {
            if self.rules.was_cancelled_for_too_long(self.state.failing_since, open) {
                return draft.stick(Stuck::CancelledForTooLong);
            }
            draft.next_generation();
        }
        // Some cancels need a fresh answer to a question. This answer counts for the next cancel if two conditions
        // hold. First, the goal is to cancel: otherwise the cancel comes later, and the answer may be old by then.
        // Second, no earlier cancel can still arrive: it would change what this answer says.
        draft.to.undo.asked = self.state.goal == Goal::Cancel && draft.to.undo.open.is_none();
        // If the cancel names what is left to undo (`asks_first`), it is sent immediately, since this answer says what
        // is left. Later the answer could be old.
        if !self.rules.cancel.as_ref().is_some_and(|cancel| cancel.asks_first) {
            self.wait_before_cancel(draft);
        }
    }

    fn found_cancelled(&self, draft: &mut Draft, question: Question) {
        match self.state.known {
            // Without a key, an attempt that is still on its way may apply the effect again. So the row waits for the
            // end of the quiet time, after which no attempt can arrive.
            Known::Unknown if self.may_return(question) => {
                let quiet = self.quiet_until().unwrap_or(self.now);
                draft.to.next_at = self.time.rested(quiet);
            }
            Known::Unknown => draft.cancelled_there(self.rules),
            Known::Applied if self.state.goal == Goal::Cancel => draft.cancelled_there(self.rules),
            Known::Applied | Known::Never | Known::NotApplied(_) => draft.to.next_at = self.now,
        }
    }

    fn may_return(&self, question: Question) -> bool {
        let several = self.state.open_attempts() > 1;
        let early = self.quiet_until().is_some_and(|quiet| question.asked_at < quiet);
        !self.rules.honours_keys() && several && (early || !self.can_prove(question.sure))
    }

    /// Handles the answer "not found". It is believed under three conditions:
    ///
    /// - The question was asked after the quiet time, when no attempt could still arrive.
    /// - It was asked and answered before the end of the window in which the provider can be asked.
    /// - The provider has never said that it has the key.
    fn found_nothing(&self, draft: &mut Draft, question: Question) {
        let quiet = self.quiet_until().unwrap_or(question.asked_at);
        let cancel_quiet = self.state.undo.open.as_ref().map(|open| self.rules.cancel_quiet_until(open));
        let believable_from = match (self.state.known, cancel_quiet) {
            (Known::Unknown, _) if !self.was_seen() => Some(quiet),
            // The effect is known to exist. If a cancel of it may have been sent, "not found" can mean that the cancel
            // has worked. So "not found" is believed once no attempt and no cancel can still arrive. Without such a
            // cancel, "not found" is never believed (`None`).
            (Known::Applied, Some(cancel_quiet)) if self.state.goal == Goal::Cancel => {
                Some(quiet.max(cancel_quiet))
            }
            (Known::Unknown | Known::Applied | Known::Never | Known::NotApplied(_), _) => None,
        };
        let Some(believable_from) = believable_from.filter(|_| self.is_in_window(question.asked_at)) else {
            return self.learned_nothing(draft.to.questions.asked, draft, &Report::default());
        };
        draft.to.failing_since = None;
        if question.asked_at < believable_from || !self.can_prove(question.sure) {
            draft.to.next_at = self.time.rested(believable_from);
            return;
        }
        draft.to.questions.absences = draft.to.questions.absences.saturating_add(1);
        let wanted = self.rules.confirm.as_ref().map_or(1, |confirm| confirm.absences);
        if draft.to.questions.absences < wanted {
            let again = quiet.max(question.asked_at.saturating_add(self.rules.quiet));
            if let Some(sent) = &mut draft.to.sent {
                sent.quiet_until = again;
            }
            draft.to.next_at = again;
            return;
        }
        draft.absent(self.rules, self.after_absence());
    }

    /// Returns whether the provider has said that it has the key of this action.
    fn was_seen(&self) -> bool {
        self.state.sent.is_some_and(|sent| sent.seen)
    }

    /// Returns whether a question was asked and answered inside the window in which the provider can be asked.
    /// `asked_at` is the time at which the worker planned the question. The worker may have stood still after that,
    /// and may have sent the question much later. So the current time, at which the answer is here, must lie inside
    /// the window, too.
    fn is_in_window(&self, asked_at: Stamp) -> bool {
        let sent = self.state.sent.as_ref();
        let now = sent.map_or(self.now, |sent| self.time.latest_since(sent.first_at));
        self.rules.ask_by(sent).is_none_or(|end| asked_at < end)
            && self.rules.asked_until(sent).is_none_or(|end| now < end)
    }

    fn after_absence(&self) -> Known {
        let resend = match self.rules.idempotency {
            Idempotency::Safe | Idempotency::Idempotent => true,
            Idempotency::Keyed | Idempotency::None => self.rules.honours_keys() || self.rules.resend_absent,
        };
        match self.state.goal {
            Goal::Perform if resend => Known::Never,
            Goal::Perform | Goal::Cancel => Known::NotApplied(NotApplied::Absent),
        }
    }

    /// Handles the answer to the question that is asked after the row's end. If the effect exists, the row is opened
    /// again, to undo the effect. If the provider says that the effect does not exist, the row stays ended. If the
    /// answer proves nothing, the next question is planned.
    fn audited(&self, draft: &mut Draft, question: Question, found: Found, report: &Report) {
        let moved = self.state.audit_at.is_some_and(|at| question.asked_at < at);
        match found {
            Found::Applied(answer) => {
                draft.reopen(answer);
                self.wait_before_cancel(draft);
            }
            // Meanwhile a report said that the effect exists, so a later question is planned already.
            Found::Absent | Found::Cancelled if moved => {}
            Found::Absent if !self.can_prove(question.sure) => {
                draft.to.audit_at = Some(self.time.doubt_ends())
            }
            Found::Cancelled => draft.audit_ends(),
            Found::Absent if !self.was_seen() => draft.audit_ends(),
            // These answers prove nothing. ("Not found" comes here only if the provider has said before that it has
            // the key.) So the provider is asked again and again, and less often after the declared time or number of
            // questions. The questions never stop: the application believes that the effect does not exist, so nobody
            // else would look for it.
            Found::Absent | Found::Other | Found::NotSent => {
                let asked = draft.to.questions.asked;
                let most = self.rules.limits.confirm;
                let is_rare = draft.brought_nothing(self.rules) || most.is_some_and(|most| asked >= most);
                draft.to.questions.asked = asked.min(most.unwrap_or(u32::MAX));
                draft.to.audit_at = Some(match (is_rare, found) {
                    (true, _) => self.now.saturating_add(self.rules.audit_after),
                    (false, Found::NotSent) => self.later(draft.to.logged, report),
                    (false, _) => self.later(asked, report),
                });
            }
        }
    }
}
