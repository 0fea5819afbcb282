//! The action protocol as a pure machine: no clock, no database, no network.
//!
//! Every change of a row is a compare-and-set. The machine receives a row as it was read, with its version, and returns
//! the whole new state ([`Write`]). A store takes the write only if the row still has that version. Each change of the
//! row also changes the version, so the store need not check again what the machine found in the row. A writer that
//! finds another version reads the row again and calls the machine again.
//!
//! The current time that the machine receives is never later than the database's own time at the moment of the write:
//! it was read from the database and carried forward by a monotonic clock. So a time that is computed from it may be
//! too early, but never too late. A time that is too early is safe in each of these cases:
//!
//! - A send deadline: no request is sent after it, so an early one can only prevent a send.
//! - A lease: the worker gives the row up earlier than it has to.
//! - The quiet time: it is counted from the send deadline, and no request leaves after that.
//! - The time at which a question was asked: if it seems to be earlier than it was, the answer proves less, not more.
//!
//! All of this holds only while the database's clock runs evenly. If a process sees the clock jump, it passes a time to
//! the machine that is marked as in doubt ([`Now`]).

mod birth;
mod cancelled;
mod claim;
mod confirmed;
mod handler;
mod now;
mod performed;
mod plan;
mod row;
mod rules;
mod stamp;
mod state;
mod stuck;
mod told;
mod transition;
mod wish;
mod write;

#[cfg(test)]
mod bench;
#[cfg(test)]
mod birth_tests;
#[cfg(test)]
mod cancel_tests;
#[cfg(test)]
mod doubt_tests;
#[cfg(test)]
mod doubts;
#[cfg(test)]
mod handler_tests;
#[cfg(test)]
mod invariants;
#[cfg(test)]
mod key_tests;
#[cfg(test)]
mod outage_tests;
#[cfg(test)]
mod perform_tests;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod row_tests;
#[cfg(test)]
mod undo_tests;
#[cfg(test)]
mod walk;
#[cfg(test)]
mod window_tests;

pub use birth::{Birth, recorded, reserved, sent, used_anew};
pub use claim::{claim, completed, give_back, set_back, undeclared};
pub use handler::{handler_failed, scope_handler_failed};
pub use now::{Back, Now};
pub use plan::{Question, Step, plan};
pub use row::{Effect, Impossible, Row};
pub use rules::{CancelKind, CancelRules, ConfirmRules, Limits, OnUnknown, Rules, SettleBy};
pub use stamp::Stamp;
pub use state::{End, Goal, HandlerTrouble, KNOWS, Known, Naming, NotApplied, Origin, Owner, Scope, State};
pub use stuck::StuckReason;
pub use told::{Event, Found, Performed, Report, Told, Undone, told};
pub use wish::{
    CancelBy, Cancelling, NotCancelled, NotSettled, Observed, Resolution, cancel, close_unsent, note,
    observe, resolve, retry, retry_from, settle, settle_scope,
};
pub use write::{AttemptKind, AttemptOutcome, AttemptRow, Evidence, SentKey, Write};
