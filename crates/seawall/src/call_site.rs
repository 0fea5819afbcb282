//! Says which call an error, or a warning of the connection guard ([`crate::held`]), is about.

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
