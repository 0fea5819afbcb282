//! What an ending means, as said by the code that can read it.
//!
//! Around any future, only the closure knows what happened. If its error says nothing more, the worst is assumed: the
//! attempt may have taken effect, and the endpoint has failed. A closure that knows better can say so. Then the call
//! can also be repeated in cases in which a doubt would forbid it.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use seawall_client::connect::is_ours;
use seawall_policy::{Answer, Effect, Ending, Unsent};

pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// What the ending of one attempt means: for its effect, for the endpoint's health, and for a repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meaning(Ending);

/// The status that stands for a failed attempt that was not made over HTTP: its meaning is the same.
const OF_ITS_OWN: u16 = 599;

impl Meaning {
    /// The attempt took effect, and the endpoint counts as healthy.
    #[must_use]
    pub fn applied() -> Meaning {
        Meaning(Ending::Answered(Answer::of_status(200)))
    }

    /// A definite "no" (such as a declined card or a wrong argument). There is no effect, it is not repeated, and the
    /// endpoint counts as healthy.
    #[must_use]
    pub fn not_applied() -> Meaning {
        let answer = Answer { declared: Some(Effect::NotApplied), ..Answer::of_status(422) };
        Meaning(Ending::Answered(answer))
    }

    /// Nothing reached the dependency. There is no effect, a call of any idempotency may be repeated, and it is a
    /// failure of the endpoint.
    #[must_use]
    pub fn unsent() -> Meaning {
        Meaning(Ending::Unsent(Unsent::Refused))
    }

    /// This program had no file descriptor left, or lacked something else that a socket needs. There is no effect, and
    /// the call is not repeated. It says nothing about the endpoint, because nothing was sent to it.
    #[must_use]
    pub fn out_of_descriptors() -> Meaning {
        Meaning(Ending::Unsent(Unsent::OutOfDescriptors))
    }

    /// Nothing reached the dependency, because no connection was made. If the system refused because of this program,
    /// this is [`Meaning::out_of_descriptors`]. Every other error is [`Meaning::unsent`].
    #[must_use]
    pub fn unconnected(error: &(dyn Error + 'static)) -> Meaning {
        let mut next = Some(error);
        while let Some(error) = next {
            if error.downcast_ref::<io::Error>().is_some_and(is_ours) {
                return Meaning::out_of_descriptors();
            }
            next = error.source();
        }
        Meaning::unsent()
    }

    /// The server says that it did not process the request. There is no effect, a call of any idempotency may be
    /// repeated, and it says nothing about the endpoint.
    #[must_use]
    pub fn unprocessed() -> Meaning {
        Meaning(Ending::Unprocessed)
    }

    /// The server has too much to do. The effect is unknown, because many load balancers answer in this way when they
    /// have lost the answer of a server that did the work. The call is repeated no earlier than `retry_after` from now.
    #[must_use]
    pub fn overloaded(retry_after: Option<Duration>) -> Meaning {
        Meaning(Ending::Answered(Answer { retry_after, ..Answer::of_status(503) }))
    }

    /// The attempt may have taken effect, and it is a failure of the endpoint.
    #[must_use]
    pub fn unknown() -> Meaning {
        Meaning(Ending::Answered(Answer::of_status(OF_ITS_OWN)))
    }

    /// What an HTTP status means, by the table that the HTTP client uses.
    #[must_use]
    pub fn of_status(status: u16) -> Meaning {
        Meaning(Ending::Answered(Answer::of_status(status)))
    }

    /// The same meaning, but the call is repeated no earlier than `wait` from now. It has an effect only if the meaning
    /// is that of an answer, because only answers carry such a time.
    #[must_use]
    pub fn retry_after(self, wait: Duration) -> Meaning {
        match self.0 {
            Ending::Answered(answer) => {
                Meaning(Ending::Answered(Answer { retry_after: Some(wait), ..answer }))
            }
            Ending::Unsent(_)
            | Ending::Unprocessed
            | Ending::Lost(_)
            | Ending::CallerDeadline
            | Ending::CallerStalled { .. }
            | Ending::CallerLeft { .. } => self,
        }
    }

    pub(crate) fn ending(self) -> Ending {
        self.0
    }
}

/// An error of an attempt, with what it means.
///
/// Any error becomes one by `?` or `into`. It is then a [`Fault::unknown`].
pub struct Fault {
    pub(crate) meaning: Meaning,
    pub(crate) error: BoxError,
}

impl Fault {
    /// An error with this meaning.
    pub fn new(meaning: Meaning, error: impl Into<BoxError>) -> Fault {
        Fault { meaning, error: error.into() }
    }

    /// Nothing reached the dependency ([`Meaning::unsent`]).
    pub fn unsent(error: impl Into<BoxError>) -> Fault {
        Fault::new(Meaning::unsent(), error)
    }

    /// A definite "no" ([`Meaning::not_applied`]).
    pub fn not_applied(error: impl Into<BoxError>) -> Fault {
        Fault::new(Meaning::not_applied(), error)
    }

    /// The server has too much to do ([`Meaning::overloaded`]).
    pub fn overloaded(error: impl Into<BoxError>, retry_after: Option<Duration>) -> Fault {
        Fault::new(Meaning::overloaded(retry_after), error)
    }

    /// The attempt may have taken effect ([`Meaning::unknown`]).
    pub fn unknown(error: impl Into<BoxError>) -> Fault {
        Fault::new(Meaning::unknown(), error)
    }

    /// What the error means.
    #[must_use]
    pub fn meaning(&self) -> Meaning {
        self.meaning
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fault").field("meaning", &self.meaning).field("error", &self.error).finish()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

// `Fault` itself does not implement `Error`, because otherwise this conversion from every error could not exist.
impl<E: Error + Send + Sync + 'static> From<E> for Fault {
    fn from(error: E) -> Fault {
        Fault::unknown(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn want_of_descriptors_is_found_below_other_errors() {
        let inner = |kind: i32| io::Error::from_raw_os_error(kind);
        // std has no error kinds of their own for these codes.
        assert_eq!(Meaning::unconnected(&inner(24)), Meaning::out_of_descriptors());
        let wrapped = Outer(inner(24));
        assert_eq!(Meaning::unconnected(&wrapped), Meaning::out_of_descriptors());
        assert_eq!(Meaning::unconnected(&Outer(inner(111))), Meaning::unsent());
    }

    #[derive(Debug)]
    struct Outer(io::Error);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("no connection")
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }
}
