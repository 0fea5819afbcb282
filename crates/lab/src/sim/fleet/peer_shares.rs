//! Rules of other products that reduce what a caller sends: AIMD limits, client-side throttling, a controller.

use std::collections::VecDeque;

use seawall_policy::Time;

/// A concurrency limit that grows by a constant and shrinks by a factor (AIMD). It grows by one after an attempt that
/// ended well, if at least half of the limit was in use. A timeout or an overload answer (429, 503) multiplies it by
/// `factor`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AimdPolicy {
    /// The limit at the start.
    pub start: f64,
    /// The minimum that the limit can fall to.
    pub min: f64,
    /// The maximum that the limit can grow to.
    pub max: f64,
    /// The factor by which a timeout or an overload answer (429, 503) multiplies the limit.
    pub factor: f64,
}

/// A limit that follows an [`AimdPolicy`].
pub(super) struct Aimd {
    policy: AimdPolicy,
    limit: f64,
    in_flight: u32,
}

impl Aimd {
    pub(super) fn new(policy: AimdPolicy) -> Aimd {
        Aimd { policy, limit: policy.start, in_flight: 0 }
    }

    pub(super) fn limit(&self) -> u32 {
        self.limit as u32
    }

    pub(super) fn has_room(&self) -> bool {
        f64::from(self.in_flight) < self.limit.floor().max(1.0)
    }

    pub(super) fn enter(&mut self) {
        self.in_flight += 1;
    }

    pub(super) fn leave(&mut self, ok: bool, overload: bool) {
        if overload {
            self.limit = (self.limit * self.policy.factor).max(self.policy.min);
        } else if ok && f64::from(self.in_flight) * 2.0 >= self.limit {
            self.limit = (self.limit + 1.0).min(self.policy.max);
        }
        self.in_flight -= 1;
    }
}

/// Client-side throttling from Google's SRE book (chapter 21). The caller refuses the share `max(0, (requests − K ·
/// accepts) / (requests + 1))` of its own attempts. Both numbers are of the last `window` seconds: `requests` is the
/// number of attempts, refused ones included, and `accepts` is the number of attempts that ended well.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ThrottlePolicy {
    /// The factor K. Nothing is refused while there are at most K requests for each accepted request.
    pub k: f64,
    /// The length of the window over which requests and accepts are counted, in seconds.
    pub window: f64,
}

/// A throttle that follows a [`ThrottlePolicy`].
pub(super) struct Throttle {
    policy: ThrottlePolicy,
    /// The slots of the window, each a tenth of its length. The three numbers of a slot are its number (counted from
    /// time zero), the number of requests, and the number of accepted requests.
    window: VecDeque<(u64, f64, f64)>,
}

const PARTS: f64 = 10.0;

impl Throttle {
    pub(super) fn new(policy: ThrottlePolicy) -> Throttle {
        Throttle { policy, window: VecDeque::new() }
    }

    fn slot(&mut self, now: Time) -> &mut (u64, f64, f64) {
        let slot = (now.as_nanos() as f64 / 1e9 * PARTS / self.policy.window) as u64;
        while self.window.front().is_some_and(|(old, ..)| slot - old >= PARTS as u64) {
            self.window.pop_front();
        }
        if self.window.back().is_none_or(|(last, ..)| *last != slot) {
            self.window.push_back((slot, 0.0, 0.0));
        }
        self.window.back_mut().expect("just put in")
    }

    pub(super) fn admits(&mut self, now: Time, unit: f64) -> bool {
        self.slot(now);
        let (requests, accepts) = self.window.iter().fold((0.0, 0.0), |(r, a), (_, q, p)| (r + q, a + p));
        let shed = ((requests - self.policy.k * accepts) / (requests + 1.0)).max(0.0);
        self.slot(now).1 += 1.0;
        unit >= shed
    }

    pub(super) fn record(&mut self, ok: bool, now: Time) {
        if ok {
            self.slot(now).2 += 1.0;
        }
    }
}

/// A controller that decides which share of the attempts is refused, like Shopify's Semian. Once a second, it computes
/// `(errors − ideal) − refused · (1 − errors)`, where `errors` is the share of attempts that failed and `refused` is
/// the share that the controller refuses now. It changes the refused share so that this value goes to zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PidPolicy {
    /// The share of errors that is normal.
    pub ideal: f64,
    /// The proportional, the integral and the derivative gain.
    pub gains: (f64, f64, f64),
    /// The length of the window over which errors are counted, in seconds.
    pub window: f64,
}

/// A controller that follows a [`PidPolicy`].
pub(super) struct Pid {
    policy: PidPolicy,
    window: Throttle,
    shed: f64,
    integral: f64,
    last: f64,
    second: u64,
}

impl Pid {
    pub(super) fn new(policy: PidPolicy) -> Pid {
        let window = Throttle::new(ThrottlePolicy { k: 1.0, window: policy.window });
        Pid { policy, window, shed: 0.0, integral: 0.0, last: 0.0, second: 0 }
    }

    pub(super) fn admits(&mut self, now: Time, unit: f64) -> bool {
        let second = now.as_nanos() / 1_000_000_000;
        if second > self.second {
            self.second = second;
            self.window.slot(now);
            let (all, ok) = self.window.window.iter().fold((0.0, 0.0), |(r, a), (_, q, p)| (r + q, a + p));
            let errors = if all > 0.0 { 1.0 - ok / all } else { 0.0 };
            let off = (errors - self.policy.ideal) - (1.0 - errors) * self.shed;
            self.integral = (self.integral + off).clamp(-10.0, 10.0);
            let (p, i, d) = self.policy.gains;
            self.shed += p * off + i * self.integral + d * (off - self.last);
            self.shed = self.shed.clamp(0.0, 0.95);
            self.last = off;
        }
        unit >= self.shed
    }

    pub(super) fn record(&mut self, ok: bool, now: Time) {
        let slot = self.window.slot(now);
        slot.1 += 1.0;
        slot.2 += f64::from(u8::from(ok));
    }
}
