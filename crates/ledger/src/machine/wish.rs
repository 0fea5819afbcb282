//! Decides what a wish or a report of the application, a webhook or a person changes in a row.
//!
//! The application reads the row in its own transaction and writes its wish in the same transaction, by the same
//! compare-and-set as every other change.

use super::told::contradicts;
use super::transition::Draft;
use super::{End, Goal, Known, NotApplied, Origin, Owner, Rules, Stamp, State, Write};

/// The reason why an action cannot be settled. If an application gets it, its business transaction must roll back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NotSettled {
    /// The action is being cancelled, because its deadline passed or because it was cancelled first.
    TooLate,
    /// It is not yet known whether the action is applied.
    NotKnown,
    /// The action is not applied.
    Failed,
    /// Not all members of the action's scope are recorded.
    ScopeIncomplete,
    /// Only a newer version of the program may change the action, or a member of its scope ([`State::needs`]).
    NeedsNewer,
}

/// The reason why an action cannot be cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NotCancelled {
    /// The application has settled the action, for example together with a row that says "this order is paid". To
    /// cancel it, that row must be changed back in the same transaction, and this caller has no such transaction.
    Settled,
}

/// What became of a wish to cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cancelling {
    /// The effect is being undone.
    UnderWay,
    /// The action has ended in this way. [`End::Stuck`] means that a person must look at it.
    Ended(End),
}

impl Cancelling {
    /// Returns what became of a wish to cancel the action with this state.
    #[must_use]
    pub fn of(state: &State) -> Cancelling {
        state.end.map_or(Cancelling::UnderWay, Cancelling::Ended)
    }
}

/// The party that wants to cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CancelBy {
    /// The application, in its own transaction. In that transaction it also changes its own data back, such as a row
    /// that says "this order is paid".
    Transaction,
    /// A caller that has no transaction in the ledger's database. It can cancel only an action that is not settled.
    Caller,
    /// A person. Only a person can start a stuck cancel again.
    Person,
}

/// What a webhook reported about an action.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Observed {
    /// The action took effect. The value is the provider's answer, which later requests may need; `None` if the report
    /// has no such answer.
    Applied(Option<Vec<u8>>),
    /// The action did not take effect, or it was undone. The report is no proof; it only makes a worker ask the
    /// provider sooner.
    Otherwise,
}

/// What a person found out about a stuck action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resolution {
    /// The effect exists.
    Applied,
    /// The effect does not exist.
    NotApplied,
}

/// Returns the change that settles an action: the application takes the action's outcome into its own data, finally.
/// Returns `Ok(None)` if the action is settled already.
///
/// # Errors
///
/// If the action has no outcome that the application can take into its own data. The transaction has to roll back. This
/// case is an error and not a `false`: a program can easily overlook a `false`, and would then count an order as paid
/// without a charge.
pub fn settle(state: &State, now: Stamp) -> Result<Option<Write>, NotSettled> {
    match (state.goal, state.end, state.known) {
        (Goal::Perform, Some(End::Done), _) => Ok(None),
        (Goal::Cancel, _, _) => Err(NotSettled::TooLate),
        (Goal::Perform, None, Known::Applied) => {
            let mut draft = Draft::of(state, now);
            draft.settle();
            Ok(Some(draft.written()))
        }
        (Goal::Perform, Some(End::Failed | End::Cancelled), _) => Err(NotSettled::Failed),
        (Goal::Perform, None | Some(End::Stuck), _) => Err(NotSettled::NotKnown),
    }
}

/// Returns the changes that settle all members of a scope, which is a group of actions that settle together. The store
/// must take all of the changes in one transaction, or none.
///
/// # Errors
///
/// If a member cannot be settled. If one of the members can never be settled, its reason is returned, since waiting for
/// another member would be of no use. Otherwise the reason says that the scope is incomplete or that the effect of a
/// member is not known yet.
pub fn settle_scope(members: &[State], size: u32, now: Stamp) -> Result<Vec<Write>, NotSettled> {
    let mut writes = Vec::new();
    let mut not_yet = None;
    for member in members {
        match settle(member, now) {
            Ok(write) => writes.extend(write),
            Err(why @ (NotSettled::TooLate | NotSettled::Failed)) => return Err(why),
            Err(why @ (NotSettled::NotKnown | NotSettled::ScopeIncomplete | NotSettled::NeedsNewer)) => {
                not_yet = not_yet.or(Some(why))
            }
        }
    }
    if u32::try_from(members.len()) != Ok(size) {
        return Err(NotSettled::ScopeIncomplete);
    }
    not_yet.map_or(Ok(writes), Err)
}

