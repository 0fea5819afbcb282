//! Makes the first state of a row: recorded for a worker, leased to its caller, or recorded together with its first
//! attempt. If an action failed and was never sent, its key can be used anew in the same three ways.

use super::state::{Claim, KNOWS, Questions, Undo};
use super::transition::Draft;
use super::{AttemptRow, End, Goal, Known, Owner, Rules, SettleBy, Stamp, State, Write};

/// Returns the first state of an action that is recorded for a worker. A worker claims the row once the transaction has
/// committed.
#[must_use]
pub fn recorded(rules: &Rules, now: Stamp) -> State {
    State {
        version: 1,
        needs: KNOWS,
        goal: Goal::Perform,
        known: Known::Never,
        sent: None,
        attempts: 0,
        logged: 0,
        questions: Questions::default(),
        undo: Undo::default(),
        handler: None,
        end: None,
        why: None,
        fence: 0,
        claim: None,
        next_at: now,
        begun_at: now,
        settle_by: settle_by(rules, now),
        answer: None,
        audit_at: None,
        disputed_at: None,
        failing_since: None,
    }
}

/// Returns the first state of an action that is leased to its caller. The caller makes the call itself, and asks
/// [`plan`](super::plan()) for each step. This state is also used if the caller records the action in its own
/// transaction and makes the call directly after the commit.
#[must_use]
pub fn reserved(rules: &Rules, owner: Owner, now: Stamp) -> State {
    let mut state = recorded(rules, now);
    state.lease_to(owner, rules, now);
    state
}

/// Returns the first state of an action that is recorded together with its first attempt, and the line of that attempt.
/// This takes one commit before the call instead of two. The attempt may be sent once the state and the line are
/// committed. Returns `None` if the action must be settled before an attempt could end.
#[must_use]
pub fn sent(rules: &Rules, owner: Owner, now: Stamp) -> Option<(State, AttemptRow)> {
    let write = first_attempt(&reserved(rules, owner, now), rules, now)?;
    // The row is inserted together with its attempt, so the version of the row as it is inserted is 1.
    write.attempt.map(|attempt| (State { version: 1, ..write.to }, attempt))
}

/// How an action begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Birth {
    /// The row is recorded for a worker.
    Recorded,
    /// The row is leased to its caller, who makes the call.
    Reserved(Owner),
    /// The row is leased to its caller, and is recorded in one commit with its first attempt.
    Sent(Owner),
}

/// Returns the change with which a failed action begins again, because its caller has recorded the same key with the
/// same request once more. Without this change, an action that failed in an outage of the provider would keep its key
/// unusable for as long as the ledger keeps the row.
///
/// Returns `None` in three cases:
///
/// - The action has not failed.
/// - A request of it may have been sent.
/// - A report contradicted its end, so [`State::disputed_at`] has a time.
///
/// With [`Birth::Sent`], the change also records the first attempt. It records none if the attempt could end only
/// after the deadline to settle.
#[must_use]
pub fn used_anew(state: &State, rules: &Rules, birth: Birth, now: Stamp) -> Option<Write> {
    let unsent = state.sent.is_none() && state.known == Known::Never && state.undo == Undo::default();
    if state.end != Some(End::Failed) || !unsent || state.disputed_at.is_some() {
        return None;
    }
    let mut draft = Draft::of(state, now);
    // The number of claims and the numbers of the attempt log continue, and do not begin again. A worker that claimed
    // the action before it failed may still report how its attempt ended. Since no number is used twice, that report is
    // not taken for the end of a new attempt.
    draft.to = State {
        version: draft.to.version,
        fence: state.fence,
        logged: state.logged,
        needs: state.needs.max(KNOWS),
        ..recorded(rules, now)
    };
    let (owner, sends) = match birth {
        Birth::Recorded => return Some(draft.written()),
        Birth::Reserved(owner) => (owner, false),
        Birth::Sent(owner) => (owner, true),
    };
    draft.to.lease_to(owner, rules, now);
    let reserved = draft.renewed();
    let attempt = sends.then(|| first_attempt(&reserved.to, rules, now)).flatten();
    Some(match attempt {
        Some(write) => {
            Write { from: state.version, to: State { version: reserved.to.version, ..write.to }, ..write }
        }
        None => reserved,
    })
}

fn settle_by(rules: &Rules, recorded_at: Stamp) -> Option<Stamp> {
    match rules.settle {
        SettleBy::Reply => None,
        SettleBy::Explicit(within) => Some(recorded_at.saturating_add(within)),
    }
}

fn first_attempt(state: &State, rules: &Rules, now: Stamp) -> Option<Write> {
    let in_time = state.settle_by.is_none_or(|by| now.saturating_add(rules.attempt) <= by);
    in_time.then(|| Draft::of(state, now).perform(rules))
}

impl State {
    fn lease_to(&mut self, owner: Owner, rules: &Rules, now: Stamp) {
        self.fence = self.fence.saturating_add(1);
        self.claim = Some(Claim { owner, until: now.saturating_add(rules.lease), in_flight: None });
    }

    /// Sets the time by which the action must be settled, if the operation demands such a time and the row has none. A
    /// row that the SQL function `seawall.record` wrote has none, because that function does not know the rules of the
    /// operation. Returns whether this call has set the time.
    pub(super) fn set_deadline(&mut self, rules: &Rules) -> bool {
        let wanted = self.goal == Goal::Perform && self.end.is_none() && self.settle_by.is_none();
        self.settle_by = if wanted { settle_by(rules, self.begun_at) } else { self.settle_by };
        wanted && self.settle_by.is_some()
    }
}
