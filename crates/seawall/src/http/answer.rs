//! The answer of the dependency to an HTTP request.

use std::panic::Location;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Response, StatusCode};
use http_body::Body;
use http_body_util::BodyExt;
use seawall_client::{AnswerBody, Clock, Outcome};
use seawall_policy::{Effect, Ending, Finish, Stopped};
use serde::de::DeserializeOwned;

use super::whom::Whom;
use crate::call_site::CallSite;
use crate::error::Error;

/// An answer of the dependency, with any status. Its body is received piece by piece while the caller reads it.
#[derive(Debug)]
pub struct Answer {
    response: Response<AnswerBody>,
    finish: Finish,
    ending: Ending,
    whom: Whom,
    place: &'static Location<'static>,
    clock: Clock,
}

impl Answer {
    pub(crate) fn of(
        outcome: Outcome,
        whom: Whom,
        place: &'static Location<'static>,
        clock: Clock,
    ) -> Result<Answer, Error> {
        let Outcome { finish, answer, ending, detail } = outcome;
        match (answer, ending) {
            (Some(response), Some(ending)) => Ok(Answer { response, finish, ending, whom, place, clock }),
            (_, ending) => {
                let name = Arc::clone(whom.name());
                let site = CallSite { dependency: &name, place };
                Err(Error::of_call(site, &finish, ending.as_ref(), None, clock.now()).with_detail(detail))
            }
        }
    }

    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// The headers of the answer.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// Returns what is known of the effect of the whole call, over all its attempts.
    #[must_use]
    pub fn effect(&self) -> Effect {
        self.finish.effect
    }

    /// The number of attempts that the call made.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.finish.attempts
    }

    /// Returns the number of the endpoint that answered. 0 is the endpoint that is tried first.
    #[must_use]
    pub fn endpoint(&self) -> usize {
        self.finish.endpoint
    }

    /// Returns why the last attempt was not repeated, for example `attempts` if all attempts are used up. Returns
    /// `None` if a repeat would not have helped, as after a success or a definite "no".
    #[must_use]
    pub fn stopped(&self) -> Option<Stopped> {
        self.finish.stopped
    }

    /// Returns the answer if its status is 2xx.
    ///
    /// # Errors
    /// If the status is any other. The error says what is known of the effect of the call, and has no body.
    pub fn error_for_status(self) -> Result<Answer, Error> {
        if self.status().is_success() { Ok(self) } else { Err(self.error(|error| error)) }
    }

    /// Waits for the next piece of the body and returns it; `None` after the last.
    ///
    /// # Errors
    /// If the connection broke before the end of the body. This does not change what is known of the effect.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            match self.response.body_mut().frame().await {
                None => return Ok(None),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if data.is_empty() => {}
                    Ok(data) => return Ok(Some(data)),
                    // These are trailers; no data follows them.
                    Err(_) => {}
                },
                Some(Err(broke)) => return Err(self.error(|error| error.truncated(&broke))),
            }
        }
    }

    /// Waits for the whole body and returns it.
    ///
    /// # Errors
    /// If the connection broke before the end of the body, or if the body is longer than the dependency's
    /// `answer_limit`. This does not change what is known of the effect.
    pub async fn bytes(mut self) -> Result<Bytes, Error> {
        let most = self.whom.answer_limit();
        let too_long = |answer: &Answer| {
            let what = format!(
                "the answer's body is longer than {most} bytes: read it by `chunk`, or raise `answer_limit`"
            );
            answer.error(|error| error.with_detail(Some(what)))
        };
        if self.response.body().size_hint().lower() > most as u64 {
            return Err(too_long(&self));
        }
        let Some(first) = self.chunk().await? else { return Ok(Bytes::new()) };
        let Some(second) = self.chunk().await? else { return Ok(first) };
        let mut all = BytesMut::from(&first[..]);
        all.extend_from_slice(&second);
        loop {
            if all.len() > most {
                return Err(too_long(&self));
            }
            match self.chunk().await? {
                Some(more) => all.extend_from_slice(&more),
                None => return Ok(all.freeze()),
            }
        }
    }

    /// Waits for the whole body and returns it as text. Bytes that are not UTF-8 are replaced by U+FFFD.
    ///
    /// # Errors
    /// As [`Answer::bytes`].
    pub async fn text(self) -> Result<String, Error> {
        let bytes = self.bytes().await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Waits for the whole body, reads it as JSON, whatever the status, and returns the value.
    ///
    /// # Errors
    /// As [`Answer::bytes`], or if the body is not JSON of type `T`. This does not change what is known of the effect.
    pub async fn json<T: DeserializeOwned>(self) -> Result<T, Error> {
        let (finish, ending, whom, place, clock) =
            (self.finish, self.ending, self.whom.clone(), self.place, self.clock);
        let status = self.status();
        let bytes = self.bytes().await?;
        serde_json::from_slice(&bytes).map_err(|wrong| {
            let site = CallSite { dependency: whom.name(), place };
            let error = Error::of_call(site, &finish, Some(&ending), Some(wrong.into()), clock.now());
            error.answered(status.as_u16())
        })
    }

    /// Returns the answer as an `http` response, for code that passes the body on as a stream.
    #[must_use]
    pub fn into_http(self) -> Response<AnswerBody> {
        self.response
    }

    fn error(&self, change: impl FnOnce(Error) -> Error) -> Error {
        let site = CallSite { dependency: self.whom.name(), place: self.place };
        let error = Error::of_call(site, &self.finish, Some(&self.ending), None, self.clock.now());
        change(error.answered(self.status().as_u16()))
    }
}
