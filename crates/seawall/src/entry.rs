//! The one check that every external call passes before anything is sent.
//!
//! It is the place for code that must know that a task is about to wait for an external system. The call's dependency
//! and its place in the user's code are known, and nothing has been sent, so that a refusal costs nothing. The check
//! runs when the call is first polled, in the task that will wait for it, and not when the call is built.

use crate::call_site::CallSite;
use crate::error::Error;
use crate::held::{self, Waiting};

/// A call under way. Dropping this ends the call.
#[derive(Debug)]
#[must_use = "dropping it ends the call"]
pub(crate) struct Entered {
    /// Measures how long database connections are held during the call.
    _waiting: Waiting,
}

/// Checks whether the call may begin.
///
/// # Errors
/// If the task holds a connection of a pool that denies external calls. Nothing was sent.
#[inline]
pub(crate) fn check(site: CallSite<'_>) -> Result<Entered, Error> {
    match held::enter(site.dependency, site.place) {
        Ok(waiting) => Ok(Entered { _waiting: waiting }),
        Err(held) => Err(Error::held(site, held)),
    }
}
