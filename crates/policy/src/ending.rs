//! How an attempt ended, and what follows from it: its effect and the health of the endpoint.
//!
//! The obvious classification has two classes, retryable and not, and mixes three questions that have different
//! answers: did it take effect, is the endpoint well, may it be sent again. Here the first two are read off one
//! table ([`Rules::judge`]); the third follows in [`crate::repeat`].

use std::time::Duration;

use crate::answers::{Answers, KnownBody, Said, Scalar};
use crate::effect::Effect;
use crate::idempotency::Idempotency;
use crate::limit::AttemptEnd;
use crate::reason::Reason;

/// Proof that nothing of the request reached the dependency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unsent {
    /// The name was not resolved, or not in time.
    Dns,
    /// The connection was refused, or there was no way to the address.
    Refused,
    /// No connection, TLS included, was made in time.
    ConnectTimeout,
    /// TLS failed.
    Tls,
    /// A connection was there, and broke before a byte was written.
    ConnectionLost,
    /// This process could not make a socket or open a file that the lookup needed: it has no descriptor left. The
    /// endpoint was not asked.
    OutOfDescriptors,
}

/// The request may have been read, and no answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lost {
    /// Nothing was sent or received for as long as the read timeout.
    ReadTimeout,
    /// The total deadline passed.
    TotalTimeout,
    /// The connection was reset or closed.
    ConnectionLost,
    /// What came is not HTTP.
    BadAnswer,
}

/// How one attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Nothing was sent.
    Unsent(Unsent),
    /// HTTP/2 REFUSED_STREAM, or a stream above the last one of a GOAWAY: the server says that it did not look at it.
    Unprocessed,
    /// An answer came.
    Answered(Answer),
    /// It was sent, and no answer came.
    Lost(Lost),
    /// The caller's own deadline, shorter than ours, cut the attempt.
    CallerDeadline,
    /// The caller's body did not come in time; `sent` as below.
    CallerStalled {
        /// Whether a byte may have reached the dependency.
        sent: bool,
    },
    /// The caller went away; `sent` tells whether anything had been written.
    CallerLeft {
        /// Whether a byte may have reached the dependency.
        sent: bool,
    },
}

/// The head of an answer, as far as anything depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status, 200 to 999.
    pub status: u16,
    /// When to come back, as a time from now: `Retry-After` or another field that says it.
    pub retry_after: Option<Duration>,
    /// What the operation's own `answers` say of it.
    pub declared: Option<Effect>,
}

impl Answer {
    /// An answer with this status and nothing else.
    #[must_use]
    pub fn of_status(status: u16) -> Answer {
        Answer { status, retry_after: None, declared: None }
    }
}

/// What an ending says of the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Health {
    /// Nothing.
    Silent,
    /// It works.
    Success,
    /// It does not.
    Failure,
    /// It does not, and that took as long as any call waits: a timeout of ours, or 504.
    Timeout,
    /// It works and has too much to do (429): neither good nor bad to a breaker. [`Rules::overload`] says what it is to
    /// a limit.
    Busy,
}

/// What the dependency has decided about the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    /// Yes, no, or "accepted"; or no caller waits for an answer any more. A repeat is not wanted.
    Definite,
    /// It was not asked: this process has no means to send a request, and could not send another one either.
    NoMeans,
    /// It provably did not process the request, so anybody may repeat it.
    Unprocessed,
    /// Nobody knows.
    Open,
}

/// What the driver may conclude from one ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What is known of the effect.
    pub effect: Effect,
    /// What it says of the endpoint.
    pub health: Health,
    /// What it says of the load: a read or total timeout, and an answer whose status is in [`Rules::overload`], count
    /// against an adaptive limit.
    pub load: AttemptEnd,
    /// What the dependency has decided.
    pub decision: Decision,
    /// The earliest repeat, from now.
    pub retry_after: Option<Duration>,
}

/// What an operation declares about its answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// What a second delivery does.
    pub idempotency: Idempotency,
    /// Whether a status API is declared: then 202 is an answer to ask about, not an effect.
    pub confirm: bool,
    /// Statuses (429, 503) that mean "not processed".
    pub refuses: Vec<u16>,
    /// Statuses that mean "come back later". Default [`Rules::OVERLOAD`].
    pub overload: Vec<u16>,
    /// Meanings by status and body.
    pub answers: Answers,
}

impl Rules {
    /// The statuses that count as overload by default: 429, 503, and the 529 of some interfaces of language models.
    pub const OVERLOAD: [u16; 3] = [429, 503, 529];

    /// Rules that follow from the idempotency alone.
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

    /// What the operation's own words say of an answer, for [`Answer::declared`]; `None` where its status decides.
    ///
    /// A 202 that can be asked about is a promise, and [`Answers::otherwise`] speaks of what is done. So only a predicate
    /// that matches says more of such an answer than the table, where it is unknown and not sent again.
    pub fn declared(&self, status: u16, body: &KnownBody<impl Fn(&str) -> Option<Scalar>>) -> Option<Effect> {
        if status == 202 && self.confirm {
            return match self.answers.said(status, body) {
                Said::Matched(effect) => Some(effect),
                Said::Contradicted | Said::Undecided | Said::Nothing => None,
            };
        }
        self.answers.judge(status, body)
    }

    /// The table of endings.
    #[must_use]
    pub fn judge(&self, ending: &Ending) -> Verdict {
        use Decision::{Definite, NoMeans, Open, Unprocessed};
        use Effect::{NotApplied, Unknown};
        use Health::{Failure, Silent, Timeout};
        let mut verdict = match *ending {
            // Our own trouble says nothing of the endpoint. Its caller is told immediately: a repeat, here or
            // elsewhere, would need a descriptor, too.
            Ending::Unsent(Unsent::OutOfDescriptors) => Verdict::of(NotApplied, Silent, NoMeans),
            Ending::Unsent(Unsent::ConnectTimeout) => Verdict::of(NotApplied, Timeout, Unprocessed),
            Ending::Unsent(_) => Verdict::of(NotApplied, Failure, Unprocessed),
            Ending::Unprocessed => Verdict::of(NotApplied, Silent, Unprocessed),
            Ending::Answered(answer) => self.judge_answer(answer),
            Ending::Lost(Lost::ReadTimeout | Lost::TotalTimeout) => {
                Verdict { load: AttemptEnd::Overload, ..Verdict::of(Unknown, Timeout, Open) }
            }
            Ending::Lost(Lost::ConnectionLost | Lost::BadAnswer) => Verdict::of(Unknown, Failure, Open),
            // The caller's impatience says nothing of the endpoint by itself; how long it had waited may
            // (the breaker's rule for abandoned permits).
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
    /// Together with the load that follows from the health, where no overload is known.
    fn of(effect: Effect, health: Health, decision: Decision) -> Verdict {
        let load = match health {
            Health::Success => AttemptEnd::Success,
            Health::Failure | Health::Timeout | Health::Busy => AttemptEnd::Other,
            Health::Silent => AttemptEnd::Nothing,
        };
        Verdict { effect, health, load, decision, retry_after: None }
    }

    /// Whether the dependency provably did not process the request.
    #[must_use]
    pub fn is_unprocessed(&self) -> bool {
        matches!(self.decision, Decision::Unprocessed | Decision::NoMeans)
    }
}

impl Ending {
    /// The reason that an answer made here gives for this ending; `None` where the dependency's answer is passed on.
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
