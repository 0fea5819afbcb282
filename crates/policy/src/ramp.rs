//! A ramp: over some time, the share of calls that pass grows from a tenth to all.
//!
//! Calls that pass are spread evenly. For this, the ramp keeps a credit. Each call adds the current share to the
//! credit. If the credit is then at least one, the call passes, and one is taken from the credit. The first call
//! passes.

use std::time::Duration;

use crate::time::Time;

/// The whole (100 %), in parts per million.
const WHOLE_PPM: u64 = 1_000_000;
/// The share of calls that pass when the ramp begins, in parts per million.
const FLOOR_PPM: u64 = 100_000;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Ramp {
    since: Time,
    length: Duration,
    credit_ppm: u64,
}

/// What a ramp says to one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ramped {
    /// The ramp is over: all calls pass.
    Over,
    /// This call passes.
    Passes,
    /// This call does not pass. From the time that is given here, all calls pass.
    Waits(Time),
}

impl Ramp {
    pub(crate) fn new(since: Time, length: Duration) -> Ramp {
        Ramp { since, length, credit_ppm: WHOLE_PPM }
    }

    pub(crate) fn admit(&mut self, now: Time) -> Ramped {
        let elapsed = now.since(self.since);
        if elapsed >= self.length {
            return Ramped::Over;
        }
        let share = elapsed.as_nanos() * u128::from(WHOLE_PPM) / self.length.as_nanos();
        self.credit_ppm += (share as u64).max(FLOOR_PPM);
        if self.credit_ppm < WHOLE_PPM {
            return Ramped::Waits(self.since.saturating_add(self.length));
        }
        self.credit_ppm -= WHOLE_PPM;
        Ramped::Passes
    }
}
