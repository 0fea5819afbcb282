//! Decides what the end of a perform attempt changes in the row.

use super::state::Sent;
use super::told::{Case, Performed, Report, Told, contradicts};
use super::transition::Draft;
use super::write::Evidence;
use super::{AttemptOutcome, AttemptRow, Goal, Known, NotApplied, OnUnknown, Stamp};

impl Case<'_> {
    /// Returns what the end of a perform attempt changes. `closes` matters only if the attempt was not sent. If
    /// `closes` is true, the caller makes no other attempt, so the action fails if no earlier attempt may have taken
    /// effect. If `closes` is false, the action is tried again later.
    pub(super) fn performed(&self, line: AttemptRow, how: Performed, report: Report, closes: bool) -> Told {
        let outcome = match how {
            Performed::NotSent => AttemptOutcome::NotSent,
            Performed::Yes(_) => AttemptOutcome::Yes,
            Performed::No(_) if self.says_nothing(&report) => AttemptOutcome::Unknown,
            Performed::No(_) => AttemptOutcome::No,
            Performed::Duplicate | Performed::Unknown => AttemptOutcome::Unknown,
        };
        let mut closed = self.closed(&line, outcome, &report);
        if let Performed::No(refusal) = &how {
            closed.answer.clone_from(refusal);
        }
        let under_way = self.state.in_flight() == Some(line.number);
        if !self.is_mine(line.fence) || !under_way || self.state.end.is_some() {
            return self.late(closed, how);
        }
        let mut draft = Draft::at(self.state, self.time);
        draft.log(closed);
        draft.set_in_flight(None);
        match how {
            Performed::NotSent => self.not_sent(&mut draft, &report, closes),
            Performed::Yes(answer) => {
                draft.applied(answer);
                self.wait_before_cancel(&mut draft);
            }
            // The refusal closes the whole action only if the effect is still unknown. If the effect became known
            // meanwhile, for example from a webhook, the refusal closes only its own attempt.
            Performed::No(refusal)
                if self.state.known == Known::Unknown && self.speaks_for_all(&line, &report) =>
            {
                draft.close(Known::NotApplied(NotApplied::Refused));
                draft.to.answer = refusal;
            }
            Performed::No(_) if outcome == AttemptOutcome::No => {
                draft.close_one_attempt();
                draft.to.next_at = self.after_doubt(&report);
            }
            Performed::Duplicate => {
                if let Some(sent) = &mut draft.to.sent {
                    sent.seen = true;
                }
                draft.to.next_at = self.after_doubt(&report);
            }
            Performed::No(_) | Performed::Unknown => {
                draft.to.failing_since = Some(self.now);
                draft.to.next_at = self.after_doubt(&report);
            }
        }
        draft.conclude(self.rules, self.origin);
        Told::Write(draft.rested())
    }

    /// Records that the attempt was not sent, so it can take no effect. If no attempt at all may have been sent, there
    /// is no quiet time to wait for, and the lifetime of the key has not begun. In that case, the action fails if
    /// `closes` is true, and is tried again later if `closes` is false.
    fn not_sent(&self, draft: &mut Draft, report: &Report, closes: bool) {
        let to = &mut draft.to;
        to.attempts = to.attempts.saturating_sub(1);
        to.sent = to.sent.filter(|sent| sent.attempts > 1).map(|sent| Sent {
            attempts: sent.attempts - 1,
            open: sent.open.saturating_sub(1),
            ..sent
        });
        if to.known == Known::Unknown && to.open_attempts() == 0 {
            to.known = Known::Never;
        }
        to.failing_since = Some(self.now);
        to.next_at = self.later(to.logged, report);
        if closes && to.known == Known::Never && to.goal == Goal::Perform {
            draft.fail("it could not be sent while its caller waited");
        }
    }

    /// Returns whether a refusal proves nothing, not even about the attempt that was refused. That is so for a 401, 403
    /// or 422 while another attempt may still take effect: the provider may have refused before it looked up the key.
    fn says_nothing(&self, report: &Report) -> bool {
        self.state.open_attempts() > 1 && matches!(report.status, Some(401 | 403 | 422))
    }

    /// Returns whether a refusal holds for the whole action, and not only for the attempt that was refused. That is so
    /// if no other attempt may still take effect, or if the provider would give an earlier attempt the same answer.
    fn speaks_for_all(&self, line: &AttemptRow, report: &Report) -> bool {
        let binds = report.status.is_some_and(|status| self.rules.refusal_binds.contains(&status));
        let alone = self.state.open_attempts() <= 1;
        let saved = self.rules.saves_refusals && !self.says_nothing(report);
        alone || saved || (line.after_quiet && binds)
    }

    /// Returns when the row is due again after an attempt whose effect is unknown.
    fn after_doubt(&self, report: &Report) -> Stamp {
        match (self.state.goal, self.rules.on_unknown, &self.rules.confirm) {
            (Goal::Perform, OnUnknown::Hold | OnUnknown::Cancel, _) => self.now,
            (Goal::Perform | Goal::Cancel, _, Some(confirm)) => {
                self.now.saturating_add(confirm.after.max(report.retry_after.unwrap_or_default()))
            }
            (Goal::Perform | Goal::Cancel, _, None) => self.later(self.state.attempts, report),
        }
    }

    /// Handles an answer that came late: another writer has changed the row, so it no longer waits for this attempt.
    /// The answer is kept as evidence. If the answer is "yes" although the row was closed as not applied, the provider
    /// is asked about the effect. If the provider cannot be asked, the effect is undone.
    fn late(&self, closed: AttemptRow, how: Performed) -> Told {
        match how {
            Performed::Yes(answer) if contradicts(self.state) => {
                let mut draft = Draft::at(self.state, self.time);
                draft.log(closed);
                draft.contradicted(self.rules, answer);
                Told::Write(draft.written())
            }
            // An attempt has arrived although the row says that none did, so the end of the row is disputed. The
            // arrival is no proof of an effect. If the provider cannot be asked, a person must find out.
            Performed::Duplicate if contradicts(self.state) => {
                let mut draft = Draft::at(self.state, self.time);
                draft.log(closed);
                draft.arrived_after_all(self.rules);
                Told::Write(draft.written())
            }
            Performed::Yes(_)
            | Performed::NotSent
            | Performed::No(_)
            | Performed::Duplicate
            | Performed::Unknown => Told::Late(Evidence(closed)),
        }
    }
}
