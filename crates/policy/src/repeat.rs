//! Decides by one table whether an attempt may be sent again.
//!
//! The table asks what is known of the attempt, and what a second delivery would do. The obvious rule is "retry on 5xx
//! and timeouts". With a plain POST, that rule charges twice after a timeout. It also charges twice after a 503 from a
//! proxy, if the server behind the proxy did the work.

use crate::ending::{Decision, Verdict};
use crate::idempotency::Idempotency;

/// What the table says of one ended attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// There is nothing to repeat: the provider has answered, or no caller waits for an answer any more.
    NotWanted,
    /// The request may be sent again, with the same key and the same bytes.
    Allowed,
    /// A repeat would be useful, and must not be made: a second delivery may be a second effect.
    Forbidden,
}

/// Returns whether a repeat may be made. A request whose idempotency is `none` is repeated only if it was not sent, or
/// if the dependency provably did not process it.
///
/// | idempotency | not sent, or not processed | nobody knows |
/// | --- | --- | --- |
/// | `safe`, `idempotent`, `keyed` | repeat | repeat |
/// | `none` | repeat | never |
#[must_use]
pub fn may_repeat(idempotency: Idempotency, verdict: &Verdict) -> Repeat {
    match (verdict.decision, idempotency) {
        (Decision::Definite | Decision::NoMeans, _) => Repeat::NotWanted,
        (Decision::Unprocessed, _)
        | (Decision::Open, Idempotency::Safe | Idempotency::Idempotent | Idempotency::Keyed) => {
            Repeat::Allowed
        }
        (Decision::Open, Idempotency::None) => Repeat::Forbidden,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ending::{Answer, Ending, Lost, Rules, Unsent};

    fn ask(idempotency: Idempotency, ending: Ending) -> Repeat {
        may_repeat(idempotency, &Rules::of(idempotency).judge(&ending))
    }

    #[test]
    fn the_repeat_table() {
        let status = |s| Ending::Answered(Answer::of_status(s));
        for idempotency in Idempotency::ALL {
            for free in [Ending::Unsent(Unsent::Refused), Ending::Unprocessed, Ending::Unsent(Unsent::Dns)] {
                assert_eq!(ask(idempotency, free), Repeat::Allowed, "{idempotency} {free:?}");
            }
            for decided in [status(200), status(404), status(308), Ending::CallerLeft { sent: true }] {
                assert_eq!(ask(idempotency, decided), Repeat::NotWanted, "{idempotency} {decided:?}");
            }
            for doubtful in [status(500), status(503), status(409), Ending::Lost(Lost::ReadTimeout)] {
                let expected =
                    if idempotency == Idempotency::None { Repeat::Forbidden } else { Repeat::Allowed };
                assert_eq!(ask(idempotency, doubtful), expected, "{idempotency} {doubtful:?}");
            }
        }
    }

    #[test]
    fn anyone_may_repeat_what_was_declared_refused() {
        let rules = Rules { refuses: vec![429], ..Rules::of(Idempotency::None) };
        let verdict = rules.judge(&Ending::Answered(Answer::of_status(429)));
        assert_eq!(may_repeat(Idempotency::None, &verdict), Repeat::Allowed);
    }
}
