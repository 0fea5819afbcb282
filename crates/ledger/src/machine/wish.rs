//! What the application, a webhook or a person wants of a row, or knows of it.
//!
//! The application's wishes are written in its own transaction, on a row that was read in it, by the same
//! compare-and-set.

use super::told::contradicts;
use super::transition::Draft;
use super::{End, Goal, Known, NotApplied, Origin, Rules, Stamp, State, Write};

/// Why an action could not be settled. The business transaction must roll back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NotSettled {
    /// It is being cancelled: the deadline passed first, or it was cancelled first.
    TooLate,
    /// It is not known (yet) whether it is applied.
    NotKnown,
    /// It is not applied.
    Failed,
    /// Not all members of its scope are recorded.
    ScopeIncomplete,
}

/// Why an action cannot be cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NotCancelled {
    /// It is settled, and the caller cannot undo the business row together with it.
    Settled,
}

/// Who wants to cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CancelBy {
    /// The application, in the transaction that takes its own side back.
    Transaction,
    /// A caller that has no transaction in the ledger's database. It may cancel only what is not settled.
    Caller,
    /// A person, who may also cancel what is stuck.
    Person,
}

/// What a webhook reported.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Observed {
    /// It took effect. The value is what later templates read.
    Applied(Option<Vec<u8>>),
    /// It did not take effect, or it was undone. This is a reason to ask, and not a proof.
    Otherwise,
}

/// What a person found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resolution {
    /// The effect exists.
    Applied,
    /// The effect does not exist.
    NotApplied,
}

/// Takes the outcome in for our side. `Ok(None)`: that was done before.
///
/// # Errors
///
/// There is no outcome to take in. The transaction that wanted it must roll back. It is an error, since a "false" is
/// easily overlooked and leaves an order paid without a charge.
pub fn settle(state: &State, now: Stamp) -> Result<Option<Write>, NotSettled> {
    match (state.goal, state.end, state.known) {
        (Goal::Perform, _, _) if state.settled => Ok(None),
        (Goal::Cancel, _, _) => Err(NotSettled::TooLate),
        (Goal::Perform, None, Known::Applied) => {
            let mut draft = Draft::of(state, now);
            draft.settle();
            Ok(Some(draft.written()))
        }
        (Goal::Perform, Some(End::Failed | End::Cancelled), _) => Err(NotSettled::Failed),
        (Goal::Perform, None | Some(End::Done | End::Stuck), _) => Err(NotSettled::NotKnown),
    }
}

/// The members of a scope settle together or not at all: all writes are taken in one transaction, or none is.
///
/// # Errors
///
/// A reason that will not go away, where a member has one; otherwise the first reason. Waiting for an unknown member is
/// of no use once another one has failed.
pub fn settle_scope(members: &[State], size: u32, now: Stamp) -> Result<Vec<Write>, NotSettled> {
    let mut writes = Vec::new();
    let mut not_yet = None;
    for member in members {
        match settle(member, now) {
            Ok(write) => writes.extend(write),
            Err(why @ (NotSettled::TooLate | NotSettled::Failed)) => return Err(why),
            Err(why @ (NotSettled::NotKnown | NotSettled::ScopeIncomplete)) => {
                not_yet = not_yet.or(Some(why))
            }
        }
    }
    if u32::try_from(members.len()) != Ok(size) {
        return Err(NotSettled::ScopeIncomplete);
    }
    not_yet.map_or(Ok(writes), Err)
}

/// The effect is not to exist. `Ok(None)`: that is so already, or under way. Use the same for every member of a scope.
///
/// # Errors
///
/// It is settled, and the caller may not take that back.
pub fn cancel(state: &State, rules: &Rules, by: CancelBy, now: Stamp) -> Result<Option<Write>, NotCancelled> {
    match (state.goal, state.end) {
        (Goal::Perform, Some(End::Failed | End::Cancelled)) => Ok(None),
        (Goal::Perform, None | Some(End::Done | End::Stuck)) => match by {
            CancelBy::Caller if state.settled => Err(NotCancelled::Settled),
            CancelBy::Caller | CancelBy::Transaction | CancelBy::Person => {
                let mut draft = Draft::of(state, now);
                if state.end == Some(End::Stuck) {
                    draft.fresh_tries();
                }
                draft.turn(rules);
                Ok(Some(draft.written()))
            }
        },
        (Goal::Cancel, Some(End::Stuck)) if by == CancelBy::Person => Ok(retry(state, now)),
        (Goal::Cancel, None | Some(End::Done | End::Failed | End::Cancelled | End::Stuck)) => Ok(None),
    }
}

/// A person lets a stuck row go on. It keeps its goal: a new charge is a new action. `None`: it is not stuck.
#[must_use]
pub fn retry(state: &State, now: Stamp) -> Option<Write> {
    (state.end == Some(End::Stuck)).then(|| {
        let mut draft = Draft::of(state, now);
        draft.fresh_tries();
        draft.written()
    })
}

/// A person says what became of a stuck row. `None`: it is not stuck.
///
/// "Applied" while the goal is to cancel starts the cancelling again, with a new key.
#[must_use]
pub fn resolve(
    state: &State,
    rules: &Rules,
    origin: Origin,
    as_what: Resolution,
    why: &str,
    now: Stamp,
) -> Option<Write> {
    if state.end != Some(End::Stuck) {
        return None;
    }
    let mut draft = Draft::of(state, now);
    draft.fresh_tries();
    draft.to.open_attempts = 0;
    match as_what {
        Resolution::Applied => {
            draft.to.known = Known::Applied;
            draft.next_generation();
        }
        Resolution::NotApplied => draft.to.known = Known::NotApplied(NotApplied::Resolved),
    }
    draft.conclude(rules, origin);
    draft.to.why = Some(why.to_owned());
    Some(draft.written())
}

/// What a webhook reported. "Applied" is a fact, whichever sender says it, since an effect that does not exist cannot
/// be reported. Anything else only makes a worker ask sooner. `None`: it changes nothing.
#[must_use]
pub fn observe(state: &State, rules: &Rules, origin: Origin, what: Observed, now: Stamp) -> Option<Write> {
    let mut draft = Draft::of(state, now);
    match (what, state.end, state.known) {
        (Observed::Applied(answer), None, Known::Unknown) => {
            draft.applied(answer);
            draft.conclude(rules, origin);
        }
        (Observed::Applied(answer), Some(End::Failed | End::Cancelled), _) if contradicts(state) => {
            draft.contradicted(rules, answer);
        }
        (Observed::Otherwise, None, Known::Unknown) if rules.confirm.is_some() && state.owner.is_none() => {
            draft.to.next_at = draft.to.next_at.min(now);
        }
        (Observed::Applied(_) | Observed::Otherwise, _, _) => return None,
    }
    Some(draft.written())
}
