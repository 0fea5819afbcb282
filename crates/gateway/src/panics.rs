//! What a panic costs: the connection that it happened in, a line of the log, and a number that people can see.
//!
//! Each connection is a task of its own, and a task that panics takes nothing with it: all that it holds (its place among the
//! connections, its place in a limit, its permit, its call in the counters) is held by values that give it back when they are
//! dropped, and unwinding drops them. On HTTP/2 each stream is such a task.
//!
//! The message of a panic is not logged, only its place: a message may quote what was being read, secrets among it.

use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

static SEEN: AtomicU64 = AtomicU64::new(0);
/// When a line was written last, and how many panics had been seen then.
static SAID: Mutex<Option<(Instant, u64)>> = Mutex::new(None);
const EVERY: Duration = Duration::from_secs(1);

/// Counts and logs panics of this process from now on, instead of printing them.
pub(crate) fn watch() {
    std::panic::set_hook(Box::new(note));
}

/// How many there were.
pub(crate) fn seen() -> u64 {
    SEEN.load(Ordering::Relaxed)
}

fn note(info: &PanicHookInfo<'_>) {
    let seen = SEEN.fetch_add(1, Ordering::Relaxed) + 1;
    // Never waits: the thread may panic again while it writes this.
    let Some(mut said) = SAID.try_lock() else { return };
    let now = Instant::now();
    if said.is_some_and(|(at, _)| now.duration_since(at) < EVERY) {
        return;
    }
    let suppressed = seen - 1 - said.map_or(0, |(_, before)| before);
    *said = Some((now, seen));
    drop(said);
    let place = info.location().map(ToString::to_string);
    tracing::error!(place, seen, suppressed, "a fault of Seawall's own ended one connection or task");
}

/// Panics where a test wants it: the dependency is named for the place.
#[cfg(test)]
pub(crate) fn demanded(dependency: &str, place: &str) {
    assert!(dependency.strip_prefix("panics-") != Some(place), "as the test wants it");
}

#[cfg(test)]
#[path = "panics_tests.rs"]
mod tests;
