//! How a dependency is called. These builders wrap the settings of `seawall_policy` and `seawall_client`, with their
//! defaults and their checks. So every default is the same as the gateway's.

use std::path::Path;
use std::time::Duration;

use seawall_client::connect::{DnsSettings, TlsSettings};
use seawall_client::{AnswerLimits, CallRequest, PoolSettings};
use seawall_policy::{self as policy, Problem, Wrong};

/// A time of this many seconds. It also works for a setting whose time may be "no end".
#[must_use]
pub fn secs<T: From<Duration>>(seconds: u64) -> T {
    Duration::from_secs(seconds).into()
}

/// A time of this many milliseconds. It also works for a setting whose time may be "no end".
#[must_use]
pub fn millis<T: From<Duration>>(milliseconds: u64) -> T {
    Duration::from_millis(milliseconds).into()
}

/// How a call is repeated. Default: two attempts in all, waits of up to 50 ms that double up to 2 s, and up to 64 KiB
/// of a streaming body kept for a repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Retry {
    pub(crate) attempts: u32,
    pub(crate) backoff: policy::Backoff,
    pub(crate) after_max: Duration,
    pub(crate) buffer: usize,
}

impl Default for Retry {
    fn default() -> Self {
        Retry {
            attempts: policy::Plan::DEFAULT_ATTEMPTS,
            backoff: policy::Backoff::default(),
            after_max: policy::CoolingSettings::default().after_max,
            buffer: CallRequest::KEEP,
        }
    }
}

impl Retry {
    /// Every call is made once.
    pub fn off() -> Retry {
        Retry { attempts: 1, ..Retry::default() }
    }

    /// The number of attempts, the first included.
    pub fn attempts(mut self, attempts: u32) -> Retry {
        self.attempts = attempts;
        self
    }

    /// The wait before the first repeat is drawn between zero and `base`. For each further repeat the bound doubles, up
    /// to `cap`. Default 50 ms and 2 s.
    pub fn backoff(mut self, base: Duration, cap: Duration) -> Retry {
        self.backoff = policy::Backoff { base, cap };
        self
    }

    /// The longest time for which an answer can hold calls back from an endpoint. If a call has no total timeout, this
    /// is also the longest time that it waits because an answer named a time. Default 60 s.
    pub fn after_max(mut self, time: Duration) -> Retry {
        self.after_max = time;
        self
    }

    /// The most bytes of a streaming request body that are kept for a repeat. Default 64 KiB.
    pub fn buffer(mut self, bytes: usize) -> Retry {
        self.buffer = bytes;
        self
    }

    pub(crate) fn problems(&self) -> Vec<Problem> {
        let mut found = self.backoff.problems();
        if !policy::Plan::ATTEMPTS.contains(&self.attempts) {
            let (least, most) = (policy::Plan::ATTEMPTS.start(), policy::Plan::ATTEMPTS.end());
            let what = format!("attempts {}: from {least}, which means no repeats, to {most}", self.attempts);
            found.push(Problem::error("attempts", Wrong::new(what)));
        }
        found
    }
}

/// What repeats cost: each repeat takes a token, and successes earn tokens. Default: a success earns a fifth of a
/// token, at most 10 tokens are saved, and there is 1 token at the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Budget(pub(crate) policy::BudgetSettings);

impl Budget {
    /// The part of a token that one success earns, in thousandths. Default 200.
    pub fn per_success_milli(mut self, thousandths: u32) -> Budget {
        self.0.per_success_milli = thousandths;
        self
    }

    /// The most tokens that can be saved. Default 10.
    pub fn burst(mut self, tokens: u32) -> Budget {
        self.0.burst_milli = tokens.saturating_mul(1000);
        self
    }

    /// The number of tokens at the start. Default 1.
    pub fn initial(mut self, tokens: u32) -> Budget {
        self.0.initial_milli = tokens.saturating_mul(1000);
        self
    }
}

/// How many calls may be in flight at each endpoint. Default: a thousand, and fewer while most attempts end in timeouts
/// or overload answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Concurrency {
    pub(crate) limit: policy::LimitSettings,
    pub(crate) queue: policy::QueueSettings,
}

impl Concurrency {
    /// At most `max` calls, and fewer under overload.
    pub fn adaptive(max: u32) -> Concurrency {
        Concurrency { limit: policy::LimitSettings::adaptive(max), ..Concurrency::default() }
    }

    /// At most `max` calls, at all times.
    pub fn fixed(max: u32) -> Concurrency {
        Concurrency { limit: policy::LimitSettings::fixed(max), ..Concurrency::default() }
    }

    /// No limit; calls are only counted.
    pub fn off() -> Concurrency {
        Concurrency { limit: policy::LimitSettings::off(), ..Concurrency::default() }
    }

    /// The number of calls that may wait for a slot, and the longest time that each waits. Default: none waits.
    pub fn queue(mut self, length: u32, wait: Duration) -> Concurrency {
        self.queue = policy::QueueSettings { length, wait };
        self
    }

    pub(crate) fn problems(&self) -> Vec<Problem> {
        let mut found = self.limit.problems();
        found.extend(self.queue.problems());
        found
    }
}

/// When calls to an endpoint are refused for a while. Default: the breaker opens when half of at least 20 calls in 5 s
/// are bad, stays open for 3 s, and closes after 3 probes have succeeded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Breaker(pub(crate) policy::BreakerSettings);

impl Breaker {
    /// The breaker never opens.
    pub fn off() -> Breaker {
        Breaker(policy::BreakerSettings::off())
    }

