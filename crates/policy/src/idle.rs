//! Decides whether a request may use a connection that has been idle.
//!
//! A server closes idle connections. A request that is written at the same moment is lost without an answer. A request
//! that only reads is then sent again, but the effect of a plain POST is unknown. The obvious rule, a fixed idle
//! timeout on our side, is wrong as soon as the server's timeout is shorter. Besides, a server may close a connection
//! at any time directly after an answer.
//!
//! A request that must not be sent twice takes a connection only if two conditions hold:
//!
//! - The connection has *settled*: some time has passed since its last answer.
//! - The connection is *young*: its idle age is at most half of the age that is known to be safe.
//!
//! If the server announced an age (`Keep-Alive: timeout=N`), the safe age is the announced one, but no more than the
//! lowest age at which a connection was seen closed. If it announced none, the safe age is observed: it rises to the
//! age at which a connection of this server was seen open, and falls to the age at which one was seen closed. It can
//! rise again, so it recovers after a restart of the server, which makes all connections look short-lived.

use std::time::Duration;

use crate::idempotency::Idempotency;

/// What is known so far of how long a server keeps idle connections open.
#[derive(Clone, Debug)]
pub struct IdleLifetime {
    settle: Duration,
    announced: Option<Duration>,
    proved: Duration,
    /// The lowest idle age at which a connection was seen closed; `None` if there was none. A request that may be sent
    /// twice takes only connections that have been idle for less than nine tenths of this age.
    closed_at: Option<Duration>,
}

impl IdleLifetime {
    /// Returns a value that knows nothing of the server yet. A request that must not be sent twice takes a connection
    /// only if at least `settle` (default 20 ms) has passed since the connection's last answer.
    #[must_use]
    pub fn new(settle: Duration) -> IdleLifetime {
        IdleLifetime { settle, announced: None, proved: Duration::ZERO, closed_at: None }
    }

    /// Records how long the server said that it keeps idle connections.
    pub fn announce(&mut self, lifetime: Duration) {
        self.announced = Some(lifetime);
    }

    /// Records that a connection was seen open after being idle for `age`.
    pub fn seen_open(&mut self, age: Duration) {
        self.proved = self.proved.max(age);
        // `closed_at` is the lowest idle age at which the server was seen to have closed a connection. If `age` is only
        // a little above it, the server's timers are inexact, and `closed_at` stays. If `age` is more than twice
        // `closed_at`, the server must have closed that connection for another reason than its idle age. So `closed_at`
        // is forgotten.
        if self.closed_at.is_some_and(|closed| age / 2 > closed) {
            self.closed_at = None;
        }
    }

    /// Records that the server was seen to have closed a connection that was idle for `age`. A close directly after an
    /// answer is no idle timeout, so nothing is learned from it.
    pub fn seen_closed(&mut self, age: Duration) {
        if age > self.settle {
            self.proved = self.proved.min(age);
            self.closed_at = Some(self.closed_at.map_or(age, |closed| closed.min(age)));
        }
    }

    /// Returns whether a request with this idempotency may take a connection that has been idle for `age`.
    #[must_use]
    pub fn may_reuse(&self, idempotency: Idempotency, age: Duration) -> bool {
        match idempotency {
            Idempotency::Safe | Idempotency::Idempotent | Idempotency::Keyed => {
                // Safe, idempotent and keyed requests may be sent twice. If the server closes the connection at the
                // wrong moment, that costs only a repeat. So it is enough that the idle age is less than nine tenths of
                // two ages: the age at which the server says that it closes connections, and the lowest age at which it
                // was seen to close one.
                let end = self.announced.into_iter().chain(self.closed_at).min();
                end.is_none_or(|end| age < end - end / 10)
            }
            Idempotency::None => {
                let safe = self.announced.map_or(self.proved, |said| match self.closed_at {
                    Some(closed) => said.min(closed),
                    None => said,
                });
                age >= self.settle && age <= safe / 2
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Idempotency::{None as Plain, Safe};

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn a_plain_request_waits_for_proof() {
        let mut idle = IdleLifetime::new(ms(20));
        assert!(!idle.may_reuse(Plain, ms(30)), "nothing is proved yet");
        assert!(idle.may_reuse(Safe, ms(30)));
        idle.seen_open(ms(100));
        assert!(idle.may_reuse(Plain, ms(50)));
        assert!(!idle.may_reuse(Plain, ms(51)), "more than half of the proved age");
        assert!(!idle.may_reuse(Plain, ms(19)), "not settled");
    }

    #[test]
    fn a_close_disproves_and_later_survivors_prove_again() {
        let mut idle = IdleLifetime::new(ms(20));
        idle.seen_open(ms(60_000));
        idle.seen_closed(ms(1_000));
        assert!(!idle.may_reuse(Plain, ms(501)));
        assert!(idle.may_reuse(Plain, ms(500)));
        assert!(!idle.may_reuse(Safe, ms(990)), "reads keep away from the edge, too");
        assert!(idle.may_reuse(Safe, ms(800)));
        idle.seen_open(ms(5_000));
        assert!(idle.may_reuse(Plain, ms(2_500)), "the server was only restarting");
        assert!(idle.may_reuse(Safe, ms(2_000)));
    }

    #[test]
    fn a_server_whose_timers_are_not_exact_is_not_taken_for_a_patient_one() {
        let mut idle = IdleLifetime::new(ms(20));
        for jitter in 0..10 {
            idle.seen_closed(ms(995 + jitter));
            idle.seen_open(ms(1_005 - jitter));
        }
        idle.seen_open(ms(1_990));
        assert!(!idle.may_reuse(Safe, ms(900)));
        idle.seen_open(ms(2_000));
        assert!(idle.may_reuse(Safe, ms(900)));
    }

    #[test]
    fn a_close_right_behind_an_answer_teaches_nothing() {
        let mut idle = IdleLifetime::new(ms(20));
        idle.seen_open(ms(1_000));
        idle.seen_closed(ms(2));
        assert!(idle.may_reuse(Plain, ms(400)));
    }

    #[test]
    fn an_announced_lifetime_is_believed_until_a_close_comes_earlier() {
        let mut idle = IdleLifetime::new(ms(20));
        idle.announce(ms(5_000));
        assert!(idle.may_reuse(Plain, ms(2_500)));
        assert!(!idle.may_reuse(Plain, ms(2_501)));
        assert!(!idle.may_reuse(Safe, ms(4_900)));
        idle.seen_closed(ms(1_000));
        assert!(!idle.may_reuse(Plain, ms(600)));
    }
}
