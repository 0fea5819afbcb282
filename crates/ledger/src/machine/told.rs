//! Decides what changes in the row when an attempt ends or the provider answers a question.
//!
//! An answer only says what became of its own attempt. The row says "not applied" only when no attempt can still take
//! effect. The obvious rule would take the last attempt's answer as the action's outcome. With that rule a customer
//! could be charged for an action that is recorded as failed: attempt 1 took effect, but its answer was lost, and
//! attempt 2 could not connect.

use std::time::Duration;

use seawall_policy::Draw;

use super::plan::Question;
use super::transition::Draft;
use super::write::Evidence;
use super::{
    AttemptOutcome, AttemptRow, End, Goal, Known, NotApplied, Now, Origin, Owner, Rules, Stamp, State, Write,
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
    /// The provider performed the action. The value is the provider's answer, which later requests may need; `None` if
    /// the answer was not kept.
    Yes(Option<Vec<u8>>),
    /// The provider did not perform the action, and this attempt cannot take effect later. The value is the body of the
    /// refusal; `None` if the body was not kept.
    No(Option<Vec<u8>>),
    /// The provider said that it has this key already. So an attempt has arrived, but nothing is known of its effect.
    Duplicate,
    /// It is not known whether the provider performed the action.
    Unknown,
}

/// What the provider answered to a question.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Found {
    /// The effect exists. The value is the provider's answer, which later requests may need; `None` if the answer was
    /// not kept.
    Applied(Option<Vec<u8>>),
    /// The effect existed, and was undone.
    Cancelled,
    /// The effect does not exist.
    Absent,
    /// The action is pending, or the answer says nothing about it, or there was no answer.
    Other,
    /// It is proved that no byte of the question was sent.
    NotSent,
}

/// The outcome of a cancel attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Undone {
    /// The effect is undone, was undone before, or can never take place any more.
    Yes,
    /// The provider does not know the effect.
    NoSuch,
    /// The provider did not undo the effect, but may do so if it is asked again.
    Refused,
    /// The provider says that the effect cannot be undone.
    Never,
    /// It is proved that no byte was sent.
    NotSent,
    /// It is not known whether the effect was undone.
    Unknown,
}

/// An event of a claimed row, as a worker reports it to the machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// A perform attempt ended. The fields are its line of the attempt log as it was recorded, its outcome, and the
    /// details of its end.
    Performed(AttemptRow, Performed, Report),
    /// It is proved that no byte of a perform attempt was sent, and the caller who waits for the action makes no other
    /// attempt. If no earlier attempt can take effect, the machine ends the action as failed. The caller is told that
    /// nothing was done only after this end is written.
    Unsent(AttemptRow, Report),
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
    Late(Evidence),
    /// Write nothing.
    Nothing,
}

/// Returns what is to be written because of an event. If the store finds another version of the row, read the row and
/// call this function again.
#[must_use]
pub fn told(
    state: &State,
    rules: &Rules,
    origin: Origin<'_>,
    owner: Owner,
    event: Event,
    now: Now,
    draw: Draw,
) -> Told {
    let case = Case { state, rules, origin, owner, now: now.at, time: now, draw };
    match event {
        Event::Performed(line, how, report) => case.performed(line, how, report, false),
        Event::Unsent(line, report) => case.performed(line, Performed::NotSent, report, true),
        Event::Confirmed(question, found, report) => case.confirmed(question, found, report),
        Event::Cancelled(line, how, report) => case.cancelled(line, how, report),
        Event::ScopeWaits => case.scope(|draft| draft.to.next_at = now.at.saturating_add(rules.backoff.cap)),
        Event::ScopeBroken => case.scope(|draft| {
            draft.turn(rules);
            draft.to.why = Some("another member of its scope failed".to_owned());
        }),
    }
}

/// What is needed to judge an event: the row, its rules, the worker that reports the event, the time and a random
/// number.
pub(super) struct Case<'a> {
    pub(super) state: &'a State,
    pub(super) rules: &'a Rules,
    pub(super) origin: Origin<'a>,
    owner: Owner,
    pub(super) now: Stamp,
    pub(super) time: Now,
    draw: Draw,
}

impl Case<'_> {
    /// Returns whether the row still has the claim under which the attempt or the question began.
    pub(super) fn is_mine(&self, fence: u64) -> bool {
        self.state.is_of(self.owner) && self.state.fence == fence
    }

    /// Returns whether an answer "not found" can prove an absence. For that, the time must be reliable twice: when the
    /// question was asked (`sure`), and now.
    pub(super) fn can_prove(&self, sure: bool) -> bool {
        sure && self.time.is_sure()
    }

    /// Returns the end of the quiet time of the perform attempts; `None` if nothing may have been sent.
    pub(super) fn quiet_until(&self) -> Option<Stamp> {
        self.rules.quiet_until(self.state.sent.as_ref())
    }

    pub(super) fn later(&self, repeat: u32, report: &Report) -> Stamp {
        self.now.saturating_add(self.rules.backoff.wait(repeat.max(1), report.retry_after, self.draw))
    }

    fn scope(&self, how: impl FnOnce(&mut Draft)) -> Told {
        let waits = self.state.goal == Goal::Perform
            && self.state.known == Known::Applied
            && self.state.end.is_none();
        if !self.state.is_of(self.owner) || !waits {
            return Told::Nothing;
        }
        let mut draft = Draft::at(self.state, self.time);
        how(&mut draft);
        Told::Write(draft.rested())
    }

    /// Returns the attempt's line of the attempt log, with the end of the attempt filled in: the time, the outcome and
    /// the details.
    pub(super) fn closed(&self, line: &AttemptRow, outcome: AttemptOutcome, report: &Report) -> AttemptRow {
        AttemptRow {
            ended_at: Some(self.now),
            outcome,
            status: report.status,
            detail: report.detail.clone(),
            ..line.clone()
        }
    }

    pub(super) fn wait_before_cancel(&self, draft: &mut Draft) {
        if let (Goal::Cancel, Some(cancel)) = (draft.to.goal, &self.rules.cancel) {
            draft.to.next_at = self.now.saturating_add(cancel.after);
        }
    }
}

/// Returns whether a report that the effect exists would contradict the row: the row was closed as not applied, but not
/// because the effect was undone.
pub(super) fn contradicts(state: &State) -> bool {
    let closed = matches!(state.end, Some(End::Failed | End::Cancelled));
    closed && state.known != Known::NotApplied(NotApplied::Cancelled)
}
