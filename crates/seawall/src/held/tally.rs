//! Counts what the connection guard has seen. For each dependency, it adds up how long connections were held during
//! calls. It also counts each pair of places in the code: where a connection was taken, and where a call was made while
//! the connection was held.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::violation::{ConnectionHeld, Place};

/// The maximum number of pairs of places in the code (where a connection was taken, and where a call was made) that are
/// kept. A program normally has few pairs. Beyond this number, a call with a further pair is still counted for its
/// dependency. But its pair is not kept, and no warning about it is logged.
const MOST_PLACES: usize = 1024;

/// The shortest time between two warnings for the same pair of places.
const WARN_EVERY: Duration = Duration::from_secs(1);

/// The counts of the guard for one dependency since the program began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeldTotal {
    /// The dependency's name.
    pub dependency: String,
    /// The time for which connections were held during calls to this dependency, added up over all connections. It
    /// grows when a call ends. The metric `seawall_held_connection_seconds_total` has the same value.
    pub waited: Duration,
    /// The number of calls that were made while a connection was held. Refused calls are not among them.
    pub calls: u64,
    /// The number of calls that were refused because a connection was held.
    pub denied: u64,
}

/// A pair of places in the code: at `acquired` a connection is taken, and at `called` a call is made while the
/// connection is held.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeldPlace {
    /// The dependency that is called.
    pub dependency: String,
    /// The place where the connection is taken.
    pub acquired: Place,
    /// The place where the call is made.
    pub called: Place,
    /// The number of calls with this pair of places, refused calls included.
    pub times: u64,
}

/// All counts of the guard since the program began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// The counts of each dependency, in the order of names.
    pub totals: Vec<HeldTotal>,
    /// The pairs of places (where a connection was taken, and where a call was made), the most frequent pair first.
    /// Only the first 1024 pairs that were seen are kept.
    pub places: Vec<HeldPlace>,
}

/// Returns a copy of all counts of the guard since the program began.
///
/// ```
/// for total in seawall::held::snapshot().totals {
///     println!("{}: {:.1} connection-seconds", total.dependency, total.waited.as_secs_f64());
/// }
/// ```
#[must_use]
pub fn snapshot() -> Snapshot {
    let tally = TALLY.lock();
    let mut totals: Vec<HeldTotal> = tally
        .totals
        .iter()
        .map(|(name, total)| HeldTotal { dependency: name.to_string(), ..total.clone() })
        .collect();
    let mut places: Vec<HeldPlace> = tally
        .pairs
        .iter()
        .map(|((dependency, acquired, called), pair)| HeldPlace {
            dependency: dependency.to_string(),
            acquired,
            called,
            times: pair.times,
        })
        .collect();
    drop(tally);
    totals.sort_by(|a, b| a.dependency.cmp(&b.dependency));
    places.sort_by_key(|place| std::cmp::Reverse(place.times));
    Snapshot { totals, places }
}

type Places = (Arc<str>, Place, Place);

#[derive(Default)]
struct Tally {
    totals: HashMap<Arc<str>, HeldTotal>,
    pairs: HashMap<Places, Pair>,
}

struct Pair {
    times: u64,
    warned: Instant,
    suppressed: u64,
}

static TALLY: LazyLock<Mutex<Tally>> = LazyLock::new(Mutex::default);

/// Counts one call. Returns `None` if no warning may be logged for its pair of places now. Otherwise returns the number
/// of warnings for this pair that were left out since the last one; 0 for the first.
pub(super) fn note(violation: &ConnectionHeld, denied: bool, now: Instant) -> Option<u64> {
    let mut tally = TALLY.lock();
    let total = tally.totals.entry(Arc::clone(&violation.dependency)).or_default();
    if denied {
        total.denied += 1;
    } else {
        total.calls += 1;
    }
    let room = tally.pairs.len() < MOST_PLACES;
    let places = (Arc::clone(&violation.dependency), violation.acquired, violation.called);
    match tally.pairs.entry(places) {
        Entry::Vacant(entry) => {
            if room {
                entry.insert(Pair { times: 1, warned: now, suppressed: 0 });
            }
            room.then_some(0)
        }
        Entry::Occupied(mut entry) => {
            let pair = entry.get_mut();
            pair.times += 1;
            if now.saturating_duration_since(pair.warned) < WARN_EVERY {
                pair.suppressed += 1;
                return None;
            }
            pair.warned = now;
            Some(std::mem::take(&mut pair.suppressed))
        }
    }
}

/// Adds `time` to the connection-seconds of a dependency.
pub(super) fn waited(dependency: &Arc<str>, time: Duration) {
    TALLY.lock().totals.entry(Arc::clone(dependency)).or_default().waited += time;
}
