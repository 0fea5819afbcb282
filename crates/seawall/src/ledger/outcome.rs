//! What has become of an action.

use seawall_actions::stored::StoredAnswer;
use seawall_ledger::{Action, ActionId, End, Known};
use seawall_policy::Effect;
use serde::de::DeserializeOwned;

/// An action as it stands, for whoever waits for it.
#[derive(Clone, Debug)]
pub struct Outcome {
    action: Action,
}

impl Outcome {
    pub(super) fn of(action: Action) -> Outcome {
        Outcome { action }
    }

    /// What is known of the effect over there. [`Effect::Unknown`]: nothing final yet; the worker goes on, and
    /// [`super::Actions::run`] may be asked again.
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

    /// Where it rests; `None` while there is something to do: to find out, or to be settled by the application.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        self.action.state.end
    }

    /// Our side has taken the outcome in.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.action.state.settled
    }

    /// It took effect, and waits for the application to settle it.
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

    /// What the provider said when it was known to be applied: its reply, or the answer to the question about it.
    #[must_use]
    pub fn answer(&self) -> Option<StoredAnswer> {
        StoredAnswer::decode(self.action.state.answer.as_deref()?)
    }

    /// The JSON body of that.
    ///
    /// # Errors
    /// It is not such JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Option<Result<T, serde_json::Error>> {
        Some(serde_json::from_slice(&self.answer()?.body))
    }

    /// The whole row.
    #[must_use]
    pub fn action(&self) -> &Action {
        &self.action
    }
}
