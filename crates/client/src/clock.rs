//! The one clock. `policy` counts time from an origin that the driver chooses; here it is chosen.

use std::time::Duration;

use seawall_policy::Time;
use tokio::time::Instant;

/// Turns the runtime's clock into [`Time`] and back. All machines that are shared must be told of time by one
/// clock, so it is copied, never made twice.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock whose origin is a second ago, so that no early moment is [`Time::ZERO`].
    #[must_use]
    pub fn new() -> Clock {
        let now = Instant::now();
        Clock { origin: now.checked_sub(Duration::from_secs(1)).unwrap_or(now) }
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Time {
        Time::ZERO.saturating_add(self.origin.elapsed())
    }

    /// The runtime's moment for `time`; thirty years from now for one that is never reached.
    #[must_use]
    pub fn instant(&self, time: Time) -> Instant {
        const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
        self.origin + time.since(Time::ZERO).min(FAR)
    }
}

impl Default for Clock {
    fn default() -> Self {
        Clock::new()
    }
}
