//! The ways in which an attempt can end, and what each says about two questions: Did the attempt take effect? Does the
//! endpoint work?
//!
//! One table ([`Rules::judge`]) answers both questions. [`crate::repeat`] then answers a third: May the request be sent
//! again? The obvious classification, "retryable or not", mixes these three questions, although they have different
//! answers.

use std::time::Duration;

use crate::answers::{Answers, KnownBody, Said, Scalar};
use crate::effect::Effect;
use crate::idempotency::Idempotency;
use crate::limit::AttemptEnd;
use crate::reason::Reason;

/// Why nothing of the request reached the dependency. Each of these endings proves that nothing did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unsent {
    /// The name was not resolved, or not in time.
    Dns,
    /// The connection was refused, or the address could not be reached.
    Refused,
    /// The connection, including TLS, was not made in time.
    ConnectTimeout,
    /// TLS failed.
    Tls,
    /// The connection was made, but broke before a byte was written.
    ConnectionLost,
    /// This process had no file descriptor left for a socket, or for a file that the name lookup needed. The endpoint
    /// was not asked.
    OutOfDescriptors,
}

/// The ways in which an attempt ends without a valid answer although the dependency may have read the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lost {
    /// Nothing was sent or received for as long as the read timeout.
    ReadTimeout,
    /// The total deadline passed.
    TotalTimeout,
    /// The connection was reset or closed.
    ConnectionLost,
    /// The answer was not valid HTTP.
    BadAnswer,
}

/// How one attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Nothing of the request was sent.
    Unsent(Unsent),
    /// The server says that it did not process the request. It sent the HTTP/2 error REFUSED_STREAM, or a GOAWAY whose
    /// last stream number is below that of the request.
    Unprocessed,
    /// An answer came.
    Answered(Answer),
    /// The request was sent, and no valid answer came.
    Lost(Lost),
    /// The caller's own deadline, which was before the end of the total timeout, ended the attempt.
    CallerDeadline,
    /// The caller's body did not come in time.
    CallerStalled {
        /// Whether a byte may have reached the dependency.
        sent: bool,
    },
    /// The caller left before the attempt ended.
    CallerLeft {
        /// Whether a byte may have reached the dependency.
        sent: bool,
    },
}

/// What a verdict needs of an answer's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status, 200 to 999.
    pub status: u16,
    /// How long to wait, from now, before a repeat, as `Retry-After` or a similar field says; `None` if the answer
    /// names no time.
    pub retry_after: Option<Duration>,
    /// The effect that the operation declares for this answer ([`Rules::declared`]); `None` if its status decides.
    pub declared: Option<Effect>,
}

impl Answer {
    /// Returns an answer with this status and nothing else.
    #[must_use]
    pub fn of_status(status: u16) -> Answer {
        Answer { status, retry_after: None, declared: None }
    }
}

/// What an ending says of the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Health {
    /// The ending says nothing of the endpoint.
    Silent,
    /// The endpoint works.
    Success,
    /// The endpoint does not work.
    Failure,
    /// The endpoint does not work: the attempt ended at one of our timeouts, or was answered 504 (a proxy's timeout).
    /// To the breaker, each of these is a slow failure. An ending with [`Health::Failure`] is a slow failure only if it
    /// took long.
    Timeout,
    /// The endpoint works but has too much to do (429). To a breaker this is neither good nor bad. [`Rules::overload`]
    /// says whether a limit counts it as overload.
    Busy,
}

/// What the dependency has decided about the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    /// No repeat is wanted: the dependency has answered (with a yes, a no or an "accepted"), or no caller waits for an
    /// answer.
    Definite,
    /// This process cannot send any request at the moment, for example because it has no file descriptor left. So the
    /// dependency received nothing, and a repeat could not be sent either.
    NoMeans,
    /// The dependency provably did not process the request, so a repeat is allowed whatever the request's idempotency.
    Unprocessed,
    /// Nobody knows what the dependency has decided.
    Open,
}

