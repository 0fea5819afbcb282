//! The clock of this crate. The crate `policy` has no clock: it gets each time as a [`Time`], which is counted from an
//! origin. The origin is chosen here.
//!
//! A [`Clock`] reads one of two sources:
//!
//! - The clock of the runtime, which is the clock of the system. Tests can pause it.
//! - The tick counter of the processor (`quanta`), which costs about half as much to read (measured). It is used for
//!   calls around a future: if such a future is ready immediately, two readings of the system's clock cost more than
//!   the rest of the call. The ticks are used only if the kernel trusts them for its own clock.
//!
//! One source runs faster than the other by some millionths. So a time that was read from one of them must not be
//! compared with a time of the other. To wait for a deadline in ticks, the remaining time is added to the present time
//! of the runtime.

use std::sync::LazyLock;
use std::time::Duration;

use seawall_policy::Time;
use tokio::time::Instant;

/// Turns a clock's readings into [`Time`] and back. Everything that shares a breaker or a limit must get its time from
/// the same clock. So the clock is made only once, and then copied.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Origin,
}

#[derive(Clone, Copy, Debug)]
enum Origin {
    Runtime(Instant),
    /// What the tick counter showed at the origin.
    Ticks(u64),
}

/// The tick counter. On its first use it measures how long a tick is.
static COUNTER: LazyLock<quanta::Clock> = LazyLock::new(quanta::Clock::new);

/// A new clock begins at this time and not at zero. So no clock ever returns [`Time::ZERO`], and that value can stand
/// for "there is no time".
const EARLIER: Duration = Duration::from_secs(1);

impl Clock {
    /// Makes a clock that reads the runtime's clock.
    #[must_use]
    pub fn new() -> Clock {
        let now = Instant::now();
        Clock { origin: Origin::Runtime(now.checked_sub(EARLIER).unwrap_or(now)) }
    }

    /// Makes a clock that counts the processor's ticks. The clock reads the runtime's clock instead in two cases: the
    /// ticks cannot be trusted, or the runtime's clock is paused at this moment (as in a test).
    #[must_use]
    pub fn ticks() -> Clock {
        if stands_still() || !kernel_trusts_ticks() {
            return Clock::new();
        }
        Clock { origin: Origin::Ticks(COUNTER.raw()) }
    }

    /// Returns the current time.
    #[must_use]
    #[inline]
    pub fn now(&self) -> Time {
        match self.origin {
            Origin::Runtime(origin) => Time::ZERO.saturating_add(origin.elapsed()),
            Origin::Ticks(origin) => {
                let nanos = COUNTER.delta_as_nanos(origin, COUNTER.raw());
                Time::from_nanos(nanos.saturating_add(EARLIER.as_nanos() as u64))
            }
        }
    }

    /// Returns the moment of the runtime's clock that corresponds to `time`. If it is more than thirty years away, for
    /// example for [`Time::NEVER`], the result is a moment in about thirty years.
    #[must_use]
    pub fn instant(&self, time: Time) -> Instant {
        const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
        match self.origin {
            Origin::Runtime(origin) => origin + time.since(Time::ZERO).min(FAR),
            Origin::Ticks(_) => Instant::now() + time.since(self.now()).min(FAR),
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Clock::new()
    }
}

/// Returns whether the runtime's clock is paused: it does not move while the system's clock does.
fn stands_still() -> bool {
    let (paused, moving) = (Instant::now(), std::time::Instant::now());
    while moving.elapsed() < Duration::from_micros(2) {
        std::hint::spin_loop();
    }
    Instant::now() == paused
}

/// Returns whether the kernel trusts the processor's ticks. Linux compares the ticks of all processors with each other
/// all the time, and uses another clock source if they disagree.
fn kernel_trusts_ticks() -> bool {
    let source = std::fs::read_to_string("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    source.is_ok_and(|source| matches!(source.trim(), "tsc" | "arch_sys_counter"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_clock_made_while_time_is_paused_stands_still_with_it() {
        let clock = Clock::ticks();
        let began = clock.now();
        tokio::time::advance(Duration::from_secs(7)).await;
        assert_eq!(clock.now().since(began), Duration::from_secs(7));
        assert_eq!(clock.instant(clock.now()), Instant::now());
    }

    #[test]
    fn ticks_and_the_runtimes_clock_agree() {
        let (ticks, runtime) = (Clock::ticks(), Clock::new());
        let (first, second) = (ticks.now(), runtime.now());
        while runtime.now().since(second) < Duration::from_millis(30) {
            std::hint::spin_loop();
        }
        let (ticked, ran) = (ticks.now().since(first), runtime.now().since(second));
        let apart = ticked.abs_diff(ran);
        // The two measured spans may differ by the time for which the thread was interrupted between two readings. If
        // the ticks were counted with a wrong rate, the spans would differ by more than half.
        assert!(apart < ran / 2, "{ticked:?} and {ran:?}");
        let soon = ticks.now().saturating_add(Duration::from_secs(60));
        let left = ticks.instant(soon).duration_since(Instant::now());
        assert!(left <= Duration::from_secs(60) && left > Duration::from_secs(30), "{left:?}");
        assert!(ticks.instant(Time::NEVER) > Instant::now() + Duration::from_secs(86_400 * 365));
    }
}
