//! The changes that several events share. A [`Draft`] is the row as it will be after the change. A finished draft
//! becomes a [`Write`], which a store can execute.

use std::time::Duration;

use super::state::{OpenCancels, Questions, Sent};
use super::stuck::Stuck;
use super::write::SentKey;
use super::{
    AttemptKind, AttemptOutcome, AttemptRow, End, Goal, Known, Naming, NotApplied, Now, Origin, Rules,
    SettleBy, Stamp, State, Write,
};

/// A change of a row that is not complete yet.
pub(super) struct Draft {
    from: u64,
    pub(super) to: State,
    pub(super) now: Stamp,
    attempt: Option<AttemptRow>,
    breaks_scope: bool,
    pub(super) names: Option<SentKey>,
    /// Whether `now` can be relied on. Only the changes that record a request read this field.
    sure: bool,
}

impl Draft {
    pub(super) fn of(state: &State, now: Stamp) -> Draft {
        Draft::at(state, Now::sure(now))
    }

    /// Makes a draft as [`Draft::of`] does, but with a time that may be in doubt. It is used for each change that may
    /// record a request, since such a change must know whether the time can be relied on.
    pub(super) fn at(state: &State, now: Now) -> Draft {
        let to = State { version: state.version.saturating_add(1), ..state.clone() };
        let (now, sure) = (now.at, now.is_sure());
        Draft { from: state.version, to, now, attempt: None, breaks_scope: false, names: None, sure }
    }

    /// Returns the write of a writer that has no claim on the row: the application, a webhook or a person. If a worker
    /// has a claim, the claim stays, unless this write ends the row.
    pub(super) fn written(mut self) -> Write {
        if self.to.end.is_some() {
            self.let_go();
        }
        let Draft { from, to, attempt, breaks_scope, names, now: _, sure: _ } = self;
        Write { from, to, attempt, breaks_scope, names }
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
        let Draft { from, to, attempt, breaks_scope, names, now: _, sure: _ } = self;
        Write { from, to, attempt, breaks_scope, names }
    }

    pub(super) fn let_go(&mut self) {
        self.to.claim = None;
    }

    pub(super) fn log(&mut self, attempt: AttemptRow) {
        self.attempt = Some(attempt);
    }

    /// Ends the row if the known effect allows that:
    ///
    /// - As done, if the goal is to perform and the effect exists.
    /// - As failed, if the goal is to perform and the effect does not exist.
    /// - As cancelled, if the goal is to cancel and nothing is left to undo.
    ///
    /// An effect that exists may still have to be settled by the application, or together with the other actions of a
    /// scope. Then the row does not end. Only the next time to work on it is set.
    pub(super) fn conclude(&mut self, rules: &Rules, origin: Origin<'_>) {
        match (self.to.goal, self.to.known) {
            (Goal::Perform, Known::Applied) => match rules.settle {
                SettleBy::Reply if origin.scoped => self.to.next_at = self.now,
                SettleBy::Reply => self.settle(),
                SettleBy::Explicit(_) => self.to.next_at = self.to.settle_by.unwrap_or(self.now),
            },
            (Goal::Perform, Known::NotApplied(why)) => self.fail(refusal(why)),
            (Goal::Cancel, Known::Never | Known::NotApplied(_)) => self.end(End::Cancelled),
            (Goal::Cancel, Known::Unknown | Known::Applied)
            | (Goal::Perform, Known::Never | Known::Unknown) => {}
        }
    }

    pub(super) fn settle(&mut self) {
        self.to.why = None;
        self.end(End::Done);
    }

    pub(super) fn fail(&mut self, why: &str) {
        self.to.why = Some(why.to_owned());
        self.breaks_scope = true;
        self.end(End::Failed);
    }

    pub(super) fn stick(&mut self, why: Stuck) {
        self.to.why = Some(why.text().to_owned());
        self.end(End::Stuck);
    }

    fn end(&mut self, end: End) {
        self.to.handler = None;
        self.to.failing_since = None;
        self.to.end = Some(end);
        self.to.next_at = self.now;
    }

