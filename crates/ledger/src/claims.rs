//! Claims the due rows of a dependency at its pace.

use std::time::Duration;

use crate::action::Action;
use crate::error::StoreError;
use crate::inner::Inner;
use crate::machine::{AttemptKind, Event, Found, Performed, Report, Undone};
use crate::operation::Operation;
use crate::pace::{Heard, effect_before};
use crate::store::{Declared, Store, Which};

/// The maximum of `give_up` in a claim. An operation's `give_up` is how long an action that was never sent is tried. If
/// an operation declares a longer time, this one is used instead. It is ten years, and no action is tried for so long.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// The result of a claim.
pub(crate) struct Claimed {
    pub(crate) actions: Vec<Action>,
    /// Whether there may be more rows that could be claimed immediately.
    pub(crate) is_full: bool,
}

impl<S: Store> Inner<S> {
    /// Claims up to `most` due rows of a dependency. If a class is held back, its rows whose last request failed are
    /// claimed only as fast as the pace allows. If the database fails, returns its error, and nothing was claimed.
    pub(crate) async fn claim_at_pace(
        &self,
        declared: &Declared,
        most: u32,
        lease: Duration,
    ) -> Result<Claimed, StoreError> {
        let dependency = declared.dependency.as_str();
        let held = self.paces.with(dependency, |pace, _| pace.held()).unwrap_or_default();
        if held.is_empty() {
            let actions = self.store.claim(declared, self.owner, most, lease).await?;
            let is_full = is_full(&actions, most);
            return Ok(Claimed { actions, is_full });
        }
        let give_up = self.operations.give_up(dependency).min(LONGEST);
        let (begun, from) = (self.store.shared_clock().get().now(), self.paces.horizon(dependency));
        let which = Which::AllBut { held, give_up, from };
        let mut actions = self.store.claim_which(declared, self.owner, most, lease, which).await?;
        let is_full = is_full(&actions, most);
        self.paces.looked(dependency, from, begun, is_full);
        loop {
            let left = most.saturating_sub(u32::try_from(actions.len()).unwrap_or(u32::MAX));
            let next = self.paces.with(dependency, |pace, now| pace.next(left, now)).flatten();
            let Some((class, offered)) = next else { break };
            let which = Which::Failing(class.clone());
            // If this claim fails, the rows that were claimed before it are returned without an error.
            let claimed = self.store.claim_which(declared, self.owner, offered, lease, which).await;
            let Ok(more) = claimed else { break };
            let taken = u32::try_from(more.len()).unwrap_or(u32::MAX);
            self.paces.with(dependency, |pace, now| pace.took(&class, offered, taken, now));
            actions.extend(more);
        }
        Ok(Claimed { actions, is_full })
    }

    /// Tells the pace how a request about an action ended. `action` is the action before that end was written.
    pub(crate) fn heard(&self, operation: &Operation<S>, action: &Action, event: &Event) {
        let Some((kind, answered, report)) = request(event) else { return };
        let state = &action.state;
        let heard = Heard {
            operation: &action.operation,
            goal: state.goal(),
            effect: effect_before(state, kind),
            kind,
            answered,
            retry_after: report.retry_after,
        };
        self.paces.with(&action.dependency, |pace, now| {
            pace.heard(heard, &operation.rules.backoff, || operation.remote.served_milli(), now);
        });
    }
}

fn is_full(actions: &[Action], most: u32) -> bool {
    u32::try_from(actions.len()).is_ok_and(|claimed| claimed >= most)
}

/// Returns what an event says of the request that it ends: the kind of the request, whether the provider answered, and
/// the remote's report. Returns `None` if the event is not the end of a request.
fn request(event: &Event) -> Option<(AttemptKind, bool, &Report)> {
    // An answer whose meaning the ledger does not know shows that the provider works, too. The statuses 408, 429 and
    // from 500 on are the exceptions: they say that the provider is in trouble.
    let says_something =
        |report: &Report| report.status.is_some_and(|status| status < 500 && status != 429 && status != 408);
    match event {
        Event::Performed(_, how, report) => {
            let answered = match how {
                Performed::Yes(_) | Performed::No(_) | Performed::Duplicate => true,
                Performed::Unknown => says_something(report),
                Performed::NotSent => false,
            };
            Some((AttemptKind::Perform, answered, report))
        }
        Event::Unsent(_, report) => Some((AttemptKind::Perform, false, report)),
        Event::Confirmed(_, found, report) => {
            let answered = match found {
                Found::Applied(_) | Found::Cancelled | Found::Absent => true,
                Found::Other => says_something(report),
                Found::NotSent => false,
            };
            Some((AttemptKind::Confirm, answered, report))
        }
        Event::Cancelled(_, how, report) => {
            let answered = match how {
                Undone::Yes | Undone::NoSuch | Undone::Refused | Undone::Never => true,
                Undone::Unknown => says_something(report),
                Undone::NotSent => false,
            };
            Some((AttemptKind::Cancel, answered, report))
        }
        Event::ScopeWaits | Event::ScopeBroken => None,
    }
}