    /// The breaker opens at this share of bad calls, in parts per million. Default 500 000, which is one half.
    pub fn failure_rate_ppm(mut self, ppm: u32) -> Breaker {
        self.0.failure_rate_ppm = ppm;
        self
    }

    /// If fewer calls than this are in the window, their share of bad calls does not open the breaker. Default 20.
    pub fn min_calls(mut self, calls: u32) -> Breaker {
        self.0.min_calls = calls;
        self
    }

    /// The window holds the calls of this last span of time. Default 5 s.
    pub fn window(mut self, span: Duration) -> Breaker {
        self.0.window = policy::WindowSpan::Time(span);
        self
    }

    /// The window holds this number of the last calls, instead of those of a span of time.
    pub fn window_calls(mut self, calls: u32) -> Breaker {
        self.0.window = policy::WindowSpan::Calls(calls);
        self
    }

    /// The breaker stays open for this time, ± 20 %. Default 3 s.
    pub fn open_for(mut self, time: Duration) -> Breaker {
        self.0.open_for = time;
        self
    }

    /// The number of successful probes that close the breaker. Probes are sent one at a time. Default 3.
    pub fn probes(mut self, probes: u32) -> Breaker {
        self.0.probes = probes;
        self
    }

    /// A successful call that took longer than `bound` counts as bad. Default: none does.
    pub fn slow_call(mut self, bound: Duration) -> Breaker {
        self.0.slow_call = Some(bound);
        self
    }

    /// This number of failures in a row opens the breaker immediately. Default: off.
    pub fn consecutive(mut self, failures: u32) -> Breaker {
        self.0.consecutive = Some(failures);
        self
    }

    /// After each failed probe the breaker stays open for twice as long as before, up to this time. Default: off.
    pub fn open_max(mut self, time: Duration) -> Breaker {
        self.0.open_max = Some(time);
        self
    }

    /// After the breaker has closed, the share of calls that pass grows over this time until all pass. Default: off.
    pub fn ramp(mut self, time: Duration) -> Breaker {
        self.0.ramp = Some(time);
        self
    }
}

/// How idle connections are kept. Default: a connection is settled after 20 ms, it is closed after 60 s idle or 1 h of
/// life, and at most 64 are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Pool(pub(crate) PoolSettings);

impl Pool {
    /// A plain POST takes no connection whose last answer is younger than this. Default 20 ms.
    pub fn settle(mut self, time: Duration) -> Pool {
        self.0.settle = time;
        self
    }

    /// A connection that is idle for this time is closed. Default 60 s.
    pub fn idle(mut self, time: Duration) -> Pool {
        self.0.idle = time;
        self
    }

    /// The most settled idle connections that are kept. If there are more, the oldest are closed. Default 64.
    pub fn max_idle(mut self, connections: usize) -> Pool {
        self.0.max_idle = connections;
        self
    }

    /// No connection is used for longer than this. Default 1 h.
    pub fn max_age(mut self, time: Duration) -> Pool {
        self.0.max_age = time;
        self
    }
}

/// How long the head of an answer may be. Default: 256 KiB and 100 fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct AnswerHead(pub(crate) AnswerLimits);

impl AnswerHead {
    /// The most bytes of status line and header fields, line ends included, from 1 KiB to 1 MiB. Default 256 KiB.
    pub fn header_bytes(mut self, bytes: usize) -> AnswerHead {
        self.0.header_bytes = bytes;
        self
    }

    /// The most header fields, from 1 to 1000. Default 100.
    pub fn headers(mut self, fields: usize) -> AnswerHead {
        self.0.headers = fields;
        self
    }

    pub(crate) fn problems(self) -> Vec<Problem> {
        let both = [
            ("header_bytes", self.0.header_bytes, AnswerLimits::HEADER_BYTES),
            ("headers", self.0.headers, AnswerLimits::HEADERS),
        ];
        let outside = both.into_iter().filter(|(_, value, within)| !within.contains(value));
        let told = outside.map(|(name, value, within)| {
            let (least, most) = (within.start(), within.end());
            Problem::error(
                name,
                Wrong::new(format!("{name} is {value}; it must lie between {least} and {most}")),
            )
        });
        told.collect()
    }
}

/// How long a name's addresses are used. Default: they are looked up again every 30 s, and used for up to 1 h while
/// lookups fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Dns(pub(crate) DnsSettings);

impl Dns {
    /// The addresses are looked up again after this time. Default 30 s.
    pub fn refresh(mut self, time: Duration) -> Dns {
        self.0.refresh = time;
        self
    }

    /// The addresses are used for up to this time while lookups fail. Default 1 h.
    pub fn stale(mut self, time: Duration) -> Dns {
        self.0.stale = time;
        self
    }
}

/// Which servers to trust, and which certificate is ours. Default: the system's roots, and no client certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Tls(pub(crate) TlsSettings);

impl Tls {
    /// Trusts the authorities in this PEM file, and no others.
    pub fn ca_file(mut self, path: impl AsRef<Path>) -> Tls {
        self.0.ca_file = Some(path.as_ref().to_owned());
        self
    }

    /// Uses this client certificate, with the private key of this file (both PEM).
    pub fn client(mut self, certificate: impl AsRef<Path>, key: impl AsRef<Path>) -> Tls {
        self.0.client_cert = Some(certificate.as_ref().to_owned());
        self.0.client_key = Some(key.as_ref().to_owned());
        self
    }
}
