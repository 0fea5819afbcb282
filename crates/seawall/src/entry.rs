//! The one door that every external call passes before anything is sent.
//!
//! Code that must know that a task is about to wait for such a system asks here. The call's dependency and its place in
//! the user's code are known, nothing has been sent, and a "no" costs nothing. The question is asked when the call is
//! first polled, by the task that will wait for it, and not when the call is built.

use crate::call_site::CallSite;
use crate::error::Error;
use crate::held::{self, Waiting};

/// A call under way; dropping it is the call's end.
#[derive(Debug)]
#[must_use = "dropping it ends the call"]
pub(crate) struct Entered {
    /// Counts how long database connections are held during the call.
    _waiting: Waiting,
}

/// Asks whether the call may begin.
///
/// # Errors
/// The call may not begin, and nothing was sent: the task holds a database connection that denies it.
#[inline]
pub(crate) fn check(site: CallSite<'_>) -> Result<Entered, Error> {
    match held::enter(site.dependency, site.place) {
        Ok(waiting) => Ok(Entered { _waiting: waiting }),
        Err(held) => Err(Error::held(site, held)),
    }
}
