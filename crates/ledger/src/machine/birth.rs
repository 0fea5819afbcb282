//! The first state of a row: recorded for a worker, reserved for its caller, or recorded together with its first
//! attempt.

use super::transition::Draft;
use super::{AttemptRow, Goal, Known, Owner, Rules, SettleBy, Stamp, State};

/// Returns the first state of an action that is recorded for a worker. A worker claims the row once the transaction has
/// committed.
#[must_use]
pub fn recorded(rules: &Rules, now: Stamp) -> State {
    State {
        version: 1,
        goal: Goal::Perform,
        known: Known::Never,
        open_attempts: 0,
        attempts: 0,
        maybe_sent: 0,
        logged: 0,
        in_flight: None,
        asks: 0,
        absences: 0,
        settled: false,
        end: None,
        why: None,
        owner: None,
        fence: 0,
        lease_until: now,
        next_at: now,
        quiet_until: None,
        key_first_at: None,
        settle_by: match rules.settle {
            SettleBy::Reply => None,
            SettleBy::Explicit(within) => Some(now.saturating_add(within)),
        },
        answer: None,
        cancel_gen: 0,
        cancel_gen_early: false,
        cancel_open: 0,
        cancel_tries: 0,
        cancel_quiet_until: None,
        closed_by_absence: false,
        audit_at: None,
    }
}

/// Returns the first state of an action that is leased to its caller, which then follows [`plan`](super::plan())
/// itself. A caller that records in its own transaction and makes the call directly after the commit uses this state,
/// too.
#[must_use]
pub fn reserved(rules: &Rules, owner: Owner, now: Stamp) -> State {
    State {
        owner: Some(owner),
        fence: 1,
        lease_until: now.saturating_add(rules.lease),
        ..recorded(rules, now)
    }
}

/// Returns the first state of an action that is recorded together with its first attempt, and the line of that attempt.
/// This takes one commit before the call instead of two. The attempt may be sent once the state and the line are
/// committed. Returns `None` if the action must be settled before an attempt could end.
#[must_use]
pub fn sent(rules: &Rules, owner: Owner, now: Stamp) -> Option<(State, AttemptRow)> {
    let state = reserved(rules, owner, now);
    if state.settle_by.is_some_and(|by| now.saturating_add(rules.attempt) > by) {
        return None;
    }
    let write = Draft::of(&state, now).perform(rules);
    // The row is inserted together with its attempt, so there is no earlier version.
    write.attempt.map(|attempt| (State { version: 1, ..write.to }, attempt))
}
