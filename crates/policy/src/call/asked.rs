//! The interface between the call machine and the state that calls share.

use crate::cooling::Overload;
use crate::guards::{HeldPass, Permit, QueueTurn, Ticket};
use crate::reason::Stopped;
use crate::refusal::Refusal;
use crate::report::{After, Report};
use crate::time::Time;

/// The state that calls share, as the call machine uses it: breakers, coolings, limits and the budget. A value of this
/// trait belongs to one call, and knows the keys under which that call's guards are kept.
pub trait Guards {
    /// Returns a permit to make one attempt. The cooling is asked first, then the breaker, then the concurrency limit.
    /// The permit is given back exactly once, in [`Guards::settle`].
    ///
    /// # Errors
    /// The refusal of the guard that said no.
    fn admit(&mut self, endpoint: usize, now: Time) -> Result<Permit, Refusal>;

    /// Joins the queue of an endpoint whose limit refused. Returns the ticket, and the time at which the wait ends at
    /// the latest. The wait ends in [`Guards::take_turn`] or [`Guards::leave`].
    ///
    /// # Errors
    /// The endpoint has no queue (`concurrency-limit`), or its queue is full (`queue-full`).
    fn join(&mut self, endpoint: usize, now: Time) -> Result<(Ticket, Time), Refusal>;

    /// Returns what became of the call that waits with this ticket: its turn has come, it still waits, or it is
    /// refused.
    fn take_turn(&mut self, ticket: Ticket, now: Time) -> QueueTurn;

    /// Leaves the queue. If the ticket's turn has come already, the slot of the limit that was taken for it is given
    /// back.
    fn leave(&mut self, ticket: Ticket, now: Time);

    /// Reports that the attempt was answered "come back later". The attempt's endpoint may cool because of this: then
    /// nothing is sent to it for some time. Returns the time from which the first call passes again; `None` if the
    /// endpoint does not cool.
    fn overloaded(&mut self, permit: &Permit, told: Overload, now: Time) -> Option<Time>;

    /// Returns why an endpoint would refuse the call now; `None` if the endpoint would admit it. No permit is taken.
    fn refuses(&mut self, endpoint: usize, now: Time) -> Option<Stopped>;

    /// Gives a permit back with the report of its attempt. If the call ends with a success, the budget earns tokens.
    ///
    /// With [`After::RepeatsHere`], the breaker does not get the evidence yet, and its pass is returned. If the repeat
    /// does not reach the same endpoint, the pass must be given to [`Guards::witness`]; if it does, the pass is
    /// dropped. With any other `after`, returns `None`.
    fn settle(&mut self, permit: Permit, report: &Report, after: After, now: Time) -> Option<HeldPass>;

    /// Tells the breaker how an attempt ended. [`Guards::settle`] did not do so, because a repeat at the same endpoint
    /// was to follow. The call machine calls this function if that repeat did not reach the endpoint.
    fn witness(&mut self, pass: HeldPass, report: &Report, now: Time);

    /// Pays for one repeat after a failure of this attempt. With `doubles`, the provider may do the work twice: it may
    /// still work on this attempt when the repeat comes. That is so in two cases:
    ///
    /// - The failure was slow, for example a timeout.
    /// - The repeat goes to the same endpoint, and this attempt may have been processed.
    ///
    /// # Errors
    /// [`Stopped::Budget`], [`Stopped::Slow`] or [`Stopped::Breaker`]: the repeat must not be made.
    fn pay(&mut self, permit: &Permit, doubles: bool, now: Time) -> Result<(), Stopped>;
}
