//! The provider, as the ledger sees it.
//!
//! The ledger knows no HTTP. It says what is wanted and until when, and one of a few answers comes back.

use std::time::Instant;

use crate::action::Action;
use crate::machine::{Found, Performed, Report, Undone};
use crate::reconcile::{ListAsk, NoPage, Page};
use crate::store::Boxed;

/// What a remote is handed for one request.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// The action, as it stands since the attempt was recorded. Its `request` goes out unchanged under its `key`; a
    /// cancel goes out under its [`Action::cancel_key`]. Its `state.answer` is what the provider answered when the
    /// effect became known to be applied.
    pub action: &'a Action,
    /// The number of the line in the attempt log.
    pub number: u32,
    /// No byte is sent at or after this moment, and no answer is waited for.
    pub deadline: Instant,
}

impl Delivery<'_> {
    /// Whether there is time left. Ask it directly before the first byte.
    #[must_use]
    pub fn may_send(&self) -> bool {
        Instant::now() < self.deadline
    }
}

/// How the provider of one or more operations is reached.
///
/// The ledger's promises rest on what an implementation must guarantee:
///
/// - **The deadline is checked directly before the first byte**, on the monotonic clock ([`Delivery::may_send`]). Every
///   wait for a connection, a lock or a turn comes before that check. Past the deadline the answer is
///   [`Performed::NotSent`].
/// - **Nothing is sent after the deadline**, nor after the future was dropped. A connection on which a request is not
///   yet written whole is reset; otherwise the kernel may deliver the rest minutes later. The quiet time counts from
///   the deadline.
/// - **"Not sent" is proved**, not guessed: no byte was written, or the provider said that it did not look at the
///   request.
/// - Each method sends at most one request that has an effect. The ledger alone repeats.
/// - Credentials are added here, and never taken from the row.
///
/// No database connection is held while a method runs.
pub trait Remote: Send + Sync + 'static {
    /// Performs the action.
    fn perform<'a>(&'a self, delivery: Delivery<'a>) -> Boxed<'a, (Performed, Report)>;

    /// Asks what became of it. It is called only where the rules declare a confirm.
    fn confirm<'a>(&'a self, delivery: Delivery<'a>) -> Boxed<'a, (Found, Report)>;

    /// Undoes it. It is called only where the rules declare a cancel.
    fn cancel<'a>(&'a self, delivery: Delivery<'a>) -> Boxed<'a, (Undone, Report)>;

    /// Asks for one page of the provider's own records for a window. Only reconciliation calls it, and keeps the time:
    /// it gives a page up by dropping the future.
    fn list<'a>(&'a self, ask: &'a ListAsk) -> Boxed<'a, std::result::Result<Page, NoPage>> {
        let _ = ask;
        Box::pin(std::future::ready(Err(NoPage::Undeclared)))
    }
}
