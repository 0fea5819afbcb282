//! How a call ended.

use http::Response;
use seawall_policy::{Ending, Finish, Reason};

use crate::answer::AnswerBody;

/// How a call ended.
#[derive(Debug)]
pub struct Outcome {
    /// The end of the call, as the machine tells it.
    pub finish: Finish,
    /// The dependency's answer, if there is one to pass on.
    pub answer: Option<Response<AnswerBody>>,
    /// How the last attempt ended; `None` if there was no attempt.
    pub ending: Option<Ending>,
    /// What went wrong, in words. It holds no secrets.
    pub detail: Option<String>,
}

impl Outcome {
    /// Why there is no answer from the dependency.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        match (&self.finish.refusal, &self.ending) {
            (Some(refusal), _) => Some(refusal.reason),
            (None, Some(ending)) => ending.reason(),
            (None, None) => None,
        }
    }
}
