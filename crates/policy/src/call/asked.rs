//! What the call machine asks of the state that calls share, and what it tells that state.

use crate::cooling::Overload;
use crate::guards::{HeldPass, Permit, QueueTurn, Ticket};
use crate::reason::Stopped;
use crate::refusal::Refusal;
use crate::report::{After, Report};
use crate::time::Time;

/// What the machine asks of the state that calls share: breaker, limit and budget of each endpoint. A value of this
/// trait belongs to one call, and knows the keys under which that call's guards are kept.
pub trait Guards {
    /// The right to make one attempt. It is given back exactly once, in [`Guards::settle`]. Asks cooling, breaker and
    /// concurrency limit, in this order.
    ///
    /// # Errors
    /// The guard that said no.
    fn admit(&mut self, endpoint: usize, now: Time) -> Result<Permit, Refusal>;

    /// Waits in the queue of an endpoint whose limit said no, until the returned time at the latest. The wait ends in
    /// [`Guards::take_turn`] or [`Guards::leave`].
    ///
    /// # Errors
    /// There is no queue (`concurrency-limit`), or the queue is full (`queue-full`).
    fn join(&mut self, endpoint: usize, now: Time) -> Result<(Ticket, Time), Refusal>;

    /// Asks whether the turn has come, or the time is over.
    fn take_turn(&mut self, ticket: Ticket, now: Time) -> QueueTurn;

    /// Gives up waiting.
    fn leave(&mut self, ticket: Ticket, now: Time);

    /// The attempt was answered "come back later". Returns when the first call passes there again, where its endpoint
    /// cools now; until that time nothing is sent there.
    fn overloaded(&mut self, permit: &Permit, told: Overload, now: Time) -> Option<Time>;

    /// Why an endpoint would refuse the call now; `None` where it would not. Nothing is taken.
    fn refuses(&mut self, endpoint: usize, now: Time) -> Option<Stopped>;

    /// Gives a permit back with what its attempt said. A success after which the call ends earns for the budget. With
    /// [`After::RepeatsHere`] the evidence is held back, and the returned pass is given in [`Guards::witness`] or not
    /// at all.
    fn settle(&mut self, permit: Permit, report: &Report, after: After, now: Time) -> Option<HeldPass>;

    /// Gives evidence that was held back for a repeat which was then not sent.
    fn witness(&mut self, pass: HeldPass, report: &Report, now: Time);

    /// Asks whether one more repeat can be afforded after a failure of this attempt, and pays for it. The repeat
    /// `doubles` where the work may be done twice: after a slow failure, or at the same endpoint after any failure that
    /// was not refused unprocessed.
    ///
    /// # Errors
    /// [`Stopped::Budget`], [`Stopped::Slow`] or [`Stopped::Breaker`].
    fn pay(&mut self, permit: &Permit, doubles: bool, now: Time) -> Result<(), Stopped>;
}
