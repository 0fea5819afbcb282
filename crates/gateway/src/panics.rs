//! A panic ends only the connection in which it happened, and is logged. Panics are counted, and the admin side shows
//! their number.
//!
//! Each connection is a task of its own. On HTTP/2, each stream of a connection is also a task of its own. When a task
//! panics, everything that it holds is released: its place among the connections, its slot in a limit, its permit, its
//! call in the counters. Each of these is held by a value that releases it when the value is dropped, and a panic drops
//! them all.
//!
//! Only the place of a panic is logged, not its message. A message may quote what was being read, which may be a
//! secret.

use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

static SEEN: AtomicU64 = AtomicU64::new(0);
/// When the last line about a panic was logged, and how many panics had happened by then. `None` if no line was logged
/// yet.
static SAID: Mutex<Option<(Instant, u64)>> = Mutex::new(None);
const EVERY: Duration = Duration::from_secs(1);

/// Counts and logs panics of this process from now on, instead of printing them.
pub(crate) fn watch() {
    std::panic::set_hook(Box::new(note));
}

/// Returns the number of panics so far.
pub(crate) fn seen() -> u64 {
    SEEN.load(Ordering::Relaxed)
}

fn note(info: &PanicHookInfo<'_>) {
    let seen = SEEN.fetch_add(1, Ordering::Relaxed) + 1;
    // A panic hook must not wait for a lock, since the thread that panics may hold it. If the lock is taken, this panic
    // is counted, and no line is logged for it.
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

/// Panics if the dependency's name is `panics-` followed by `place`, the name of a place in the code. A test gives a
/// dependency such a name to cause a panic at that place.
#[cfg(test)]
pub(crate) fn demanded(dependency: &str, place: &str) {
    assert!(dependency.strip_prefix("panics-") != Some(place), "as the test wants it");
}

#[cfg(test)]
#[path = "panics_tests.rs"]
mod tests;
