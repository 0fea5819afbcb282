//! What the call machine asks of the state that calls share, and what it is told.

use crate::cooling::Overload;
use crate::guards::{Claim, HeldPass, Permit, Ticket};
use crate::reason::Stopped;
use crate::refusal::Refusal;
use crate::report::{After, Report};
use crate::time::Time;

/// What the machine asks of state that calls share: breaker, limit and budget of each endpoint. A value of it belongs to
/// one call, and knows under which keys that call's guards are kept.
pub trait Guards {
    /// The right to make one attempt, given back exactly once, in [`Guards::settle`]. Asks cooling, breaker and concurrency limit, in this order.
    ///
    /// # Errors
    /// The guard that said no.
    fn admit(&mut self, endpoint: usize, now: Time) -> Result<Permit, Refusal>;

    /// Waits in the queue of an endpoint whose limit said no, until the time that comes back at the latest. The place ends
    /// in [`Guards::claim`] or [`Guards::leave`].
    ///
    /// # Errors
    /// There is no queue (`concurrency-limit`), or it is full (`queue-full`).
    fn join(&mut self, endpoint: usize, now: Time) -> Result<(Ticket, Time), Refusal>;

    /// Asks whether the turn has come, or the time is over.
    fn claim(&mut self, ticket: Ticket, now: Time) -> Claim;

    /// Gives up waiting.
    fn leave(&mut self, ticket: Ticket, now: Time);

    /// Told that the attempt was answered "come back later". When the first call passes there again, where its endpoint cools now; from
    /// then until that time nothing is sent there.
    fn overloaded(&mut self, permit: &Permit, told: Overload, now: Time) -> Option<Time>;

    /// Why an endpoint would refuse the call now; `None` where it would not. Nothing is taken.
    fn refuses(&mut self, endpoint: usize, now: Time) -> Option<Stopped>;

    /// Gives a permit back with what its attempt said. A success after which the call ends earns for the budget. With
    /// [`After::RepeatsHere`] the evidence is held back, and the pass that comes back is given in [`Guards::witness`] or
    /// not at all.
    fn settle(&mut self, permit: Permit, report: &Report, after: After, now: Time) -> Option<HeldPass>;

    /// Gives evidence that was held back while a repeat was planned that then never was sent.
    fn witness(&mut self, pass: HeldPass, report: &Report, now: Time);

    /// Asks whether one more repeat can be afforded after a failure of this attempt, and pays for it. It `doubles` where
    /// the work may be done twice: after a slow failure, or at the same endpoint after any that was not refused unprocessed.
    ///
    /// # Errors
    /// [`Stopped::Budget`], [`Stopped::Slow`] or [`Stopped::Breaker`].
    fn pay(&mut self, permit: &Permit, doubles: bool, now: Time) -> Result<(), Stopped>;
}
