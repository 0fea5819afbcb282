//! The provider, as the ledger sees it.
//!
//! The ledger knows no HTTP. It says what is wanted and until when, and is told one of few things.

use std::time::Instant;

use crate::action::Action;
use crate::machine::{Found, Performed, Report, Undone};
use crate::reconcile::{ListAsk, NoPage, Page};
use crate::store::Boxed;

/// What is asked of the provider.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// The action, as it stands since the attempt was recorded. Its `request` goes out unchanged under its `key`; a cancel
    /// goes out under its [`Action::cancel_key`]. Its `state.answer` is what the provider said when it was known to be
    /// applied.
    pub action: &'a Action,
    /// The number of the line in the attempt log.
    pub number: u32,
    /// No byte leaves at or after this moment, and no answer is waited for.
    pub deadline: Instant,
}

impl Delivery<'_> {
    /// Is there time left? To be asked directly before the first byte.
    #[must_use]
    pub fn may_send(&self) -> bool {
        Instant::now() < self.deadline
    }
}

/// The provider of one or more operations.
///
/// What an implementation must guarantee, since the ledger's promises rest on it:
///
/// - **The deadline is looked at directly before the first byte**, on the monotonic clock ([`Delivery::may_send`]): waiting for a
///   connection, a lock or a turn comes before that look. Past it the answer is [`Performed::NotSent`].
/// - **Nothing goes on sending after the deadline**, nor after the future was dropped: a connection on which a request is not
///   yet written whole is reset, or the kernel may deliver the rest minutes later. The quiet time counts from the deadline.
/// - **"Not sent" is proved**, not guessed: no byte was written, or the provider said that it did not look at it.
/// - Each method sends at most one request that has an effect. Repeats are the ledger's.
/// - Credentials are put in here, never taken from the row.
///
/// The methods never run with a database connection held.
pub trait Remote: Send + Sync + 'static {
    /// Performs the action.
    fn perform<'a>(&'a self, delivery: Delivery<'a>) -> Boxed<'a, (Performed, Report)>;

    /// Asks what became of it. Only called where the rules declare a confirm.
    fn confirm<'a>(&'a self, delivery: Delivery<'a>) -> Boxed<'a, (Found, Report)>;

    /// Undoes it. Only called where the rules declare a cancel.
    fn cancel<'a>(&'a self, delivery: Delivery<'a>) -> Boxed<'a, (Undone, Report)>;

    /// One page of the provider's own records for a window. Only called for reconciliation, of which the deadlines are: a
    /// page may be given up by dropping the future.
    fn list<'a>(&'a self, ask: &'a ListAsk) -> Boxed<'a, std::result::Result<Page, NoPage>> {
        let _ = ask;
        Box::pin(std::future::ready(Err(NoPage::Undeclared)))
    }
}
