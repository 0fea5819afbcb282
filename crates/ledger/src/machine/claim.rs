//! The writes of a worker that send nothing. A worker claims a row, or gives a row back before its lease ends. It makes
//! a row stuck if no process declares the operation. It corrects a row after the clock was set back, or completes a row
//! that an application recorded with the SQL function `seawall.record`.

use std::time::Duration;

use super::state::Claim;
use super::stuck::Stuck;
use super::transition::Draft;
use super::write::SentKey;
use super::{KNOWS, Naming, Now, Origin, Owner, Rules, Stamp, State, Write};

/// Returns the write that claims the row for `owner`. Returns `None` if the row is not due, if another worker's lease
/// has not ended, or if only a newer program may change the row ([`State::needs`]). The stores claim in SQL, with the
/// time at which the database began the statement. This function defines what that SQL must do.
#[must_use]
pub fn claim(state: &State, lease: Duration, owner: Owner, now: Stamp) -> Option<Write> {
    if state.needs > KNOWS || state.due_at().is_none_or(|due| due > now) {
        return None;
    }
    let mut draft = Draft::of(state, now);
    draft.to.fence = draft.to.fence.saturating_add(1);
    draft.to.claim = Some(Claim { owner, until: now.saturating_add(lease), in_flight: None });
    // An earlier worker may have asked what is left to undo. That answer may be old, so this worker asks again.
    draft.to.undo.asked = false;
    Some(draft.renewed())
}

/// Returns the write with which a process that ends gives a row back, so that another process can claim it before the
/// lease ends. Returns `None` if `owner` does not have the row, or if only a newer program may change it. An attempt
/// that is under way stays as it was recorded: the next owner treats it as one that may have been sent.
#[must_use]
pub fn give_back(state: &State, owner: Owner, now: Stamp) -> Option<Write> {
    (state.is_of(owner) && state.needs <= KNOWS).then(|| {
        let mut draft = Draft::of(state, now);
        draft.let_go();
        draft.written()
    })
}

/// Returns the write that leaves an open row to a person, because no process declares its operation and the row has
/// been due for the time `after`. Returns `None` if it has not been due for that long, if the row has ended, if the
/// time is in doubt, or if only a newer program may change the row. The caller must know that no process declares the
/// operation.
#[must_use]
pub fn undeclared(state: &State, after: Duration, now: Now) -> Option<Write> {
    let overdue = state.due_at().is_some_and(|due| due.saturating_add(after) <= now.at);
    (overdue && state.end.is_none() && now.is_sure() && state.needs <= KNOWS).then(|| {
        let mut draft = Draft::at(state, now);
        draft.stick(Stuck::Undeclared);
        draft.written()
    })
}

/// Returns the change that corrects the times of an open row after the database's clock was set back. Times that were
/// written before may now lie too far in the future, and the row would rest until the clock shows them. Returns `None`
/// if nothing is to be corrected, if the clock was not set back, if the time is in doubt, or if only a newer program
/// may change the row.
///
/// With this change, the row is due now, and its plan says again for how long it rests. No deadline to settle is moved.
/// Two other times are moved to the latest value that can be right. A request that may still be sent is sent at most
/// one attempt from now. So:
///
/// - The quiet times end at most one attempt and one quiet time ([`Rules::quiet`]) from now.
/// - A claim ends at most one lease from now.
#[must_use]
pub fn set_back(state: &State, rules: &Rules, now: Now) -> Option<Write> {
    let was_set_back = now.is_sure() && !now.back.by.is_zero();
    if !was_set_back || state.end.is_some() || state.needs > KNOWS {
        return None;
    }
    let mut draft = Draft::at(state, now);
    let send_by = now.at.saturating_add(rules.attempt);
    let quiet_until = send_by.saturating_add(rules.quiet);
    let to = &mut draft.to;
    if let Some(sent) = &mut to.sent {
        sent.quiet_until = sent.quiet_until.min(quiet_until);
        sent.send_by = sent.send_by.map(|by| by.min(send_by));
    }
    if let Some(open) = &mut to.undo.open {
        open.quiet_until = open.quiet_until.min(quiet_until);
        open.send_by = open.send_by.map(|by| by.min(send_by));
    }
    if let Some(claim) = &mut to.claim {
        claim.until = claim.until.min(now.at.saturating_add(rules.lease));
    }
    to.begun_at = to.begun_at.min(now.at);
    to.failing_since = to.failing_since.map(|since| since.min(now.at));
    to.next_at = to.next_at.min(now.at);
    let is_same = draft.to == State { version: draft.to.version, ..state.clone() };
    (!is_same).then(|| draft.renewed())
}

/// Returns the change that completes an action which an application recorded with the SQL function `seawall.record`,
/// since that function does not know the rules of the operation. The change sets the time by which the action must have
/// been settled, and the key under which it is sent. `salt` is 0 at first. If the key that was made with a salt belongs
/// to another action already, call this again with the next salt. Returns `None` if nothing is missing.
#[must_use]
pub fn completed(state: &State, rules: &Rules, origin: Origin<'_>, salt: u32, now: Stamp) -> Option<Write> {
    let mut draft = Draft::of(state, now);
    let lacked_deadline = draft.to.set_deadline(rules);
    if origin.naming == Naming::Open {
        draft.names = Some(SentKey { mapped: rules.keys.sent(origin.dependency, origin.key, salt), salt });
    }
    (lacked_deadline || draft.names.is_some()).then(|| draft.renewed())
}