    /// If a question is planned for after the end of the row, plans it anew: for the time `audit_after` (of the rules)
    /// after now. It must not be asked directly after a cancel. A status that lags behind may then still say "applied",
    /// and the effect would be undone twice.
    ///
    /// If the window for questions ends before that, the question is asked earlier, but at least one quiet time from
    /// now. If the window ends even before that, the question is not asked any more.
    fn postpone_audit(&mut self, rules: &Rules) {
        if self.to.audit_at.is_some() {
            let current = self.now.saturating_add(rules.quiet);
            let end = rules.ask_by(self.to.sent.as_ref());
            let planned = self.audit_at(rules).map(|at| at.max(current));
            self.to.audit_at = planned.filter(|at| end.is_none_or(|end| *at < end));
        }
    }

    /// Returns when the provider is asked once more after the end of the row. Usually that is the time `audit_after`
    /// (of the rules) after now. If the window for questions ends before that, the question is asked one lease before
    /// the end of the window, or now if that moment has passed. Returns `None` if the provider cannot be asked any
    /// more, or never could.
    fn audit_at(&self, rules: &Rules) -> Option<Stamp> {
        rules.confirm.as_ref()?;
        let planned = self.now.saturating_add(rules.audit_after);
        match rules.ask_by(self.to.sent.as_ref()) {
            None => Some(planned),
            Some(end) if end <= self.now => None,
            // The question is planned one lease before the end of the window. If its worker dies, another one can then
            // take the row over in time.
            Some(end) => Some(planned.min(end.saturating_sub(rules.lease)).max(self.now)),
        }
    }

    /// Changes the goal from perform to cancel. If nothing was sent, the row ends as cancelled. Attempts and claim stay
    /// unchanged, so that a worker with a claim can go on.
    pub(super) fn turn(&mut self, rules: &Rules) {
        self.to.goal = Goal::Cancel;
        self.to.end = None;
        self.to.questions.asked = 0;
        // An answer that came before the goal changed may no longer say what is left to undo, so the provider is asked
        // again.
        self.to.undo.asked = false;
        self.to.failing_since = None;
        self.to.handler = None;
        self.breaks_scope = true;
        if self.to.known == Known::Never {
            self.end(End::Cancelled);
        } else {
            let after = rules.cancel.as_ref().map_or(Duration::ZERO, |cancel| cancel.after);
            self.to.next_at = self.now.saturating_add(after);
        }
    }

    /// Records that no attempt can take effect any more, and sets what is known of the effect to `known`.
    pub(super) fn close(&mut self, known: Known) {
        self.to.known = known;
        self.to.failing_since = None;
        self.close_attempts();
        self.to.next_at = self.now;
    }

    pub(super) fn close_attempts(&mut self) {
        if let Some(sent) = &mut self.to.sent {
            sent.open = 0;
        }
    }

    /// Records that one attempt cannot take effect any more.
    pub(super) fn close_one_attempt(&mut self) {
        if let Some(sent) = &mut self.to.sent {
            sent.open = sent.open.saturating_sub(1);
        }
    }

    /// Records that the effect is believed to be absent. If the provider can be asked, it is asked once more later: if
    /// the network was slower than declared, the effect may exist after all, and nobody else would look for it.
    pub(super) fn absent(&mut self, rules: &Rules, known: Known) {
        self.close(known);
        self.to.questions.asked = 0;
        self.to.audit_at = self.audit_at(rules);
    }

    pub(super) fn cancelled_there(&mut self, rules: &Rules) {
        self.postpone_audit(rules);
        self.close(Known::NotApplied(NotApplied::Cancelled));
        self.to.undo.open = None;
    }

    /// Records that the effect exists. One of the attempts that could still take effect has done so, so their number
    /// decreases by one. `answer` replaces the answer in the row. If `answer` is `None`, the answer in the row is kept,
    /// unless it is a refusal, since a refusal does not name the effect.
    pub(super) fn applied(&mut self, answer: Option<Vec<u8>>) {
        let refused = self.to.known == Known::NotApplied(NotApplied::Refused);
        self.to.answer = answer.or(self.to.answer.take().filter(|_| !refused));
        self.to.known = Known::Applied;
        self.to.failing_since = None;
        self.close_one_attempt();
        self.to.questions = Questions::default();
        self.to.next_at = self.now;
    }

