//! The provider, as the ledger sees it.
//!
//! The ledger does not speak HTTP. It calls a [`Remote`] with an action and a deadline, and the remote returns one of a
//! few outcomes.

use std::time::Instant;

use crate::action::Action;
use crate::machine::{Found, Performed, Report, Undone};
use crate::reconcile::{ListAsk, NoPage, Page};
use crate::store::Boxed;

/// What a remote receives for one request.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// The action as it is in the ledger after the attempt was recorded. A perform sends the action's `request`
    /// unchanged, under its [`Action::sent_key`]. A cancel is sent under its [`Action::cancel_key`]. If the effect is
    /// known to be applied, the field `state.answer` is the provider's answer that said so.
    pub action: &'a Action,
    /// The number of the attempt's line in the attempt log.
    pub number: u32,
    /// The moment from which on no byte is sent and no answer is waited for.
    pub deadline: Instant,
}

impl Delivery<'_> {
    /// Returns whether the deadline is still ahead. Check this directly before the first byte is sent.
    #[must_use]
    pub fn may_send(&self) -> bool {
        Instant::now() < self.deadline
    }
}

/// The way to the provider of one or more operations.
///
/// The ledger's promises are kept only if each implementation guarantees the following:
///
/// - **The deadline is checked directly before the first byte**, on the monotonic clock ([`Delivery::may_send`]). Every
///   wait for a connection, a lock or a turn comes before that check. After the deadline the result is
///   [`Performed::NotSent`].
/// - **Nothing is sent after the deadline**, nor after the future was dropped. If a request is only partly written by
///   then, its connection is reset. Otherwise the kernel may deliver the rest minutes later. The ledger counts from the
///   deadline how long a request may still arrive (the quiet time).
/// - **"Not sent" is proved**, not guessed: no byte was written, or the provider said that it did not look at the
///   request.
/// - Each method sends at most one request that has an effect. Only the ledger repeats attempts.
/// - Credentials are added by the implementation, and never taken from the row.
///
/// No database connection is held while a method runs. If a method panics, it is not known what became of the request,
/// and the attempt log has the message of the panic. So a method must not panic after it has learned the answer.
pub trait Remote: Send + Sync + 'static {
    /// Sends a perform attempt, and returns its outcome.
    fn perform<'a>(&'a self, delivery: Delivery<'a>) -> Boxed<'a, (Performed, Report)>;

    /// Asks the provider what became of the action, and returns what the answer says. This method is called only if the
    /// rules declare how to ask.
    fn confirm<'a>(&'a self, delivery: Delivery<'a>) -> Boxed<'a, (Found, Report)>;

    /// Undoes the action at the provider, and returns whether that succeeded. This method is called only if the rules
    /// declare how to cancel.
    fn cancel<'a>(&'a self, delivery: Delivery<'a>) -> Boxed<'a, (Undone, Report)>;

    /// Returns how many calls per second the provider serves in normal times, in thousandths of a call. It is an
    /// average over some minutes, which an outage does not lower. After an outage, the waiting actions are sent at less
    /// than half of this rate. Returns `None` (the default) if the rate is not known. Then the waiting actions are sent
    /// slowly at first, and faster as long as the provider answers.
    fn served_milli(&self) -> Option<u64> {
        None
    }

    /// Returns one page of the provider's own records for a window of time. Only reconciliation calls this method. The
    /// method receives no deadline, since reconciliation drops the future when the page takes too long. By default, it
    /// returns an error, since no list is declared.
    fn list<'a>(&'a self, ask: &'a ListAsk) -> Boxed<'a, std::result::Result<Page, NoPage>> {
        let _ = ask;
        Box::pin(std::future::ready(Err(NoPage::Undeclared)))
    }
}
