//! Identifies a call: what errors and the connection guard know of it before it begins.

use std::panic::Location;
use std::sync::Arc;

/// A call, identified by its dependency and its place in the program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallSite<'a> {
    /// The dependency's name.
    pub(crate) dependency: &'a Arc<str>,
    /// Where in the user's code the call was made.
    pub(crate) place: &'static Location<'static>,
}
