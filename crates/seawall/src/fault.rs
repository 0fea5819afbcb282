//! The types [`Meaning`] and [`Fault`]. With them, the code that makes an attempt says what the end of the attempt
//! means.
//!
//! In a call around any future, only the closure knows what happened. If the closure returns a plain error, the worst
//! is assumed: the attempt may have taken effect, and the endpoint has failed. A closure that knows more returns a
//! [`Fault`]. This allows more repeats, because a call whose effect is in doubt must often not be repeated.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use seawall_client::connect::is_ours;
use seawall_policy::{Answer, Effect, Ending, Unsent};

pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// What the end of one attempt means: for its effect, for the endpoint's health, and for a repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meaning(Ending);

/// A failure without an HTTP status is judged as an answer with this status. Only the rule for all 5xx statuses holds
/// for 599: the effect is unknown, and the endpoint counts as failed.
const OF_ITS_OWN: u16 = 599;

impl Meaning {
    /// Returns the meaning of an attempt that took effect. The endpoint counts as healthy.
    #[must_use]
    pub fn applied() -> Meaning {
        Meaning(Ending::Answered(Answer::of_status(200)))
    }

    /// Returns the meaning of a definite "no", such as a declined card or a wrong argument. There is no effect, the
    /// call is not repeated, and the endpoint counts as healthy.
    #[must_use]
    pub fn not_applied() -> Meaning {
        let answer = Answer { declared: Some(Effect::NotApplied), ..Answer::of_status(422) };
        Meaning(Ending::Answered(answer))
    }

    /// Returns the meaning of an attempt that sent nothing to the dependency. There is no effect, a call of any
    /// idempotency may be repeated, and the endpoint counts as failed.
    #[must_use]
    pub fn unsent() -> Meaning {
        Meaning(Ending::Unsent(Unsent::Refused))
    }

    /// Returns the meaning of an attempt that failed because this program had no file descriptor left, or lacked
    /// something else that a socket needs. There is no effect, and the call is not repeated. The endpoint's health is
    /// not changed, because nothing was sent to it.
    #[must_use]
    pub fn out_of_descriptors() -> Meaning {
        Meaning(Ending::Unsent(Unsent::OutOfDescriptors))
    }

    /// Returns the meaning of an error that prevented a connection, so that nothing reached the dependency. It is
    /// [`Meaning::out_of_descriptors`] if this program lacked what a socket needs, and [`Meaning::unsent`] for every
    /// other error.
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

    /// Returns the meaning of an attempt that the server did not process, and of which the server said so, for example
    /// by the HTTP/2 error `REFUSED_STREAM`. There is no effect, a call of any idempotency may be repeated, and the
    /// endpoint's health is not changed.
    #[must_use]
    pub fn unprocessed() -> Meaning {
        Meaning(Ending::Unprocessed)
    }

    /// Returns the meaning of an answer from a server that has too much to do. The effect is unknown, because many load
    /// balancers answer "overloaded" when they have lost the answer of a server that did the work.
    ///
    /// A repeat comes no earlier than `retry_after` from now. With `None`, the backoff alone decides when it comes.
    #[must_use]
    pub fn overloaded(retry_after: Option<Duration>) -> Meaning {
        Meaning(Ending::Answered(Answer { retry_after, ..Answer::of_status(503) }))
    }

    /// Returns the meaning of an attempt that may have taken effect. The endpoint counts as failed.
    #[must_use]
    pub fn unknown() -> Meaning {
        Meaning(Ending::Answered(Answer::of_status(OF_ITS_OWN)))
    }

    /// Returns the meaning of an HTTP status, by the table that the HTTP client uses.
    #[must_use]
    pub fn of_status(status: u16) -> Meaning {
        Meaning(Ending::Answered(Answer::of_status(status)))
    }

    /// Returns this meaning with `wait` added: the minimum time from now until a repeat. [`Meaning::unsent`],
    /// [`Meaning::out_of_descriptors`] and [`Meaning::unprocessed`] cannot have a wait, and are returned unchanged.
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

/// An error of an attempt, together with its meaning.
///
/// The conversions `?` and `into` turn any error into a [`Fault::unknown`].
pub struct Fault {
    pub(crate) meaning: Meaning,
    pub(crate) error: BoxError,
}

impl Fault {
    /// Makes a fault with this meaning.
    pub fn new(meaning: Meaning, error: impl Into<BoxError>) -> Fault {
        Fault { meaning, error: error.into() }
    }

    /// Makes a fault that says that nothing reached the dependency ([`Meaning::unsent`]).
    pub fn unsent(error: impl Into<BoxError>) -> Fault {
        Fault::new(Meaning::unsent(), error)
    }

    /// Makes a fault that says a definite "no" ([`Meaning::not_applied`]).
    pub fn not_applied(error: impl Into<BoxError>) -> Fault {
        Fault::new(Meaning::not_applied(), error)
    }

    /// Makes a fault that says that the server has too much to do ([`Meaning::overloaded`]).
    pub fn overloaded(error: impl Into<BoxError>, retry_after: Option<Duration>) -> Fault {
        Fault::new(Meaning::overloaded(retry_after), error)
    }

    /// Makes a fault that says that the attempt may have taken effect ([`Meaning::unknown`]).
    pub fn unknown(error: impl Into<BoxError>) -> Fault {
        Fault::new(Meaning::unknown(), error)
    }

    /// Returns what the error means.
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

// `Fault` itself does not implement `Error`. If it did, this conversion would also be one from `Fault` to `Fault`,
// which the standard library has already, and the compiler would refuse it.
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
        // The numbers are Linux's. 24 is EMFILE, "too many open files", for which the standard library has no error
        // kind. 111 is ECONNREFUSED.
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
