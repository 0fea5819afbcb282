//! Computes the database's current time without a question to the database each time.
//!
//! All workers use the database's clock, since their own clocks differ. Asking the database before each decision would
//! cost a round trip. The obvious short cut is the machine's own wall clock. But a worker whose clock is ahead would
//! then believe that a quiet time is over while it still runs. So each answer that carries the database's time is kept
//! together with two moments of the monotonic clock: before the question and after the answer. These moments give two
//! bounds, and both are on the safe side:
//!
//! - [`DbClock::now`] counts from the moment at which the answer had *arrived*. It is never later than the database's
//!   own clock, so deadlines that are computed from it come out earlier.
//! - [`DbClock::instant_of`] counts from the moment *before the question*. The moment that it returns is never later
//!   than the one at which the database's clock shows the given time. So a byte that is sent before the returned moment
//!   is sent before the deadline.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
#[cfg(any(feature = "sqlite", feature = "postgres"))]
use std::time::{SystemTime, UNIX_EPOCH};

use crate::jumps::{ClockJump, Guard, Reading};
use crate::machine::{Back, Now, Stamp};

/// An answer of the database that carried its time, with the moments before the question and after the answer.
#[derive(Clone, Copy, Debug)]
pub struct DbClock {
    stamp: Stamp,
    asked: Instant,
    heard: Instant,
    /// How far a test has moved the time ahead, in addition to the time that passed on the monotonic clock.
    passed: Duration,
    /// For how long the database's time is still in doubt, because its clock has jumped; `None` if it can be relied on.
    doubt: Option<Duration>,
    back: Back,
}

impl DbClock {
    /// Makes the value from an answer of the database that has just arrived. The database's clock showed `stamp` at
    /// some moment between `asked`, when the question was sent, and now.
    #[must_use]
    pub fn heard(stamp: Stamp, asked: Instant) -> DbClock {
        let (doubt, back) = (None, Back::default());
        DbClock { stamp, asked, heard: Instant::now(), passed: Duration::ZERO, doubt, back }
    }

    /// Returns this value with the time `passed`, which a test has let pass in addition to the monotonic clock's time.
    #[cfg(all(feature = "test-clock", feature = "sqlite"))]
    pub(crate) fn passed(self, passed: Duration) -> DbClock {
        DbClock { passed, ..self }
    }

    /// Returns the database's time as [`DbClock::now`] does, and for how long that time is still in doubt.
    #[must_use]
    pub fn moment(&self) -> Now {
        Now { at: self.now(), doubt: self.doubt, back: self.back }
    }

    /// Returns the database's time at this moment, or an earlier time, but never a later one. The exact time is not
    /// known, since an answer takes time to arrive. With an earlier time, the ledger only waits a little longer than
    /// necessary.
    #[must_use]
    pub fn now(&self) -> Stamp {
        self.now_at(Instant::now())
    }

    fn now_at(&self, instant: Instant) -> Stamp {
        self.stamp.saturating_add(instant.saturating_duration_since(self.heard))
    }

    /// Returns the moment, on this machine's monotonic clock, at which the database's clock will show `stamp`. The
    /// returned moment may be too early, but never too late.
    #[must_use]
    pub fn instant_of(&self, stamp: Stamp) -> Instant {
        let ahead = stamp.since(self.stamp);
        let moved = if ahead.is_zero() {
            self.asked.checked_sub(self.stamp.since(stamp))
        } else {
            self.asked.checked_add(ahead)
        };
        moved.unwrap_or(self.asked)
    }

    /// Returns how long ago the database's answer came. This machine's clock and the database's clock drift apart. So
    /// the times that are computed from the answer become less exact with its age.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.heard.elapsed()
    }
}

/// What a process has learned of the database's clock. Each store has one, and all parts of the store share it. Every
/// answer that carries the database's time passes through it, so a jump is noticed before a time after that jump is
/// used.
#[derive(Clone, Debug)]
pub struct SharedClock(Arc<Mutex<Shared>>);

#[derive(Debug)]
struct Shared {
    /// The latest answer.
    last: DbClock,
    guard: Guard,
    /// The moment from which the monotonic clock is counted.
    begin: Instant,
}

impl Shared {
    fn steady(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.begin).saturating_add(self.last.passed)
    }

    /// Returns `clock` with two facts that are known now: for how long its time is still in doubt, and how far the
    /// database's clock was set back. The second value says whether the doubt has just ended.
    fn relied(&mut self, clock: DbClock) -> (DbClock, bool) {
        let now = self.steady(Instant::now());
        let ended = self.guard.ends(now);
        (DbClock { doubt: self.guard.doubt(now), back: self.guard.back(), ..clock }, ended)
    }
}

impl SharedClock {
    /// Begins with a first answer.
    #[must_use]
    pub fn new(first: DbClock) -> SharedClock {
        let shared = Shared { last: first, guard: Guard::new(), begin: first.asked };
        let clock = SharedClock(Arc::new(Mutex::new(shared)));
        clock.set(first);
        clock
    }

