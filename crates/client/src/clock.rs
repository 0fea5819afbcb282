//! The one clock. `policy` counts time from an origin that the driver chooses; here it is chosen.
//!
//! There are two to choose from. The runtime's clock is the system's, and tests can pause it. A call around a future
//! that is ready immediately costs less than two readings of it. So such calls count the processor's own ticks
//! (`quanta`: measured, about half the price), where the kernel itself trusts them for its clock.
//!
//! The two clocks drift apart by some millionths. So a moment of one is never kept as a moment of the other: a deadline
//! becomes the runtime's moment only when it is waited for, as what is left from now on.

use std::sync::LazyLock;
use std::time::Duration;

use seawall_policy::Time;
use tokio::time::Instant;

/// Turns a clock's readings into [`Time`] and back. All machines that are shared must be told the time by one clock, so
/// it is copied, never made twice.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Origin,
}

#[derive(Clone, Copy, Debug)]
enum Origin {
    Runtime(Instant),
    /// The number of ticks at that moment.
    Ticks(u64),
}

/// Measures once, when it is first asked, how long a tick is.
static COUNTER: LazyLock<quanta::Clock> = LazyLock::new(quanta::Clock::new);

/// The origin lies this far in the past, so that no early moment is [`Time::ZERO`].
const EARLIER: Duration = Duration::from_secs(1);

impl Clock {
    /// The runtime's clock.
    #[must_use]
    pub fn new() -> Clock {
        let now = Instant::now();
        Clock { origin: Origin::Runtime(now.checked_sub(EARLIER).unwrap_or(now)) }
    }

    /// The processor's ticks, where they can be trusted. Otherwise the runtime's clock; also where that stands still at
    /// this moment, as in a test that has paused it.
    #[must_use]
    pub fn ticks() -> Clock {
        if stands_still() || !kernel_trusts_ticks() {
            return Clock::new();
        }
        Clock { origin: Origin::Ticks(COUNTER.raw()) }
    }

    /// Now.
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

    /// The runtime's moment for `time`; thirty years from now for a moment that is never reached.
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

/// Whether the runtime's clock does not move while the system's does.
fn stands_still() -> bool {
    let (paused, moving) = (Instant::now(), std::time::Instant::now());
    while moving.elapsed() < Duration::from_micros(2) {
        std::hint::spin_loop();
    }
    Instant::now() == paused
}

/// Linux measures the processors' ticks against each other all the time, and takes another clock where they disagree.
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
        // A thread that is interrupted between two readings is apart by that time; a wrong rate is apart by more than
        // half.
        assert!(apart < ran / 2, "{ticked:?} and {ran:?}");
        let soon = ticks.now().saturating_add(Duration::from_secs(60));
        let left = ticks.instant(soon).duration_since(Instant::now());
        assert!(left <= Duration::from_secs(60) && left > Duration::from_secs(30), "{left:?}");
        assert!(ticks.instant(Time::NEVER) > Instant::now() + Duration::from_secs(86_400 * 365));
    }
}
