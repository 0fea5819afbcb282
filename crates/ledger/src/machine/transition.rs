//! The changes that several events share. A [`Draft`] is the row as it will be after the change. A finished draft
//! becomes a [`Write`], which a store can execute.

use super::{
    AttemptKind, AttemptOutcome, AttemptRow, End, Goal, Known, NotApplied, Origin, Owner, Rules, SettleBy,
    Stamp, State, Write,
};

/// The first words of the row's `why` while the outcome is known, but the application's handler fails. The row is then
/// still open, and `asks` counts the runs of the handler.
pub(crate) const HANDLER_FAILED: &str = "the application's handler failed";

/// A change of a row that is not complete yet.
pub(super) struct Draft {
    from: u64,
    pub(super) to: State,
    pub(super) now: Stamp,
    attempt: Option<AttemptRow>,
    breaks_scope: bool,
}

impl Draft {
    pub(super) fn of(state: &State, now: Stamp) -> Draft {
        let to = State { version: state.version.saturating_add(1), ..state.clone() };
        Draft { from: state.version, to, now, attempt: None, breaks_scope: false }
    }

    /// Returns the write of a writer that has no claim on the row: the application, a webhook or a person. If a worker
    /// has a claim, the claim stays, unless this write ends the row.
    pub(super) fn written(mut self) -> Write {
        if self.to.end.is_some() {
            self.let_go();
        }
        let Draft { from, to, attempt, breaks_scope, now: _ } = self;
        Write { from, to, attempt, breaks_scope }
    }

    /// Returns the write that the owner of the row makes after a step of its work. If nothing is to be done now, the
    /// write also ends the claim. So the row can be claimed when it is due, and not only when its lease ends.
    pub(super) fn rested(mut self) -> Write {
        if self.to.next_at > self.now {
            self.let_go();
        }
        self.written()
    }

    /// Returns the write of an owner that keeps its claim and continues to work on the row immediately.
    pub(super) fn renewed(self) -> Write {
        let Draft { from, to, attempt, breaks_scope, now: _ } = self;
        Write { from, to, attempt, breaks_scope }
    }

    fn let_go(&mut self) {
        self.to.owner = None;
        self.to.in_flight = None;
        self.to.lease_until = self.to.lease_until.min(self.now);
    }

    pub(super) fn log(&mut self, attempt: AttemptRow) {
        self.attempt = Some(attempt);
    }

    /// Ends the row if the known effect allows that: as done or failed if the goal is to perform, as cancelled if the
    /// goal is to cancel and nothing is left to undo. If the application or the scope has yet to settle, only the next
    /// time to work on the row is set.
    pub(super) fn conclude(&mut self, rules: &Rules, origin: Origin) {
        match (self.to.goal, self.to.known) {
            (Goal::Perform, Known::Applied) => match rules.settle {
                SettleBy::Reply if origin.scoped => self.to.next_at = self.now,
                SettleBy::Reply => self.settle(),
                SettleBy::Explicit(_) => self.to.next_at = self.to.settle_by.unwrap_or(self.now),
            },
            (Goal::Perform, Known::NotApplied(why)) => self.fail(refusal(why)),
            (Goal::Cancel, Known::Never | Known::NotApplied(_)) if self.to.open_attempts == 0 => {
                self.end(End::Cancelled);
            }
            (Goal::Cancel, Known::Never | Known::NotApplied(_) | Known::Unknown | Known::Applied)
            | (Goal::Perform, Known::Never | Known::Unknown) => {}
        }
    }

    pub(super) fn settle(&mut self) {
        self.to.settled = true;
        self.end(End::Done);
    }

    pub(super) fn fail(&mut self, why: &str) {
        self.to.why = Some(why.to_owned());
        self.breaks_scope = true;
        self.end(End::Failed);
    }

    pub(super) fn stick(&mut self, why: &str) {
        self.to.why = Some(why.to_owned());
        self.end(End::Stuck);
    }

    fn end(&mut self, end: End) {
        self.forget_handler();
        self.to.end = Some(end);
        self.to.next_at = self.now;
    }

    /// Removes the note that a handler failed, because the row now ends or changes its goal.
    fn forget_handler(&mut self) {
        if self.to.why.as_ref().is_some_and(|why| why.starts_with(HANDLER_FAILED)) {
            self.to.why = None;
            self.to.asks = 0;
        }
    }

