//! What the connections of one harbor share.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::asked::Asked;
use super::books::Books;
use super::fault::Fault;
use super::script::Script;

/// The largest request body, in bytes; a larger one is answered 413.
pub const MOST_BODY: usize = 1 << 20;

/// The faults of a running harbor. A test can change them during the run. Clones change the faults of the same harbor.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<Option<Script>>>);

impl Faults {
    pub(super) fn new(script: Option<Script>) -> Faults {
        Faults(Arc::new(Mutex::new(script)))
    }

    /// Replaces all faults from now on. The times of a script still count from the start of the harbor.
    pub fn set(&self, script: Option<Script>) {
        *self.0.lock() = script;
    }

    /// The fault that the script has for this request, which came `at` this time after the start of the harbor.
    pub(super) fn strike(&self, at: Duration, asked: &Asked) -> Option<Fault> {
        self.0.lock().as_mut().and_then(|script| script.strike(at, &asked.method, &asked.path))
    }
}

/// What the connections of a running harbor share.
#[derive(Debug)]
pub(super) struct Pier {
    pub(super) books: Books,
    pub(super) faults: Faults,
    pub(super) started: Instant,
}
