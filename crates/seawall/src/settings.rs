//! The settings of a dependency. These builders wrap the settings of `seawall_policy` and `seawall_client`, with the
//! defaults and the checks of those crates. So every default is the same as in the gateway.

use std::path::Path;
use std::time::Duration;

use seawall_client::connect::{DnsSettings, TlsSettings};
use seawall_client::{AnswerLimits, CallRequest, PoolSettings};
use seawall_policy::{self as policy, Problem, Wrong};

/// Returns a length of time of this many seconds: a `Duration`, or an `Option<Duration>` for a setting such as
/// `Timeouts::total`, where `None` means no bound.
#[must_use]
pub fn secs<T: From<Duration>>(seconds: u64) -> T {
    Duration::from_secs(seconds).into()
}

/// Returns a length of time of this many milliseconds: a `Duration`, or an `Option<Duration>` for a setting such as
/// `Timeouts::total`, where `None` means no bound.
#[must_use]
pub fn millis<T: From<Duration>>(milliseconds: u64) -> T {
    Duration::from_millis(milliseconds).into()
}

/// Settings for the repeats of a call. The defaults are:
///
/// - two attempts in all,
/// - a wait of up to 50 ms before the first repeat; this bound doubles with each further repeat, up to 2 s,
/// - up to 64 KiB of a streaming body kept for a repeat.
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
    /// Makes every call with one attempt only.
    pub fn off() -> Retry {
        Retry { attempts: 1, ..Retry::default() }
    }

    /// Sets the maximum number of attempts of a call, the first included. Default 2.
    pub fn attempts(mut self, attempts: u32) -> Retry {
        self.attempts = attempts;
        self
    }

    /// Sets the waits before repeats. The wait before the first repeat is drawn between zero and `base`. For each
    /// further repeat the bound doubles, up to `cap`. Default 50 ms and 2 s.
    pub fn backoff(mut self, base: Duration, cap: Duration) -> Retry {
        self.backoff = policy::Backoff { base, cap };
        self
    }

    /// Sets the maximum time for which an answer such as `Retry-After: 300` holds calls back from an endpoint. Default
    /// 60 s. If the answer names a longer time, a call that has no total timeout is not repeated. A call that has one
    /// may be repeated if the named time ends before that timeout.
    pub fn after_max(mut self, time: Duration) -> Retry {
        self.after_max = time;
        self
    }

    /// Sets the maximum number of bytes of a streaming request body that are kept for a repeat. If more bytes were
    /// sent, the request is not repeated. Default 64 KiB.
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

/// The budget of repeats: each repeat costs a token, and successes earn tokens. Default: a success earns a fifth of a
/// token, at most 10 tokens are saved, and there is 1 token at the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Budget(pub(crate) policy::BudgetSettings);

impl Budget {
    /// Sets the part of a token that one success earns, in thousandths. Default 200.
    pub fn per_success_milli(mut self, thousandths: u32) -> Budget {
        self.0.per_success_milli = thousandths;
        self
    }

    /// Sets the maximum number of tokens that can be saved. Default 10.
    pub fn burst(mut self, tokens: u32) -> Budget {
        self.0.burst_milli = tokens.saturating_mul(1000);
        self
    }

    /// Sets the number of tokens at the start. Default 1.
    pub fn initial(mut self, tokens: u32) -> Budget {
        self.0.initial_milli = tokens.saturating_mul(1000);
        self
    }
}

/// Settings for the maximum number of calls in flight at each endpoint. Default: a thousand, and fewer while most
/// attempts end in timeouts or overload answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Concurrency {
    pub(crate) limit: policy::LimitSettings,
    pub(crate) queue: policy::QueueSettings,
}

impl Concurrency {
    /// Returns settings that limit the calls in flight to `max`, and to fewer while the endpoint is overloaded.
    pub fn adaptive(max: u32) -> Concurrency {
        Concurrency { limit: policy::LimitSettings::adaptive(max), ..Concurrency::default() }
    }

    /// Limits the calls in flight to `max` at all times.
    pub fn fixed(max: u32) -> Concurrency {
        Concurrency { limit: policy::LimitSettings::fixed(max), ..Concurrency::default() }
    }

    /// Sets no limit; calls in flight are only counted.
    pub fn off() -> Concurrency {
        Concurrency { limit: policy::LimitSettings::off(), ..Concurrency::default() }
    }

    /// Sets the number of calls that may wait for a slot, and the longest time that each of them waits. Default: no
    /// call waits, so a call without a free slot is refused.
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

/// Settings for the breaker, which refuses calls to an endpoint for a while. Default: the breaker opens when half of at
/// least 20 calls in 5 s are bad, stays open for 3 s, and closes after 3 probes have succeeded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Breaker(pub(crate) policy::BreakerSettings);

impl Breaker {
    /// Makes a breaker that never opens.
    pub fn off() -> Breaker {
        Breaker(policy::BreakerSettings::off())
    }

    /// Sets the share of bad calls at which the breaker opens, in parts per million. Default 500 000, which is one
    /// half.
    pub fn failure_rate_ppm(mut self, ppm: u32) -> Breaker {
        self.0.failure_rate_ppm = ppm;
        self
    }

