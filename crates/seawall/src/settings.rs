//! How a dependency is called, as plain values. Every default is the gateway's (`docs/configuration.md` argues them).

use std::path::{Path, PathBuf};
use std::time::Duration;

use seawall_client::AnswerLimits;
use seawall_policy as policy;

/// So many seconds.
#[must_use]
pub const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// So many milliseconds.
#[must_use]
pub const fn millis(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// The three timeouts of a call. Default: 3 s, 10 s and 30 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// DNS, TCP and TLS together.
    pub connect: Duration,
    /// The longest time without progress in either direction; around any future, which shows no progress, the longest
    /// time of one attempt.
    pub read: Duration,
    /// From the first attempt to the last byte of the answer, all repeats included. [`Duration::MAX`]: no end, for
    /// streams that have none.
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts { connect: secs(3), read: secs(10), total: secs(30) }
    }
}

impl Timeouts {
    pub(crate) fn in_force(self) -> policy::Timeouts {
        let total = (self.total != Duration::MAX).then_some(self.total);
        policy::Timeouts { connect: self.connect, read: self.read, total }
    }

    pub(crate) fn problems(self, at: &str, found: &mut Vec<String>) {
        for (name, value) in [("connect", self.connect), ("read", self.read), ("total", self.total)] {
            if value.is_zero() {
                found.push(format!(
                    "{at}timeout.{name} is zero: no call could be made; leave it out for the default"
                ));
            }
        }
        if self.total != Duration::MAX && self.read >= self.total {
            let (read, total) = (self.read, self.total);
            found.push(format!(
                "{at}timeout.read ({read:?}) must be shorter than timeout.total ({total:?}), which would always pass first"
            ));
        }
    }
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
            attempts: 2,
            backoff: policy::Backoff::default(),
            after_max: policy::CoolingSettings::default().after_max,
            buffer: 64 << 10,
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

    pub(crate) fn problems(&self, at: &str, found: &mut Vec<String>) {
        if self.attempts == 0 {
            found.push(format!("{at}retry.attempts is 0; the first attempt counts, so 1 means no repeats"));
        }
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
        let mut limit = policy::LimitSettings::default();
        limit.enabled = false;
        Concurrency { limit, ..Concurrency::default() }
    }

    /// So many calls may wait for a place, each for so long at most. Default: none waits.
    pub fn queue(mut self, length: u32, wait: Duration) -> Concurrency {
        self.queue = policy::QueueSettings { length, wait };
        self
    }

    pub(crate) fn problems(&self, found: &mut Vec<String>) {
        if self.limit.enabled && self.limit.max == 0 {
            found.push("concurrency: a limit of 0 refuses every call; use at least 1, or `off`".to_owned());
        }
        if (self.queue.length > 0) == self.queue.wait.is_zero() {
            found.push(
                "concurrency.queue: a length without a wait, or a wait without a length, queues nobody"
                    .to_owned(),
            );
        }
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
        let mut breaker = Breaker::default();
        breaker.0.enabled = false;
        breaker
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

    pub(crate) fn problems(&self, found: &mut Vec<String>) {
        let ppm = self.0.failure_rate_ppm;
        if ppm == 0 || ppm > 1_000_000 {
            found.push(format!(
                "breaker.failure_rate_ppm is {ppm}; it is a share in parts per million, from 1 to 1 000 000"
            ));
        }
        match self.0.window {
            policy::WindowSpan::Time(span) if span < millis(1) => {
                found.push(format!("breaker.window ({span:?}) is too short to count anything; default 5 s"));
            }
            policy::WindowSpan::Calls(calls) if calls == 0 || calls > policy::MAX_WINDOW_CALLS => {
                let most = policy::MAX_WINDOW_CALLS;
                found.push(format!("breaker.window_calls is {calls}; from 1 to {most} can be kept"));
            }
            policy::WindowSpan::Time(_) | policy::WindowSpan::Calls(_) => {}
        }
        if self.0.probes == 0 {
            found.push("breaker.probes is 0; at least one call must show that it works again".to_owned());
        }
    }
}

/// How idle connections are kept. Default: settled after 20 ms, closed after 60 s idle or 1 h of life, at most 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// A plain POST takes no connection whose last answer is younger than this.
    pub settle: Duration,
    /// An idle connection is closed after this.
    pub idle: Duration,
    /// Settled idle connections kept; beyond, the oldest go.
    pub max_idle: usize,
    /// No connection is used longer than this.
    pub max_age: Duration,
}

impl Default for Pool {
    fn default() -> Self {
        Pool { settle: millis(20), idle: secs(60), max_idle: 64, max_age: secs(3600) }
    }
}

/// How long the head of an answer may be. Default: 256 KiB and 100 fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerHead {
    /// Bytes of status line and header fields, line ends included; 1 KiB to 1 MiB.
    pub header_bytes: usize,
    /// Header fields; 1 to 1000.
    pub headers: usize,
}

impl Default for AnswerHead {
    fn default() -> Self {
        let AnswerLimits { header_bytes, headers } = AnswerLimits::default();
        AnswerHead { header_bytes, headers }
    }
}

impl AnswerHead {
    pub(crate) fn problems(self, found: &mut Vec<String>) {
        let both = [
            ("header_bytes", self.header_bytes, AnswerLimits::HEADER_BYTES),
            ("headers", self.headers, AnswerLimits::HEADERS),
        ];
        for (name, value, within) in both.into_iter().filter(|(_, value, within)| !within.contains(value)) {
            let (least, most) = (within.start(), within.end());
            found.push(format!("answer_head.{name} is {value}; it must lie between {least} and {most}"));
        }
    }
}

/// How long a name's addresses are used. Default: looked up again every 30 s, kept for 1 h while lookups fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dns {
    /// Looked up again after this.
    pub refresh: Duration,
    /// Used for this long while lookups fail.
    pub stale: Duration,
}

impl Default for Dns {
    fn default() -> Self {
        Dns { refresh: secs(30), stale: secs(3600) }
    }
}

/// Whom to trust, and who we are. Default: the system's roots, no client certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Tls {
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) client: Option<(PathBuf, PathBuf)>,
}

impl Tls {
    /// Trusts the authorities in this PEM file, and no others.
    pub fn ca_file(mut self, path: impl AsRef<Path>) -> Tls {
        self.ca_file = Some(path.as_ref().to_owned());
        self
    }

    /// Shows this certificate, proved by this key (PEM files).
    pub fn client(mut self, certificate: impl AsRef<Path>, key: impl AsRef<Path>) -> Tls {
        self.client = Some((certificate.as_ref().to_owned(), key.as_ref().to_owned()));
        self
    }
}

/// Which HTTP is spoken. Default: what TLS negotiates, HTTP/2 first; HTTP/1.1 without TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum HttpVersion {
    /// What TLS negotiates; HTTP/1.1 without TLS.
    #[default]
    Auto,
    /// HTTP/1.1 only.
    Http1,
    /// HTTP/2 only; without TLS it is spoken unasked.
    Http2,
}
