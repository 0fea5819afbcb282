//! Seawall's decisions, without clocks, sockets, locks or randomness.
//!
//! A call to a system that one does not own ends in one of three ways: it took effect, it did not, or nobody knows
//! ([`Effect`]). This crate says what an ending means ([`Rules::judge`]), whether the attempt may be repeated
//! ([`may_repeat`]), how long to wait before the repeat ([`Backoff`]), and whether the repeat can be afforded
//! ([`Budget`]). The call machine ([`Call`]) asks these questions in their order. Time ([`Time`]) and random draws
//! ([`Draw`]) are arguments of the functions. Each function returns its decision as a value, with the reason. The
//! driver (a client, a simulator) waits and sends.

mod answers;
mod backoff;
mod breaker;
mod budget;
mod call;
mod cooling;
mod effect;
mod ending;
mod failures;
mod guards;
mod idempotency;
mod idle;
mod limit;
mod misuse;
mod problem;
mod queue;
mod ramp;
mod reason;
mod refusal;
mod repeat;
mod report;
mod served;
mod time;
mod window;

pub use answers::{Answers, Field, KnownBody, Otherwise, Predicate, Said, Scalar, first_match};
pub use backoff::{Backoff, Draw};
pub use breaker::{
    Breaker, BreakerRefusal, BreakerSettings, BreakerState, Counted, Evidence, Force, OpenedBy, Opening,
    Pass, Settled,
};
pub use budget::{Budget, BudgetSettings};
pub use call::{Attempt, Call, Ended, Finish, Guards, Plan, Step, Timeouts, Wish};
pub use cooling::{Cooling, CoolingRefusal, CoolingSeen, CoolingSettings, Overload};
pub use effect::Effect;
pub use ending::{Answer, Decision, Ending, Health, Lost, Rules, Unsent, Verdict};
pub use failures::{FailureKind, Failures};
pub use guards::{
    DependencyGuards, EndpointGuards, GuardSettings, HeldPass, Keys, LimitSeen, LimitSlot, Permit, QueueTurn,
    RECENT_SUCCESS, Remains, Ticket, Underway, Witness,
};
pub use idempotency::Idempotency;
pub use idle::IdleLifetime;
pub use limit::{AttemptEnd, Limit, LimitRefusal, LimitSettings, Slot};
pub use misuse::Misuse;
pub use problem::{Gravity, Problem, TIME_UNITS, Wrong, show_time};
pub use queue::{Queue, QueueFull, QueueSettings, Waiter};
pub use reason::{Origin, Reason, Stopped};
pub use refusal::Refusal;
pub use repeat::{Repeat, may_repeat};
pub use report::{After, Report};
pub use served::Served;
pub use time::Time;
pub use window::{Counts, MAX_WINDOW_CALLS, Window, WindowSpan};