    /// Postpones the question that is planned for after the end, if there is one. It is then asked a full `audit_after`
    /// from now. Directly after a cancel, the provider's status may lag behind and still say "applied". If that were
    /// believed, the effect would be undone twice.
    fn postpone_audit(&mut self, rules: &Rules) {
        if self.to.audit_at.is_some() {
            self.to.audit_at = Some(self.now.saturating_add(rules.audit_after));
        }
    }

    /// Changes the goal from perform to cancel. If nothing was sent, the row ends as cancelled. Attempts and claim stay
    /// unchanged, so that a worker with a claim can go on.
    pub(super) fn turn(&mut self, rules: &Rules) {
        self.to.goal = Goal::Cancel;
        self.to.settled = false;
        self.to.end = None;
        self.to.asks = 0;
        self.forget_handler();
        self.breaks_scope = true;
        if self.to.known == Known::Never && self.to.open_attempts == 0 {
            self.end(End::Cancelled);
        } else {
            self.to.next_at =
                self.now.saturating_add(rules.cancel.map_or_else(Default::default, |c| c.after));
        }
    }

    /// Records that the effect is believed to be absent. If the provider can be asked, it is asked once more later: if
    /// the network was slower than declared, the effect may exist after all, and nobody else would look for it.
    pub(super) fn absent(&mut self, rules: &Rules, known: Known) {
        self.to.known = known;
        self.to.open_attempts = 0;
        self.to.asks = 0;
        self.to.closed_by_absence = true;
        self.to.audit_at = rules.confirm.map(|_| self.now.saturating_add(rules.audit_after));
        self.to.next_at = self.now;
    }

    pub(super) fn cancelled_there(&mut self, rules: &Rules) {
        self.postpone_audit(rules);
        self.to.known = Known::NotApplied(NotApplied::Cancelled);
        self.to.open_attempts = 0;
        self.to.cancel_open = 0;
        self.to.next_at = self.now;
    }

    /// Records that the effect exists. This closes one of the open attempts.
    pub(super) fn applied(&mut self, answer: Option<Vec<u8>>) {
        self.to.known = Known::Applied;
        self.to.open_attempts = self.to.open_attempts.saturating_sub(1);
        self.to.asks = 0;
        if answer.is_some() {
            self.to.answer = answer;
        }
        self.to.next_at = self.now;
    }

    /// Begins a new generation of cancels, with a key that was never used.
    pub(super) fn next_generation(&mut self) {
        self.to.cancel_gen = self.to.cancel_gen.saturating_add(1);
        self.to.cancel_gen_early = false;
        self.to.cancel_open = 0;
        self.to.cancel_quiet_until = None;
    }

    /// Handles a report that the effect exists, although the row was closed as not applied. The provider is asked after
    /// one more quiet time. Before that time, a status that lags behind could still say "absent", and nobody would look
    /// again. If the provider cannot be asked, the report is believed.
    pub(super) fn contradicted(&mut self, rules: &Rules, answer: Option<Vec<u8>>) {
        match rules.confirm {
            Some(_) => self.to.audit_at = Some(self.now.saturating_add(rules.quiet)),
            None => self.reopen(answer),
        }
    }

    /// Opens the row again after its end, because the effect was found after all. The goal is now to undo the effect.
    pub(super) fn reopen(&mut self, answer: Option<Vec<u8>>) {
        self.to.end = None;
        self.to.goal = Goal::Cancel;
        self.to.settled = false;
        self.applied(answer);
        self.next_generation();
        self.to.cancel_tries = 0;
        self.to.closed_by_absence = false;
        self.to.audit_at = None;
        self.to.why = Some("orphan: found alive after its end".to_owned());
    }

    /// Opens a row again, as a person has asked, with the full number of tries.
    pub(super) fn fresh_tries(&mut self) {
        self.to.end = None;
        self.to.why = None;
        self.to.attempts = 0;
        self.to.asks = 0;
        self.to.cancel_tries = 0;
        self.to.next_at = self.now;
    }

    pub(super) fn renew(&mut self, rules: &Rules) {
        self.to.lease_until = self.to.lease_until.max(self.now.saturating_add(rules.lease));
    }

