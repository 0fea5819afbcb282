//! Decides what to do next with a row. The decision is a pure function of the row and the time.
//!
//! The result is the change that allows the next step. Nothing is sent before a store has taken this [`Write`], and the
//! store takes the write only if the row has not changed since the plan was made. The obvious design has two rules: one
//! that plans, and one that the store checks. Then the first rule could plan an attempt that the second one refuses,
//! again and again for ever. Here a single rule does both.

use super::stuck::Stuck;
use super::transition::Draft;
use super::{
    CancelKind, CancelRules, End, Goal, Known, Now, OnUnknown, Origin, Owner, Rules, SettleBy, Stamp, State,
    Write,
};
use seawall_policy::Idempotency;

/// If this number of cancels under one key got no answer, the provider is asked what became of the action before
/// another cancel is sent. The provider may have saved a failure under that key, and would answer every further cancel
/// with it.
const UNANSWERED_BEFORE_ASKING: u32 = 3;

/// The next step for a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing is to be done: the row belongs to another worker, has an attempt under way, or is at its end.
    Leave,
    /// Write this change. After that, plan again if this worker still has the row.
    Change(Write),
    /// Write this change. Once the store has taken it, send the attempt that it records. The first byte must leave
    /// before `send_by`; from then on nothing is sent.
    Perform(Write),
    /// Write this change. Once the store has taken it, send the cancel that it records, under the current cancel key.
    Cancel(Write),
    /// Ask the provider, and report the answer to the machine. Nothing is written before the question.
    Ask(Question),
    /// Settle all actions of the scope together, and report to the machine how that ended.
    SettleScope,
}

/// A question that is about to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    /// The number of the claim under which the question is asked. Each claim of a row has a new number, its fence.
    pub fence: u64,
    /// The number that the line of this question will have in the attempt log. If another line is written before the
    /// answer comes, the answer is ignored.
    pub number: u32,
    /// When the question was planned. It is sent at this time or a little later, never earlier. This time decides
    /// whether the answer "not found" came after the quiet time, when no attempt could still arrive. While the time is
    /// in doubt, every question counts as asked before the end of the quiet time.
    pub asked_at: Stamp,
    /// Whether the time `asked_at` can be relied on. If not, the answer "not found" proves nothing.
    pub sure: bool,
}

/// Returns what the owner of a claimed row does next. While the time is in doubt, after a jump of the database's clock,
/// a step that depends on the time waits for the end of the doubt.
#[must_use]
pub fn plan(state: &State, rules: &Rules, origin: Origin<'_>, now: Now, owner: Owner) -> Step {
    if !state.is_of(owner) || state.in_flight().is_some() {
        return Step::Leave;
    }
    let view = View { state, rules, origin, now: now.at, time: now };
    match state.end {
        Some(End::Failed | End::Cancelled) if state.audit_at.is_some_and(|at| at <= now.at) => {
            return view.audit();
        }
        Some(End::Done | End::Failed | End::Cancelled | End::Stuck) => return Step::Leave,
        None => {}
    }
    if now.at < state.next_at {
        return view.rest(state.next_at);
    }
    // After the deadline to settle, an action is cancelled even if it is not applied yet. Otherwise a charge could
    // still be made after the deadline, and would only be refunded.
    if state.goal == Goal::Perform && state.settle_by.is_some_and(|by| now.at >= by) && now.is_sure() {
        return view.change(|draft| {
            draft.turn(rules);
            draft.to.why = Some("not settled in time".to_owned());
        });
    }
    match state.goal {
        Goal::Perform => view.perform(),
        Goal::Cancel => view.undo(),
    }
}

struct View<'a> {
    state: &'a State,
    rules: &'a Rules,
    origin: Origin<'a>,
    now: Stamp,
    time: Now,
}

