//! What has become of an action.

use seawall_actions::stored::StoredAnswer;
use seawall_ledger::{Action, ActionId, End, Known};
use seawall_policy::Effect;
use serde::de::DeserializeOwned;

/// An action as it stands, for the code that waits for it.
#[derive(Clone, Debug)]
pub struct Outcome {
    action: Action,
}

impl Outcome {
    pub(super) fn of(action: Action) -> Outcome {
        Outcome { action }
    }

    /// What is known of the effect at the provider. [`Effect::Unknown`]: nothing is final yet. The worker goes on, and
    /// [`super::Actions::run`] may be called again.
    #[must_use]
    pub fn effect(&self) -> Effect {
        let state = &self.action.state;
        match (state.known, state.end) {
            (Known::Applied, _) => Effect::Applied,
            (Known::NotApplied(_), _) | (Known::Never, Some(End::Failed | End::Cancelled)) => {
                Effect::NotApplied
            }
            (Known::Never | Known::Unknown, _) => Effect::Unknown,
        }
    }

    /// The end where it rests; `None` while there is something to do: to find out, or to be settled by the application.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        self.action.state.end
    }

    /// Whether the application has taken the outcome in.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.action.state.settled
    }

    /// Whether it took effect, and waits for the application to settle it.
    #[must_use]
    pub fn awaits_settling(&self) -> bool {
        let state = &self.action.state;
        state.known == Known::Applied && state.end.is_none() && state.goal == seawall_ledger::Goal::Perform
    }

    /// Why it is stuck, failed or cancelled, for people.
    #[must_use]
    pub fn why(&self) -> Option<&str> {
        self.action.state.why.as_deref()
    }

    /// Its name in the ledger.
    #[must_use]
    pub fn id(&self) -> ActionId {
        self.action.id
    }

    /// What the provider said when the action was known to be applied: its reply, or the answer to the question about
    /// it.
    #[must_use]
    pub fn answer(&self) -> Option<StoredAnswer> {
        StoredAnswer::decode(self.action.state.answer.as_deref()?)
    }

    /// The JSON body of that reply or answer.
    ///
    /// # Errors
    /// It is not JSON of this type.
    pub fn json<T: DeserializeOwned>(&self) -> Option<Result<T, serde_json::Error>> {
        Some(serde_json::from_slice(&self.answer()?.body))
    }

    /// The whole row.
    #[must_use]
    pub fn action(&self) -> &Action {
        &self.action
    }
}
