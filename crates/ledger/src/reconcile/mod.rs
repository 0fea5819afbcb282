//! Reconciliation: compares the ledger with the provider's own list, for a window of time.
//!
//! The ledger guarantees that no effect is lost or doubled, for calls that went through the ledger and for a provider
//! that keeps its promises. Some effects are outside of this guarantee: a charge that somebody made by hand, a refund
//! in the provider's back office, a repeat after the provider forgot the key too early. Only the provider's list shows
//! them.
//!
//! What the obvious comparison of two lists gets wrong, and what is done instead:
//!
//! | the obvious rule | what comes of it | here |
//! | --- | --- | --- |
//! | if an error cuts the list short, compare what was read | everything after the error is reported as "only here" | either the list is whole, or the report is incomplete and shows no differences ([`Status`]) |
//! | both lists for the same window | what was recorded at 23:59 and dated 00:01 is "only here" today and "only there" tomorrow | a record's row is looked up by key, even if it was recorded outside of the window; before a row is called "only here", the time around the window is listed, too |
//! | a row without a record is a difference | every action that is still under way is reported | an action that had not ended when the asking began is [`Difference::Pending`] |
//! | load both into maps | memory grows with the provider's business | each page is stored as it arrives; the comparison reads an index in order, [`Settings::batch`] rows at a time |
//! | days of 24 hours, amounts as floats | windows that overlap twice a year; sums that drift | [`Window`], [`Amount`] |
//! | correct every difference | one mistake in what the provider's states are said to mean cancels a day's charges | differences are only reported, unless the operation allows more ([`Corrections`]) |
//!
//! Any number of workers may [watch](Reconciler::watch) the same schedule. A unique key in the store allows one report
//! for each window of the schedule, and a lease says which worker works on the report. On demand, a window may be
//! compared any number of times ([`Reconciler::run`]).

mod amount;
mod json;
mod list;
mod window;

pub use crate::calendar::Zone;
pub use amount::{Amount, NoAmount};
pub use json::{JsonList, amount_at, find, text, whole};
pub use list::{LONGEST_TEXT_BYTES, ListAsk, Listed, ListedState, NoPage, Page};
pub use window::{DAY, NoWindow, Window};

#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod fix;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod judge;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod listed;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod paging;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod reconciler;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod report;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod row;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod run;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod schedule;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod settings;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod shelf;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub mod tables;

#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub use judge::Difference;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub use reconciler::Reconciler;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub use report::{Entry, Report, ReportId, Status, Totals};
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub use settings::{Compared, Corrections, ReadAmount, Settings};
