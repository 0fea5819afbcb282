//! What is fixed for every call of an operation.

use std::time::Duration;

use crate::backoff::Backoff;
use crate::cooling::CoolingSettings;
use crate::ending::Rules;

/// The three timeouts of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// DNS, TCP and TLS together. Default 3 s: a lost SYN is sent again after one second, and once more after three.
    pub connect: Duration,
    /// The longest time without progress in either direction. Default 10 s.
    pub read: Duration,
    /// From the first attempt to the last byte of the answer. Default 30 s; `None` for endless streams.
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

/// What is fixed for every call of an operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What endings mean, and what a second delivery does.
    pub rules: Rules,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// Attempts in all, the first included; at least 1. Default 2: measured, a third adds load and little success.
    pub attempts: u32,
    /// How long to wait before a repeat.
    pub backoff: Backoff,
    /// How many endpoints there are, in order of preference; at least 1.
    pub endpoints: usize,
    /// A good answer that took longer counts as a failure, and so does a cut after a longer wait. Default: that of the
    /// breaker.
    pub slow_call: Option<Duration>,
    /// A call without a total timeout waits no longer than this for the time that an answer names. Default 60 s.
    pub after_max: Duration,
}

impl Plan {
    /// The defaults, for rules and a number of endpoints.
    #[must_use]
    pub fn new(rules: Rules, endpoints: usize) -> Plan {
        Plan {
            rules,
            timeouts: Timeouts::default(),
            attempts: 2,
            backoff: Backoff::default(),
            endpoints,
            slow_call: None,
            after_max: CoolingSettings::default().after_max,
        }
    }
}
