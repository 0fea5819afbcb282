//! The check that every external call passes before anything is sent.
//!
//! A rule that refuses a call because of what its task is doing belongs here; so far there is one, the connection
//! guard. At this point the dependency of the call and its place in the user's code are known, and nothing has been
//! sent, so a refusal costs nothing. The check runs when the call is first polled, in the task that will wait for it,
//! and not when the call is built.

use crate::call_site::CallSite;
use crate::error::Error;
use crate::held::{self, Waiting};

/// A call that [`check`] has allowed to begin, and that has not ended. Dropping this value marks the end of the call.
#[derive(Debug)]
#[must_use = "dropping it ends the call"]
pub(crate) struct Entered {
    /// Measures how long database connections are held during the call.
    _waiting: Waiting,
}

/// Checks whether the call may begin. The returned value must be kept until the call ends.
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
