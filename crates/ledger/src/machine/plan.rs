//! What to do next: a pure function of row and time.
//!
//! The answer is already the change that allows the next step. Nothing is sent before a store has taken the [`Write`],
//! and the store takes it only if the row is still the one from which it was planned. A plan that says "perform" while
//! a guard says "no" would go round for ever; here plan and guard cannot differ.

use super::transition::Draft;
use super::{
    CancelKind, CancelRules, End, Goal, Known, OnUnknown, Origin, Owner, Rules, SettleBy, Stamp, State, Write,
};
use seawall_policy::Idempotency;

/// After this number of unanswered cancels under one key, ask before anything else is sent: the provider may have saved
/// a failure under that key.
const UNANSWERED_BEFORE_ASKING: u32 = 3;

/// What to do next with a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing is to be done: the row belongs to another worker, has an attempt under way, or is at its end.
    Leave,
    /// Write this. Then plan again, if the row is still one's own.
    Change(Write),
    /// Write this. Once it is taken, send the attempt that it records: its first byte before `send_by`, or not at all.
    Perform(Write),
    /// Write this. Once it is taken, send the cancel that it records, under the key of its generation.
    Cancel(Write),
    /// Ask the provider, and tell what it answered. Nothing is written before.
    Ask(Question),
    /// Settle all members of the scope together, and tell how it went.
    SettleScope,
}

/// A question that is about to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    /// The claim under which it is asked.
    pub fence: u64,
    /// The line of the attempt log that its answer will be. Another line in between makes the answer worthless.
    pub number: u32,
    /// A time not after the asking. This time decides whether "not found" is believed, and not the time at which the
    /// answer came.
    pub asked_at: Stamp,
}

