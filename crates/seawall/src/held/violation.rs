//! The error of a call that was refused because its task holds a database connection.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

/// A place in the code: file, line and column.
pub type Place = &'static Location<'static>;

/// The error of an external call that was refused because its task held a connection of a pool with
/// [`OnHeld::Deny`](crate::held::OnHeld::Deny). Nothing was sent.
#[derive(Clone, Debug)]
pub struct ConnectionHeld {
    pub(super) dependency: Arc<str>,
    pub(super) acquired: Place,
    pub(super) called: Place,
    pub(super) held_for: Duration,
}

impl ConnectionHeld {
    /// The name of the dependency that was to be called.
    #[must_use]
    pub fn dependency(&self) -> &str {
        &self.dependency
    }

    /// The place where the connection was taken.
    #[must_use]
    pub fn acquired(&self) -> Place {
        self.acquired
    }

    /// The place where the call was to be made.
    #[must_use]
    pub fn called(&self) -> Place {
        self.called
    }

    /// Returns how long the connection had been held when the call was refused.
    #[must_use]
    pub fn held_for(&self) -> Duration {
        self.held_for
    }
}

impl fmt::Display for ConnectionHeld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ConnectionHeld { dependency, acquired, called, .. } = self;
        write!(
            f,
            "a database connection taken at {acquired} is held while `{dependency}` is called at {called}"
        )
    }
}

impl std::error::Error for ConnectionHeld {}
