//! The state that all connections of one harbor share.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::asked::Asked;
use super::books::Books;
use super::fault::Fault;
use super::script::Script;

/// The maximum size of a request body, in bytes (1 MiB). A request with a larger body is answered 413.
pub const MOST_BODY: usize = 1 << 20;

/// A handle to the script of a running harbor. A test can change the script during the run. All clones of a handle
/// change the same harbor's script.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<Option<Script>>>);

impl Faults {
    pub(super) fn new(script: Option<Script>) -> Faults {
        Faults(Arc::new(Mutex::new(script)))
    }

    /// Replaces the script; with `None`, only faults in headers strike. The times of the new script count from the
    /// start of the harbor, not from this call.
    pub fn set(&self, script: Option<Script>) {
        *self.0.lock() = script;
    }

    /// Adds the rules of `script` after the present rules. If several rules strike a request, the first of them
    /// decides.
    pub fn add(&self, script: Script) {
        let mut present = self.0.lock();
        match &mut *present {
            Some(present) => present.append(script),
            none => *none = Some(script),
        }
    }

    /// Returns the fault with which the script strikes this request. Returns `None` if there is no script, or if no
    /// rule of the script strikes. `at` is the time from the start of the harbor to the request.
    pub(super) fn strike(&self, at: Duration, asked: &Asked) -> Option<Fault> {
        self.0.lock().as_mut().and_then(|script| script.strike(at, &asked.method, &asked.path))
    }
}

/// The state that the connections of a running harbor share.
#[derive(Debug)]
pub(super) struct Pier {
    pub(super) books: Books,
    pub(super) faults: Faults,
    pub(super) started: Instant,
}
