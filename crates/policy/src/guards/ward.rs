//! What watches over one endpoint, or over one key of it: its breaker, and those who are followed to the end of their attempts.

use super::keyed::Kept;
use crate::{Breaker, BreakerSettings, Time};

/// How many attempts at one endpoint, or of one key, are followed as witnesses at the same time. Two are what the breaker's
/// rule of silence asks for.
const WITNESSES: u32 = 2;

/// A breaker, and what is remembered beside it.
#[derive(Clone, Debug)]
pub(crate) struct Ward {
    pub(crate) breaker: Breaker,
    /// When the last success ended.
    last_success: Option<Time>,
    /// Witnesses under way.
    witnesses: u32,
}

impl Ward {
    pub(crate) fn new(settings: BreakerSettings) -> Ward {
        Ward { breaker: Breaker::new(settings), last_success: None, witnesses: 0 }
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
        Ward { breaker: self.breaker.alike(), last_success: None, witnesses: 0 }
    }

    fn at_rest(&self, now: Time) -> bool {
        self.breaker.is_at_rest(now)
    }

    fn renew(&mut self, model: &Self, now: Time) {
        self.breaker.renew(&model.breaker, now);
        (self.last_success, self.witnesses) = (None, 0);
    }
}