/// What the driver may conclude from one ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What is known of the effect.
    pub effect: Effect,
    /// What the ending says of the endpoint.
    pub health: Health,
    /// How the attempt counts for the limit on calls in flight. A read timeout, a total timeout, and an answer whose
    /// status is in [`Rules::overload`] count as overload, which can lower an adaptive limit.
    pub load: AttemptEnd,
    /// What the dependency has decided.
    pub decision: Decision,
    /// How long to wait, from now, before a repeat; `None` if the answer named no time.
    pub retry_after: Option<Duration>,
}

/// What an operation declares about its answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// What happens at the provider if the same request is delivered twice.
    pub idempotency: Idempotency,
    /// Whether the operation declares a confirm: a request that asks the provider later whether the work was done. If
    /// so, a 202 does not mean that the request took effect.
    pub confirm: bool,
    /// The statuses that mean "not processed", for example 429 or 503, so that a repeat is allowed whatever the
    /// idempotency. Default: none.
    pub refuses: Vec<u16>,
    /// The statuses that mean "come back later". A limit counts them as overload, and they can make the endpoint cool.
    /// Default [`Rules::OVERLOAD`].
    pub overload: Vec<u16>,
    /// The declared meanings of answers, by status and body.
    pub answers: Answers,
}

impl Rules {
    /// The statuses that count as overload by default: 429, 503, and 529, which some interfaces of language models use.
    pub const OVERLOAD: [u16; 3] = [429, 503, 529];

    /// Returns the rules that follow from the idempotency alone.
    #[must_use]
    pub fn of(idempotency: Idempotency) -> Rules {
        Rules {
            idempotency,
            confirm: false,
            refuses: Vec::new(),
            overload: Rules::OVERLOAD.to_vec(),
            answers: Answers::default(),
        }
    }

    /// Returns the effect that the operation's declaration gives to an answer with this status and body; `None` if the
    /// declaration does not decide, so that the status does. The driver puts the result into [`Answer::declared`].
    ///
    /// If the operation declares a confirm, a 202 is only a promise that the work will be done. So
    /// [`Answers::otherwise`], the declared effect of a 2xx that no predicate matches, is not used for a 202. If no
    /// declared predicate matches the 202, the result is `None`. The table of [`Rules::judge`] then says that the
    /// effect is unknown and that the request is not sent again.
    pub fn declared(&self, status: u16, body: &KnownBody<impl Fn(&str) -> Option<Scalar>>) -> Option<Effect> {
        if status == 202 && self.confirm {
            return match self.answers.said(status, body) {
                Said::Matched(effect) => Some(effect),
                Said::Contradicted | Said::Undecided | Said::Nothing => None,
            };
        }
        self.answers.judge(status, body)
    }

    /// Returns what the table concludes from an ending.
    #[must_use]
    pub fn judge(&self, ending: &Ending) -> Verdict {
        use Decision::{Definite, NoMeans, Open, Unprocessed};
        use Effect::{NotApplied, Unknown};
        use Health::{Failure, Silent, Timeout};
        let mut verdict = match *ending {
            // Our own lack of descriptors says nothing of the endpoint. The call ends immediately, because a repeat
            // would need a descriptor, too.
            Ending::Unsent(Unsent::OutOfDescriptors) => Verdict::of(NotApplied, Silent, NoMeans),
            Ending::Unsent(Unsent::ConnectTimeout) => Verdict::of(NotApplied, Timeout, Unprocessed),
            Ending::Unsent(_) => Verdict::of(NotApplied, Failure, Unprocessed),
            Ending::Unprocessed => Verdict::of(NotApplied, Silent, Unprocessed),
            Ending::Answered(answer) => self.judge_answer(answer),
            Ending::Lost(Lost::ReadTimeout | Lost::TotalTimeout) => {
                Verdict { load: AttemptEnd::Overload, ..Verdict::of(Unknown, Timeout, Open) }
            }
            Ending::Lost(Lost::ConnectionLost | Lost::BadAnswer) => Verdict::of(Unknown, Failure, Open),
            // The caller's own deadline ended the attempt, which alone says nothing of the endpoint. The length of the
            // caller's wait may say something: see `Evidence::Abandoned`.
            Ending::CallerDeadline => Verdict::of(Unknown, Silent, Definite),
            Ending::CallerStalled { sent } | Ending::CallerLeft { sent } => {
                Verdict::of(if sent { Unknown } else { NotApplied }, Silent, Definite)
            }
        };
        if self.idempotency == Idempotency::Safe && verdict.effect == Unknown {
            verdict.effect = NotApplied;
        }
        verdict
    }

