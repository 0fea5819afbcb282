//! Remembers external actions, so that none is lost and none is done twice.
//!
//! An *action* is an effect on a system of somebody else. Its row says what is wanted ([`Goal`]), what is known of the
//! effect ([`Known`]), and whether the application has taken the outcome in. A pure function of the row and the time
//! decides what to do next. A worker only executes what this function decides.

mod action;
mod attempt;
mod begin;
pub mod calendar;
mod caught;
mod claims;
mod clock;
mod declare;
mod drive;
mod error;
mod failpoint;
mod inner;
mod jumps;
pub mod keys;
mod ledger;
pub mod machine;
mod moved;
mod on_stuck;
mod operation;
mod orders;
pub mod pace;
mod paces;
mod poll;
mod prints;
pub mod reconcile;
mod remote;
mod retries;
mod search;
mod standing;
mod start;
pub mod store;
mod tell;
mod terms;
#[cfg(all(feature = "test-clock", feature = "sqlite"))]
pub mod testing;
mod waiting;
mod wishes;
mod worker;

pub use action::{Action, ActionId, Mark, Money, NewAction, Sizes, Story};
pub use calendar::{Lifetime, Window};
pub use clock::{ClockStanding, DbClock, SharedClock};
pub use error::{Error, Refusal, StoreError, Trouble};
pub use jumps::ClockJump;
pub use keys::KeyRules;
pub use ledger::{Ledger, LedgerBuilder};
pub use machine::{
    AttemptKind, AttemptOutcome, AttemptRow, Back, CancelBy, CancelKind, CancelRules, Cancelling,
    ConfirmRules, End, Event, Found, Goal, HandlerTrouble, Known, Limits, Naming, NotApplied, NotCancelled,
    NotSettled, Now, Observed, OnUnknown, Origin, Owner, Performed, Question, Report, Resolution, Rules,
    Scope, SettleBy, Stamp, State, Step, StuckReason, Told, Undone, Write,
};
pub use on_stuck::{OnStuck, StuckNews};
pub use operation::Operation;
pub use orders::{Begins, Order, Ordered};
pub use prints::{Prints, Same};
pub use remote::{Delivery, Remote};
pub use retries::{Retried, RetryFilter};
pub use search::{Page, Search};
pub use seawall_policy::Misuse;
pub use start::{Begun, Started};
pub use store::stuck::StuckAction;
pub use terms::{Declaration, SqlTerms};
pub use wishes::By;
pub use worker::{Worker, WorkerSettings};
