//! The settings of a breaker, each default with its reason.

use std::time::Duration;

use crate::backoff::Draw;
use crate::problem::{Problem, Wrong, show_time};
use crate::window::{MAX_WINDOW_CALLS, WindowSpan};

/// The shortest window. A shorter one would hold no calls.
const SHORTEST_WINDOW: Duration = Duration::from_millis(1);

/// The settings of one breaker. In `min_calls`, `probes`, `consecutive` and a window of calls, zero counts as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerSettings {
    /// Whether the breaker may open. Default `true`. With `false` every call passes, unless an operator forces the
    /// breaker open. The window still counts calls, because slow failures are repeated only while the window shows few
    /// failures.
    pub enabled: bool,
    /// The share of bad calls in the window, in parts per million, at which the breaker opens. Default 500 000 (one
    /// half): below that, an endpoint still serves most calls, and repeats replace the calls that failed.
    pub failure_rate_ppm: u32,
    /// The number of calls that the window must hold before the failure rate can open the breaker. If the window cannot
    /// hold that many, it must be full. Default 20, since fewer calls say too little.
    pub min_calls: u32,
    /// The part of the past whose calls count: a span of time, or a number of calls. Default 5 s: a longer window would
    /// count failures that are long over.
    pub window: WindowSpan,
    /// For how long an open breaker refuses calls before it lets the first probe through. The real time is drawn at
    /// random between 80 % and 120 % of this. Default 3 s: in simulations, a longer time made recovery slower and
    /// prevented nothing.
    pub open_for: Duration,
    /// The number of successful probes that close the breaker. Default 3, since one success may be chance.
    pub probes: u32,
    /// The number of failures in a row that opens the breaker immediately. `None` (the default) turns this rule off.
    pub consecutive: Option<u32>,
    /// A good answer that took longer than this counts as bad. With `None` (the default), every good answer counts as
    /// good, however long it took.
    pub slow_call: Option<Duration>,
    /// The maximum time for which the breaker stays open after a failed probe. Up to this time, each opening lasts
    /// twice as long as the one before. With `None` (the default), every opening lasts for `open_for`.
    pub open_max: Option<Duration>,
    /// The time over which calls return after the breaker has closed: the share of calls that pass grows from a tenth
    /// to all. With `None` (the default), all calls pass immediately.
    pub ramp: Option<Duration>,
    /// The time between two health requests while the breaker is open. With `None` (the default), none is sent.
    pub health: Option<Duration>,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        BreakerSettings {
            enabled: true,
            failure_rate_ppm: 500_000,
            min_calls: 20,
            window: WindowSpan::default(),
            open_for: Duration::from_secs(3),
            probes: 3,
            consecutive: None,
            slow_call: None,
            open_max: None,
            ramp: None,
            health: None,
        }
    }
}

impl BreakerSettings {
    /// Returns settings with which the breaker never opens by itself.
    #[must_use]
    pub fn off() -> BreakerSettings {
        BreakerSettings { enabled: false, ..BreakerSettings::default() }
    }

    /// Returns the settings that could never work, each with the reason. The list is empty if all can work.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut found = Vec::new();
        if !(1..=1_000_000).contains(&self.failure_rate_ppm) {
            found.push(Problem::error(
                "failure_rate",
                Wrong::new("`failure_rate` is a share above 0, up to 1"),
            ));
        }
        match self.window {
            WindowSpan::Time(span) if span < SHORTEST_WINDOW => {
                let what = format!("window {} is too short to count anything", show_time(span));
                found.push(Problem::error("window", Wrong::new(what)));
            }
            WindowSpan::Calls(calls) if !(1..=MAX_WINDOW_CALLS).contains(&calls) => {
                let what = format!("window_calls {calls}: from 1 to {MAX_WINDOW_CALLS} can be kept");
                found.push(Problem::error("window_calls", Wrong::new(what)));
            }
            WindowSpan::Calls(calls) if self.min_calls > calls => {
                let what =
                    format!("min_calls {} is more than the window of {calls} calls holds", self.min_calls);
                let help = "give a smaller `min_calls`, or a larger `window_calls`";
                found.push(Problem::error("window_calls", Wrong::new(what).help(help)).with(&["min_calls"]));
            }
            WindowSpan::Time(_) | WindowSpan::Calls(_) => {}
        }
        if self.probes == 0 {
            found.push(Problem::error(
                "probes",
                Wrong::new("`probes` is 0: at least one call must show that it works again"),
            ));
        }
        if self.open_max.is_some_and(|most| most < self.open_for) {
            found.push(
                Problem::error("open_max", Wrong::new("`open_max` is shorter than `open_for`"))
                    .with(&["open_for"]),
            );
        }
        found
    }

    /// Returns the number of calls that must be in the window before the failure rate counts: `min_calls`, but no more
    /// than the window can hold.
    pub(super) fn calls_for_a_rate(&self) -> u32 {
        let most = match self.window {
            WindowSpan::Time(_) => u32::MAX,
            WindowSpan::Calls(calls) => calls.clamp(1, MAX_WINDOW_CALLS),
        };
        self.min_calls.clamp(1, most)
    }

    /// Returns how long the breaker stays open after `reopened` failed probes. The time is drawn between 0.8 and 1.2 of
    /// its nominal length, so that many callers do not come back as one wave.
    pub(super) fn open_time(&self, reopened: u32, draw: Draw) -> Duration {
        let base = match self.open_max {
            Some(most) => self.open_for.saturating_mul(1 << reopened.min(31)).min(most.max(self.open_for)),
            None => self.open_for,
        };
        let fifth = u64::try_from(base.as_nanos()).unwrap_or(u64::MAX) / 5;
        Duration::from_nanos(fifth * 4).saturating_add(draw.share_of(Duration::from_nanos(fifth * 2)))
    }
}
