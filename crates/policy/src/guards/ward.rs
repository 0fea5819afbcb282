//! A ward holds the breaker and the cooling of one endpoint, or of one key at an endpoint, and the number of its
//! witnesses. A witness is an attempt that is followed to its end without its caller.

use std::time::Duration;

use super::keyed::Kept;
use crate::backoff::Draw;
use crate::breaker::{Breaker, BreakerSettings, BreakerState, Pass};
use crate::cooling::{Cooling, CoolingRefusal, CoolingSettings, Overload};
use crate::reason::Reason;
use crate::refusal::Refusal;
use crate::time::Time;

/// The maximum number of attempts at one endpoint, or of one key, that go on as witnesses at the same time. It is two,
/// because two slow failures in a row open a breaker that has seen no success.
const WITNESSES: u32 = 2;

/// An attempt that begins less than this time after a success need not go on when its caller leaves: the success shows
/// that the endpoint does not hang. So a driver seldom has to let an attempt go on without its caller. The price is
/// that a hang is noticed later, by this time at most.
pub const RECENT_SUCCESS: Duration = Duration::from_millis(100);

/// The breaker and the cooling of one endpoint or key, and what is needed to decide whether an attempt goes on after
/// its caller has left.
#[derive(Clone, Debug)]
pub(crate) struct Ward {
    pub(crate) breaker: Breaker,
    pub(crate) cooling: Cooling,
    /// When the last success ended.
    last_success: Option<Time>,
    slowest: Slowest,
    /// The number of witnesses in flight.
    witnesses: u32,
}

impl Ward {
    pub(crate) fn new(breaker: BreakerSettings, cooling: CoolingSettings) -> Ward {
        Ward::with(Breaker::new(breaker), Cooling::new(cooling))
    }

    fn with(breaker: Breaker, cooling: Cooling) -> Ward {
        Ward { breaker, cooling, last_success: None, slowest: Slowest::default(), witnesses: 0 }
    }

    /// Admits an attempt and returns the breaker's pass, or refuses it. The cooling is asked first, because nothing is
    /// sent while the endpoint cools, not even a probe.
    #[inline]
    pub(crate) fn admit(&mut self, now: Time) -> Result<Pass, Refusal> {
        if let Err(no) = self.cooling.admit(now) {
            return Err(self.cools(no, now));
        }
        self.breaker.admit(now).map_err(|no| Refusal::until(Reason::BreakerOpen, no.until))
    }

    /// Returns the refusal of an endpoint that cools. If the breaker refuses too, returns the refusal that ends later.
    #[cold]
    fn cools(&self, no: CoolingRefusal, now: Time) -> Refusal {
        let breaker = match self.breaker.state(now) {
            BreakerState::Open => self.breaker.state_until(now),
            BreakerState::ForcedOpen => return Refusal::until(Reason::BreakerOpen, None),
            BreakerState::Closed | BreakerState::HalfOpen | BreakerState::ForcedClosed => None,
        };
        match breaker {
            Some(until) if until > no.until => Refusal::until(Reason::BreakerOpen, Some(until)),
            Some(_) | None => Refusal {
                spread: no.spread,
                too_many: no.too_many,
                ..Refusal::until(Reason::CoolingDown, Some(no.until))
            },
        }
    }

    /// Must be called when an answer came that means "come back later", for example one with status 429. Returns the
    /// time from which the first call passes again; `None` if the endpoint does not cool. `elsewhere` says whether
    /// another endpoint takes calls.
    pub(crate) fn overloaded(
        &mut self,
        now: Time,
        told: Overload,
        elsewhere: bool,
        draw: impl FnOnce() -> Draw,
    ) -> Option<Time> {
        let nobody = self.breaker.counts(now).ok == 0;
        self.cooling.overloaded(now, told, elsewhere, nobody, draw)
    }

    /// Returns whether calls flow here: neither the breaker nor the cooling refuses them.
    pub(crate) fn flows(&self, now: Time) -> bool {
        self.breaker.is_closed() && !self.cooling.is_cooling(now)
    }

    /// Records that a success ended at `now`, and that its call took the time `took`.
    #[inline]
    pub(crate) fn succeeded(&mut self, took: Duration, now: Time) {
        self.last_success = Some(now);
        self.slowest.saw(took, now);
    }

    /// Returns how long an attempt may go on without progress after its caller has left. `read` is the attempt's read
    /// timeout. The returned time is four fifths of `read` or twice the slowest success that is remembered, whichever
    /// is longer, but at most `read`. If nothing has succeeded yet, it is `read`, because nobody knows how slow the
    /// endpoint may be.
    ///
    /// The time is shorter than the read timeout for this reason: Only [`WITNESSES`] attempts are followed at the same
    /// time. When an endpoint begins to hang, two older attempts may be followed already, and no other attempt can be
    /// followed until they have ended. If each were followed for the whole read timeout, the breaker would notice the
    /// hang later than it would from callers that wait for their answers. With the shorter time, it notices the hang as
    /// early as from such callers.
    pub(crate) fn patience(&self, read: Duration) -> Duration {
        match self.slowest.known() {
            Some(slowest) => (read / 5 * 4).max(slowest.saturating_mul(2)).min(read),
            None => read,
        }
    }

    /// Returns whether an attempt that began at `began` must go on after its caller has left, to find out if the
    /// endpoint hangs. It must if all three of these hold:
    ///
    /// - The breaker is turned on.
    /// - Fewer than [`WITNESSES`] such attempts are under way.
    /// - The last success ended more than [`RECENT_SUCCESS`] before `began`, or nothing has succeeded yet.
    pub(crate) fn needs_witness(&self, began: Time) -> bool {
        let asks = self.breaker.settings().enabled && self.witnesses < WITNESSES;
        asks && self.last_success.is_none_or(|ended| ended.saturating_add(RECENT_SUCCESS) < began)
    }

    pub(crate) fn witness_begins(&mut self) {
        self.witnesses += 1;
    }

    pub(crate) fn witness_ends(&mut self) {
        self.witnesses = self.witnesses.saturating_sub(1);
    }
}

/// The slowest success of the last five to ten minutes.
#[derive(Clone, Copy, Debug, Default)]
struct Slowest {
    now: Duration,
    before: Duration,
    since: Time,
}

impl Slowest {
    const SPAN: Duration = Duration::from_secs(300);

    #[inline]
    fn saw(&mut self, took: Duration, now: Time) {
        if now.since(self.since) >= Self::SPAN {
            *self = Slowest { now: Duration::ZERO, before: self.now, since: now };
        }
        self.now = self.now.max(took);
    }

    fn known(&self) -> Option<Duration> {
        Some(self.now.max(self.before)).filter(|slowest| !slowest.is_zero())
    }
}

impl Kept for Ward {
    fn alike(&self) -> Self {
        let cooling = Cooling::new(*self.cooling.settings());
        Ward::with(self.breaker.alike(), cooling)
    }

    fn at_rest(&self, now: Time) -> bool {
        self.breaker.is_at_rest(now) && !self.cooling.is_cooling(now)
    }

    fn renew(&mut self, model: &Self, now: Time) {
        self.breaker.renew(&model.breaker, now);
        self.cooling = Cooling::new(*model.cooling.settings());
        (self.last_success, self.slowest, self.witnesses) = (None, Slowest::default(), 0);
    }
}
