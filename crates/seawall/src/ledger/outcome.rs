//! The type [`Outcome`]: what has become of an action.

use seawall_actions::stored::{AnswerOf, StoredAnswer};
use seawall_ledger::{Action, ActionId, End, Known};
use seawall_policy::Effect;
use serde::de::DeserializeOwned;

/// The state of an action when it was read, for the code that waits for the action.
#[derive(Clone, Debug)]
pub struct Outcome {
    action: Action,
}

impl Outcome {
    pub(super) fn of(action: Action) -> Outcome {
        Outcome { action }
    }

    /// Returns what is known of the effect at the provider. With [`Effect::Unknown`], nothing is final: the worker goes
    /// on with the action, and [`super::Actions::run`] may be called again.
    #[must_use]
    pub fn effect(&self) -> Effect {
        let state = &self.action.state;
        match (state.known(), state.end()) {
            (Known::Applied, _) => Effect::Applied,
            (Known::NotApplied(_), _) | (Known::Never, Some(End::Failed | End::Cancelled)) => {
                Effect::NotApplied
            }
            (Known::Never | Known::Unknown, _) => Effect::Unknown,
        }
    }

    /// Returns how the action ended. Returns `None` while the effect is not known, or while the application has not
    /// settled the action.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        self.action.state.end()
    }

    /// Returns whether the action is settled, which means that the application has taken the outcome into its own data.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.action.state.settled()
    }

    /// Returns whether the action took effect and waits for the application to settle it.
    #[must_use]
    pub fn awaits_settling(&self) -> bool {
        let state = &self.action.state;
        state.known() == Known::Applied
            && state.end().is_none()
            && state.goal() == seawall_ledger::Goal::Perform
    }

    /// Returns why the action is stuck, failed or cancelled, in words for people; `None` if there is nothing to say.
    #[must_use]
    pub fn why(&self) -> Option<&str> {
        self.action.state.why()
    }

    /// The action's id in the ledger.
    #[must_use]
    pub fn id(&self) -> ActionId {
        self.action.id
    }

    /// The key that the application gave the action.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.action.key
    }

    /// Returns the key under which the provider knows the action. It is [`Outcome::key`], unless the provider does not
    /// take that key ([`super::DurableBuilder::key`]).
    #[must_use]
    pub fn sent_key(&self) -> &str {
        self.action.sent_key()
    }

    /// Returns the provider's answer that shows that the action took effect. It is the answer to the operation, or to a
    /// question about the action. Returns `None` if no such answer is recorded, for example because its body was too
    /// long.
    #[must_use]
    pub fn answer(&self) -> Option<StoredAnswer> {
        self.kept().filter(|answer| answer.of != AnswerOf::Refusal)
    }

    /// Returns the answer with which the provider refused the action: status, headers and body. It shows why, for
    /// example "declined" or "wrong API key". Returns `None` if the action did not end with a refusal, or if the body
    /// of the refusal was too long to be recorded.
    ///
    /// A refusal does not end the action if an earlier attempt could still take effect. Such a refusal is found in the
    /// attempt log ([`super::Story::attempts`]): read its `answer` with [`StoredAnswer::decode`].
    #[must_use]
    pub fn refusal(&self) -> Option<StoredAnswer> {
        self.kept().filter(|answer| answer.of == AnswerOf::Refusal)
    }

    fn kept(&self) -> Option<StoredAnswer> {
        StoredAnswer::decode(self.action.state.answer()?)
    }

    /// Returns the body of [`Outcome::answer`], read as JSON; `None` if there is no answer.
    ///
    /// # Errors
    /// If the body is not JSON of type `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Option<Result<T, serde_json::Error>> {
        Some(serde_json::from_slice(&self.answer()?.body))
    }

    /// The action's whole row.
    #[must_use]
    pub fn action(&self) -> &Action {
        &self.action
    }
}
