//! What watches over one endpoint, or over one key of it: its breaker, its cooling, and those who are followed to the end of
//! their attempts.

use super::keyed::Kept;
use crate::backoff::Draw;
use crate::breaker::{Breaker, BreakerSettings, BreakerState, Pass};
use crate::cooling::{Cooling, CoolingRefusal, CoolingSettings, Overload};
use crate::reason::Reason;
use crate::refusal::Refusal;
use crate::time::Time;

/// How many attempts at one endpoint, or of one key, are followed as witnesses at the same time. Two are what the breaker's
/// rule of silence asks for.
const WITNESSES: u32 = 2;

/// A breaker, and what is remembered beside it.
#[derive(Clone, Debug)]
pub(crate) struct Ward {
    pub(crate) breaker: Breaker,
    pub(crate) cooling: Cooling,
    /// When the last success ended.
    last_success: Option<Time>,
    /// Witnesses under way.
    witnesses: u32,
}

impl Ward {
    pub(crate) fn new(breaker: BreakerSettings, cooling: CoolingSettings) -> Ward {
        let (breaker, cooling) = (Breaker::new(breaker), Cooling::new(cooling));
        Ward { breaker, cooling, last_success: None, witnesses: 0 }
    }

    /// Asks the cooling first: while that lasts nothing is sent, and no probe either.
    #[inline]
    pub(crate) fn admit(&mut self, now: Time) -> Result<Pass, Refusal> {
        if let Err(no) = self.cooling.admit(now) {
            return Err(self.cools(no, now));
        }
        self.breaker.admit(now).map_err(|no| Refusal::until(Reason::BreakerOpen, no.until))
    }

    /// Where it cools and the breaker is open, too, the one that ends later is the reason.
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

    /// An overload answer came; as [`Cooling::overloaded`].
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

    /// Whether calls flow here: neither the breaker nor the cooling refuses them.
    pub(crate) fn flows(&self, now: Time) -> bool {
        self.breaker.is_closed() && !self.cooling.is_cooling(now)
    }

    /// A success ended now.
    #[inline]
    pub(crate) fn succeeded(&mut self, now: Time) {
        self.last_success = Some(now);
    }

    /// Whether the question is open if the endpoint hangs: no success has ended since an attempt began at `began`, and not
    /// enough others are waited for already. Nobody asks where the breaker is turned off.
    pub(crate) fn needs_witness(&self, began: Time) -> bool {
        let asks = self.breaker.settings().enabled && self.witnesses < WITNESSES;
        asks && self.last_success.is_none_or(|ended| ended < began)
    }

    pub(crate) fn witness_begins(&mut self) {
        self.witnesses += 1;
    }

    pub(crate) fn witness_ends(&mut self) {
        self.witnesses = self.witnesses.saturating_sub(1);
    }
}

impl Kept for Ward {
    fn alike(&self) -> Self {
        let cooling = Cooling::new(*self.cooling.settings());
        Ward { breaker: self.breaker.alike(), cooling, last_success: None, witnesses: 0 }
    }

    fn at_rest(&self, now: Time) -> bool {
        self.breaker.is_at_rest(now) && !self.cooling.is_cooling(now)
    }

    fn renew(&mut self, model: &Self, now: Time) {
        self.breaker.renew(&model.breaker, now);
        self.cooling = Cooling::new(*model.cooling.settings());
        (self.last_success, self.witnesses) = (None, 0);
    }
}