impl View<'_> {
    fn draft(&self) -> Draft {
        Draft::at(self.state, self.time)
    }

    fn change(&self, how: impl FnOnce(&mut Draft)) -> Step {
        let mut draft = self.draft();
        how(&mut draft);
        Step::Change(draft.rested())
    }

    /// Returns the step that lets the row rest until `until`. If the time is in doubt, after a jump of the database's
    /// clock, and `until` seems to be over, the row rests until the end of the doubt.
    fn rest(&self, until: Stamp) -> Step {
        let until = if self.is_in_doubt() && until <= self.now { self.time.doubt_ends() } else { until };
        self.change(|draft| draft.to.next_at = until)
    }

    /// Returns whether the time is in doubt, because the database's clock has jumped. If so, a decision that depends on
    /// the time has to wait.
    fn is_in_doubt(&self) -> bool {
        !self.time.is_sure()
    }

    /// Returns the step that lets the row rest until the time can be relied on again.
    fn wait_for_the_time(&self) -> Step {
        self.rest(self.time.doubt_ends())
    }

    fn stuck(&self, why: Stuck) -> Step {
        self.change(|draft| draft.stick(why))
    }

    fn conclude(&self) -> Step {
        self.change(|draft| draft.conclude(self.rules, self.origin))
    }

    // ---- the goal is to perform ----

    fn perform(&self) -> Step {
        match self.state.known {
            Known::Never => self.first(),
            Known::Unknown => match self.rules.on_unknown {
                OnUnknown::Hold => self.stuck(Stuck::Held),
                OnUnknown::Cancel => self.change(|draft| draft.turn(self.rules)),
                // If the provider can be asked, nothing is sent again before it was asked, even if it honours keys.
                OnUnknown::Repeat | OnUnknown::Confirm if self.rules.confirm.is_some() => self.ask(),
                OnUnknown::Repeat => self.repeat().unwrap_or_else(|why| self.stuck(why)),
                OnUnknown::Confirm => self.stuck(Stuck::CannotAsk),
            },
            Known::Applied => match self.rules.settle {
                SettleBy::Reply if self.origin.scoped => Step::SettleScope,
                // The row rests until the deadline to settle. If the deadline seems to have passed, it rests until the
                // doubt is over.
                SettleBy::Explicit(_) if self.is_in_doubt() => {
                    self.rest(self.state.settle_by.unwrap_or(self.now))
                }
                SettleBy::Reply | SettleBy::Explicit(_) => self.conclude(),
            },
            Known::NotApplied(_) => self.conclude(),
        }
    }

    /// Returns the step that sends the first attempt, or a new one if no earlier attempt can still take effect. The
    /// action fails instead if the time for sending is over, if the limit on attempts is reached, or if the provider
    /// may have forgotten the key. The row rests instead if the attempt could end after the deadline to settle.
    fn first(&self) -> Step {
        let gives_up = self.now >= self.state.begun_at.saturating_add(self.rules.give_up);
        if gives_up && self.time.is_sure() {
            return self.change(|draft| draft.fail("given up: it could not be sent in time"));
        }
        let used_up = self.state.attempts >= self.rules.limits.perform;
        if !used_up && self.is_in_doubt() && self.was_sent_under_a_key() {
            return self.wait_for_the_time();
        }
        if used_up || !self.key_lives() {
            return self.change(|draft| draft.fail("not known to the provider, and not to be sent again"));
        }
        if let Some(by) = self.too_late_to_settle() {
            return self.rest(by);
        }
        Step::Perform(self.draft().perform(self.rules))
    }

    /// Decides about another attempt although an earlier one may still take effect. There are three results:
    ///
    /// - The step that sends the attempt now.
    /// - A step that lets the row rest, if the attempt must wait. It waits while the time is in doubt, or if it could
    ///   end after the deadline to settle. The last attempt also waits until no earlier one can still arrive.
    /// - An error that says why another attempt is not allowed.
    fn repeat(&self) -> Result<Step, Stuck> {
        match self.rules.idempotency {
            Idempotency::Safe | Idempotency::Idempotent => {}
            Idempotency::Keyed if !self.rules.honours_keys() => {
                return Err(Stuck::NoKeyLifetime);
            }
            // If the provider has said that it has this key already, it would say the same to the next attempt. So
            // another attempt would tell nothing new.
            Idempotency::Keyed if self.state.sent.is_some_and(|sent| sent.seen) => {
                return Err(Stuck::OnlyADuplicate);
            }
            Idempotency::Keyed => {}
            Idempotency::None => return Err(Stuck::MayTakeEffectTwice),
        }
        if self.state.attempts >= self.rules.limits.perform {
            return Err(Stuck::SentTooOften);
        }
        if self.is_in_doubt() && self.was_sent_under_a_key() {
            return Ok(self.wait_for_the_time());
        }
        if !self.key_lives() {
            return Err(Stuck::KeyMayBeForgotten);
        }
        if let Some(by) = self.too_late_to_settle() {
            return Ok(self.rest(by));
        }
        let is_last = self.state.attempts.saturating_add(1) == self.rules.limits.perform;
        match self.quiet_ahead() {
            // If the provider refuses the last attempt, no attempt follows, so the refusal should end the action. It
            // can do that only if it also proves that the earlier attempts took no effect. Usually it proves this only
            // after the quiet time, when none of them can still arrive. So the last attempt waits until then.
            Some(quiet) if is_last => Ok(self.rest(quiet)),
            Some(_) | None => Ok(Step::Perform(self.draft().perform(self.rules))),
        }
    }

    /// Returns whether the provider still remembers the key when an attempt that is recorded now arrives as late as
    /// possible. Returns `true` if the operation has no key, or if no attempt was sent yet.
    fn key_lives(&self) -> bool {
        match (self.rules.idempotency, &self.state.sent) {
            (Idempotency::Keyed, Some(sent)) => {
                let arrives = self.time.latest_since(sent.first_at).saturating_add(self.rules.flight());
                self.rules.key_ends(sent).is_some_and(|end| arrives < end)
            }
            (Idempotency::Keyed | Idempotency::Safe | Idempotency::Idempotent | Idempotency::None, _) => true,
        }
    }

    /// Returns whether another attempt would repeat a key that may have been sent.
    fn was_sent_under_a_key(&self) -> bool {
        self.rules.idempotency == Idempotency::Keyed && self.state.sent.is_some()
    }

    /// Returns the deadline to settle, if an attempt that is recorded now could end after that deadline. Such an
    /// attempt would be of no use. Returns `None` if the attempt ends in time, or if there is no such deadline.
    fn too_late_to_settle(&self) -> Option<Stamp> {
        let end = self.now.saturating_add(self.rules.attempt);
        self.state.settle_by.filter(|by| self.state.goal == Goal::Perform && end > *by)
    }

    /// Returns the end of the quiet time, after which no attempt can still arrive. Returns `None` if it is over, or if
    /// nothing may have been sent. While the time is in doubt, the quiet time is not over.
    fn quiet_ahead(&self) -> Option<Stamp> {
        let quiet = self.rules.quiet_until(self.state.sent.as_ref());
        quiet.filter(|quiet| self.now < *quiet || self.is_in_doubt())
    }

    // ---- asking ----

    fn ask(&self) -> Step {
        if self.is_too_late_to_ask() {
            if self.is_in_doubt() {
                return self.wait_for_the_time();
            }
            return self.stuck(Stuck::NoLongerAsked);
        }
        if self.rules.limits.confirm.is_some_and(|most| self.state.questions.asked >= most) {
            return self.stuck(Stuck::AskedTooOften);
        }
        self.ask_now()
    }

    /// Asks once more after the end of the row, since the effect may exist after all.
    fn audit(&self) -> Step {
        if self.is_too_late_to_ask() {
            if self.is_in_doubt() {
                return self.change(|draft| {
                    draft.to.audit_at = Some(self.time.doubt_ends());
                    draft.let_go();
                });
            }
            return self.change(|draft| {
                draft.to.audit_at = None;
                draft.to.why = Some("not asked again: the declared window was over".to_owned());
            });
        }
        self.ask_now()
    }

    fn is_too_late_to_ask(&self) -> bool {
        self.is_over(self.rules.ask_by(self.state.sent.as_ref()))
    }

    /// Returns whether the time `end` has come, such as the end of the window for questions. Such times are counted
    /// from the first send of the action. If the clock was set back after that send, this is taken into account.
    /// Returns false if `end` is `None`, which means that there is no end.
    fn is_over(&self, end: Option<Stamp>) -> bool {
        let first = self.state.sent.map_or(self.now, |sent| sent.first_at);
        end.is_some_and(|end| self.time.latest_since(first) >= end)
    }

    fn ask_now(&self) -> Step {
        // If the lease ended before the answer came, the answer would be ignored. So a lease that is too short for that
        // is renewed first.
        let answered = self.now.saturating_add(self.rules.attempt);
        if self.state.leased_until().is_some_and(|until| answered > until) {
            let mut draft = self.draft();
            draft.renew(self.rules);
            return Step::Change(draft.renewed());
        }
        let number = self.state.logged.saturating_add(1);
        Step::Ask(Question { fence: self.state.fence, number, asked_at: self.now, sure: self.time.is_sure() })
    }

    // ---- the goal is to undo ----

    fn undo(&self) -> Step {
        match (self.state.known, &self.rules.cancel) {
            (Known::Never | Known::NotApplied(_), _) => self.conclude(),
            (Known::Unknown, None) if self.rules.confirm.is_some() => self.ask(),
            (Known::Unknown | Known::Applied, None) => self.stuck(Stuck::NoCancel),
            (Known::Unknown | Known::Applied, Some(cancel)) if self.repeats_in_doubt(cancel) => {
                self.wait_for_the_time()
            }
            (Known::Unknown | Known::Applied, Some(cancel)) if self.must_ask_first(cancel) => {
                match (
                    &self.rules.confirm,
                    self.state.undo.open.as_ref().map(|open| self.rules.cancel_quiet_until(open)),
                ) {
                    (None, Some(_)) => self.stuck(Stuck::MayUndoTwice),
                    (None, None) => self.stuck(Stuck::CannotAskWhatIsLeft),
                    (Some(_), Some(quiet)) if self.now < quiet => self.rest(quiet),
                    (Some(_), Some(_) | None) => self.ask(),
                }
            }
            (Known::Unknown, Some(cancel)) => self.undo_unknown(cancel),
            (Known::Applied, Some(cancel)) => self.undo_applied(cancel),
        }
    }

    /// Returns whether the next cancel has to wait for the end of the doubt. It has to wait only if a cancel of the
    /// current generation may have been sent already, and if a second one could do harm. A second one could do harm in
    /// two cases:
    ///
    /// - Two cancels undo twice, such as two refunds.
    /// - The cancels have a key. The provider may have forgotten the key.
    ///
    /// Other cancels only set a state, and may be repeated.
    fn repeats_in_doubt(&self, cancel: &CancelRules) -> bool {
        let twice = cancel.kind == CancelKind::Additive || cancel.keyed;
        self.is_in_doubt() && twice && self.state.undo.open.is_some()
    }

    /// Returns whether the provider must be asked before another cancel is sent. A generation is a series of cancels
    /// with the same key. The provider must be asked in three cases:
    ///
    /// - A second cancel could undo the effect twice. That is so if two cancels undo more than one, such as two
    ///   refunds ([`CancelKind::Additive`]), and one of the current generation may have been sent. A key prevents this
    ///   only as long as the provider is sure to remember the key.
    /// - The cancels have a key, the provider can be asked, and [`UNANSWERED_BEFORE_ASKING`] cancels of the current
    ///   generation may have been sent. The provider may have saved a failure under the key. Then sending again under
    ///   this key is useless.
    /// - Each cancel names what is left to undo ([`CancelRules::asks_first`]), and the provider was not asked for that
    ///   since the last cancel.
    fn must_ask_first(&self, cancel: &CancelRules) -> bool {
        let Some(open) = &self.state.undo.open else {
            return cancel.asks_first && !self.state.undo.asked;
        };
        let arrives = self.time.latest_since(open.first_at).saturating_add(self.rules.flight());
        let key_holds = self.rules.cancel_key_ends(open).is_some_and(|end| arrives < end);
        let twice = cancel.kind == CancelKind::Additive && !key_holds;
        let saved = cancel.keyed && self.rules.confirm.is_some() && open.count >= UNANSWERED_BEFORE_ASKING;
        twice || saved || (cancel.asks_first && !self.state.undo.asked)
    }

    fn undo_unknown(&self, cancel: &CancelRules) -> Step {
        // The provider remembers the cancel and refuses an attempt that arrives after the cancel, so there is nothing
        // to wait for.
        if cancel.tombstone {
            return self.send_cancel();
        }
        if self.rules.confirm.is_some() {
            return self.ask();
        }
        // With a key, repeating the attempt does no harm, and its answer says whether there is something to undo.
        let learned = match self.rules.idempotency {
            Idempotency::Keyed => self.repeat(),
            Idempotency::Safe | Idempotency::Idempotent | Idempotency::None => Err(Stuck::UndoneButUnknown),
        };
        match learned {
            Ok(step) => step,
            Err(_) if cancel.by_key => {
                let unused = self.state.undo.open.is_none();
                let early_again = self.state.undo.generation > 0 && unused;
                let several = !self.rules.honours_keys() && self.state.open_attempts() > 1;
                match self.quiet_ahead() {
                    Some(quiet) if early_again || several => self.rest(quiet),
                    Some(_) | None => self.send_cancel(),
                }
            }
            Err(why) => self.stuck(why),
        }
    }

    fn undo_applied(&self, cancel: &CancelRules) -> Step {
        if !cancel.by_key && self.state.answer.is_none() {
            return match &self.rules.confirm {
                Some(_) => self.ask(),
                None => self.stuck(Stuck::IdWasLost),
            };
        }
        // Without a key, another attempt that is still on its way could apply the effect again after it was undone.
        match self.quiet_ahead() {
            Some(quiet)
                if !self.rules.honours_keys() && !cancel.tombstone && self.state.open_attempts() > 0 =>
            {
                self.rest(quiet)
            }
            Some(_) | None => self.send_cancel(),
        }
    }

    fn send_cancel(&self) -> Step {
        if self.is_over(self.rules.cancel_by(self.state.sent.as_ref())) {
            if self.is_in_doubt() {
                return self.wait_for_the_time();
            }
            return self.stuck(Stuck::NoLongerCancelled);
        }
        if self.rules.was_cancelled_for_too_long(self.state.failing_since, self.state.undo.open.as_ref()) {
            if self.is_in_doubt() {
                return self.wait_for_the_time();
            }
            return self.stuck(Stuck::CancelledForTooLong);
        }
        if self.rules.limits.cancel.is_some_and(|most| self.state.undo.tries >= most) {
            return self.stuck(Stuck::CancelledTooOften);
        }
        Step::Cancel(self.draft().cancel(self.rules, self.origin))
    }
}