/// Returns the change that cancels an action: its goal becomes [`Goal::Cancel`]. Returns `Ok(None)` if nothing is to be
/// changed: the action failed, or is cancelled, or is being cancelled. For a scope, call this function for every
/// member.
///
/// # Errors
///
/// If the action is settled, and `by` is [`CancelBy::Caller`].
pub fn cancel(state: &State, rules: &Rules, by: CancelBy, now: Stamp) -> Result<Option<Write>, NotCancelled> {
    match (state.goal, state.end) {
        (Goal::Perform, Some(End::Failed | End::Cancelled)) => Ok(None),
        (Goal::Perform, None | Some(End::Done | End::Stuck)) => match by {
            CancelBy::Caller if state.settled() => Err(NotCancelled::Settled),
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

/// Returns the change by which a person starts a stuck row again; `None` if the row is not stuck. The goal does not
/// change, so a stuck cancel goes on as a cancel. To perform the action after all, record a new action.
#[must_use]
pub fn retry(state: &State, now: Stamp) -> Option<Write> {
    retry_from(state, now, now)
}

/// Returns the change of [`retry`] for one of many rows that are started again together. Nothing is done with this row
/// before the time `from`.
#[must_use]
pub fn retry_from(state: &State, now: Stamp, from: Stamp) -> Option<Write> {
    (state.end == Some(End::Stuck)).then(|| {
        let mut draft = Draft::of(state, now);
        draft.fresh_tries();
        draft.to.next_at = from.max(now);
        draft.written()
    })
}

/// Returns the change by which a person decides what became of a stuck row; `None` if the row is not stuck.
///
/// If the goal is to cancel and the person decides that the effect exists, the cancelling starts again, with a new key.
#[must_use]
pub fn resolve(
    state: &State,
    rules: &Rules,
    origin: Origin<'_>,
    as_what: Resolution,
    why: &str,
    now: Stamp,
) -> Option<Write> {
    if state.end != Some(End::Stuck) {
        return None;
    }
    let mut draft = Draft::of(state, now);
    draft.fresh_tries();
    draft.close_attempts();
    match as_what {
        Resolution::Applied => {
            draft.to.known = Known::Applied;
            draft.next_generation();
        }
        Resolution::NotApplied => {
            // If the effect is known to exist and the goal is still to perform it, the row is stuck because nobody
            // declares the operation any longer. So "not applied" can only mean that the effect was undone.
            if (state.goal, state.known) == (Goal::Perform, Known::Applied) {
                draft.turn(rules);
            }
            draft.to.known = Known::NotApplied(NotApplied::Resolved);
        }
    }
    draft.conclude(rules, origin);
    draft.to.why = Some(why.to_owned());
    Some(draft.written())
}

/// Returns the change that follows from what a webhook or the provider's list reported; `None` if nothing changes.
/// [`Observed::Applied`] is taken as a fact, since nobody can see an effect that does not exist. Every other report
/// only makes a worker ask sooner.
///
/// A report that contradicts the end of a row never changes that end silently: the row is marked as disputed
/// ([`State::disputed_at`]). If the row was closed as not applied and the provider can be asked, it is also asked
/// again.
#[must_use]
pub fn observe(
    state: &State,
    rules: &Rules,
    origin: Origin<'_>,
    what: Observed,
    now: Stamp,
) -> Option<Write> {
    let mut draft = Draft::of(state, now);
    // An action of which nothing was ever sent has no effect that a webhook could report.
    let was_sent = state.sent.is_some();
    match (what, state.end, state.known) {
        (Observed::Applied(answer), None, Known::Unknown | Known::Never) if was_sent => {
            draft.applied(answer);
            draft.conclude(rules, origin);
        }
        (Observed::Applied(answer), Some(End::Stuck), Known::Unknown) => {
            draft.fresh_tries();
            draft.applied(answer);
            draft.conclude(rules, origin);
        }
        (Observed::Applied(answer), Some(End::Failed | End::Cancelled), _) if contradicts(state) => {
            draft.contradicted(rules, answer);
        }
        // The report of an effect may come after the effect was undone, so the provider is asked whether it is still
        // there.
        (Observed::Applied(_), Some(End::Failed | End::Cancelled), _) => draft.arrived_after_all(rules),
        (Observed::Otherwise, Some(End::Done), _) => draft.dispute(),
        (Observed::Otherwise, None, Known::Unknown) if rules.confirm.is_some() && state.claim.is_none() => {
            draft.to.next_at = draft.to.next_at.min(now);
        }
        (Observed::Applied(_) | Observed::Otherwise, _, _) => return None,
    }
    Some(draft.written())
}

/// Returns the change that ends an action as failed, because its caller waits for the outcome and no request of it can
/// be sent in time. Write this change first, and tell the caller that nothing was done after that. Returns `None`
/// if `owner` does not have the row, or if an attempt may take effect.
#[must_use]
pub fn close_unsent(state: &State, owner: Owner, why: &str, now: Stamp) -> Option<Write> {
    let wanted = state.goal == Goal::Perform && state.end.is_none() && state.known == Known::Never;
    (wanted && state.is_of(owner) && state.in_flight().is_none()).then(|| {
        let mut draft = Draft::of(state, now);
        draft.fail(why);
        draft.written()
    })
}

/// Returns a change that changes nothing but the version of the row, so that an entry of the audit trail can be written
/// together with it.
pub fn note(state: &State, now: Stamp) -> Write {
    Draft::of(state, now).renewed()
}
