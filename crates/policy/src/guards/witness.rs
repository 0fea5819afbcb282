//! Witnesses: attempts that are followed to their real ending although their callers left.
//!
//! Does the endpoint hang, or is the caller impatient? The obvious rule takes every wait that was given up for a failure
//! where the window holds no success. Simulated, that opened the breakers of healthy partners in 397 of 960 runs. So a
//! caller who leaves is no evidence by itself. Where the question is open, since no success has ended at the endpoint after
//! such an attempt began or within 100 ms before it, the attempt goes on without its caller until its own timeouts, and its real ending is the answer.
//! While anybody succeeds, nobody needs to ask, so that work which the caller gave up on goes on for few attempts only.

use std::time::Duration;

use super::DependencyGuards;
use super::permit::{Underway, Witness};

/// How many attempts of one dependency are followed as witnesses at the same time, over all its endpoints and keys.
const WITNESSES: u32 = 16;

impl DependencyGuards {
    /// Asks whether an attempt is to be followed to its real ending, now that its caller left or the caller's deadline
    /// passed. A probe always is. `read` is its read timeout. `None`: it is to be cancelled.
    pub fn follow(&mut self, attempt: &Underway, read: Duration) -> Option<Witness> {
        let Underway { at, probe, began } = *attempt;
        let wards = &mut self.endpoints[at.endpoint as usize].wards;
        let ward = wards.at(at.breaker);
        let patience = ward.patience(read);
        if !probe {
            if self.witnesses >= WITNESSES || !ward.needs_witness(began) {
                return None;
            }
            ward.witness_begins();
            self.witnesses += 1;
        }
        // The guards of its key are kept until it is given back.
        wards.took_off(at.breaker);
        Some(Witness { endpoint: at.endpoint, breaker: at.breaker, patience, counted: !probe })
    }

    /// The attempt ended, or is not followed any more.
    pub fn unfollow(&mut self, witness: Witness) {
        let wards = &mut self.endpoints[witness.endpoint as usize].wards;
        if witness.counted {
            wards.at(witness.breaker).witness_ends();
            self.witnesses = self.witnesses.saturating_sub(1);
        }
        wards.landed(witness.breaker);
    }
}