    /// Sets the minimum number of calls in the window. While there are fewer, the share of bad calls does not open the
    /// breaker. Default 20.
    pub fn min_calls(mut self, calls: u32) -> Breaker {
        self.0.min_calls = calls;
        self
    }

    /// Makes the window hold the calls of the last `span` of time. Default 5 s.
    pub fn window(mut self, span: Duration) -> Breaker {
        self.0.window = policy::WindowSpan::Time(span);
        self
    }

    /// Makes the window hold this number of the last calls, instead of the calls of a span of time.
    pub fn window_calls(mut self, calls: u32) -> Breaker {
        self.0.window = policy::WindowSpan::Calls(calls);
        self
    }

    /// Sets how long the breaker stays open, ± 20 %. Default 3 s.
    pub fn open_for(mut self, time: Duration) -> Breaker {
        self.0.open_for = time;
        self
    }

    /// Sets the number of successful probes that close the breaker. Probes are sent one at a time. Default 3.
    pub fn probes(mut self, probes: u32) -> Breaker {
        self.0.probes = probes;
        self
    }

    /// Counts a successful call that took longer than `bound` as bad. Default: a successful call is never bad.
    pub fn slow_call(mut self, bound: Duration) -> Breaker {
        self.0.slow_call = Some(bound);
        self
    }

    /// Opens the breaker immediately after this number of failures in a row. Default: off.
    pub fn consecutive(mut self, failures: u32) -> Breaker {
        self.0.consecutive = Some(failures);
        self
    }

    /// Makes the open time of the breaker grow: each failed probe doubles it, up to `time`. Default: the open time does
    /// not grow.
    pub fn open_max(mut self, time: Duration) -> Breaker {
        self.0.open_max = Some(time);
        self
    }

    /// Lets calls return gradually after the breaker has closed: over `time`, the share of calls that pass grows until
    /// all pass. Default: all calls pass immediately.
    pub fn ramp(mut self, time: Duration) -> Breaker {
        self.0.ramp = Some(time);
        self
    }
}

/// Settings for the idle connections that are kept. By default, a connection is closed after it has been idle for 60 s,
/// or at the age of 1 h, and at most 64 idle connections are kept. A request that must not be delivered twice takes
/// only a connection whose last answer ended at least 20 ms ago.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Pool(pub(crate) PoolSettings);

impl Pool {
    /// Sets how long ago the last answer on a connection must have ended before a request that must not be delivered
    /// twice, such as a POST without a key, may use the connection. Some servers close a connection directly after an
    /// answer, and such a request would be lost with an unknown effect. Default 20 ms.
    pub fn settle(mut self, time: Duration) -> Pool {
        self.0.settle = time;
        self
    }

    /// Sets how long a connection may be idle before it is closed. Default 60 s.
    pub fn idle(mut self, time: Duration) -> Pool {
        self.0.idle = time;
        self
    }

    /// Sets the maximum number of idle connections that are kept. If there are more, the oldest are closed. Connections
    /// that have been idle for less than [`settle`](Self::settle) do not count. Default 64.
    pub fn max_idle(mut self, connections: usize) -> Pool {
        self.0.max_idle = connections;
        self
    }

    /// Sets the age after which a connection is not used for another call. Default 1 h.
    pub fn max_age(mut self, time: Duration) -> Pool {
        self.0.max_age = time;
        self
    }
}

/// The maximum size of the head of an answer, which is its status line and its header fields. Default: 256 KiB and 100
/// fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct AnswerHead(pub(crate) AnswerLimits);

impl AnswerHead {
    /// Sets the maximum number of bytes of status line and header fields together, line ends included, from 1 KiB to 1
    /// MiB. Default 256 KiB.
    pub fn header_bytes(mut self, bytes: usize) -> AnswerHead {
        self.0.header_bytes = bytes;
        self
    }

    /// Sets the maximum number of header fields, from 1 to 1000. Default 100.
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

/// Settings for how long the addresses of a host name are used. Default: the name is looked up again every 30 s, and
/// its last addresses are used for up to 1 h while lookups fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Dns(pub(crate) DnsSettings);

impl Dns {
    /// Sets the time after which a name is looked up again. Default 30 s.
    pub fn refresh(mut self, time: Duration) -> Dns {
        self.0.refresh = time;
        self
    }

    /// Sets how long the last addresses of a name are used while lookups fail. Default 1 h.
    pub fn stale(mut self, time: Duration) -> Dns {
        self.0.stale = time;
        self
    }
}

/// Settings for which servers are trusted, and which client certificate is shown to them. Default: the system's root
/// certificates are trusted, and no client certificate is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Tls(pub(crate) TlsSettings);

impl Tls {
    /// Trusts the certificate authorities in this PEM file, and no others.
    pub fn ca_file(mut self, path: impl AsRef<Path>) -> Tls {
        self.0.ca_file = Some(path.as_ref().to_owned());
        self
    }

    /// Shows this client certificate to servers, with the private key of the file `key` (both PEM).
    pub fn client(mut self, certificate: impl AsRef<Path>, key: impl AsRef<Path>) -> Tls {
        self.0.client_cert = Some(certificate.as_ref().to_owned());
        self.0.client_key = Some(key.as_ref().to_owned());
        self
    }
}