    /// Returns whether both are the clock of the same store.
    pub(crate) fn is_same(&self, other: &SharedClock) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        // Each method leaves a valid value. So the value is valid even if another thread panicked while it held the
        // lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores an answer of the database, and compares it with the monotonic clock, to notice a jump.
    pub fn set(&self, clock: DbClock) {
        self.heard(clock);
    }

    /// Stores an answer of the database as [`SharedClock::set`] does. Returns the answer, which now says for how long
    /// its time is in doubt.
    pub fn heard(&self, clock: DbClock) -> DbClock {
        let mut shared = self.lock();
        shared.last = clock;
        let reading = Reading {
            stamp: clock.stamp,
            asked: shared.steady(clock.asked),
            heard: shared.steady(clock.heard),
        };
        let jump = shared.guard.hear(reading);
        let (clock, ended) = shared.relied(clock);
        drop(shared);
        said(jump, ended, clock.doubt);
        clock
    }

    /// Returns the latest answer, which says for how long its time is in doubt from now on.
    #[must_use]
    pub fn get(&self) -> DbClock {
        let mut shared = self.lock();
        let last = shared.last;
        let (clock, ended) = shared.relied(last);
        drop(shared);
        said(None, ended, None);
        clock
    }

    /// Declares that a change of the database's clock by more than `bound` is a jump, and that its time is in doubt for
    /// `wait` after a jump. After several declarations, the smallest bound and the longest doubt hold.
    pub(crate) fn cover(&self, bound: Duration, wait: Duration) {
        self.lock().guard.cover(bound, wait);
    }

    /// Returns the bound above which a change of the database's clock is a jump; `None` if none was declared.
    pub(crate) fn bound(&self) -> Option<Duration> {
        self.lock().guard.bound()
    }

    /// Notes how far the database's clock was set back before this process began. A time in a row that was written
    /// before the clock was set back is then corrected by this distance.
    pub(crate) fn remember(&self, back: Back) {
        self.lock().guard.remember(back);
    }

    /// Puts the time in doubt, because the clock has jumped by `by_micros` microseconds before this process began.
    pub(crate) fn suspect(&self, by_micros: i64) {
        let mut shared = self.lock();
        let (now, at) = (shared.steady(Instant::now()), shared.last.now());
        let jump = shared.guard.jumped(by_micros, at, now);
        let doubt = shared.guard.doubt(now);
        drop(shared);
        said(Some(jump), false, doubt);
    }

    /// Returns what this process has seen of the database's clock.
    pub(crate) fn standing(&self) -> ClockStanding {
        let shared = self.lock();
        let (jumps, last_jump) = shared.guard.seen();
        ClockStanding { doubt: shared.guard.doubt(shared.steady(Instant::now())), jumps, last_jump }
    }
}

/// Writes a jump, or the end of the doubt, into the log.
fn said(jump: Option<ClockJump>, ended: bool, doubt: Option<Duration>) {
    if let Some(ClockJump { by_micros, .. }) = jump {
        tracing::warn!(
            by_ms = by_micros / 1000,
            doubt_ms = doubt.map(|doubt| doubt.as_millis()),
            "the clock of the ledger's database has jumped; nothing is believed absent, given up, or sent again under a key"
        );
    } else if ended {
        tracing::warn!("the clock of the ledger's database is relied on again");
    }
}

/// What a process has seen of the database's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClockStanding {
    /// For how long the database's time is still in doubt, because its clock has jumped; `None` if it is not in doubt.
    /// During that time, nothing is believed absent, no deadline passes, nothing is given up, and nothing is sent again
    /// under a key.
    pub doubt: Option<Duration>,
    /// The number of jumps that this process has seen.
    pub jumps: u64,
    /// The last of these jumps; `None` if there was none.
    pub last_jump: Option<ClockJump>,
}

/// Returns the time that this machine's wall clock shows.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) fn machine_time() -> Stamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Stamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_err_on_the_safe_side() {
        let asked = Instant::now();
        let heard = asked + Duration::from_millis(40);
        let clock = DbClock { heard, ..DbClock::heard(Stamp::from_micros(1_000_000), asked) };
        // The answer came 40 ms after the question. At some moment between the two, the database's clock showed 1 s. So
        // one second after the answer, it shows at least 2 s.
        let later = asked + Duration::from_millis(1040);
        assert_eq!(clock.now_at(later), Stamp::from_micros(2_000_000));
        // At some moment after the question, the database's clock showed 1 s. So it shows 2 s at the earliest one
        // second after the question. `instant_of` returns this earliest moment.
        assert_eq!(clock.instant_of(Stamp::from_micros(2_000_000)), asked + Duration::from_secs(1));
        assert!(
            clock.now_at(clock.instant_of(Stamp::from_micros(2_000_000))) <= Stamp::from_micros(2_000_000)
        );
        let before = clock.instant_of(Stamp::from_micros(500_000));
        assert_eq!(asked.duration_since(before), Duration::from_millis(500));
    }
}
