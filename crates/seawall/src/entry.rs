//! The one door that every external call passes before anything is sent.
//!
//! Whoever must know that a task is about to wait for a system that one does not own, asks here: the call's dependency and
//! its place in the user's code are known, nothing has been sent, and a "no" costs nothing. It is asked when the call is first
//! polled, by the task that will wait for it, and not when it is built.

use crate::call_site::CallSite;
use crate::error::Error;
use crate::held::{self, Waiting};

/// A call under way; dropping it is the call's end.
#[derive(Debug)]
#[must_use = "dropping it ends the call"]
pub(crate) struct Entered {
    /// Counts for how long database connections were held.
    _waiting: Waiting,
}

/// Asks whether the call may begin.
///
/// # Errors
/// It may not, and nothing was sent: the task holds a database connection that denies it.
#[inline]
pub(crate) fn check(site: CallSite<'_>) -> Result<Entered, Error> {
    match held::enter(site.dependency, site.place) {
        Ok(waiting) => Ok(Entered { _waiting: waiting }),
        Err(held) => Err(Error::held(site, held)),
    }
}
