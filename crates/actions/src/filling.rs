//! Fills the holes of an action's requests.

use seawall_ledger::{Action, Stamp};

use crate::stored::{AnswerOf, StoredAnswer, StoredRequest};
use crate::template::{Fill, Hole, Pointer, Raw};

/// The values with which the holes of one of an action's requests, such as `{key}`, are filled. They are what is known
/// of the action at this moment.
pub(crate) struct Filling<'a> {
    key: &'a str,
    cancel_key: Option<&'a str>,
    request: &'a StoredRequest,
    /// When the request was first sent, or perhaps sent; `None` if it was certainly not sent.
    sent: Option<Stamp>,
    answer: Option<&'a StoredAnswer>,
    /// The pointer to the provider's own id, in the answer to the question what became of the action; `None` if this is
    /// not declared.
    id: Option<&'a Pointer>,
}

impl<'a> Filling<'a> {
    /// Returns only the values that were recorded with the action: its key and its request. Holes of other kinds stay
    /// without a value.
    pub(crate) fn of_request(key: &'a str, request: &'a StoredRequest) -> Filling<'a> {
        Filling { key, cancel_key: None, request, sent: None, answer: None, id: None }
    }

    /// Returns the values for the request of a confirm: what was recorded with the action, and when the request was
    /// first sent.
    pub(crate) fn of_confirm(action: &'a Action, request: &'a StoredRequest) -> Filling<'a> {
        Filling { sent: first_sent(action), ..Filling::of_request(action.sent_key(), request) }
    }

    /// Returns the values for the request of a cancel: those for a confirm, the cancel's own key, and the provider's
    /// answer if one is known.
    pub(crate) fn of_cancel(
        action: &'a Action,
        cancel_key: &'a str,
        request: &'a StoredRequest,
        answer: Option<&'a StoredAnswer>,
        id: Option<&'a Pointer>,
    ) -> Filling<'a> {
        Filling { cancel_key: Some(cancel_key), answer, id, ..Filling::of_confirm(action, request) }
    }

    /// Returns whether a hole takes its value from the action's key or from its recorded request, as `{key}` does.
    /// Neither of them changes later. So if such a hole cannot be filled when the action is recorded, it can never be
    /// filled.
    fn is_recorded(&self, hole: &Hole) -> bool {
        match hole {
            Hole::Key | Hole::Request(_) | Hole::RequestHeader(_) => true,
            Hole::CancelKey
            | Hole::Sent(_)
            | Hole::Confirm(_)
            | Hole::Answer(_)
            | Hole::From
            | Hole::To
            | Hole::Next => false,
        }
    }

    fn answer_of(&self, of: AnswerOf) -> Option<&StoredAnswer> {
        self.answer.filter(|answer| answer.of == of)
    }
}

/// Returns when the action's request was first sent, or perhaps sent, on the database's clock; `None` if it was
/// certainly not sent.
fn first_sent(action: &Action) -> Option<Stamp> {
    action.state.first_sent_at()
}

/// Fills the request of a confirm or a cancel as a check, at the time when the action is recorded. Holes whose values
/// are known only later get the text `x`, which is valid everywhere in a request. So if the check fails, the real
/// request could never be filled either.
pub(crate) struct Foreseen<'a>(pub(crate) &'a Filling<'a>);

impl Fill for Foreseen<'_> {
    fn fill(&self, hole: &Hole) -> Option<Raw> {
        if self.0.is_recorded(hole) { self.0.fill(hole) } else { Some(Raw::string("x")) }
    }
}

impl Fill for Filling<'_> {
    fn fill(&self, hole: &Hole) -> Option<Raw> {
        match hole {
            Hole::Key => Some(Raw::string(self.key)),
            Hole::CancelKey => self.cancel_key.map(Raw::string),
            Hole::Request(pointer) => Raw::at(&self.request.body, pointer),
            Hole::RequestHeader(name) => {
                self.request.headers.get(name).and_then(|value| value.to_str().ok()).map(Raw::string)
            }
            Hole::Sent(format) => format.show(self.sent?).as_deref().map(Raw::string),
            Hole::Confirm(pointer) => Raw::at(&self.answer_of(AnswerOf::Confirm)?.body, pointer),
            Hole::Answer(pointer) => match (self.answer_of(AnswerOf::Reply), self.id) {
                (Some(reply), _) => Raw::at(&reply.body, pointer),
                (None, Some(id)) => Raw::at(&self.answer_of(AnswerOf::Confirm)?.body, id),
                (None, None) => None,
            },
            Hole::From | Hole::To | Hole::Next => None,
        }
    }
}
