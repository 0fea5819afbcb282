//! How a row begins: recorded for a worker, reserved for its caller, or recorded together with its first attempt.

use super::transition::Draft;
use super::{AttemptRow, Goal, Known, Owner, Rules, SettleBy, Stamp, State};

/// Recorded in the caller's own transaction. A worker takes it up once that transaction has committed.
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

/// Recorded and leased to the caller, which goes on with [`plan`](super::plan()) itself. It is also used by a caller
/// that records in a transaction and makes the call directly after its commit.
#[must_use]
pub fn reserved(rules: &Rules, owner: Owner, now: Stamp) -> State {
    State {
        owner: Some(owner),
        fence: 1,
        lease_until: now.saturating_add(rules.lease),
        ..recorded(rules, now)
    }
}

/// Recorded together with its first attempt, which means one commit before the call instead of two. The attempt may be
/// sent once this is committed. `None` where the time to settle leaves no room for an attempt.
#[must_use]
pub fn sent(rules: &Rules, owner: Owner, now: Stamp) -> Option<(State, AttemptRow)> {
    let state = reserved(rules, owner, now);
    if state.settle_by.is_some_and(|by| now.saturating_add(rules.attempt) > by) {
        return None;
    }
    let write = Draft::of(&state, now).perform(rules);
    // The row begins together with its attempt, so there was no version before.
    write.attempt.map(|attempt| (State { version: 1, ..write.to }, attempt))
}