/// What the owner of a claimed row does next. `now` is never later than the database's own time.
#[must_use]
pub fn plan(state: &State, rules: &Rules, origin: Origin, now: Stamp, owner: Owner) -> Step {
    if state.owner != Some(owner) || state.in_flight.is_some() {
        return Step::Leave;
    }
    let view = View { state, rules, origin, now };
    match state.end {
        Some(End::Failed | End::Cancelled) if state.audit_at.is_some_and(|at| at <= now) => {
            return view.ask_now();
        }
        Some(End::Done | End::Failed | End::Cancelled | End::Stuck) => return Step::Leave,
        None => {}
    }
    if now < state.next_at {
        return view.rest(state.next_at);
    }
    // The deadline to settle covers every unsettled row, and not only applied ones. A wait for `applied` would let a
    // charge happen only to refund it.
    if state.goal == Goal::Perform && state.settle_by.is_some_and(|by| now >= by) {
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
    origin: Origin,
    now: Stamp,
}

impl View<'_> {
    fn draft(&self) -> Draft {
        Draft::of(self.state, self.now)
    }

    fn change(&self, how: impl FnOnce(&mut Draft)) -> Step {
        let mut draft = self.draft();
        how(&mut draft);
        Step::Change(draft.rested())
    }

    fn rest(&self, until: Stamp) -> Step {
        self.change(|draft| draft.to.next_at = until)
    }

    fn stuck(&self, why: &str) -> Step {
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
                OnUnknown::Hold => self.stuck("unknown, and declared to be left to a person"),
                OnUnknown::Cancel => self.change(|draft| draft.turn(self.rules)),
                // Where asking is possible nothing is sent again blindly, whatever the key promises.
                OnUnknown::Repeat | OnUnknown::Confirm if self.rules.confirm.is_some() => self.ask(),
                OnUnknown::Repeat => self.repeat().unwrap_or_else(|why| self.stuck(why)),
                OnUnknown::Confirm => self.stuck("unknown, and there is no way to ask"),
            },
            Known::Applied => match self.rules.settle {
                SettleBy::Reply if self.origin.scoped => Step::SettleScope,
                SettleBy::Reply | SettleBy::Explicit(_) => self.conclude(),
            },
            Known::NotApplied(_) => self.conclude(),
        }
    }

    /// No attempt that was sent can still take effect. It is sent again, unless it is too late for that.
    fn first(&self) -> Step {
        let given_up = self.now >= self.origin.created.saturating_add(self.rules.give_up);
        if given_up {
            return self.change(|draft| draft.fail("given up: it could not be sent in time"));
        }
        if self.state.attempts >= self.rules.limits.perform || !self.key_lives() {
            return self.change(|draft| draft.fail("not known to the provider, and not to be sent again"));
        }
        if let Some(by) = self.too_late_to_settle() {
            return self.rest(by);
        }
        Step::Perform(self.draft().perform(self.rules))
    }

    /// Sends again although an attempt is open, or says why that is not allowed.
    fn repeat(&self) -> Result<Step, &'static str> {
        match self.rules.idempotency {
            Idempotency::Safe | Idempotency::Idempotent | Idempotency::Keyed => {}
            Idempotency::None => return Err("unknown, and a second delivery may be a second effect"),
        }
        if self.state.attempts >= self.rules.limits.perform {
            return Err("unknown after the last attempt");
        }
        if !self.key_lives() {
            return Err("unknown, and the provider may have forgotten the key");
        }
        if let Some(by) = self.too_late_to_settle() {
            return Ok(self.rest(by));
        }
        let is_last = self.state.attempts.saturating_add(1) == self.rules.limits.perform;
        match self.quiet_ahead() {
            // The last answer has to be one that can speak for the earlier attempts.
            Some(quiet) if is_last => Ok(self.rest(quiet)),
            Some(_) | None => Ok(Step::Perform(self.draft().perform(self.rules))),
        }
    }

    /// Whether the key is still remembered when an attempt that is recorded now arrives, even at the latest.
    fn key_lives(&self) -> bool {
        match (self.rules.idempotency, self.state.key_first_at) {
            (Idempotency::Keyed, Some(first)) => {
                let rules = self.rules;
                let flight = rules.attempt.saturating_add(rules.network).saturating_add(rules.pause);
                self.now.saturating_add(flight) < first.saturating_add(rules.key_lifetime)
            }
            (Idempotency::Keyed | Idempotency::Safe | Idempotency::Idempotent | Idempotency::None, _) => true,
        }
    }

    /// Whether an attempt that is recorded now could end after the deadline to settle, so that it would be of no use.
    fn too_late_to_settle(&self) -> Option<Stamp> {
        let end = self.now.saturating_add(self.rules.attempt);
        self.state.settle_by.filter(|by| self.state.goal == Goal::Perform && end > *by)
    }

    fn quiet_ahead(&self) -> Option<Stamp> {
        self.state.quiet_until.filter(|quiet| self.now < *quiet)
    }

    // ---- asking ----

    fn ask(&self) -> Step {
        if self.state.asks >= self.rules.limits.confirm {
            return self.stuck("asked too often without learning anything");
        }
        self.ask_now()
    }

    fn ask_now(&self) -> Step {
        // The answer must find the row still leased, or it is worth nothing.
        if self.now.saturating_add(self.rules.attempt) > self.state.lease_until {
            let mut draft = self.draft();
            draft.renew(self.rules);
            return Step::Change(draft.renewed());
        }
        let number = self.state.logged.saturating_add(1);
        Step::Ask(Question { fence: self.state.fence, number, asked_at: self.now })
    }

    // ---- the goal is to undo ----

    fn undo(&self) -> Step {
        match (self.state.known, &self.rules.cancel) {
            (Known::Never | Known::NotApplied(_), _) => self.conclude(),
            (Known::Unknown, None) if self.rules.confirm.is_some() => self.ask(),
            (Known::Unknown | Known::Applied, None) => self.stuck("to be undone, and no cancel is declared"),
            (Known::Unknown | Known::Applied, Some(cancel)) if self.must_ask_first(cancel) => {
                match (self.rules.confirm, self.state.cancel_quiet_until) {
                    (None, _) => self.stuck("a cancel was not answered, and a second could undo twice"),
                    (Some(_), Some(quiet)) if self.now < quiet => self.rest(quiet),
                    (Some(_), Some(_) | None) => self.ask(),
                }
            }
            (Known::Unknown, Some(cancel)) => self.undo_unknown(cancel),
            (Known::Applied, Some(cancel)) => self.undo_applied(cancel),
        }
    }

    /// A cancel of this generation may have left unanswered, and sending it again is wrong or useless: refunds without
    /// a key add up, and a key may have a failure saved under it.
    fn must_ask_first(&self, cancel: &CancelRules) -> bool {
        let open = self.state.cancel_open;
        let adds_up = match cancel.kind {
            CancelKind::Additive => !cancel.keyed,
            CancelKind::State => false,
        };
        let saved = cancel.keyed && self.rules.confirm.is_some() && open >= UNANSWERED_BEFORE_ASKING;
        (adds_up && open > 0) || saved
    }

    fn undo_unknown(&self, cancel: &CancelRules) -> Step {
        // A tombstone at the provider refuses what arrives later, so there is nothing to wait for.
        if cancel.tombstone {
            return self.send_cancel();
        }
        if self.rules.confirm.is_some() {
            return self.ask();
        }
        // Repeating under the same key changes nothing, and its answer says what there is to undo.
        let learned = match self.rules.idempotency {
            Idempotency::Keyed => self.repeat(),
            Idempotency::Safe | Idempotency::Idempotent | Idempotency::None => {
                Err("to be undone, but unknown")
            }
        };
        match learned {
            Ok(step) => step,
            Err(_) if cancel.by_key => {
                let unused = self.state.cancel_open == 0;
                let early_again = self.state.cancel_gen > 0 && unused;
                let several = !self.keyed() && self.state.open_attempts > 1;
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
            return match self.rules.confirm {
                Some(_) => self.ask(),
                None => self.stuck("to be undone, but its id was in an answer that was lost"),
            };
        }
        // Without a key, another attempt that is still on its way would apply again what has been undone.
        match self.quiet_ahead() {
            Some(quiet) if !self.keyed() && !cancel.tombstone && self.state.open_attempts > 0 => {
                self.rest(quiet)
            }
            Some(_) | None => self.send_cancel(),
        }
    }

    fn keyed(&self) -> bool {
        match self.rules.idempotency {
            Idempotency::Keyed => true,
            Idempotency::Safe | Idempotency::Idempotent | Idempotency::None => false,
        }
    }

    fn send_cancel(&self) -> Step {
        if self.state.cancel_tries >= self.rules.limits.cancel {
            return self.stuck("the cancel failed too often");
        }
        Step::Cancel(self.draft().cancel(self.rules))
    }
}
