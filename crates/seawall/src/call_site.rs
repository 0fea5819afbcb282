//! Identifies a call for errors and for the connection guard, before anything is sent.

use std::panic::Location;
use std::sync::Arc;

/// A call, identified by its dependency and its place in the program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallSite<'a> {
    /// The dependency's name.
    pub(crate) dependency: &'a Arc<str>,
    /// The place in the user's code where the call was made.
    pub(crate) place: &'static Location<'static>,
}
