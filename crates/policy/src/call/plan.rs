//! The plan of an operation: the rules and settings that all its calls have in common.

use std::time::Duration;

use crate::backoff::Backoff;
use crate::cooling::CoolingSettings;
use crate::ending::Rules;
use crate::problem::{Problem, Wrong, show_time};

/// The three timeouts of a call. Each has a field, and a method of the same name that changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// The time for DNS, TCP and TLS together. Default 3 s: the first packet of TCP (SYN) may be lost, and the kernel
    /// sends it again only after one second.
    pub connect: Duration,
    /// The longest time in which no byte is sent or received. Default 10 s.
    pub read: Duration,
    /// The time from the start of the call to the last byte of the answer. Default 30 s. `None` means that there is no
    /// such bound, for example for endless streams.
    pub total: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            connect: Duration::from_secs(3),
            read: Duration::from_secs(10),
            total: Some(Duration::from_secs(30)),
        }
    }
}

impl Timeouts {
    /// Sets `connect`.
    #[must_use]
    pub const fn connect(self, connect: Duration) -> Timeouts {
        Timeouts { connect, ..self }
    }

    /// Sets `read`.
    #[must_use]
    pub const fn read(self, read: Duration) -> Timeouts {
        Timeouts { read, ..self }
    }

    /// Sets `total`. With `None` a call has no total timeout.
    #[must_use]
    pub const fn total(self, total: Option<Duration>) -> Timeouts {
        Timeouts { total, ..self }
    }

    /// Returns the settings that could never work, each with the reason. The list is empty if all can work.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let times = [("connect", Some(self.connect)), ("read", Some(self.read)), ("total", self.total)];
        let zero = times.into_iter().filter(|(_, time)| time.is_some_and(|time| time.is_zero()));
        let mut found: Vec<Problem> = zero
            .map(|(name, _)| {
                Problem::error(name, Wrong::new(format!("`{name}` is zero: no call could be made")))
            })
            .collect();
        if let Some(total) = self.total.filter(|total| self.read >= *total) {
            let what = format!("read {} is not below total {}", show_time(self.read), show_time(total));
            let help = "no attempt could end by its read timeout: give a shorter `read`, or a longer `total`";
            found.push(Problem::error("read", Wrong::new(what).help(help)).with(&["total"]));
        }
        found
    }
}

/// The rules and settings that all calls of an operation have in common.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What the end of an attempt means for the effect and the health, and what happens if a request is delivered
    /// twice.
    pub rules: Rules,
    /// The timeouts of each call.
    pub timeouts: Timeouts,
    /// The maximum number of attempts of a call, the first included: from 1 to 10 ([`Plan::ATTEMPTS`]). Default 2
    /// ([`Plan::DEFAULT_ATTEMPTS`]).
    pub attempts: u32,
    /// The settings of the wait before a repeat.
    pub backoff: Backoff,
    /// The number of endpoints, at least 1. Endpoint 0 is preferred, then endpoint 1, and so on.
    pub endpoints: usize,
    /// A good answer that took longer than this counts as a failure. An attempt that its caller gave up after a longer
    /// wait counts as a failure too. With `None` (the default), `slow_call` of the breaker's settings is used.
    pub slow_call: Option<Duration>,
    /// The longest wait before a repeat that an answer can ask for, if the call has no total timeout. If the answer
    /// names a longer time, the call is not repeated at that endpoint. A call with a total timeout does not need this
    /// bound, because its total timeout bounds the wait. Default 60 s.
    pub after_max: Duration,
}

impl Plan {
    /// The range of `attempts`. More than ten attempts multiply the load on a provider that is failing, and help
    /// nobody.
    pub const ATTEMPTS: std::ops::RangeInclusive<u32> = 1..=10;
    /// Two attempts. In measurements, the second attempt brought nearly all the success that repeats can bring; a third
    /// added load and little success.
    pub const DEFAULT_ATTEMPTS: u32 = 2;

    /// Returns the default plan for these rules and this number of endpoints.
    #[must_use]
    pub fn new(rules: Rules, endpoints: usize) -> Plan {
        Plan {
            rules,
            timeouts: Timeouts::default(),
            attempts: Plan::DEFAULT_ATTEMPTS,
            backoff: Backoff::default(),
            endpoints,
            slow_call: None,
            after_max: CoolingSettings::default().after_max,
        }
    }
}
