//! How a call ended.

use http::Response;
use seawall_policy::{Ending, Finish, Reason};

use crate::answer::AnswerBody;

/// How a call ended.
#[derive(Debug)]
pub struct Outcome {
    /// The end of the call, as the machine reports it.
    pub finish: Finish,
    /// The dependency's answer, if there is one to pass on.
    pub answer: Option<Response<AnswerBody>>,
    /// How the last attempt ended; `None` if there was no attempt.
    pub ending: Option<Ending>,
    /// What went wrong in the last attempt, in words; `None` if nothing did. It contains no secrets.
    pub detail: Option<String>,
}

impl Outcome {
    /// Returns why there is no answer from the dependency; `None` if there is an answer to pass on.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        match (&self.finish.refusal, &self.ending) {
            (Some(refusal), _) => Some(refusal.reason),
            (None, Some(ending)) => ending.reason(),
            (None, None) => None,
        }
    }
}
