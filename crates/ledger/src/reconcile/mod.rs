//! Reconciliation: the ledger compared with the other side's own list, for a window of time.
//!
//! Whatever the protocol guarantees, it guarantees for what went through the ledger and for a provider that keeps its
//! word. A charge that somebody made by hand, a refund in the partner's back office, a key that was forgotten early: only
//! the other side's list shows them.

mod amount;
mod json;
mod list;
mod window;

pub use amount::{Amount, NoAmount};
pub use json::{JsonList, amount_at};
pub use list::{LONGEST_TEXT_BYTES, ListAsk, Listed, ListedState, NoPage, Page};
pub use window::{NoWindow, Window, Zone};
