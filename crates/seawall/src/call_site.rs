//! Which call: what errors and the door know of it before it begins.

use std::panic::Location;
use std::sync::Arc;

/// A call, by the dependency that it is for and its place in the program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallSite<'a> {
    /// The dependency's name.
    pub(crate) dependency: &'a Arc<str>,
    /// Where in the user's code the call was made.
    pub(crate) place: &'static Location<'static>,
}
