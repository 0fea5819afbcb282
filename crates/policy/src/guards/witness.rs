//! Witnesses: attempts that are followed to their real ending although their callers left.
//!
//! Does the endpoint hang, or is the caller impatient? The obvious rule is: if the window holds no success, every wait
//! that a caller gave up is a failure. In simulations this opened the breakers of healthy partners in 397 of 960 runs.
//! So a caller that leaves is no evidence by itself. The question is open only if no success has ended at the endpoint
//! since the attempt began, or within 100 ms before that. Then the attempt goes on without its caller until its own
//! timeouts, and its real ending is the evidence. While calls succeed, the question is not open. So only few attempts
//! go on with work that nobody waits for.

use std::time::Duration;

use super::DependencyGuards;
use super::permit::{Underway, Witness};

/// How many attempts of one dependency are followed as witnesses at the same time, over all its endpoints and keys.
const WITNESSES: u32 = 16;

impl DependencyGuards {
    /// Asks whether an attempt is to be followed to its real ending, after its caller left or the caller's deadline
    /// passed. A probe is always followed. `read` is the attempt's read timeout. If this returns `None`, the attempt is
    /// to be cancelled.
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
        // The guards of the attempt's key are kept until the witness is given back.
        wards.took_off(at.breaker);
        Some(Witness { endpoint: at.endpoint, breaker: at.breaker, patience, counted: !probe })
    }

    /// The attempt has ended, or is no longer followed.
    pub fn unfollow(&mut self, witness: Witness) {
        let wards = &mut self.endpoints[witness.endpoint as usize].wards;
        if witness.counted {
            wards.at(witness.breaker).witness_ends();
            self.witnesses = self.witnesses.saturating_sub(1);
        }
        wards.landed(witness.breaker);
    }
}
