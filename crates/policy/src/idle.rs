//! How long an idle connection may be trusted.
//!
//! A server closes idle connections, and a request that is written while the close is under way is lost without an
//! answer. A read is simply sent again; a plain POST is in doubt. The obvious rule, a fixed idle timeout on our
//! side, is wrong as soon as the server's is shorter, and right behind an answer a server may close at any time.
//!
//! Two things are asked of a connection before a request that must not be sent twice takes it. It has *settled*: some
//! time passed since its last answer. And it is *young*: its idle age is at most half of what is known to be safe.
//! Known to be safe is what the server announced (`Keep-Alive: timeout=N`), or else what was seen: an age is proved
//! once a connection of this server was seen alive at it, and disproved when one was seen closed earlier. One number
//! holds both, so that it heals by itself after a restart of the server made all connections look short-lived.

use std::time::Duration;

use crate::idempotency::Idempotency;

/// What was learned of a server's idle lifetime.
#[derive(Clone, Debug)]
pub struct IdleLifetime {
    settle: Duration,
    announced: Option<Duration>,
    proved: Duration,
    /// The longest age at which nothing is known to have been closed; a read may go up to this.
    closed_at: Option<Duration>,
}

impl IdleLifetime {
    /// Nothing learned yet. A connection has settled when `settle` (default 20 ms) passed since its last answer.
    #[must_use]
    pub fn new(settle: Duration) -> IdleLifetime {
        IdleLifetime { settle, announced: None, proved: Duration::ZERO, closed_at: None }
    }

    /// The server said how long it keeps idle connections.
    pub fn announce(&mut self, lifetime: Duration) {
        self.announced = Some(lifetime);
    }

    /// A connection was seen open after being idle for `age`.
    pub fn seen_open(&mut self, age: Duration) {
        self.proved = self.proved.max(age);
        // One that is a little older than another that was closed shows no more than that a server's timers are not
        // exact; one that is twice as old shows that age was not the reason.
        if self.closed_at.is_some_and(|closed| age / 2 > closed) {
            self.closed_at = None;
        }
    }

    /// A connection was seen closed by the server after being idle for `age`. A close right behind an answer is not
    /// an idle timeout, and teaches nothing.
    pub fn seen_closed(&mut self, age: Duration) {
        if age > self.settle {
            self.proved = self.proved.min(age);
            self.closed_at = Some(self.closed_at.map_or(age, |closed| closed.min(age)));
        }
    }

    /// Whether a request may take a connection that has been idle for `age`.
    #[must_use]
    pub fn may_reuse(&self, idempotency: Idempotency, age: Duration) -> bool {
        match idempotency {
            Idempotency::Safe | Idempotency::Idempotent | Idempotency::Keyed => {
                // Losing the race costs a repeat: stay clear of the ages at which closes were seen.
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