    /// Begins a new generation of cancels: the following cancels have a key that was never used.
    pub(super) fn next_generation(&mut self) {
        self.to.undo.generation = self.to.undo.generation.saturating_add(1);
        self.to.undo.open = None;
        self.to.undo.asked = false;
    }

    /// Records that a cancel of the current generation was not sent.
    pub(super) fn close_one_cancel(&mut self) {
        if let Some(open) = self.to.undo.open.take_if(|open| open.count <= 1) {
            drop(open);
        } else if let Some(open) = &mut self.to.undo.open {
            open.count -= 1;
        }
    }

    /// Notes that the end of the row is contradicted. People see this note, and the key of the action cannot be used
    /// anew.
    pub(super) fn dispute(&mut self) {
        self.to.disputed_at = Some(self.now);
    }

    /// Records that the question which is asked after the end of the row confirmed that end.
    pub(super) fn audit_ends(&mut self) {
        self.to.audit_at = None;
        self.to.disputed_at = None;
        self.to.failing_since = None;
    }

    /// Handles a report that the effect exists, although the row was closed as not applied. The provider is asked after
    /// one more quiet time ([`Rules::quiet`]). Before that time, a status that lags behind could still say "absent",
    /// and nobody would look again. If the provider cannot be asked, the report is believed.
    pub(super) fn contradicted(&mut self, rules: &Rules, answer: Option<Vec<u8>>) {
        self.dispute();
        match rules.confirm {
            Some(_) => self.to.audit_at = Some(self.now.saturating_add(rules.quiet)),
            None => self.reopen(answer),
        }
    }

    /// Handles a report that an attempt arrived, although the row was closed as not applied. The provider is asked
    /// after one more quiet time ([`Rules::quiet`]). If it cannot be asked, the report is only noted.
    pub(super) fn arrived_after_all(&mut self, rules: &Rules) {
        self.dispute();
        if let Some(sent) = &mut self.to.sent {
            sent.seen = true;
        }
        if rules.confirm.is_some() {
            self.to.audit_at = Some(self.now.saturating_add(rules.quiet));
        }
    }

    /// Opens the row again after its end, because the effect was found after all. The goal is now to undo the effect.
    pub(super) fn reopen(&mut self, answer: Option<Vec<u8>>) {
        self.to.end = None;
        self.to.goal = Goal::Cancel;
        // The body of a refusal names no effect that could be undone.
        if self.to.known == Known::NotApplied(NotApplied::Refused) {
            self.to.answer = None;
        }
        self.applied(answer);
        self.next_generation();
        self.to.undo.tries = 0;
        self.to.audit_at = None;
        self.to.why = Some("orphan: found alive after its end".to_owned());
    }

    /// Records that a question or a cancel brought no result. Returns whether such requests have been tried for as long
    /// as the rules allow.
    pub(super) fn brought_nothing(&mut self, rules: &Rules) -> bool {
        let since = *self.to.failing_since.get_or_insert(self.now);
        self.sure && self.now >= since.saturating_add(rules.stuck_after)
    }

    /// Opens a stuck row again. The numbers of its requests, and the time for which they have failed, begin at zero, so
    /// that none of the limits is reached. If the operation's cancels name what is left to undo
    /// ([`CancelRules::asks_first`](super::CancelRules::asks_first)), the provider is asked for that again before the
    /// next cancel, since the answer in the row may be old.
    pub(super) fn fresh_tries(&mut self) {
        self.to.end = None;
        self.to.why = None;
        self.to.attempts = 0;
        self.to.questions.asked = 0;
        self.to.undo.tries = 0;
        self.to.undo.asked = false;
        self.to.failing_since = None;
        self.to.next_at = self.now;
    }

    pub(super) fn renew(&mut self, rules: &Rules) {
        let until = self.now.saturating_add(rules.lease);
        if let Some(claim) = &mut self.to.claim {
            claim.until = claim.until.max(until);
        }
    }

    pub(super) fn set_in_flight(&mut self, number: Option<u32>) {
        if let Some(claim) = &mut self.to.claim {
            claim.in_flight = number;
        }
    }

