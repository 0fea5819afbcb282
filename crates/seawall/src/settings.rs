//! How a dependency is called: builders of the settings that `seawall_policy` and `seawall_client` define, with their
//! defaults and their checks. So every default is the gateway's, too.

use std::path::Path;
use std::time::Duration;

use seawall_client::connect::{DnsSettings, TlsSettings};
use seawall_client::{AnswerLimits, CallRequest, PoolSettings};
use seawall_policy::{self as policy, Problem, Wrong};

/// A time of this many seconds: as it is, or as the end that a setting may have.
#[must_use]
pub fn secs<T: From<Duration>>(seconds: u64) -> T {
    Duration::from_secs(seconds).into()
}

/// A time of this many milliseconds: as it is, or as the end that a setting may have.
#[must_use]
pub fn millis<T: From<Duration>>(milliseconds: u64) -> T {
    Duration::from_millis(milliseconds).into()
}

/// How a call is repeated. Default: two attempts in all, waits of up to 50 ms that double up to 2 s, bodies of up to
/// 64 KiB kept for a repeat.
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

    /// Attempts in all, the first included.
    pub fn attempts(mut self, attempts: u32) -> Retry {
        self.attempts = attempts;
        self
    }

    /// The wait before the first repeat is drawn from zero to `base`; the bound doubles up to `cap`.
    pub fn backoff(mut self, base: Duration, cap: Duration) -> Retry {
        self.backoff = policy::Backoff { base, cap };
        self
    }

    /// The longest time that an answer may cool an endpoint for, and that a call without a total timeout waits for the time
    /// that an answer names. Default 60 s.
    pub fn after_max(mut self, time: Duration) -> Retry {
        self.after_max = time;
        self
    }

    /// So many bytes of a streaming request body are kept for a repeat.
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

/// What repeats cost: each takes a token, and successes earn them. Default: a fifth of a token for each success, at most 10
/// saved, 1 at the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Budget(pub(crate) policy::BudgetSettings);

impl Budget {
    /// The share of a token that one success earns, in thousandths.
    pub fn per_success_milli(mut self, thousandths: u32) -> Budget {
        self.0.per_success_milli = thousandths;
        self
    }

    /// The most tokens that can be saved.
    pub fn burst(mut self, tokens: u32) -> Budget {
        self.0.burst_milli = tokens.saturating_mul(1000);
        self
    }

    /// Tokens at the start.
    pub fn initial(mut self, tokens: u32) -> Budget {
        self.0.initial_milli = tokens.saturating_mul(1000);
        self
    }
}

/// How many calls may be in flight at each endpoint. Default: a thousand, fewer while most attempts end in timeouts or
/// overload answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Concurrency {
    pub(crate) limit: policy::LimitSettings,
    pub(crate) queue: policy::QueueSettings,
}

impl Concurrency {
    /// At most `max`, fewer under overload.
    pub fn adaptive(max: u32) -> Concurrency {
        Concurrency { limit: policy::LimitSettings::adaptive(max), ..Concurrency::default() }
    }

    /// Always `max`.
    pub fn fixed(max: u32) -> Concurrency {
        Concurrency { limit: policy::LimitSettings::fixed(max), ..Concurrency::default() }
    }

    /// No limit; calls are only counted.
    pub fn off() -> Concurrency {
        Concurrency { limit: policy::LimitSettings::off(), ..Concurrency::default() }
    }

    /// So many calls may wait for a place, each for so long at most. Default: none waits.
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

/// When an endpoint is not called at all for a while. Default: at half of at least 20 calls in 5 s, for 3 s, until
/// 3 probes have succeeded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Breaker(pub(crate) policy::BreakerSettings);

impl Breaker {
    /// It never opens.
    pub fn off() -> Breaker {
        Breaker(policy::BreakerSettings::off())
    }

    /// Opens at this share of failures, in parts per million: 500 000 is one half.
    pub fn failure_rate_ppm(mut self, ppm: u32) -> Breaker {
        self.0.failure_rate_ppm = ppm;
        self
    }

    /// A share of fewer calls than this says nothing.
    pub fn min_calls(mut self, calls: u32) -> Breaker {
        self.0.min_calls = calls;
        self
    }

    /// Looks this far back.
    pub fn window(mut self, span: Duration) -> Breaker {
        self.0.window = policy::WindowSpan::Time(span);
        self
    }

    /// Looks at the last so many calls.
    pub fn window_calls(mut self, calls: u32) -> Breaker {
        self.0.window = policy::WindowSpan::Calls(calls);
        self
    }

    /// Stays open this long, give or take a fifth.
    pub fn open_for(mut self, time: Duration) -> Breaker {
        self.0.open_for = time;
        self
    }

    /// Successes that close it, one probe at a time.
    pub fn probes(mut self, probes: u32) -> Breaker {
        self.0.probes = probes;
        self
    }

    /// A good call that took longer counts as bad.
    pub fn slow_call(mut self, bound: Duration) -> Breaker {
        self.0.slow_call = Some(bound);
        self
    }

    /// So many failures in a row open it at once.
    pub fn consecutive(mut self, failures: u32) -> Breaker {
        self.0.consecutive = Some(failures);
        self
    }

    /// Each opening in a row is longer than the last, up to this.
    pub fn open_max(mut self, time: Duration) -> Breaker {
        self.0.open_max = Some(time);
        self
    }

    /// After it has closed, a growing share of the calls for this long.
    pub fn ramp(mut self, time: Duration) -> Breaker {
        self.0.ramp = Some(time);
        self
    }
}

/// How idle connections are kept. Default: settled after 20 ms, closed after 60 s idle or 1 h of life, at most 64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Pool(pub(crate) PoolSettings);

impl Pool {
    /// A plain POST takes no connection whose last answer is younger than this.
    pub fn settle(mut self, time: Duration) -> Pool {
        self.0.settle = time;
        self
    }

    /// An idle connection is closed after this.
    pub fn idle(mut self, time: Duration) -> Pool {
        self.0.idle = time;
        self
    }

    /// The number of settled idle connections that are kept; beyond, the oldest go.
    pub fn max_idle(mut self, connections: usize) -> Pool {
        self.0.max_idle = connections;
        self
    }

    /// No connection is used longer than this.
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
    /// Bytes of status line and header fields, line ends included; 1 KiB to 1 MiB.
    pub fn header_bytes(mut self, bytes: usize) -> AnswerHead {
        self.0.header_bytes = bytes;
        self
    }

    /// Header fields; 1 to 1000.
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

/// How long a name's addresses are used. Default: looked up again every 30 s, kept for 1 h while lookups fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Dns(pub(crate) DnsSettings);

impl Dns {
    /// Looked up again after this.
    pub fn refresh(mut self, time: Duration) -> Dns {
        self.0.refresh = time;
        self
    }

    /// Used for this long while lookups fail.
    pub fn stale(mut self, time: Duration) -> Dns {
        self.0.stale = time;
        self
    }
}

/// Whom to trust, and who we are. Default: the system's roots, no client certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Tls(pub(crate) TlsSettings);

impl Tls {
    /// Trusts the authorities in this PEM file, and no others.
    pub fn ca_file(mut self, path: impl AsRef<Path>) -> Tls {
        self.0.ca_file = Some(path.as_ref().to_owned());
        self
    }

    /// Shows this certificate, proved by this key (PEM files).
    pub fn client(mut self, certificate: impl AsRef<Path>, key: impl AsRef<Path>) -> Tls {
        self.0.client_cert = Some(certificate.as_ref().to_owned());
        self.0.client_key = Some(key.as_ref().to_owned());
        self
    }
}
