//! What the call machine asks of the state that calls share, and what it is told.

use std::time::Duration;

use crate::{Draw, Overload, Reason, Report, Stopped, Time};

/// A "no" of a guard, before anything was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which guard.
    pub reason: Reason,
    /// Until when it will say so, where it knows.
    pub until: Option<Time>,
    /// Over which while after that those who were refused are to come back, each at a moment of its own. Zero: at that time.
    pub spread: Duration,
    /// The provider said it first, by 429.
    pub too_many: bool,
}

impl Refusal {
    /// One that does not know until when.
    #[must_use]
    pub const fn of(reason: Reason) -> Refusal {
        Refusal::until(reason, None)
    }

    /// One that holds until then.
    #[must_use]
    pub const fn until(reason: Reason, until: Option<Time>) -> Refusal {
        Refusal { reason, until, spread: Duration::ZERO, too_many: false }
    }

    /// After what time the caller is told to come back; none where nobody knows.
    #[must_use]
    pub fn come_back(&self, now: Time, draw: Draw) -> Option<Duration> {
        self.until.map(|until| until.since(now).saturating_add(draw.share_of(self.spread)))
    }
}

/// What the call does after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// It is repeated at the same endpoint: the last result there is its evidence, and this is not the last.
    RepeatsHere,
    /// It is repeated at another endpoint.
    MovesOn,
    /// It is over.
    Ends,
}

/// What became of one who waits in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim<P, T> {
    /// Its turn came.
    Yours(P),
    /// Not yet; until then at the latest.
    Waits(T, Time),
    /// Its time is over (`queue-timeout`), or the breaker opened meanwhile.
    Refused(Refusal),
}

/// What the machine asks of state that calls share: breaker, limit and budget of each endpoint. A value of it belongs to
/// one call, and knows under which keys that call's guards are kept.
pub trait Guards {
    /// The right to make one attempt; given back exactly once, in [`Guards::settle`].
    type Permit;
    /// What is left of a settled permit whose evidence is still to be given.
    type Pass;
    /// A place in a queue; it ends in [`Guards::claim`] or [`Guards::leave`].
    type Ticket: Copy;

    /// Asks cooling, breaker and concurrency limit, in this order.
    ///
    /// # Errors
    /// The guard that said no.
    fn admit(&mut self, endpoint: usize, now: Time) -> Result<Self::Permit, Refusal>;

    /// Waits in the queue of an endpoint whose limit said no, until the time that comes back at the latest.
    ///
    /// # Errors
    /// There is no queue (`concurrency-limit`), or it is full (`queue-full`).
    fn join(&mut self, endpoint: usize, now: Time) -> Result<(Self::Ticket, Time), Refusal>;

    /// Asks whether the turn has come, or the time is over.
    fn claim(&mut self, ticket: Self::Ticket, now: Time) -> Claim<Self::Permit, Self::Ticket>;

    /// Gives up waiting.
    fn leave(&mut self, ticket: Self::Ticket, now: Time);

    /// The attempt was answered "come back later". When the first call passes there again, where its endpoint cools now; from
    /// then until that time nothing is sent there.
    fn overloaded(&mut self, permit: &Self::Permit, told: Overload, now: Time) -> Option<Time>;

    /// Why an endpoint would refuse the call now; `None` where it would not. Nothing is taken.
    fn refuses(&mut self, endpoint: usize, now: Time) -> Option<Stopped>;

    /// Gives a permit back with what its attempt said. A success after which the call ends earns for the budget. With
    /// [`After::RepeatsHere`] the evidence is held back, and the pass that comes back is given in [`Guards::witness`] or
    /// not at all.
    fn settle(
        &mut self,
        permit: Self::Permit,
        report: &Report,
        after: After,
        now: Time,
    ) -> Option<Self::Pass>;

    /// Gives evidence that was held back while a repeat was planned that then never was sent.
    fn witness(&mut self, pass: Self::Pass, report: &Report, now: Time);

    /// Asks whether one more repeat can be afforded after a failure of this attempt, and pays for it. It `doubles` where
    /// the work may be done twice: after a slow failure, or at the same endpoint after any that was not refused unprocessed.
    ///
    /// # Errors
    /// [`Stopped::Budget`], [`Stopped::Slow`] or [`Stopped::Breaker`].
    fn pay(&mut self, permit: &Self::Permit, doubles: bool, now: Time) -> Result<(), Stopped>;
}