    fn next_line(&mut self, rules: &Rules, kind: AttemptKind, send_by: Stamp) -> AttemptRow {
        self.to.logged = self.to.logged.saturating_add(1);
        let generation = match kind {
            AttemptKind::Cancel => self.to.undo.generation,
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
            after_quiet: rules
                .quiet_until(self.to.sent.as_ref())
                .is_none_or(|quiet| self.sure && self.now >= quiet),
            ended_at: None,
            outcome: AttemptOutcome::Open,
            status: None,
            detail: None,
            answer: None,
        }
    }

    /// Returns the write that records a perform attempt. The attempt may be sent once this write is committed.
    pub(super) fn perform(mut self, rules: &Rules) -> Write {
        let send_by = self.now.saturating_add(rules.attempt);
        let line = self.next_line(rules, AttemptKind::Perform, send_by);
        let quiet_until = send_by.saturating_add(rules.quiet);
        self.to.sent = Some(match self.to.sent {
            Some(sent) => Sent {
                attempts: sent.attempts.saturating_add(1),
                open: sent.open.saturating_add(1),
                quiet_until: sent.quiet_until.max(quiet_until),
                send_by: sent.send_by.max(Some(send_by)),
                ..sent
            },
            None => Sent {
                attempts: 1,
                open: 1,
                first_at: self.now,
                quiet_until,
                send_by: Some(send_by),
                key_ends: rules.key_lifetime.as_ref().map(|lifetime| lifetime.end(self.now)),
                seen: false,
            },
        });
        self.to.known = Known::Unknown;
        self.to.attempts = self.to.attempts.saturating_add(1);
        self.to.questions.absences = 0;
        self.set_in_flight(Some(line.number));
        self.log(line);
        self.written()
    }

    /// Returns the write that records a cancel attempt under the current cancel key. The cancel may be sent once this
    /// write is committed.
    pub(super) fn cancel(mut self, rules: &Rules, origin: Origin<'_>) -> Write {
        let send_by = self.now.saturating_add(rules.attempt);
        let line = self.next_line(rules, AttemptKind::Cancel, send_by);
        let quiet_until = send_by.saturating_add(rules.quiet);
        self.to.undo.open = Some(match self.to.undo.open.take() {
            Some(open) => OpenCancels {
                count: open.count.saturating_add(1),
                quiet_until: open.quiet_until.max(quiet_until),
                send_by: open.send_by.max(Some(send_by)),
                ..open
            },
            None => OpenCancels {
                count: 1,
                early: !line.after_quiet,
                first_at: self.now,
                quiet_until,
                send_by: Some(send_by),
                key_ends: rules.key_lifetime.as_ref().map(|lifetime| lifetime.end(self.now)),
                key: cancel_key(rules, origin, line.generation),
            },
        });
        self.to.undo.tries = self.to.undo.tries.saturating_add(1);
        self.to.failing_since.get_or_insert(self.now);
        self.to.undo.asked = false;
        self.set_in_flight(Some(line.number));
        self.log(line);
        self.written()
    }

    /// Returns the log line of a question that has ended. A question has no line before its end.
    pub(super) fn question(&mut self, rules: &Rules, asked_at: Stamp, outcome: AttemptOutcome) -> AttemptRow {
        let send_by = asked_at.saturating_add(rules.attempt);
        let line = self.next_line(rules, AttemptKind::Confirm, send_by);
        AttemptRow { recorded_at: asked_at, ended_at: Some(self.now), outcome, ..line }
    }
}

/// Returns the cancel key with the number `generation`; `None` for an action of the first release, whose keys are made
/// in another way.
fn cancel_key(rules: &Rules, origin: Origin<'_>, generation: u32) -> Option<String> {
    let salt = match origin.naming {
        Naming::FirstRelease => return None,
        Naming::Salted(salt) => salt,
        Naming::Open => 0,
    };
    Some(rules.keys.cancel_key(origin.dependency, origin.key, generation, salt))
}

fn refusal(why: NotApplied) -> &'static str {
    match why {
        NotApplied::Refused => "refused by the provider",
        NotApplied::Cancelled => "cancelled at the provider",
        NotApplied::Absent | NotApplied::NoSuch => "not known to the provider after the quiet time",
        NotApplied::Resolved => "resolved as not applied",
    }
}