    fn judge_answer(&self, answer: Answer) -> Verdict {
        use Decision::{Definite, Open, Unprocessed};
        use Effect::{Applied, NotApplied, Unknown};
        use Health::{Busy, Failure, Success, Timeout};
        let mut verdict = match answer.status {
            202 if self.confirm => Verdict::of(Unknown, Success, Definite),
            200..=299 | 303 | 304 => Verdict::of(Applied, Success, Definite),
            408 | 409 | 425 => Verdict::of(Unknown, Success, Open),
            429 => Verdict::of(Unknown, Busy, Open),
            307 | 308 | 400..=499 => Verdict::of(NotApplied, Success, Definite),
            504 => Verdict::of(Unknown, Timeout, Open),
            _ => Verdict::of(Unknown, Failure, Open),
        };
        match answer.declared {
            Some(declared) => {
                verdict.effect = declared;
                verdict.decision = if declared == Unknown { Open } else { Definite };
            }
            None if !self.refuses.is_empty() && self.refuses.contains(&answer.status) => {
                (verdict.effect, verdict.decision) = (NotApplied, Unprocessed);
            }
            None => {}
        }
        if answer.status >= 400 && self.overload.contains(&answer.status) {
            verdict.load = AttemptEnd::Overload;
        }
        verdict.retry_after = answer.retry_after;
        verdict
    }
}

impl Verdict {
    /// Returns a verdict whose `load` is computed from `health`, as for an answer that is no overload. For an overload,
    /// the code that calls this function must set `load` afterwards.
    fn of(effect: Effect, health: Health, decision: Decision) -> Verdict {
        let load = match health {
            Health::Success => AttemptEnd::Success,
            Health::Failure | Health::Timeout | Health::Busy => AttemptEnd::Other,
            Health::Silent => AttemptEnd::Nothing,
        };
        Verdict { effect, health, load, decision, retry_after: None }
    }

    /// Returns whether the dependency provably did not process the request.
    #[must_use]
    pub fn is_unprocessed(&self) -> bool {
        matches!(self.decision, Decision::Unprocessed | Decision::NoMeans)
    }
}

impl Ending {
    /// Returns the reason that Seawall reports for this ending; `None` if the dependency's answer is passed on to the
    /// caller instead.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        Some(match self {
            Ending::Unsent(Unsent::Dns) => Reason::DnsFailure,
            Ending::Unsent(Unsent::Refused) => Reason::ConnectRefused,
            Ending::Unsent(Unsent::ConnectTimeout) => Reason::ConnectTimeout,
            Ending::Unsent(Unsent::Tls) => Reason::TlsFailure,
            Ending::Unsent(Unsent::OutOfDescriptors) => Reason::OutOfDescriptors,
            Ending::Unsent(Unsent::ConnectionLost)
            | Ending::Lost(Lost::ConnectionLost)
            | Ending::CallerLeft { .. }
            | Ending::Unprocessed => Reason::ConnectionLost,
            Ending::Lost(Lost::ReadTimeout) => Reason::ReadTimeout,
            Ending::Lost(Lost::TotalTimeout) | Ending::CallerDeadline => Reason::TotalTimeout,
            Ending::Lost(Lost::BadAnswer) => Reason::BadAnswer,
            Ending::CallerStalled { .. } => Reason::CallerStalled,
            Ending::Answered(_) => return None,
        })
    }
}

#[cfg(test)]
#[path = "ending_tests.rs"]
mod tests;
