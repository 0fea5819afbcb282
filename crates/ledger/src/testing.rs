//! For tests: a clock that a test moves.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::clock::machine_time;
use crate::machine::Stamp;
use crate::store::OwnTime;

/// When the test clocks of this process began to run, and what the machine's wall clock showed then. All test clocks
/// count from this moment. So a later change of the machine's clock does not disturb a test.
static BEGIN: OnceLock<(Instant, Stamp)> = OnceLock::new();

/// A clock for a store of SQLite that was opened with [`Sqlite::open_with`](crate::store::sqlite::Sqlite::open_with).
/// The store takes its time from this clock.
///
/// The clock begins with the machine's time, and then runs by itself. A test can let time pass
/// ([`TestClock::advance`]), or set the clock wrong ([`TestClock::jump_ahead`], [`TestClock::jump_back`]). A clone is
/// another handle to the same clock.
#[derive(Clone, Debug, Default)]
pub struct TestClock {
    moved: Arc<Moved>,
}

#[derive(Debug, Default)]
struct Moved {
    /// The microseconds that [`TestClock::advance`] has let pass.
    passed: AtomicI64,
    /// The microseconds by which the clock was set ahead, minus those by which it was set back.
    jumped: AtomicI64,
    /// Wakes the tasks that wait for a time of this clock.
    moves: watch::Sender<()>,
}

impl TestClock {
    /// Makes a clock that shows the machine's time.
    #[must_use]
    pub fn new() -> TestClock {
        TestClock::default()
    }

    /// Lets the time `by` pass. The database's clock moves ahead by this time, and so does the monotonic clock with
    /// which a process compares it. Workers look for due rows immediately.
    pub fn advance(&self, by: Duration) {
        self.moved.passed.fetch_add(micros(by), Ordering::SeqCst);
        self.moved.moves.send_replace(());
    }

    /// Sets the database's clock ahead, as a person or a wrong time server would. No time passes.
    pub fn jump_ahead(&self, by: Duration) {
        self.moved.jumped.fetch_add(micros(by), Ordering::SeqCst);
    }

    /// Sets the database's clock back. No time passes.
    pub fn jump_back(&self, by: Duration) {
        self.moved.jumped.fetch_sub(micros(by), Ordering::SeqCst);
    }

    /// Returns a future that is ready when [`TestClock::advance`] is called after this function. The future is ready
    /// then even if it is polled for the first time after that call.
    pub(crate) fn moved(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut moves = self.moved.moves.subscribe();
        async move {
            if moves.changed().await.is_err() {
                // The clock is gone, so nobody can move it.
                std::future::pending().await
            }
        }
    }

    /// Returns the time that the database's clock shows.
    #[must_use]
    pub fn now(&self) -> Stamp {
        self.shown().0
    }

    /// Returns the time that the database's clock shows, and how much time [`TestClock::advance`] has let pass in all.
    pub(crate) fn shown(&self) -> (Stamp, Duration) {
        let (begin, shown) = begin();
        let passed = self.passed();
        let since = micros(begin.elapsed().saturating_add(passed));
        let jumped = self.moved.jumped.load(Ordering::SeqCst);
        (Stamp::from_micros(shown.as_micros().saturating_add(since).saturating_add(jumped)), passed)
    }

    /// Returns the time since the first use of a test clock in this process, with the time that [`TestClock::advance`]
    /// has let pass.
    pub(crate) fn uptime(&self) -> OwnTime {
        let micros = micros(begin().0.elapsed().saturating_add(self.passed()));
        OwnTime { micros, boot: Some("a test".to_owned()) }
    }

    /// Returns the time that [`TestClock::advance`] has let pass in all.
    #[must_use]
    pub fn passed(&self) -> Duration {
        Duration::from_micros(u64::try_from(self.moved.passed.load(Ordering::SeqCst)).unwrap_or(0))
    }
}

fn begin() -> (Instant, Stamp) {
    *BEGIN.get_or_init(|| (Instant::now(), machine_time()))
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_passes_and_jumps() {
        let hour = Duration::from_secs(3600);
        let clock = TestClock::new();
        let begun = clock.now();
        clock.advance(hour);
        assert!(clock.now().since(begun) >= hour);
        assert_eq!(clock.passed(), hour);
        clock.jump_back(hour * 2);
        assert!(clock.now() < begun);
        clock.clone().jump_ahead(hour * 2);
        assert!(clock.now().since(begun) >= hour);
        assert_eq!(clock.passed(), hour, "a jump is no passing of time");
    }
}
