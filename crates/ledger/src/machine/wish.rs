//! What the application, a webhook or a person wants of a row, or knows of it.
//!
//! The application reads the row in its own transaction and writes its wish in the same transaction, by the same
//! compare-and-set as every other change.

use super::told::contradicts;
use super::transition::Draft;
use super::{End, Goal, Known, NotApplied, Origin, Rules, Stamp, State, Write};

/// Why an action could not be settled. The business transaction must roll back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NotSettled {
    /// It is being cancelled, because its deadline passed or somebody cancelled it first.
    TooLate,
    /// It is not known yet whether it is applied.
    NotKnown,
    /// It is not applied.
    Failed,
    /// Not all members of its scope are recorded.
    ScopeIncomplete,
}

/// Why an action cannot be cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NotCancelled {
    /// It is settled, and the caller cannot take the business row back in the same transaction.
    Settled,
}

/// The party that wants to cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CancelBy {
    /// The application, in the transaction that also takes its own business row back.
    Transaction,
    /// A caller that has no transaction in the ledger's database. It may cancel only what is not settled.
    Caller,
    /// A person, who may also cancel what is stuck.
    Person,
}

/// What a webhook reported.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Observed {
    /// It took effect. The value is the answer, which later requests may need.
    Applied(Option<Vec<u8>>),
    /// It did not take effect, or it was undone. This is a reason to ask the provider, and not a proof.
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

/// The change that settles an action, so that our side has taken its outcome in. `Ok(None)` means that it is settled
/// already.
///
/// # Errors
///
/// If there is no outcome that can be taken in. The transaction has to roll back. This is an error and not a `false`,
/// since a `false` is easily overlooked, and then an order is paid without a charge.
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

/// The changes that settle all members of a scope. All of them must be taken in one transaction, or none.
///
/// # Errors
///
/// If a member cannot be settled. If a member has a reason that will not go away, that reason is returned, since
/// waiting for another member would be of no use. Otherwise the reason says that the scope is incomplete or that a
/// member is unknown.
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

/// The change that cancels an action, so that its effect is not to exist any more. `Ok(None)` means that the action is
/// cancelled already, or is being cancelled. For a scope, call this for every member.
///
/// # Errors
///
/// If the action is settled, and `by` is a caller without a transaction.
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

/// The change by which a person starts a stuck row again; `None` if the row is not stuck. The goal stays as it was: for
/// a new charge, record a new action.
#[must_use]
pub fn retry(state: &State, now: Stamp) -> Option<Write> {
    (state.end == Some(End::Stuck)).then(|| {
        let mut draft = Draft::of(state, now);
        draft.fresh_tries();
        draft.written()
    })
}

/// The change by which a person says what became of a stuck row; `None` if the row is not stuck.
///
/// If the goal is to cancel, "applied" starts the cancelling again, with a new key.
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

/// The change that follows from a webhook's report; `None` if nothing changes. "Applied" is taken as a fact, whichever
/// sender reports it, since nobody can see an effect that does not exist. Every other report only makes a worker ask
/// sooner.
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
