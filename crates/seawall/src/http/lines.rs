//! Keeps the connections of one dependency, separately for each runtime that uses it.
//!
//! A socket belongs to the runtime that opened it, and does not work after that runtime has ended. Most programs have
//! one runtime, but each `#[tokio::test]` has its own. If all runtimes shared their connections, a test would get the
//! sockets of tests that have ended.

use std::sync::{Arc, Mutex, PoisonError};

use seawall_client::{Clock, Dependency, DependencySettings, Shared};
use tokio::runtime::{Handle, Id};

/// The maximum number of runtimes whose connections are kept. If there are more, the connections of the oldest runtime
/// are dropped, and that runtime must open new ones.
const RUNTIMES: usize = 16;

pub(crate) struct Lines {
    settings: DependencySettings,
    shared: Arc<Shared>,
    clock: Clock,
    made: Mutex<Vec<(Id, Arc<Dependency>)>>,
}

impl Lines {
    /// Makes a collection without any connection. The caller must have checked that a client can be made from
    /// `settings`: [`Lines::here`] makes the clients, and cannot report such an error.
    pub(crate) fn new(settings: DependencySettings, shared: Arc<Shared>, clock: Clock) -> Lines {
        Lines { settings, shared, clock, made: Mutex::default() }
    }

    /// Returns the client with the connections of the current runtime, and makes it at the first call. Returns `None`
    /// outside of a runtime.
    pub(crate) fn here(&self) -> Option<Arc<Dependency>> {
        let id = Handle::try_current().ok()?.id();
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = made.iter().find(|(of, _)| *of == id) {
            return Some(Arc::clone(known));
        }
        let fresh = Dependency::new(self.settings.clone(), Arc::clone(&self.shared), self.clock).ok()?;
        let fresh = Arc::new(fresh);
        if made.len() >= RUNTIMES {
            made.remove(0);
        }
        made.push((id, Arc::clone(&fresh)));
        Some(fresh)
    }
}