    fn next_line(&mut self, rules: &Rules, kind: AttemptKind, send_by: Stamp) -> AttemptRow {
        self.to.logged = self.to.logged.saturating_add(1);
        let generation = match kind {
            AttemptKind::Cancel => self.to.cancel_gen,
            AttemptKind::Perform | AttemptKind::Confirm => 0,
        };
        self.renew(rules);
        AttemptRow {
            kind,
            number: self.to.logged,
            generation,
            fence: self.to.fence,
            recorded_at: self.now,
            send_by,
            after_quiet: self.to.quiet_until.is_none_or(|quiet| self.now >= quiet),
            ended_at: None,
            outcome: AttemptOutcome::Open,
            status: None,
            detail: None,
        }
    }

    /// Returns the write that records a perform attempt. The attempt may be sent once this write is committed.
    pub(super) fn perform(mut self, rules: &Rules) -> Write {
        let send_by = self.now.saturating_add(rules.attempt);
        let attempt = self.next_line(rules, AttemptKind::Perform, send_by);
        let quiet = send_by.saturating_add(rules.quiet);
        self.to.known = Known::Unknown;
        self.to.open_attempts = self.to.open_attempts.saturating_add(1);
        self.to.attempts = self.to.attempts.saturating_add(1);
        self.to.maybe_sent = self.to.maybe_sent.saturating_add(1);
        self.to.absences = 0;
        self.to.in_flight = Some(attempt.number);
        self.to.quiet_until = Some(self.to.quiet_until.map_or(quiet, |before| before.max(quiet)));
        self.to.key_first_at = self.to.key_first_at.or(Some(self.now));
        self.log(attempt);
        self.written()
    }

    /// Returns the write that records a cancel attempt under the key of the current generation. The cancel may be sent
    /// once this write is committed.
    pub(super) fn cancel(mut self, rules: &Rules) -> Write {
        let send_by = self.now.saturating_add(rules.attempt);
        let attempt = self.next_line(rules, AttemptKind::Cancel, send_by);
        if self.to.cancel_open == 0 {
            self.to.cancel_gen_early = !attempt.after_quiet;
        }
        let quiet = send_by.saturating_add(rules.quiet);
        self.to.cancel_open = self.to.cancel_open.saturating_add(1);
        self.to.cancel_tries = self.to.cancel_tries.saturating_add(1);
        self.to.in_flight = Some(attempt.number);
        self.to.cancel_quiet_until =
            Some(self.to.cancel_quiet_until.map_or(quiet, |before| before.max(quiet)));
        self.log(attempt);
        self.written()
    }

    /// Returns the log line of a question that has ended. A question has no line before its end.
    pub(super) fn question(&mut self, rules: &Rules, asked_at: Stamp, outcome: AttemptOutcome) -> AttemptRow {
        let send_by = asked_at.saturating_add(rules.attempt);
        let line = self.next_line(rules, AttemptKind::Confirm, send_by);
        AttemptRow { recorded_at: asked_at, ended_at: Some(self.now), outcome, ..line }
    }
}

/// Returns the write that claims the row for `owner`. Returns `None` if the row is not due, or if another worker's
/// lease has not ended. The stores claim in SQL, with the time at which the database began the statement; this function
/// defines what that SQL must do.
#[must_use]
pub fn claim(state: &State, rules: &Rules, owner: Owner, now: Stamp) -> Option<Write> {
    if state.due_at().is_none_or(|due| due > now) {
        return None;
    }
    let mut draft = Draft::of(state, now);
    draft.to.owner = Some(owner);
    draft.to.fence = draft.to.fence.saturating_add(1);
    draft.to.in_flight = None;
    draft.to.lease_until = now.saturating_add(rules.lease);
    Some(Write { from: draft.from, to: draft.to, attempt: None, breaks_scope: false })
}

/// Returns the write that ends a claim without any work on the row. Returns `None` if `owner` does not have the row or
/// has an attempt under way.
#[must_use]
pub fn release(state: &State, owner: Owner, now: Stamp) -> Option<Write> {
    (state.owner == Some(owner) && state.in_flight.is_none()).then(|| {
        let mut draft = Draft::of(state, now);
        draft.let_go();
        draft.written()
    })
}

fn refusal(why: NotApplied) -> &'static str {
    match why {
        NotApplied::Refused => "refused by the provider",
        NotApplied::Cancelled => "cancelled at the provider",
        NotApplied::Absent | NotApplied::NoSuch => "not known to the provider after the quiet time",
        NotApplied::Resolved => "resolved as not applied",
    }
}
